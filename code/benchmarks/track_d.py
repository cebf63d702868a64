"""Track D: wall time of training to a held-out value, by the authors' schedules, by ours, and by ours less a lever.

python code/benchmarks/track_d.py --output results/benchmark/track_d.csv [--data results/data/train.npz] [--smoke] ...

Same network, seed, data and kernels. Held-out value: OT_c^lam between the images of fixed latents and the data, solved
to a relative certificate of 1e-3 (race.py); the clock stands meanwhile. A schedule of the authors' trains for its
budget; its target is the lowest value it was seen at, its time the time of that look. `schedule_factor` is that time
over this library's time to the same value, `budget_factor` the time of its last look over the same: what a reader of
its log, who does not know when the lowest value comes, has spent. Both are medians of the rounds, each of them all
schedules one after another from a seed of its own, with quartiles; target and times are those of the round of median
`schedule_factor`. Ours less a lever runs in the first round alone. `kernel_factor` is the time of one outer step of
that schedule with torch's autograd over the same with this library's kernel, single steps in interleaved rounds
(median; q25 and q75 of the ratio per round). `product` is what kernel and `schedule_factor` give together.
Columns: schedule, inner_steps, batch_size, lr_theta, lam, n, status, budget, rounds, seed (of the median round),
target, seconds_theirs, outer_theirs, seconds_ours, outer_ours, schedule_factor ("" where ours did not come to the
target), schedule_q25, schedule_q75, budget_factor, budget_q25, budget_q75, psi_ms, theta_ms, psi_ms_autograd,
theta_ms_autograd, kernel_factor, kernel_q25, kernel_q75, product.
Beside the table: <output>_curves.csv (schedule, seed, seconds, outer, value).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from problems import Problem, make_problem, rounded, write_table
from race import Pool, optimum
from training_arms import SCHEDULES
from worker import Worker

OURS = "otgrad"
MAIN = ("authors 2021", "sequel", OURS)  # these run in every round
TIMEOUT = 180
VALUE_SECONDS, VALUE_CERTIFICATE = 10, 1e-3
COMPARED = ("seed", "target", "seconds_theirs", "outer_theirs", "seconds_ours", "outer_ours")
COLUMNS = ("psi_ms", "theta_ms", "psi_ms_autograd", "theta_ms_autograd", "kernel_factor", "kernel_q25", "kernel_q75")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=12, help="no run is begun later than this")
    parser.add_argument("--budget", type=float, default=45, help="seconds of training of the authors' schedules")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--lam", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=1000, help="latents of the held-out value")
    parser.add_argument("--rounds", type=int, default=3, help="of training, each from a seed of its own")
    parser.add_argument("--kernel-rounds", type=int, default=7)
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=list(SCHEDULES), help="otgrad's last")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    found = parser.parse_args(given)
    if found.smoke:
        found.budget, found.n, found.held_out, found.rounds, found.kernel_rounds = 0.5, 600, 100, 2, 2
    return found


@dataclass
class Trained:
    """One training's looks [(seconds, outer, value)], and how it ended."""

    seed: int
    looks: list[tuple[float, int, float]]
    status: str

    @property
    def best(self) -> tuple[float, int, float]:
        """The look at the lowest value, of one or more."""
        return min(self.looks, key=lambda look: look[2])


def train_rounds(worker: Worker, problem: Problem, options, saved: str) -> list[dict[str, Trained]]:
    """Train by all schedules in the first round, by the main ones in those that follow; ours only to the best value."""
    deadline, rounds = time.monotonic() + 60 * options.minutes, []
    for k in range(options.rounds):
        runs: dict[str, Trained] = {}
        rounds.append(runs)
        for name in options.schedules:
            if k > 0 and name not in MAIN:
                continue
            runs[name] = Trained(options.seed + k, [], "no time left")
            if time.monotonic() < deadline:
                reached = [one.best[2] for one in runs.values() if one.looks] if name == OURS else []
                train(worker, name, problem, options, saved, runs[name], min(reached, default=-np.inf))
            print(f"{name}, seed {options.seed + k}: {runs[name].status}, {len(runs[name].looks)} looks", flush=True)
    return rounds


def train(worker: Worker, schedule: str, problem: Problem, options, saved: str, run: Trained, aim: float) -> None:
    """Train by one schedule for the budget, or until the value `aim`."""
    images, psi = str(Path(saved, "images.npy")), None
    message = {"call": "train", "do": "train", "folder": saved, "lam": options.lam, "seed": run.seed}
    message |= {"schedule": schedule, "images": images, "held_out": options.held_out}
    told = worker.ask(message, TIMEOUT)
    if "started" in told:
        told = worker.hear(TIMEOUT)
    while "seconds" in told:
        pool = Pool(Problem(np.load(images), problem.y, problem.source), options.lam)
        psi = optimum(pool, VALUE_SECONDS, VALUE_CERTIFICATE, psi)
        run.looks.append((told["seconds"], told["steps"], pool.value(psi.numpy())))
        if told["seconds"] >= options.budget or run.looks[-1][2] <= aim:
            worker.tell({"go": False})
            break
        told = worker.ask({"go": True}, TIMEOUT)
    run.status = told.get("error", "ok")


def kernel_times(kernels: dict[str, Worker], schedule: str, saved: str, options) -> dict[str, object]:
    """Times of single steps by both kernels in interleaved rounds, and the factor between outer steps."""
    message = {"call": "train", "do": "prepare", "folder": saved, "lam": options.lam, "seed": options.seed}
    told = [
        worker.ask(message | {"schedule": schedule, "kernel": kernel}, TIMEOUT) for kernel, worker in kernels.items()
    ]
    times: dict[str, list[np.ndarray]] = {kernel: [] for kernel in kernels}
    for _ in range(options.kernel_rounds if all("ready" in one for one in told) else 0):
        for kernel, worker in kernels.items():
            found = worker.ask({"call": "train", "do": "go"}, TIMEOUT)
            times[kernel].append(np.array([found["psi_ms"], found["theta_ms"]]))
            time.sleep(0.01)
    if not times["own"]:
        return dict.fromkeys(COLUMNS, "")
    weights = np.array([SCHEDULES[schedule].inner_steps, 1])
    ratio = [slow @ weights / (fast @ weights) for fast, slow in zip(times["own"], times["autograd"], strict=True)]
    medians = [np.median(times[kernel], axis=0)[k] for kernel in kernels for k in range(2)]
    return dict(zip(COLUMNS, [rounded(float(v)) for v in (*medians, *np.percentile(ratio, [50, 25, 75]))], strict=True))


def compare(theirs: Trained, ours: Trained | None) -> tuple[float, float, dict[str, object]]:
    """One round of a schedule beside this library's: both factors, 0 where ours did not come to their best value."""
    seconds, outer, target = theirs.best
    first, steps, _ = next((look for look in (ours.looks if ours else []) if look[2] <= target), (np.inf, "", None))
    result = {"seed": theirs.seed, "target": rounded(target, 6), "seconds_theirs": rounded(seconds)}
    result |= {"outer_theirs": outer, "seconds_ours": rounded(first if steps else None), "outer_ours": steps}
    return seconds / first, theirs.looks[-1][0] / first, result


def spread(name: str, factors: Sequence[float]) -> dict[str, object]:
    """Median (of an even number the smaller) and quartiles, each a round's; "" for a factor of 0."""
    low, median, high = np.quantile(factors, [0.25, 0.5, 0.75], method="inverted_cdf").tolist()
    shown = {f"{name}_factor": median, f"{name}_q25": low, f"{name}_q75": high}
    return {column: rounded(value or None) for column, value in shown.items()}


def row(name: str, rounds: list[dict[str, Trained]], options: argparse.Namespace, kernel: dict) -> dict[str, object]:
    """One schedule beside this library's."""
    schedule, tried = SCHEDULES[name], [runs for runs in rounds if name in runs]
    result = {"schedule": name, "inner_steps": schedule.inner_steps, "batch_size": schedule.batch_size}
    result |= {"lr_theta": schedule.lr_theta, "lam": options.lam, "n": options.n, "status": tried[0][name].status}
    result |= {"budget": options.budget}
    found = [compare(runs[name], runs.get(OURS)) for runs in tried if runs[name].looks]
    nothing = (0.0, 0.0, dict.fromkeys(COMPARED, ""))
    by_look, by_budget, told = zip(*sorted(found or [nothing], key=lambda one: one[0]), strict=True)
    middle = (len(told) - 1) // 2
    result |= {"rounds": len(found)} | told[middle]
    result |= spread("schedule", by_look) | spread("budget", by_budget) | kernel
    known = by_look[middle] > 0 and kernel["kernel_factor"] != ""
    return result | {"product": rounded(by_look[middle] * kernel["kernel_factor"]) if known else ""}


def curves(rounds: list[dict[str, Trained]]) -> list[dict[str, object]]:
    """Every look of every round."""
    return [
        {"schedule": name, "seed": run.seed, "seconds": rounded(seconds), "outer": outer, "value": rounded(value, 6)}
        for runs in rounds
        for name, run in runs.items()
        for seconds, outer, value in run.looks
    ]


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    options = arguments(given)
    torch.set_num_threads(options.threads)
    problem = make_problem(options.data, 1, options.n)
    kernels = {"own": Worker(options.threads), "autograd": Worker(options.threads)}
    with tempfile.TemporaryDirectory() as folder:
        saved = problem.save(Path(folder))
        rounds = train_rounds(kernels["own"], problem, options, saved)
        rows = [row(name, rounds, options, kernel_times(kernels, name, saved, options)) for name in options.schedules]
    for worker in kernels.values():
        worker.close()
    late = [f"training by {name}, seed {run.seed}" for runs in rounds for name, run in runs.items() if not run.looks]
    write_table(options.output, rows, options.threads, late)
    write_table(str(Path(options.output).with_suffix("")) + "_curves.csv", curves(rounds), options.threads, late)


if __name__ == "__main__":
    main()
