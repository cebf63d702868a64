"""Time, error and memory of one psi-step and one x-gradient on a GPU, beside every peer that is installed there.

python code/benchmarks/gpu.py --output results/benchmark/gpu.csv [--data results/data/train.npz] [--interpret-smoke] ...

All arms in one process, on the same tensors; rounds interleaved over the arms; median and quartiles of the time of one
call, by events of the device around several calls (arms that do not run on torch's stream: by the clock).

Columns: quantity (psi, x), b, n, lam, arm, kind (ours, peer, floor), status ("ok", or why there is no number), rounds,
calls (per round), first_ms (with all preparation and compilation), median_ms, q25_ms, q75_ms; ratio, ratio_q25,
ratio_q75 (this arm's time divided by that of "otgrad cuda, graph" in the same round); value_error (against float64: max
|v - V| / max |V|, of the mean where an arm gives only that), grad_error (L1; for x relative to the gradient's L1),
peak_mib (what the arm holds on the device at most, beside points and atoms), source (of the data).

The last cells have --many atoms, for this library alone. Ends with exit code 1 where there is no GPU; with
--interpret-smoke it runs tiny sizes on a CPU, the kernel in Triton's interpreter, to try the logic: such times mean
nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave the device's memory to the other arms
if "--interpret-smoke" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import numpy as np
import torch
from torch import Tensor

from gpu_arms import ARMS, HARD_ARMS, arms_of
from gpu_cells import Cell, Step, errors, exact, make_cell
from problems import rounded, write_table
from worker import NotInstalled

OURS, ROUND_MS, WALL = "otgrad cuda, graph", 20.0, ("OTT-JAX", "JAX")
SMOKE = ("otgrad cuda", OURS, "otgrad reference", "torch explicit", "torch autograd", "POT", "OTT-JAX", "tf32 product")
FEW = ("otgrad cuda", OURS)  # with --many atoms
EVERY = list(ARMS | HARD_ARMS)
NUMBERS = ("first_ms", "median_ms", "q25_ms", "q75_ms", "ratio", "ratio_q25", "ratio_q75")


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_calls(step: Step, calls: int, device: torch.device, wall: bool) -> float:
    """Milliseconds of one of `calls` calls."""
    synchronize(device)
    if wall or device.type != "cuda":
        start = time.perf_counter()
        for _ in range(calls):
            step()
        synchronize(device)
        return 1e3 * (time.perf_counter() - start) / calls
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        step()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / calls


def prepare(name: str, cell: Cell, truth: tuple[Tensor, Tensor]) -> dict:
    """Build an arm's step, call it, and judge it; "status" says why where that fails."""
    device, (_, make, more) = cell.x.device, arms_of(cell)[name]
    on_gpu, start = device.type == "cuda", time.perf_counter()
    held = torch.cuda.memory_allocated(device) if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        step = make(cell, **more)
        result = step()
        synchronize(device)
        first = 1e3 * (time.perf_counter() - start)
        value_error, grad_error = errors(result, truth, cell.quantity)
        calls = max(1, min(100, round(ROUND_MS / max(time_calls(step, 1, device, wall=True), 1e-3))))
    except NotInstalled as error:
        return {"status": f"not installed: {error}"}
    except Exception as error:  # a peer may fail in its own way; the others go on
        return {"status": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
    peak = (torch.cuda.max_memory_allocated(device) - held) // 2**20 if on_gpu and name not in WALL else ""
    told = {"status": "ok", "step": step, "calls": calls, "first_ms": rounded(first), "peak_mib": peak}
    return told | {"value_error": rounded(value_error, 2), "grad_error": rounded(grad_error, 2)}


def measure(cell: Cell, names: tuple[str, ...], rounds: int, deadline: float) -> list[dict]:
    """Rows of one cell: prepare every arm, then interleave."""
    names = tuple(name for name in names if name in arms_of(cell))
    if any(arms_of(cell)[name][0] != "ours" for name in names):
        _ = cell.peers  # made before an arm's memory is counted
    truth, device = exact(cell), cell.x.device
    told = {name: prepare(name, cell, truth) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names if "step" in told[name]}
    for k in range(rounds):
        for name, found in times.items():
            if k < 3 or time.monotonic() < deadline:
                found.append(time_calls(told[name]["step"], told[name]["calls"], device, name in WALL))
    sizes = {"quantity": cell.quantity, "b": len(cell.x), "n": cell.n, "lam": cell.lam}
    return [sizes | row(name, told[name], times, cell.source) for name in names]


def row(name: str, told: dict, times: dict[str, list[float]], source: str) -> dict:
    """One arm's row of the table."""
    result = {"arm": name, "kind": (ARMS | HARD_ARMS)[name][0]}
    result |= {"status": told["status"], "rounds": len(times.get(name, ()))}
    result |= dict.fromkeys(("calls", *NUMBERS, "value_error", "grad_error", "peak_mib"), "")
    if name in times:
        low, median, high = np.percentile(times[name], [25, 50, 75])
        ratios = [mine / ours for mine, ours in zip(times[name], times.get(OURS, ()), strict=False)]
        ratio = np.percentile(ratios, [50, 25, 75]) if ratios else [None] * 3
        numbers = dict(zip(NUMBERS[1:], map(rounded, (median, low, high, *ratio)), strict=True))
        result |= {key: value for key, value in told.items() if key != "step"} | numbers
    return result | {"source": source}


def cells(options: argparse.Namespace) -> Iterator[tuple[tuple, tuple[str, ...]]]:
    """Sizes of the cells, in order, each with its arms."""
    wanted = tuple(options.arms)
    for quantity in ("psi", "x"):
        yield from (((quantity, b, options.n, lam), wanted) for b in options.b for lam in options.lam)
    if options.many:
        yield from (((quantity, options.b[0], options.many, options.lam[0]), FEW) for quantity in ("psi", "x"))


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=8, help="no cell is begun later than this")
    parser.add_argument("--b", type=int, nargs="+", default=[200, 1024])
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--lam", type=float, nargs="+", default=[0.01, 0.1, 0.0])
    parser.add_argument("--many", type=int, default=10_000_000, help="atoms of two more cells, of this library alone")
    parser.add_argument("--arms", nargs="+", choices=EVERY, default=EVERY, help="these alone")
    parser.add_argument("--interpret-smoke", action="store_true", help="tiny sizes, on a CPU")
    found = parser.parse_args(given)
    if found.interpret_smoke:
        found.b, found.n, found.lam, found.many, found.rounds, found.arms = [3], 40, [0.1, 0.0], 70, 1, SMOKE
    return found


def measured(options: argparse.Namespace, device: str, deadline: float) -> Iterator[tuple[str, list[dict]]]:
    """Yield each cell in words with its rows; with none, and the reason, where it was left out."""
    for sizes, names in cells(options):
        text = "{}: b = {}, n = {}, lam = {}".format(*sizes)
        if time.monotonic() > deadline:
            yield f"{text}: skipped, no time left", []
            continue
        try:
            yield text, measure(make_cell(options, device, *sizes), names, options.rounds, deadline)
        except torch.cuda.OutOfMemoryError as error:
            yield f"{text}: {str(error).splitlines()[0]}", []


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    options = arguments(given)
    if not options.interpret_smoke and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: this benchmark needs an NVIDIA GPU (--interpret-smoke tries its logic)")
    device, start = "cpu" if options.interpret_smoke else "cuda", time.monotonic()
    rows, skipped = [], []
    for text, found in measured(options, device, start + 60 * options.minutes):
        rows += found
        skipped += [] if found else [text]
        print(f"{text}, {time.monotonic() - start:.0f} s so far", flush=True)
        line = "  {arm:27} {status:>4.70} {median_ms:>9} ms {ratio:>7} x  {value_error} {grad_error}  {peak_mib} MiB"
        print("\n".join(line.format(**entry) for entry in found), flush=True)
    write_table(options.output, rows, torch.get_num_threads(), skipped)
    if device == "cuda":
        seen = torch.cuda.get_device_properties(0)
        about = f"{seen.name}, {seen.multi_processor_count} processors, CUDA {torch.version.cuda}\n"
        Path(options.output).with_suffix(".device.txt").write_text(about, encoding="utf-8")


if __name__ == "__main__":
    main()
