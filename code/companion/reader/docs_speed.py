"""The tables of docs/ on speed and on reproducibility of bits, from figures/reference/benchmark/ and measured/."""

from pathlib import Path

from companion.common.readers import read_table
from companion.reader.docs_tables import grid, kept

GAPS = ("0.01", "0.003", "0.001")
NEVER = "–"
FLOAT32 = ("sgemm, torch", "sgemm, numpy")  # arms that are the product alone
# Who runs in the tables of tracks B and C: name in the CSV -> name in the table.
FIXED_SOURCE = {
    "otgrad fixed source": "otgrad fixed source",
    "otgrad estimator": "otgrad estimator",
    "otgrad fixed source, certified": "otgrad fixed source with its certificate",
    "SGD n lam / sqrt(k)": "SGD, step n λ / √k",
    "authors' ASGD, tuned": "the authors' ASGD",
    "POT, tuned": "POT",
    "POT DRAG, tuned": "POT, DRAG",
    "OTT-JAX, tuned": "OTT-JAX, averaged",
    "torch Sinkhorn": "Sinkhorn on the pool (torch, costs stored)",
    "torch L-BFGS": "L-BFGS on the pool (torch)",
}
WHOLE_POOL = {
    "otgrad fixed source": "otgrad fixed source",
    "otgrad fixed source, certified": "otgrad fixed source with its certificate",
    "torch L-BFGS": "L-BFGS (torch)",
    "torch Sinkhorn": "Sinkhorn (torch, costs stored)",
    "OTT-JAX Sinkhorn, stored, tuned": "OTT-JAX Sinkhorn",
    "POT Sinkhorn": "POT Sinkhorn",
    "GeomLoss stored, tuned": "GeomLoss",
}
LEVERS = {
    "authors: constant step 5, no average": "the authors' constant step, no average",
    "step n lam / sqrt(k), polynomial average": "step n λ / √k, polynomial average",
    "step lam / running marginal / sqrt(k), polynomial average": "the same, divided by the running marginal",
    "step n lam / sqrt(k), lam decreasing": "step n λ / √k, λ decreasing (DRAG)",
    "online Sinkhorn": "online Sinkhorn",
    "online Sinkhorn, then SAGA": "online Sinkhorn, then SAGA by blocks of the pool",
    "online Sinkhorn, then SAGA, without lam decreasing": "… without λ decreasing",
    "online Sinkhorn, then SAGA, without its correction": "… without SAGA's correction",
    "online Sinkhorn, then SAGA, without averaging": "… without averaging",
    "online Sinkhorn, then active set": "online Sinkhorn, then active set (the solver as it is)",
}
SCHEDULES = {
    "authors 2021": "the authors' research code of 2021",
    "sequel": "the authors' later paper",
    "otgrad": "ours",
    "otgrad, psi not carried": "ours, ψ begun at 0 for each generator step",
    "otgrad, constant step 5": "ours, constant step on ψ, no average",
    "otgrad, counter carried": "ours, step size of ψ shrinking over generator steps",
    "otgrad, last batch reused": "ours, the last batch of ψ used for the generator too",
}
SETTINGS = {
    "1 thread, again": "one thread, again",
    "2 threads": "two threads",
    "two processes": "two processes",
    "plain torch, 1 thread": "plain torch in place of the compiled kernel",
}


def benchmark(references, name):
    """Rows of a table of figures/reference/benchmark/."""
    return read_table(Path(references) / "benchmark" / f"{name}.csv")


def steps(references):
    """Track A: a psi-step beside the fastest peer, the float32 product alone, and what other runs gave."""
    others = {(row["b"], row["n"], row["lam"]): row for row in kept(references, "track-a-runs")}
    rows = [row for row in benchmark(references, "track_a") if row["quantity"] == "psi" and row["status"] == "ok"]
    lines = []
    for cell, other in sorted(others.items(), key=lambda item: (int(item[0][1]), int(item[0][0]), item[0][2])):
        found = [row for row in rows if (row["b"], row["n"], row["lam"]) == cell]
        ours = next(row for row in found if row["arm"] == "otgrad")
        peer = min((row for row in found if row["kind"] == "peer"), key=lambda row: float(row["ratio"]))
        floor = min(float(row["median_ms"]) for row in found if row["arm"] in FLOAT32)
        ratio = f"{float(peer['ratio']):.1f} ({float(peer['ratio_q25']):.1f} to {float(peer['ratio_q75']):.1f})"
        times = short(ours["median_ms"]), f"{short(peer['median_ms'])} ({peer['arm']})", ratio
        errors = f"{float(ours['value_error']):.0e}, {float(ours['grad_error']):.0e}"
        lines.append((*map(whole, cell[:2]), cell[2], *times, other["median"], other["least"], short(floor), errors))
    head = ("b", "n", "λ", "otgrad, ms", "fastest other library, ms", "the second over the first (quartiles)")
    head += ("median of six runs", "least of six runs", "float32 product alone, ms", "error of value, gradient")
    return grid(head, lines)


def peers(references):
    """Track A: how many times as long as ours every other library takes, b = 200 and lam = 0.01."""
    rows = [r for r in benchmark(references, "track_a") if (r["b"], r["lam"]) == ("200", "0.01")]
    cells = [("psi", "10000"), ("psi", "60000"), ("x", "10000"), ("x", "60000")]
    ratios = {
        (row["quantity"], row["n"], row["arm"]): f"{float(row['ratio']):.1f}" for row in rows if row["status"] == "ok"
    }
    errors = {row["arm"]: row["value_error"] for row in rows if (row["quantity"], row["n"]) == cells[1]}
    arms = dict.fromkeys(row["arm"] for row in rows if row["kind"] == "peer" or row["arm"] == "otgrad reference")
    lines = [(arm, *(ratios.get((*cell, arm), NEVER) for cell in cells), errors[arm] or NEVER) for arm in arms]
    head = ("library", "ψ-step, n = 10,000", "n = 60,000", "x-gradient, n = 10,000", "n = 60,000")
    return grid((*head, "error of the value, n = 60,000"), lines)


def sizes(references):
    """Track A: time and memory of a psi-step at lam = 0.01 over b and n."""
    rows = [
        r for r in benchmark(references, "track_a") if (r["quantity"], r["arm"], r["lam"]) == ("psi", "otgrad", "0.01")
    ]
    rows.sort(key=lambda row: (int(row["n"]), int(row["b"])))
    lines = [(whole(r["b"]), whole(r["n"]), short(r["median_ms"]), f"{int(r['peak_mib']) / 1024:.1f}") for r in rows]
    return grid(("b", "n", "ms", "GiB resident, data and libraries included"), lines)


def race(references, names, tracks):
    """Tracks B and C: seconds to the three gaps, a row for each solver, a column for each pool and lam."""
    rows = [row for track in tracks for row in benchmark(references, track) if row["arm"] in names]
    cells = dict.fromkeys((row["pool"], row["n"], row["lam"]) for row in rows)
    times, memory = {}, {}
    for row in rows:
        seconds = [short(row[f"seconds_{gap}"]) for gap in GAPS]
        times[row["arm"], row["pool"], row["n"], row["lam"]] = " / ".join(seconds) if set(seconds) != {NEVER} else NEVER
        memory.setdefault(row["arm"], []).append(int(row["peak_mib"] or 0) / 1024)
    lines = [
        (text, *(times[name, *cell] for cell in cells), f"{max(memory[name]):.1f}") for name, text in names.items()
    ]
    heads = [f"{whole(pool)} × {whole(n)}, λ = {lam}" for pool, n, lam in cells]
    return grid(("solver", *heads, "GiB at most"), lines)


def levers(references):
    """What each part of the fixed-source solver gains: seconds to the three gaps at each lam."""
    rows = {(row["lever"], row["lam"], row["gap"]): row["seconds"] for row in benchmark(references, "levers")}
    lams = ("0.1", "0.02", "0.005")
    told = [
        (text, *(" / ".join(short(rows[name, lam, gap]) for gap in GAPS) for lam in lams))
        for name, text in LEVERS.items()
    ]
    return grid(("part", *(f"λ = {lam}" for lam in lams)), told)


def training(references):
    """Track D: seconds of a schedule to its best held-out value, and ours to the same value."""
    rows = {row["schedule"]: row for row in benchmark(references, "track_d")}
    lines = []
    for name, text in SCHEDULES.items():
        row = rows[name]
        middle, low, high = (f"{float(row[f'schedule_{key}']):.2g}" for key in ("factor", "q25", "q75"))
        ratio = f"{middle} ({low} to {high})" if row["rounds"] != "1" else middle
        inner = f"{row['inner_steps']} × {row['batch_size']}"
        times = short(row["seconds_theirs"]), short(row["seconds_ours"]), ratio, short(row["product"])
        lines.append((text, inner, row["rounds"], f"{float(row['target']):.3f}", *times))
    head = ("schedule", "inner steps × batch", "rounds", "best value", "seconds to it", "ours to the same")
    return grid((*head, "the first over the second (extremes)", "the same, theirs with autograd"), lines)


def bits(references):
    """How far runs that differ in one respect lie apart after 100 theta-steps, relative to one thread."""
    rows = {(row["arm"], float(row["lam"])): row for row in benchmark(references, "determinism")}
    lines = []
    for name, text in SETTINGS.items():
        soft, hard = (rows[name, lam] for lam in (0.01, 0.0))
        cells = [f"{float(row[key]):.0e}" if float(row[key]) else "0" for row in (soft, hard) for key in PARTS]
        lines.append((text, *cells, "yes" if soft["same"] == hard["same"] == "True" else "no"))
    head = [f"λ = {lam}: {part}" for lam in ("0.01", "0") for part in PARTS.values()]
    return grid(("what differs", *head, "every bit the same"), lines)


PARTS = {"value_100": "objective", "psi": "ψ", "theta": "θ"}


def short(value):
    """Write a measured time to three digits at most; nothing measured is a dash."""
    return f"{float(value):.3g}" if value else NEVER


def whole(value):
    """Write a whole number with commas."""
    return f"{int(value):,}"
