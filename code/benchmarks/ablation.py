"""What each lever of the fixed-source schedule gains: passes and seconds to a relative gap, one changed at a time.

python code/benchmarks/ablation.py [--pool 30000 --n 10000] [--lam 0.1 0.02 0.005] [--out ablation.csv]

Columns of the CSV: lever; lam; gap (relative to F*); passes over the pool and seconds of the solver until the first
look with at most that gap (empty: not within --passes), found by bisection, as if gaps only fell. Looks are taken at
fixed numbers of passes and cost the solver nothing. F* is the largest value at the end of an arm or of a run of
--reference passes, whose certificate is printed. Pool and atoms: problems.py.
"""

import argparse
import bisect
import csv
import itertools
import math
import sys
import time
from functools import cache

import torch

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.block_ascent import BlockRule
from otgrad.solvers.certified import solve_certified
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step
from problems import GAPS, make_problem

LOOKS = (0.02, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
BATCH = 200  # of the stochastic arms that are not ours
STEP_RULES = {
    "authors: constant step 5, no average": StepRule("plain", 5.0, 0.0, None),
    "step n lam / sqrt(k), polynomial average": StepRule("scaled"),
    "online Sinkhorn": StepRule("sinkhorn"),
    "step n lam / sqrt(k), lam decreasing": StepRule("scaled", anneal=0.13),
    "online Sinkhorn, lam decreasing": StepRule("sinkhorn", anneal=0.13),
}
SAGA = "online Sinkhorn, then SAGA"
BLOCK_RULES = {
    SAGA: BlockRule(),
    f"{SAGA}, without lam decreasing": BlockRule(anneal=0.0),
    f"{SAGA}, without its correction": BlockRule(saga=False),
    f"{SAGA}, without small batches at large lam": BlockRule(most_pieces=1),
    f"{SAGA}, without averaging": BlockRule(window=1e-3),
    f"{SAGA}, without joining blocks": BlockRule(agree=-1.0),
    f"{SAGA}, 15 blocks": BlockRule(blocks=15),
    f"{SAGA}, 60 blocks": BlockRule(blocks=60),
}


class Looks:
    """Snapshots (passes, seconds of the solver, psi) at the first step past each entry of LOOKS."""

    def __init__(self, most):
        """Start the clock."""
        self.most, self.taken, self.seconds, self.start = most, [], 0.0, time.perf_counter()

    def __call__(self, psi, passes):
        """Take a snapshot if one is due; the time of the copy does not count."""
        self.seconds += time.perf_counter() - self.start
        due = sum(look <= passes + 1e-9 for look in LOOKS)
        if due > sum(look <= (self.taken[-1][0] if self.taken else 0) + 1e-9 for look in LOOKS):
            self.taken.append((passes, self.seconds, psi.clone()))
        self.start = time.perf_counter()


def stochastic(rule):
    """Arm: steps of a StepRule on fresh batches of the pool."""

    def run(x, semidual, looks):
        state, rng, steps = AsgdState.zeros(semidual.law), torch.Generator().manual_seed(0), 0
        while steps * BATCH < looks.most * len(x):
            batch = x[torch.randint(len(x), (BATCH,), generator=rng)]
            asgd_step(batch, semidual, state=state, rule=rule)
            steps += 1
            looks(state.average, steps * BATCH / len(x))

    return run


def running_marginal(x, semidual, looks):
    """Arm: the step n lam / sqrt(k) preconditioned by the marginal so far, lam / p_j, with the same average."""
    nu, lam = semidual.law.nu, semidual.lam
    psi, average, marginal = torch.zeros_like(nu), torch.zeros_like(nu), nu.clone()
    rng = torch.Generator().manual_seed(0)
    for k in range(1, int(looks.most * len(x) / BATCH) + 1):
        grad = semidual.step(x[torch.randint(len(x), (BATCH,), generator=rng)], psi)[1]
        marginal.lerp_(nu - grad, 1 / (k + 1))
        psi += lam / math.sqrt(k) * grad / torch.maximum(marginal, 0.1 * nu)
        average.lerp_(psi, 4 / (3 + k))
        looks(average, k * BATCH / len(x))


def blocks(rule, tol=None):
    """Arm: the fixed-source solver's passes with one lever changed, without certificates and active set.

    With tol the solver as it is, to that certified gap; certificates count from their end on.
    """

    def run(x, semidual, looks):
        solve_certified(x, None, semidual, tol=tol, max_passes=looks.most, watch=looks, rule=rule)

    return run


def sinkhorn(x, semidual, looks):
    """Arm: full-pool Sinkhorn."""
    nu, psi = semidual.law.nu, torch.zeros_like(semidual.law.nu)
    for passes in range(1, int(looks.most) + 1):
        grad = semidual.step(x, psi)[1]
        psi = psi - semidual.lam * ((nu - grad) / nu).clamp(min=1e-30).log()
        looks(psi, passes)


def lbfgs(x, semidual, looks):
    """Arm: torch's L-BFGS on the full pool."""
    psi, n = torch.zeros_like(semidual.law.nu, requires_grad=True), semidual.law.n
    optimizer = torch.optim.LBFGS([psi], max_iter=10**6, max_eval=int(looks.most), line_search_fn="strong_wolfe")
    optimizer.param_groups[0].update(tolerance_grad=0, tolerance_change=0)
    looked = itertools.count(1)

    def closure():
        value, grad = semidual.value(x, psi.detach())
        psi.grad = -n * grad  # an inverse curvature of order lam
        looks(psi.detach(), next(looked))
        return -n * value

    optimizer.step(closure)


ARMS = {name: stochastic(rule) for name, rule in STEP_RULES.items()}
ARMS |= {"step lam / running marginal / sqrt(k), polynomial average": running_marginal}
ARMS |= {"Sinkhorn on the pool": sinkhorn, "L-BFGS on the pool": lbfgs}
ARMS |= {"online Sinkhorn, then active set": blocks(BlockRule(), 1e-3)}
ARMS |= {name: blocks(rule) for name, rule in BLOCK_RULES.items()}


def first_looks(curve, value, best):
    """For each of GAPS the first snapshot with at most that gap: (passes, seconds), or two empty strings."""
    for gap in GAPS:
        at = bisect.bisect_left(range(len(curve)), True, key=lambda i, gap=gap: best - value(i) <= gap * abs(best))
        yield gap, *((format(v, ".3g") for v in curve[at][:2]) if at < len(curve) else ("", ""))


def rows_of(names, x, semidual, arguments):
    """Run the arms and the reference; return rows lever, lam, gap, passes, seconds."""
    curves, lam = {}, semidual.lam
    for name in names:
        looks = Looks(arguments.passes)
        ARMS[name](x, semidual, looks)
        values = cache(lambda i, taken=looks.taken: float(semidual.value(x, taken[i][2])[0]))
        curves[name] = looks.taken, values
        print(f"lam = {lam}: {name}: {looks.seconds:.3g} s, F = {values(-1):.6f}", file=sys.stderr, flush=True)
    reference = solve_certified(x, None, semidual, tol=1e-4, max_passes=arguments.reference)
    best = max([reference.value, *(values(-1) for _, values in curves.values())])
    bound = reference.relative_gap + (reference.value - best) / abs(best)
    print(f"lam = {lam}: F* = {best:.6f}, certified to {bound:.1e}", file=sys.stderr, flush=True)
    return [[name, lam, *row] for name, (curve, values) in curves.items() for row in first_looks(curve, values, best)]


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pool", type=int, default=2000)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--lam", type=float, nargs="+", default=[0.1, 0.02, 0.005])
    parser.add_argument("--passes", type=float, default=6)
    parser.add_argument("--reference", type=float, default=30, help="passes of the run for F*")
    parser.add_argument("--levers", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", default="", help="CSV file (default: standard output)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problem = make_problem(arguments.data, arguments.pool, arguments.n)
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    semidual = SemiDual(DiscreteMeasure.from_atoms(y, unit=1 / 255), 0.0, Cost(scale=problem.scale))
    print(f"{problem.source}, m = {len(x)}, n = {len(y)}, {arguments.threads} threads", file=sys.stderr, flush=True)
    rows = [row for lam in arguments.lam for row in rows_of(arguments.levers, x, semidual.at(lam), arguments)]
    with open(arguments.out, "w", newline="") if arguments.out else sys.stdout as file:
        csv.writer(file).writerows([["lever", "lam", "gap", "passes", "seconds"], *rows])


if __name__ == "__main__":
    main()
