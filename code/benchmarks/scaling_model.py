"""What a step of one law on many GPUs takes: arithmetic or reading of a GPU's atoms, then the exchange."""

from __future__ import annotations

from problems import rounded

# An H200: product of two float16 halves, as our kernel takes it, at the device's peak; memory; and links between GPUs.
PEAK, MEMORY, NVLINK, INFINIBAND = 400e12, 4.8e12, 450e9, 50e9  # flop/s, bytes/s, bytes/s per GPU, each way
LATENCY = {"NVLink": 20e-6, "InfiniBand": 60e-6}  # seconds of one collective call with few bytes
SHARES_OF_PEAK = (1.0, 0.5, 0.25)


def modelled(n: float, d: int, b: int, gpus: int, share: float) -> dict[str, float]:
    """Seconds of one psi-step and one x-gradient: arithmetic or reading of a GPU's atoms, then the exchange.

    A psi-step is one product of b n d / gpus multiplications in two halves, with scores stored and read once; an
    x-gradient one more. Exchanged, by rings: b numbers from each, and the sum of b d more.
    """
    link, latency = (NVLINK, LATENCY["NVLink"]) if gpus <= 8 else (INFINIBAND, LATENCY["InfiniBand"])
    atoms = n / gpus
    product = max(2 * b * atoms * d / (PEAK * share), (atoms * d + 8 * b * atoms) / MEMORY)
    values, slopes = 4 * b * (gpus - 1), 8 * b * d * (gpus - 1) / gpus
    exchange = latency + values / link
    return {
        "psi_ms": 1000 * (product + exchange),
        "psi_exchange_ms": 1000 * exchange,
        "theta_ms": 1000 * (2 * product + exchange + latency + slopes / link),
        "atoms_GB": atoms * d / 1e9,
        "psi_bytes": values,
        "theta_bytes": values + slopes,
    }


def document(rows: list[dict[str, object]], cores: int, lam: float) -> str:
    """The table measured and the model, as text."""
    lines = ["# One law over several processes", ""]
    lines += [
        "Each process holds a part of the atoms; all hold the same points. A psi-step gathers b numbers from each, a",
        "theta-step sums b d more (`otgrad.scale.shards`). Made by `code/benchmarks/scaling.py`.",
        "",
        f"## Measured: {cores} cores, gloo, one thread for each process, λ = {lam}",
        "",
        "| processes | b | n | ψ-step, ms (quartiles) | ψ-steps per s | x-gradient, ms | bytes sent in each |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        psi = f"{r['psi_ms']} ({r['psi_ms_q25']} to {r['psi_ms_q75']}) | {rounded(1000 / float(str(r['psi_ms'])), 3)}"
        sent = f"{r['psi_bytes']:.0f}, {r['x_bytes']:.0f}"
        lines.append(f"| {r['processes']} | {r['b']} | {r['n']} | {psi} | {r['x_ms']} | {sent} |")
    lines += [
        "",
        "## Modelled: n = 10^8 atoms of d = 784 bytes, b = 200 points",
        "",
        "No GPU was measured. The rate of one is a share of an H200's peak in our kernel's arithmetic (two halves:",
        f"{PEAK / 1e12:.0f} Tflop/s; memory {MEMORY / 1e12} TB/s); links are as their makers state them: NVLink",
        f"{NVLINK / 1e9:.0f} GB/s within 8 GPUs, InfiniBand {INFINIBAND / 1e9:.0f} GB/s beyond, with "
        f"{1e6 * LATENCY['NVLink']:.0f} and {1e6 * LATENCY['InfiniBand']:.0f} µs per call (assumed).",
        "",
        "| GPUs | share of peak | atoms on each | ψ-step | of which exchange | θ-step | bytes per ψ-, θ-step |",
        "|---|---|---|---|---|---|---|",
    ]
    for gpus in (8, 64):
        for share in SHARES_OF_PEAK:
            m = modelled(1e8, 784, 200, gpus, share)
            lines.append(
                f"| {gpus} | {share:g} | {m['atoms_GB']:.2g} GB | {m['psi_ms']:.3g} ms | {m['psi_exchange_ms']:.2g} ms "
                f"| {m['theta_ms']:.3g} ms | {m['psi_bytes']:.0f}, {m['theta_bytes']:.0f} |"
            )
    lines += [
        "",
        "What is exchanged does not grow with n: where a GPU holds 10^6 atoms and more, a step is arithmetic. Scores,",
        "b n / GPUs numbers, are formed for a tile of points at a time, with one gather for each tile.",
        "",
    ]
    return "\n".join(lines)
