"""Tracks B and C: seconds to a relative gap of 1e-2, 3e-3 and 1e-3, on a fixed source (a pool) and its atoms.

python code/benchmarks/track_b.py --output results/benchmark/track_b.csv [--data results/data/train.npz] [--smoke] ...
python code/benchmarks/track_b.py --track c --output results/benchmark/track_c.csv ...

Track B: 30,000 points, 10,000 atoms, every solver. Track C: fewer points than atoms, the solvers that see the pool
(2,048 x 20,000; also `--pool 8192 --n 60000 --cap 20`, which takes 12 GiB).
Each run in a process of its own; the clock stands while the gap is taken (race.py) on the whole pool. A solver has
`--cap` seconds. All arms run one after another, then those that reached a gap again, round by round. Tuning: every
value of the arm's grid for a quarter of the cap; what was found is kept in `--tuned` and read from there (`--retune`
makes it anew). Time to compile and to build is not counted; forming costs is.
Columns: pool, n, lam, arm, kind, status, parameter, meaning (of the parameter), trials (values tried), rounds (with a
potential); for each gap seconds_GAP (median), seconds_GAP_q25, seconds_GAP_q75, steps_GAP ("" not reached); best_gap,
seconds_run, peak_mib (of the run of median time), optimum (upper end), certificate (its relative width).
Beside the table: <output>_curves.csv (lam, arm, kind, seconds, steps, gap) of that run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from problems import Problem, make_problem, rounded, write_table
from race import GAPS, Entrant, Pool, Race, Run, entry, tuned
from solver_arms import ARMS

SIZES = {"b": (30_000, 10_000), "c": (2048, 20_000)}
LAMS = {"b": [0.1, 0.02, 0.005], "c": [0.1, 0.02]}
SMOKE = ["otgrad estimator", "SGD n lam / sqrt(k)", "POT, tuned", "OTT-JAX, tuned", "torch Sinkhorn"]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--track", choices=SIZES, default="b")
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--checkpoint", help="samples.npz of an image run: the pool in place of blurred images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--minutes", type=float, default=10, help="shared by the lam, without their optima; no run is begun later"
    )
    parser.add_argument("--cap", type=float, default=8, help="seconds of a solver")
    parser.add_argument("--rounds", type=int, default=3, help="of all arms that reach the largest gap in the first")
    parser.add_argument("--optimum-seconds", type=float, default=120, help="at most, for each lam; kept once found")
    parser.add_argument("--pool", type=int)
    parser.add_argument("--n", type=int)
    parser.add_argument("--lam", type=float, nargs="+")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="these alone")
    parser.add_argument("--tuned", default=str(Path(__file__).with_name("tuned.json")))
    parser.add_argument("--retune", action="store_true")
    parser.add_argument("--cache", default="results/benchmark/cache")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    found = parser.parse_args(given)
    found.pool, found.n = found.pool or SIZES[found.track][0], found.n or SIZES[found.track][1]
    found.lam = found.lam or LAMS[found.track]
    if found.smoke:
        found.pool, found.n, found.lam, found.cap, found.optimum_seconds = 400, 300, [0.1], 1, 10
        found.arms, found.tuned = found.arms or SMOKE, str(Path(found.cache, "tuned.json"))
    found.arms = found.arms or [name for name, arm in ARMS.items() if found.track == "b" or not arm.stochastic]
    return found


def compete(race: Race, options: argparse.Namespace, deadline: float, hopeless: dict[str, str]) -> tuple[list, ...]:
    """Run all arms at one lam, in rounds: rows, curves, and which were skipped."""
    entrants, skipped = first_round(race, options, deadline, hopeless)
    for _ in range(1, options.rounds):
        for entrant in entrants:
            if entrant.runs[0].seconds_to(max(GAPS)) and time.monotonic() <= deadline:
                entrant.runs.append(race.run(entrant.name, entrant.parameter, options.cap))
    rows, curves = [], []
    for entrant in entrants:
        row = entry(race, entrant)
        look = {"lam": race.pool.lam, "arm": entrant.name, "kind": ARMS[entrant.name].kind}
        for seconds, steps, gap in entrant.middle.looks:
            curves.append(look | {"seconds": rounded(seconds), "steps": steps, "gap": rounded(gap)})
        reached = "  ".join(f"{row[f'seconds_{gap:g}']!s:>7}" for gap in GAPS)
        print(f"  {entrant.name:32} {reached}   {row['rounds']} rounds, best gap {row['best_gap']}", flush=True)
        rows.append(row)
    return rows, curves, skipped


def first_round(race: Race, options: argparse.Namespace, deadline: float, hopeless: dict[str, str]) -> tuple[list, ...]:
    """Tune and run all arms once: them, and which were skipped.

    An arm without a grid that reached no gap is `hopeless` at the smaller lam that follow, which are harder.
    """
    entrants, skipped = [], []
    for name in options.arms:
        reason = "no time left" if time.monotonic() > deadline else hopeless.get(name)
        if reason:
            skipped.append(f"{name}, lam = {race.pool.lam:g}: {reason}")
            entrants.append(Entrant(name, None, 0, [Run([], f"skipped: {reason}")]))
            print(f"  {name:32} skipped: {reason}", flush=True)
            continue
        parameter, trials = ARMS[name].parameter, 0
        if ARMS[name].grid:
            choice = tuned(race, name, options.cap, Path(options.tuned), options.retune)
            parameter, trials = choice["parameter"], len(choice["trials"])
        found = race.run(name, parameter, options.cap)
        entrants.append(Entrant(name, parameter, trials, [found]))
        if not ARMS[name].grid and not found.seconds_to(max(GAPS)) and ARMS[name].kind == "peer":
            hopeless.setdefault(name, f"no gap reached at lam = {race.pool.lam:g}")
        print(f"  {name:32} first round: best gap {found.last_gap:.3g}  {found.status:.80}", flush=True)
    return entrants, skipped


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    options = arguments(given)
    torch.set_num_threads(options.threads)
    rows, curves, skipped, hopeless = [], [], [], {}
    problem: Problem = make_problem(options.data, options.pool, options.n, options.checkpoint)
    curves_file = str(Path(options.output).with_suffix("")) + "_curves.csv"
    with tempfile.TemporaryDirectory() as folder:
        saved = problem.save(Path(folder))
        costs = Pool(problem, options.lam[0])
        for lam in sorted(options.lam, reverse=True):
            pool = costs.at(lam)
            pool.certify(Path(options.cache), options.optimum_seconds)
            deadline = time.monotonic() + 60 * options.minutes / len(options.lam)
            print(f"lam = {lam}: optimum {pool.upper:.7g}, certified to {pool.certificate:.1e}", flush=True)
            race = Race(pool, saved, options.threads)
            more = compete(race, options, deadline, hopeless)
            race.close()
            for all_of, some in zip((rows, curves, skipped), more, strict=True):
                all_of += some
            write_table(options.output, rows, options.threads, skipped)
            write_table(curves_file, curves, options.threads, skipped)


if __name__ == "__main__":
    main()
