"""Comparison with POT, an independent implementation; the one room that imports it besides `evaluate`.

POT's conventions, read from its source (0.9.7) and met here and nowhere else; rows w, columns nu, costs M, reg = lam:

- `ot.sinkhorn`: `P_ij = u_i exp(-M_ij / reg) v_j`. Its entropy is sum P log P, relative to the counting measure, ours
  is relative to w x nu; among plans with these marginals they differ by a constant. So P is the same, but
  psi = lam (log v - log nu), and the value is `<P, M> + lam KL(P | w x nu)`. "sinkhorn_log" logs log_u and log_v (minus
  infinity where nu_j = 0); "sinkhorn" logs u and v, and underflows once max M / lam > 700. A warm start is
  (log u, log v) for both, and log v is overwritten first. The error that stopThr bounds is the L2 error of the second
  marginal, looked at every tenth iteration. `ot.sinkhorn2`: `<P, M>` without the entropy, not the value compared here.
- `ot.emd2`: duals u + v <= M with `<u, w> + <v, nu> = OT`: psi = v. Its gauge balances u and v; where nu_j = 0 its v is
  an estimate and not used.
- `ot.semidiscrete`: solve_semidiscrete returns psi itself, with nu inside the logarithm, as here. reg = 0 is hard, but
  over all atoms: one without mass, here without a cell, may win. It returns the plain mean of the iterates of a descent
  on -F with steps lr0 / t^(2/3) and a regularisation falling to lam like 0.1 / sqrt(t), for the raw squared Euclidean
  cost unless a callable says otherwise. lr0 = sqrt(n b) and 0.1 assume a cost of about 1: here times the cost's spread.

Everything is float64. Potentials are compared on the atoms with mass, in the gauge `<nu, psi> = 0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.exact import solve_exact
from otgrad.solvers.solution import Solution
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step, cost_spread

EXACT = 1e-6  # units of the cost; both solvers stop at marginal errors of 1e-10 or less; 1e-9 was the worst seen
ROUNDING = 1e-9  # units of the cost; POT's network simplex is exact but for rounding
HARD_GAP = 1e-3  # relative; solve_exact stops at 1e-4 for lam == 0
# Relative gaps at which the stochastic solvers end, POT's and ours, at lam > 0 and at lam == 0, where F is not smooth.
# Worst of 25 seeds and of image samples from sharp to collapsed: POT's 8e-3 and 2.5e-2, ours 1.3e-2 and 5e-2.
# (If all samples are black, ours ends at 1.4e-1 for lam == 0: 200 equal points move one atom at a time.)
SEMIDISCRETE_GAP, SEMIDISCRETE_HARD_GAP = 1e-2, 5e-2
STOCHASTIC_GAP, STOCHASTIC_HARD_GAP = 2e-2, 1e-1
PASSES, HARD_PASSES = 100, 200  # at lam > 0 and at lam == 0; a pass draws as many points as the pool has
STEPS_PER_PASS, HARD_STEPS_PER_PASS = 4, 10  # at lam == 0 a point moves one atom only: small batches do better
SEMIDISCRETE_STEPS, SEMIDISCRETE_HARD_STEPS, SEMIDISCRETE_BATCH = 1500, 8000, 20
STOP, MAX_ITERATIONS = 1e-12, 100_000  # of POT's Sinkhorn
MAX_EXPONENT = 500  # largest max M / lam for the method "sinkhorn"


@dataclass(frozen=True, eq=False)
class Instance:
    """A pool x (b, d) of masses w (b,) against atoms y (n, d) of masses nu (n,), zeros allowed; float64."""

    name: str
    x: Tensor
    w: Tensor
    y: Tensor
    nu: Tensor
    cost: Cost

    @cached_property
    def target(self) -> DiscreteMeasure:
        """The data law."""
        return DiscreteMeasure(self.y, self.nu)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Costs (b, n), from POT's own distances."""
        import ot

        metric, power = ("sqeuclidean", 1.0) if self.cost.p == 2 else ("euclidean", self.cost.p)
        return ot.dist(self.x.numpy(), self.y.numpy(), metric=metric) ** power / self.cost.scale

    def value(self, psi: Tensor, lam: float) -> float:
        """F(psi) on the pool, in units of the cost."""
        return float(SemiDual(self.target, lam, self.cost).value(self.x, psi, self.w)[0])

    def solve(self, lam: float) -> Solution:
        """Our exact solver."""
        return solve_exact(self.x, self.w, SemiDual(self.target, lam, self.cost))


@dataclass(frozen=True)
class Check:
    """One comparison; for vectors `ours` and `pot` are the largest absolute entries.

    `floor` is negative only where the difference is a signed shortfall below an optimum.
    """

    instance: str
    lam: float
    quantity: str
    ours: float
    pot: float
    difference: float
    tolerance: float
    floor: float = 0.0

    @property
    def verdict(self) -> str:
        """Return "pass" if floor <= difference <= tolerance, else "fail"; nan fails."""
        return "pass" if self.floor <= self.difference <= self.tolerance else "fail"


@dataclass(frozen=True)
class Comparison:
    """One instance at one lam: checks, (psi_pot, psi_ours) of each atom with mass, (solver, iteration, gap)."""

    checks: list[Check]
    potentials: list[tuple[float, float]]
    trace: list[tuple[str, int, float]]


def compare(instance: Instance, lam: float, seed: int) -> Comparison:
    """Run every comparison that lam >= 0 allows; `seed` draws the points of the two stochastic solvers."""
    ours = instance.solve(lam)
    if lam == 0:
        exact, optimum = hard_checks(instance, ours)
        potentials, trace = [], []
    else:
        exact, psi_pot = entropic_checks(instance, lam, ours)
        has_mass, optimum = instance.nu > 0, ours.value
        potentials = list(zip(psi_pot[has_mass].tolist(), ours.psi[has_mass].tolist(), strict=True))
        trace = [("POT Sinkhorn", k, gap) for k, gap in sinkhorn_trace(instance, lam, optimum)]
    ascent = list(stochastic_trace(instance, lam, optimum, seed))
    gap, tolerance = ascent[-1][1], STOCHASTIC_GAP if lam > 0 else STOCHASTIC_HARD_GAP
    reached = optimum - gap * abs(optimum)
    stochastic = Check(instance.name, lam, "stochastic", reached, optimum, gap, tolerance, -ROUNDING)
    trace += [("stochastic", k, gap) for k, gap in ascent]
    return Comparison([*exact, stochastic, semidiscrete_check(instance, lam, ours, seed)], potentials, trace)


def pot_sinkhorn(
    instance: Instance, lam: float, method: str = "sinkhorn_log", iterations=MAX_ITERATIONS, stop=STOP, log_u=None
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Run POT's Sinkhorn, from log_u (b,) if given; return psi (n,) in our convention, the plan (b, n), log u (b,)."""
    import ot

    w, nu = instance.w.numpy(), instance.nu.numpy()
    start = None if log_u is None else (log_u, np.zeros_like(nu))
    with np.errstate(divide="ignore", over="ignore"):  # log 0 at atoms without mass; exp(log_u), which is not used
        plan, log = ot.sinkhorn(
            w, nu, instance.matrix, lam, method, iterations, stop, log=True, warn=False, warmstart=start
        )
        end_u, log_v = (np.asarray(log.get(f"log_{key}", np.log(log[key]))) for key in ("u", "v"))
    psi = np.zeros_like(nu)
    psi[nu > 0] = lam * (log_v[nu > 0] - np.log(nu[nu > 0]))
    return instance.target.center(torch.from_numpy(psi)), np.asarray(plan), end_u


def entropic_checks(instance: Instance, lam: float, ours: Solution) -> tuple[list[Check], Tensor]:
    """Compare potential, plan and value with `sinkhorn_log` and, where it does not underflow, `sinkhorn`.

    Returns:
        per quantity the worse of the two comparisons, and the potential (n,) of `sinkhorn_log`.
    """
    stable = ["sinkhorn_log", "sinkhorn"] if instance.matrix.max() / lam < MAX_EXPONENT else ["sinkhorn_log"]
    runs = [pot_sinkhorn(instance, lam, method)[:2] for method in stable]
    our_plan = instance.w[:, None] * SemiDual(instance.target, lam, instance.cost).assignment(instance.x, ours.psi)
    values = [plan_value(instance, lam, plan) for _, plan in runs]
    return [
        _worst(instance.name, lam, "potential", ours.psi.numpy(), [psi.numpy() for psi, _ in runs]),
        _worst(instance.name, lam, "plan", our_plan.numpy(), [plan for _, plan in runs]),
        _worst(instance.name, lam, "value", np.array(ours.value), values),
    ], runs[0][0]


def plan_value(instance: Instance, lam: float, plan: np.ndarray) -> np.ndarray:
    """`<P, M> + lam KL(P | w x nu)` of a plan with the right marginals, with 0 log 0 = 0."""
    has_mass = plan > 0
    ratio = plan[has_mass] / np.outer(instance.w.numpy(), instance.nu.numpy())[has_mass]
    return (plan * instance.matrix).sum() + lam * (plan[has_mass] * np.log(ratio)).sum()


def _worst(name: str, lam: float, quantity: str, ours: np.ndarray, pots: list[np.ndarray]) -> Check:
    differences = [float(np.abs(ours - pot).max()) for pot in pots]
    k = int(np.argmax(differences))  # the first nan, if there is one
    ours_size, pot_size = float(np.abs(ours).max()), float(np.abs(pots[k]).max())
    return Check(name, lam, quantity, ours_size, pot_size, differences[k], EXACT)


def hard_checks(instance: Instance, ours: Solution) -> tuple[list[Check], float]:
    """Check that F at emd2's dual is emd2's cost and that our value is a close lower bound; return that cost too."""
    import ot

    found, log = ot.emd2(instance.w.numpy(), instance.nu.numpy(), instance.matrix, log=True)
    cost, at_dual = float(found), instance.value(torch.from_numpy(log["v"]), 0.0)
    dual = Check(instance.name, 0.0, "emd_dual", at_dual, cost, abs(at_dual - cost), ROUNDING)
    shortfall = relative_gap(cost, ours.value)
    bound = Check(instance.name, 0.0, "lower_bound", ours.value, cost, shortfall, HARD_GAP, -ROUNDING)
    return [dual, bound], cost


def relative_gap(optimum: float, value: float) -> float:
    """(optimum - value) / |optimum|, signed."""
    return (optimum - value) / max(abs(optimum), 1e-300)


def stochastic_trace(instance: Instance, lam: float, optimum: float, seed: int) -> Iterator[tuple[int, float]]:
    """Yield (pass, relative dual gap) of our stochastic solver's average; default step rule, from psi = 0."""
    generator = torch.Generator().manual_seed(seed)
    semidual = SemiDual(instance.target, lam, instance.cost)
    passes, steps = (PASSES, STEPS_PER_PASS) if lam > 0 else (HARD_PASSES, HARD_STEPS_PER_PASS)
    state, batch = AsgdState.zeros(instance.target), -(-len(instance.w) // steps)
    for k in range(1, passes + 1):
        for _ in range(steps):
            rows = torch.multinomial(instance.w, batch, replacement=True, generator=generator)
            asgd_step(instance.x[rows], semidual, state=state, rule=StepRule())
        if k in recorded_passes(passes):
            yield k, relative_gap(optimum, instance.value(state.average, lam))


def sinkhorn_trace(instance: Instance, lam: float, optimum: float) -> Iterator[tuple[int, float]]:
    """Yield (iteration, relative dual gap) of POT's `sinkhorn_log`; an iteration reads the costs twice."""
    done, log_u = 0, None
    for k in recorded_passes(PASSES):
        psi, _, log_u = pot_sinkhorn(instance, lam, iterations=k - done, stop=0.0, log_u=log_u)
        done = k
        yield k, relative_gap(optimum, instance.value(psi, lam))


def recorded_passes(last: int) -> list[int]:
    """At most 30 numbers from 1 to last, evenly spaced in the logarithm."""
    return sorted({round(k) for k in np.geomspace(1, last, 30)})


def semidiscrete_check(instance: Instance, lam: float, ours: Solution, seed: int) -> Check:
    """Compare F at our potential with F at that of POT's stochastic solver, which draws rows of the costs."""
    from ot.semidiscrete import solve_semidiscrete

    rng, w, n = np.random.default_rng(seed), instance.w.numpy(), instance.target.n
    costs, batch = torch.from_numpy(instance.matrix), min(len(w), SEMIDISCRETE_BATCH)
    spread = cost_spread(instance.x, instance.target, instance.cost)
    psi = solve_semidiscrete(
        instance.y,
        lambda size: torch.from_numpy(rng.choice(len(w), size, p=w)),  # type: ignore[arg-type]
        instance.nu,
        metric=lambda rows, _: costs[rows],
        reg=lam,
        max_iter=SEMIDISCRETE_STEPS if lam > 0 else SEMIDISCRETE_HARD_STEPS,
        batch_size=batch,
        lr0=0.5 * max(spread * (n * batch) ** 0.5, n * lam),
        decreasing_reg_initial_eps=0.2 * spread,
    )
    pot = instance.value(torch.as_tensor(psi), lam)
    gap, tolerance = relative_gap(ours.value, pot), SEMIDISCRETE_GAP if lam > 0 else SEMIDISCRETE_HARD_GAP
    return Check(instance.name, lam, "semidiscrete", ours.value, pot, abs(gap), tolerance)
