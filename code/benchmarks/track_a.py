"""Track A: time, error and memory of one psi-step (value and psi-gradient) and one x-gradient, beside every peer.

python code/benchmarks/track_a.py --output results/benchmark/track_a.csv [--data results/data/train.npz] [--smoke] ...

Each arm in a process of its own, all on the same cores; rounds interleaved over the arms; median and quartiles. An arm
slower than SLOW times the fastest peer gets SLOW_ROUNDS rounds. psi is that of a few steps of ascent.
Columns: quantity (psi, x), b, n, lam, arm, kind (ours, peer, floor), status ("ok", or why there is no number), rounds,
first_ms (with all preparation and compilation), median_ms, q25_ms, q75_ms; ratio, ratio_q25, ratio_q75 (this arm's time
divided by otgrad's of the same round: a lead only where ratio_q25 > 1); value_error (max |v - V| / max |V| against
float64, of the mean where an arm gives only that), grad_error (L1; for x relative to the gradient's L1), peak_mib
(resident, with the data and the libraries), source (of the data).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from kernel_arms import ARMS
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step
from problems import Problem, make_problem, rounded, write_table
from worker import Worker

SLOW, SLOW_ROUNDS = 4.0, 3
SMOKE = ["otgrad", "otgrad reference", "numpy", "torch explicit", "POT", "OTT-JAX", "sgemm, numpy"]
PAUSE = 0.01  # seconds between two arms: threads that spin after their work would take the next one's cores
PREPARE_TIMEOUT, STEP_TIMEOUT = 240, 120


def exact(problem: Problem, psi: np.ndarray, lam: float, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradient in float64, by rows, and by blocks of atoms, so that a million of them fit."""
    x, bias = torch.from_numpy(problem.x).double(), torch.from_numpy(psi).double()
    blocks = [slice(k, k + 20_000) for k in range(0, problem.n, 20_000)]
    values, gradients, marginal = [], [], torch.zeros(problem.n, dtype=torch.float64)
    for rows in x.split(max(1, 2**26 // problem.n)):
        scores = torch.empty(len(rows), problem.n, dtype=torch.float64)
        for block in blocks:
            y = torch.from_numpy(problem.y[block]).double() / 255
            scores[:, block] = 2 * rows @ y.T - y.square().sum(1) - rows.square().sum(1)[:, None]
        scores.div_(problem.scale).add_(bias).div_(lam)
        log_z = scores.logsumexp(1, keepdim=True)
        values.append(-lam * (log_z[:, 0] - np.log(problem.n)))
        pi = scores.sub_(log_z).exp_()
        if quantity == "x":
            means = sum(pi[:, block] @ torch.from_numpy(problem.y[block]).double() for block in blocks)
            gradients.append(2 / problem.scale * (rows - means / 255))
        else:
            marginal += pi.sum(0) / len(x)
    gradient = torch.cat(gradients) if quantity == "x" else 1 / problem.n - marginal
    return torch.cat(values).numpy(), gradient.numpy()


def warm_psi(problem: Problem, lam: float, steps: int = 3) -> np.ndarray:
    """A potential such as a solver meets: a few steps of ascent; for very many atoms, noise of size lam."""
    if problem.n > 100_000:
        return (lam * np.random.default_rng(0).standard_normal(problem.n)).astype(np.float32)
    target = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y), unit=1 / 255)
    state, points = AsgdState.zeros(target), torch.from_numpy(problem.x[:64])
    for _ in range(steps):
        asgd_step(points, SemiDual(target, lam, Cost(scale=problem.scale)), state=state, rule=StepRule())
    return target.center(state.average).numpy()


def errors(result: Path, truth: tuple[np.ndarray, np.ndarray], quantity: str) -> tuple[float | None, float | None]:
    """Errors of an arm's values and gradient; None where the arm gives none."""
    found, (values, gradient) = np.load(result), truth
    if found["gradient"].shape != gradient.shape:
        return None, None
    aim = values if found["values"].ndim else values.mean()
    value_error = float(np.abs(found["values"] - aim).max() / np.abs(aim).max())
    total = np.abs(gradient).sum() if quantity == "x" else 1.0
    return None if np.isnan(value_error) else value_error, float(np.abs(found["gradient"] - gradient).sum() / total)


class Arms:
    """One process per arm, kept over all cells; one that was ended is started again."""

    def __init__(self, names: Iterable[str], threads: int) -> None:
        """Start no process yet."""
        self.names, self.threads, self.workers, self.rates = list(names), threads, {}, {}

    def ask(self, name: str, message: dict, timeout: float) -> dict:
        """Ask one arm."""
        if name not in self.workers:
            self.workers[name] = Worker(self.threads, **ARMS[name][3])
        answer = self.workers[name].ask({"call": "kernel"} | message, timeout)
        if not self.workers[name].alive:
            del self.workers[name]
        return answer

    def prepare(self, name: str, message: dict, size: int, longest: float) -> dict:
        """Have an arm prepare a cell of b x n = size, unless its speed so far says that a step takes too long."""
        seconds = self.rates.get(name, 0) * size / 1e3 if ARMS[name][0] == "peer" else 0
        if seconds > longest:
            return {"error": f"skipped: about {seconds:.0f} s a step"}
        answer = self.ask(name, message | {"do": "prepare", "arm": name}, PREPARE_TIMEOUT)
        if "ms" in answer:
            self.rates[name] = min(answer["ms"] / size, self.rates.get(name, np.inf))  # small cells overstate it
        return answer

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def measure(arms: Arms, problem: Problem, cell: dict, options, folder: Path, deadline: float) -> list[dict]:
    """Rows of one cell: prepare every arm, then interleave."""
    psi = warm_psi(problem, cell["lam"])
    np.save(folder / "psi.npy", psi)
    truth = exact(problem, psi, cell["lam"], cell["quantity"])
    saved, prepared, times, peaks = problem.save(folder / "problem"), {}, {}, {}
    shared = {"folder": saved, "psi": str(folder / "psi.npy"), "lam": cell["lam"], "quantity": cell["quantity"]}
    for name in arms.names:
        given = {"result": str(folder / f"{len(prepared)}.npz")}
        size = cell["b"] * cell["n"]
        prepared[name] = arms.prepare(name, shared | given, size, options.longest) | given
    ready = {name: told["ms"] for name, told in prepared.items() if "ms" in told}
    fastest = min((ms for name, ms in ready.items() if ARMS[name][0] == "peer"), default=min(ready.values(), default=0))
    for k in range(options.rounds):
        for name, ms in list(ready.items()):
            if (k >= SLOW_ROUNDS and ms > SLOW * fastest) or (times.get(name) and time.monotonic() > deadline):
                continue
            told = arms.ask(name, {"do": "go"}, STEP_TIMEOUT)
            if "ms" not in told:
                prepared[name], _ = told | {"result": prepared[name]["result"]}, ready.pop(name)
                continue
            times.setdefault(name, []).append(told["ms"])
            peaks[name] = told["peak_mib"]
            time.sleep(PAUSE)
    return [row(name, prepared[name], times, peaks, truth, cell, problem.source) for name in arms.names]


def row(name: str, told: dict, times: dict, peaks: dict, truth: tuple, cell: dict, source: str) -> dict:
    """One arm's row of the table."""
    result = cell | {"arm": name, "kind": ARMS[name][0]}
    numbers = ("median_ms", "q25_ms", "q75_ms", "ratio", "ratio_q25", "ratio_q75")
    if name not in times or "error" in told or "missing" in told:
        status = f"not installed: {told['missing']}" if "missing" in told else told.get("error", "no time left")
        blank = dict.fromkeys(("rounds", "first_ms", *numbers, "value_error", "grad_error", "peak_mib"), "")
        return result | {"status": status} | blank | {"source": source}
    low, median, high = np.percentile(times[name], [25, 50, 75])
    ours = times.get("otgrad", [])
    ratios = [mine / other for mine, other in zip(times[name], ours, strict=False)]
    ratio = [float(value) for value in np.percentile(ratios, [50, 25, 75])] if ratios else [None] * 3
    found = [rounded(value) for value in (median, low, high, *ratio)]
    wrong = errors(Path(told["result"]), truth, cell["quantity"])
    result |= {"status": "ok", "rounds": len(times[name]), "first_ms": rounded(told["first_ms"])}
    result |= dict(zip(numbers, found, strict=True))
    result |= {"value_error": rounded(wrong[0], 2), "grad_error": rounded(wrong[1], 2), "peak_mib": peaks[name]}
    return result | {"source": source}


def cells(given: argparse.Namespace) -> list[tuple[dict, tuple[str, ...]]]:
    """What is measured, each cell with its arms: those with few points, growth in b and n, and those that take long."""
    b, lam = given.b[0], given.lam[0]
    grid = [{"quantity": "psi", "b": b, "n": n, "lam": lam} for b in given.b for n in given.n for lam in given.lam]
    slopes = [{"quantity": "x", "b": b, "n": n, "lam": lam} for n in given.n]
    growth = [(b_more, given.n[0]) for b_more in given.b_more] + [(b, n_more) for n_more in given.n_more]
    more = [{"quantity": "psi", "b": b, "n": n, "lam": lam} for b, n in growth]
    wanted, few = tuple(given.arms or ARMS), len(given.n) * len(given.lam)
    first = [(cell, wanted) for cell in grid[:few] + slopes] + [(cell, ("otgrad",)) for cell in more]
    return first + [(cell, wanted) for cell in grid[few:]]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--checkpoint", help="samples.npz of an image run: points in place of blurred images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=10, help="no cell is begun later than this")
    parser.add_argument("--longest", type=float, default=5, help="seconds a step may take, by the cells before")
    parser.add_argument("--b", type=int, nargs="+", default=[200, 1024])
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 60_000])
    parser.add_argument("--lam", type=float, nargs="+", default=[0.01, 0.1])
    parser.add_argument("--b-more", type=int, nargs="*", default=[4096], help="otgrad alone, with the first n")
    parser.add_argument("--n-more", type=int, nargs="*", default=[250_000, 1_000_000], help="otgrad alone, first b")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="these alone")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    found = parser.parse_args(given)
    if found.smoke:
        found.b, found.n, found.lam, found.b_more, found.n_more = [8], [600], [0.1], [16], [1200]
        found.rounds, found.minutes, found.arms = 2, 1, found.arms or SMOKE
    return found


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    options = arguments(given)
    torch.set_num_threads(options.threads)
    start, rows, skipped = time.monotonic(), [], []
    deadline = start + 60 * options.minutes
    everyone = Arms(options.arms or ARMS, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for cell, names in cells(options):
            text = ", ".join(f"{key} = {value}" for key, value in cell.items())
            if time.monotonic() > deadline:
                skipped.append(text)
                print(f"{text}: skipped, no time left", flush=True)
                continue
            everyone.names = list(names)
            problem = make_problem(options.data, cell["b"], cell["n"], options.checkpoint)
            found = measure(everyone, problem, cell, options, Path(folder), deadline)
            rows += found
            write_table(options.output, rows, options.threads, skipped)
            print(f"{text}: {problem.source}, {time.monotonic() - start:.0f} s so far", flush=True)
            for entry in found:
                print(
                    "  {arm:25} {status:>4.60} {median_ms:>9} ms {ratio:>7} x  error {value_error} {grad_error}"
                    "  {peak_mib} MiB".format(**entry),
                    flush=True,
                )
    everyone.close()
    write_table(options.output, rows, options.threads, skipped)


if __name__ == "__main__":
    main()
