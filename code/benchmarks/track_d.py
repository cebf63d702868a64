"""Track D: wall time of training to a held-out value, by the authors' schedules, by ours, and by ours less a lever.

python code/benchmarks/track_d.py --output results/benchmark/track_d.csv [--data results/data/train.npz] [--smoke] ...

Same network, seed, data and kernels. Held-out value: OT_c^lam between the images of fixed latents and the data, solved
to a relative certificate of 1e-3 (race.py); the clock stands meanwhile. A schedule of the authors' trains for its
budget; its target is the lowest value it was seen at, its time the time of that look. `schedule_factor` is that time
over this library's time to the same value. `kernel_factor` is the time of one outer step of that schedule with torch's
autograd over the same with this library's kernel, single steps in interleaved rounds (median; q25 and q75 of the ratio
per round). `product` is what both give together.
Columns: schedule, inner_steps, batch_size, lr_theta, lam, n, status, budget, target, seconds_theirs, outer_theirs,
seconds_ours, outer_ours, schedule_factor, psi_ms, theta_ms, psi_ms_autograd, theta_ms_autograd, kernel_factor,
kernel_q25, kernel_q75, product. Beside the table: <output>_curves.csv (schedule, seconds, outer, value).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from problems import Problem, make_problem, rounded, write_table
from race import Pool, optimum
from training_arms import SCHEDULES
from worker import Worker

OURS = "otgrad"
TIMEOUT = 180
VALUE_SECONDS, VALUE_CERTIFICATE = 10, 1e-3
COLUMNS = ("psi_ms", "theta_ms", "psi_ms_autograd", "theta_ms_autograd", "kernel_factor", "kernel_q25", "kernel_q75")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=6, help="no run is begun later than this")
    parser.add_argument("--budget", type=float, default=45, help="seconds of training of the authors' schedules")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--lam", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=1000, help="latents of the held-out value")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=list(SCHEDULES), help="otgrad's last")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    found = parser.parse_args(given)
    if found.smoke:
        found.budget, found.n, found.held_out, found.rounds = 0.5, 600, 100, 2
    return found


def train(worker: Worker, schedule: str, problem: Problem, options, saved: str, aim: float) -> tuple[list, str]:
    """Train by one schedule for the budget, or until the value `aim`; looks [(seconds, outer, value)], status."""
    images, psi = str(Path(saved, "images.npy")), None
    message = {"call": "train", "do": "train", "folder": saved, "lam": options.lam, "seed": options.seed}
    message |= {"schedule": schedule, "images": images, "held_out": options.held_out}
    told, looks = worker.ask(message, TIMEOUT), []
    if "started" in told:
        told = worker.hear(TIMEOUT)
    while "seconds" in told:
        pool = Pool(Problem(np.load(images), problem.y, problem.source), options.lam)
        psi = optimum(pool, VALUE_SECONDS, VALUE_CERTIFICATE, psi)
        looks.append((told["seconds"], told["steps"], pool.value(psi.numpy())))
        if told["seconds"] >= options.budget or looks[-1][2] <= aim:
            worker.tell({"go": False})
            break
        told = worker.ask({"go": True}, TIMEOUT)
    return looks, told.get("error", "ok")


def kernel_times(kernels: dict[str, Worker], schedule: str, saved: str, options) -> dict[str, object]:
    """Times of single steps by both kernels in interleaved rounds, and the factor between outer steps."""
    message = {"call": "train", "do": "prepare", "folder": saved, "lam": options.lam, "seed": options.seed}
    told = [
        worker.ask(message | {"schedule": schedule, "kernel": kernel}, TIMEOUT) for kernel, worker in kernels.items()
    ]
    times: dict[str, list[np.ndarray]] = {kernel: [] for kernel in kernels}
    for _ in range(options.rounds if all("ready" in one for one in told) else 0):
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


def row(name: str, runs: dict[str, tuple[list, str]], options: argparse.Namespace, kernel: dict) -> dict[str, object]:
    """One schedule beside this library's."""
    schedule, (looks, status) = SCHEDULES[name], runs[name]
    result = {"schedule": name, "inner_steps": schedule.inner_steps, "batch_size": schedule.batch_size}
    result |= {"lr_theta": schedule.lr_theta, "lam": options.lam, "n": options.n, "status": status}
    seconds, outer, target = min(looks, key=lambda look: look[2]) if looks else (None, "", None)
    reached = [look for look in runs.get(OURS, ([], ""))[0] if target is not None and look[2] <= target]
    ours = reached[0] if reached else (None, "", None)
    factor = seconds / ours[0] if reached else None
    result |= {"budget": options.budget, "target": rounded(target, 6), "seconds_theirs": rounded(seconds)}
    result |= {"outer_theirs": outer, "seconds_ours": rounded(ours[0]), "outer_ours": ours[1]}
    result |= {"schedule_factor": rounded(factor)} | kernel
    known = factor is not None and kernel["kernel_factor"] != ""
    return result | {"product": rounded(factor * kernel["kernel_factor"]) if known else ""}


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    options = arguments(given)
    torch.set_num_threads(options.threads)
    start, skipped = time.monotonic(), []
    problem, runs = make_problem(options.data, 1, options.n), {}
    kernels = {"own": Worker(options.threads), "autograd": Worker(options.threads)}
    with tempfile.TemporaryDirectory() as folder:
        saved, rows, curves = problem.save(Path(folder)), [], []
        for name in options.schedules:
            aim = min((look[2] for looks, _ in runs.values() for look in looks), default=-np.inf)
            if time.monotonic() - start > 60 * options.minutes:
                runs[name] = [], "no time left"
                skipped.append(f"training by {name}")
                continue
            runs[name] = train(kernels["own"], name, problem, options, saved, aim if name == OURS else -np.inf)
            curves += [
                {"schedule": name, "seconds": rounded(seconds), "outer": outer, "value": rounded(value, 6)}
                for seconds, outer, value in runs[name][0]
            ]
            print(f"{name}: {runs[name][1]}, {curves[-1] if curves else ''}", flush=True)
        for name in options.schedules:
            rows.append(row(name, runs, options, kernel_times(kernels, name, saved, options)))
            print("  " + ", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    for worker in kernels.values():
        worker.close()
    write_table(options.output, rows, options.threads, skipped)
    write_table(str(Path(options.output).with_suffix("")) + "_curves.csv", curves, options.threads, skipped)


if __name__ == "__main__":
    main()
