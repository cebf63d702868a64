"""Solver for a fixed source: maximise the semi-dual of a finite pool of points, to a duality gap that is certified.

One pass of online Sinkhorn steps (block_ascent); at small lam one more that finds the pairs that matter, and Newton's
method on those (active_set); SAGA passes where that does not serve or fails; the exact solver (pool) where many of them
do not suffice and the problem is small; and two passes for each certificate (certificate). Memory: the data, the buffer
of psi_step, one marginal (n,) per block, and the pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from otgrad import checks
from otgrad.measures import DiscreteMeasure
from otgrad.pairs import without_autocast
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers.active_set import MARGINS_OF_LAM, ActiveSet
from otgrad.solvers.block_ascent import BlockAscent, BlockRule, Pool, Watch
from otgrad.solvers.certificate import Certified, certify, lost
from otgrad.solvers.exact import solve_exact
from otgrad.solvers.solution import Solution, size
from otgrad.solvers.stochastic import cost_spread

MOST_POLISHES = 5  # in a row
IMPROVED = 0.7  # times the gap before: else one more in a row is not worth its passes
POLISH_AGAIN = 3.0  # times the passes so far
SMALL_PAIRS, SMALL_SIDE, MANY_PASSES = 2**20, 500, 100  # not solved in so many passes, the exact solver is quicker
MOST_MARGIN = 2.0  # of the cost's spread: beyond, most pairs matter


FixedSourceSolution = Solution  # its name before version 0.2.0, for whoever says it in a type


@without_autocast
@torch.no_grad()
def solve_certified(
    x: Any,
    weights: Any,
    semidual: SemiDual,
    *,
    tol: float | None = 0.01,
    psi: Any = None,
    max_passes: float = 200,
    generator: torch.Generator | None = None,
    watch: Watch | None = None,
    rule: BlockRule | None = None,
) -> Solution:
    """Maximise `F(psi) = sum_i w_i psi^{c,lam}(x_i) + <nu, psi>` until a bound of the relative gap is below tol.

    The bound is linear in the marginal's error, the gap itself nearly quadratic: the gap is 10 to 100 times smaller.

    Args:
        x: pool (m, d), a tensor or an array, dtype and device of the masses nu.
        weights: masses of the pool's points (m,), of any positive total (None: uniform).
        semidual: the data law of n atoms, lam > 0 and the cost.
        tol: relative gap at which to stop; None: make max_passes passes and certify nothing.
        psi: potential (n,) to start from (None: 0, with L decreasing to lam); the first pass then moves nothing.
        max_passes: stop after that many in any case, but for a last certificate; may be a fraction.
        generator: source of randomness of the blocks, on the CPU (None: seed 0).
        watch: called after every step, for a trajectory.
        rule: constants of the schedule (None: the defaults).

    Returns:
        the solution: of the certified iterates the one with the largest F; its work is in passes.

    Raises:
        ValueError: on bad shapes, masses or numbers, and at lam == 0.
        FloatingPointError: if psi is not finite, for a cost that overflows.
    """
    lam = checks.number("lam", semidual.lam, zero=False, hint=" (lam = 0: solve_exact)")
    tol = None if tol is None else checks.number("tol", tol, zero=False, finite=False)
    max_passes = checks.number("max_passes", max_passes, zero=False, finite=False)
    target = semidual.law.now
    source = _pool(x, weights, target).positive
    start = None if psi is None else checks.potential("psi", psi, target.n, target.nu)
    start = start if start is None or target.support is None else start[target.support]
    generator, law = generator or torch.Generator().manual_seed(0), target.positive
    lam = _within(lam, cost_spread(source.y, law, semidual.cost), source.nu.dtype)
    pool = Pool(source.y, source.nu, SemiDual(law, lam, semidual.cost))
    ascent = BlockAscent(pool, start, rule or BlockRule(), generator, watch)
    best, gap, relative = _ascend(ascent, tol, max_passes)
    full = best.psi if target.support is None else torch.zeros_like(target.nu).index_copy_(0, target.support, best.psi)
    converged = tol is not None and relative <= tol
    return Solution(target.center(full), best.value, gap, relative, best.marginal_error, ascent.passes, converged)


def solve_fixed_source(
    x: Any, target: Any, lam: float, cost: Any = "sqeuclidean", tol: Any = 0.01, weights: Any = None, **options: Any
) -> Solution:
    """Do the same for a law, or atoms (n, d) of equal masses: `solve_certified` before version 0.2.0."""
    return solve_certified(x, weights, SemiDual.of(target, None, lam, cost), tol=tol, **options)


def _pool(x: Any, weights: Any, target: DiscreteMeasure) -> DiscreteMeasure:
    x = checks.points("x", checks.array("x", x).detach(), target.y.shape[1], target.nu, least=1)
    return DiscreteMeasure(
        checks.all_finite("x", x), checks.masses("weights", weights, len(x), x.device).detach().to(x.dtype)
    )


def _within(lam: float, spread: float, dtype: torch.dtype) -> float:
    """Lam where rounding lets one tell it from 0 and from infinity; the optimum beyond is the same up to rounding."""
    info = torch.finfo(dtype)
    least = max(info.eps**2 * spread, info.tiny**0.5)
    return min(max(lam, least), max(spread / info.eps, least)) if math.isfinite(spread) and spread > 0 else lam


@dataclass
class _Bounds:
    """The best certified potential, and the least upper bound."""

    spread: float
    best: Certified | None = None
    upper: float = math.inf

    @property
    def gap(self) -> float:
        """Between the two, in units of the cost."""
        return math.inf if self.best is None else max(0.0, self.upper - self.best.value)

    @property
    def relative(self) -> float:
        """The same, relative."""
        return math.inf if self.best is None else self.gap / size(self.best.value, self.spread)

    def add(self, ascent: BlockAscent, psi: Tensor) -> bool:
        """Certify psi; return whether it is the best now."""
        pool = ascent.pool
        found = certify(pool.x, pool.w, pool.semidual, psi)
        ascent.passes += 2
        self.upper = min(self.upper, found.upper)
        if self.best is not None and found.value < self.best.value:
            return False
        self.best = found
        return True


def _ascend(ascent: BlockAscent, tol: float | None, max_passes: float) -> tuple[Certified, float, float]:
    """Make passes until a certificate is good enough; one is made where the marginals last seen promise it."""
    ascent.first_pass(max_passes)
    bounds, polish_at = _Bounds(ascent.spread), 0.0
    if tol is not None and lost(ascent.pool.semidual.lam, ascent.spread, ascent.psi.dtype):
        _solve_small(ascent, bounds)
    gap_per_error = 0.5 * ascent.spread / size(ascent.value, ascent.spread)
    while True:
        error, late = marginal_error(ascent.grad), ascent.passes >= max_passes
        if tol is None and late:
            return _uncertified(ascent), math.nan, math.nan
        unknown = bounds.best is None or bounds.best.value < ascent.value
        if tol is not None and (gap_per_error * error <= tol or (late and unknown)):
            if not bounds.add(ascent, ascent.average) and bounds.best is not None:
                ascent.restart(bounds.best.psi)
            gap_per_error = bounds.relative / max(error, 1e-30)
        elif tol is not None and not late and ascent.passes >= polish_at:
            _polish(ascent, bounds, tol, max_passes)
            polish_at = POLISH_AGAIN * ascent.passes
        if bounds.best is not None and (late or bounds.relative <= (tol or 0.0)):
            if bounds.relative > (tol or 0.0) and ascent.passes >= MANY_PASSES:
                _solve_small(ascent, bounds)
            return bounds.best, bounds.gap, bounds.relative
        ascent.next_pass(max_passes)


def _polish(ascent: BlockAscent, bounds: _Bounds, tol: float, max_passes: float) -> None:
    """Maximise over the pairs that matter, and again from there while that closes the gap."""
    pool, spread = ascent.pool, ascent.spread
    margin, psi = max(MARGINS_OF_LAM * pool.semidual.lam, ascent.rule.margin * spread), ascent.average
    if not 0 < margin <= MOST_MARGIN * spread:
        return
    for _ in range(MOST_POLISHES):
        active = ActiveSet.collect(pool, psi, margin, ascent.rule.most_pairs)
        ascent.passes += 1
        if active is None:
            return
        before, error = bounds.relative, 0.5 * tol * size(ascent.value, spread) / spread
        psi = active.maximise(psi, error)
        if ascent.watch is not None:
            ascent.watch(psi, ascent.passes)
        better = bounds.add(ascent, psi)
        enough = bounds.relative <= tol or ascent.passes >= max_passes
        if bounds.best is None or not better or enough or bounds.relative > IMPROVED * before:
            break
        psi = bounds.best.psi
    if bounds.best is not None and bounds.best.value > ascent.value:
        ascent.psi, ascent.average = bounds.best.psi.clone(), bounds.best.psi.clone()


def _solve_small(ascent: BlockAscent, bounds: _Bounds) -> None:
    """Take the exact solver's potential and bounds, where points and atoms are few."""
    pool, sizes = ascent.pool, (len(ascent.pool.w), ascent.pool.semidual.law.n)
    if math.prod(sizes) > SMALL_PAIRS or min(sizes) > SMALL_SIDE:
        return
    try:
        exact = solve_exact(pool.x, pool.w, pool.semidual)
    except RuntimeError:  # not solved either: what there is stands
        return
    psi, upper = exact.psi.to(ascent.psi.dtype), exact.value + exact.gap
    bounds.best, bounds.upper = Certified(psi, exact.value, upper, exact.marginal_error), upper


def _uncertified(ascent: BlockAscent) -> Certified:
    value, grad = ascent.pool.semidual.value(ascent.pool.x, ascent.average, ascent.pool.w)
    ascent.passes += 1
    return Certified(ascent.average, float(value), math.nan, marginal_error(grad))
