"""Exact solver on a fixed pool of points: the reference that every other solver is judged by.

Newton's method on the smaller of the two dual problems, in float64, with lam decreased from the spread of the cost
to its target. Independent of POT.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from otgrad import checks
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.solution import Solution, size

LAM_DECREASE = 4.0  # factor between two stages: Newton then needs a handful of steps per stage
MAX_NEWTON_STEPS = 200  # per stage
UNREGULARISED_GAP = 1e-4  # relative duality gap at which lam == 0 is solved
UNREGULARISED = 1e-8  # of the cost's spread: a smaller lam is lam == 0 with a wider gap
SMALL_LAM_GAP = 1e-7  # aimed at for such a lam
WIDE = 1e3  # of the cost's spread: at a larger lam, lam times the rounding of 1 would show


PoolSolution = Solution  # its name before version 0.2.0, for whoever says it in a type


@torch.no_grad()
def solve_exact(x: Any, weights: Any, semidual: SemiDual, *, tol: float = 1e-10) -> Solution:
    """Maximise `F(psi) = sum_i w_i psi^{c,lam}(x_i) + <nu, psi>` exactly.

    At lam == 0 the maximiser is not unique and F not smooth: lam is decreased until the
    primal cost of the rounded plan exceeds F(psi) by less than 1e-4 of the value (or 1e-8 of the cost's spread). So it
    is done for lam below 1e-8 of the spread, too; value and gap then bound OT_c^lam. Claims: A-potential, A-limits.

    Args:
        x: pool (b, d), a tensor or an array.
        weights: its masses (b,), or None for uniform.
        semidual: the data law of n atoms, which may have no mass, lam >= 0 and the cost.
        tol: L1 error of the marginals at which to stop (lam > 0), or 1e-14 spread(c) / lam, its rounding, if larger.

    Returns:
        the solution, float64 on the device of y; its work is the linear systems solved.

    Raises:
        ValueError: on bad shapes, masses or tol.
        FloatingPointError: if points are so far apart that their cost overflows.
        RuntimeError: if Newton's method does not reach tol.
    """
    law = semidual.law.now
    target = _law("y", law.points, "nu", law.nu)
    return _solve(_law("x", x, "weights", weights), replace(semidual, law=target), tol)


@torch.no_grad()
def solve_pool(
    x: Any, weights: Any, y: Any, nu: Any, lam: float, cost: str | float | Cost = "sqeuclidean", tol: float = 1e-10
) -> Solution:
    """Do the same for arrays or tensors of atoms y (n, d) and masses nu (n,): `solve_exact` before version 0.2.0."""
    source, target = _law("x", x, "weights", weights), _law("y", y, "nu", nu)
    return _solve(source, SemiDual(target, lam, Cost.from_name(cost)), tol)


def _solve(source: DiscreteMeasure, semidual: SemiDual, tol: float) -> Solution:
    """Solve between two laws in float64."""
    target, lam, tol = semidual.law, semidual.lam, checks.number("tol", tol)
    if source.y.shape[1] != target.y.shape[1] or source.y.device != target.y.device:
        found = (f"{source.y.shape[1]} wide on {source.y.device}", f"{target.y.shape[1]} on {target.y.device}")
        raise ValueError(f"x is {found[0]} and y {found[1]}: give points of one space")
    matrix = semidual.cost.matrix(source.positive.y, target.positive.y)
    if not bool(torch.isfinite(matrix).all()):
        raise FloatingPointError("the cost is not finite: rescale the points, or lower the step on theta")
    pair = _Pair(matrix, source.positive.nu, target.positive.nu)
    if lam > UNREGULARISED * pair.spread:
        psi, steps = pair.solve(lam, tol)
        value, grad = pair.semidual(psi, lam)
        gap, error = 0.0, float(grad.abs().sum())
    else:
        psi, steps, gap = pair.solve_unregularised(UNREGULARISED_GAP if lam == 0 else SMALL_LAM_GAP)
        value, error = pair.semidual(psi, 0.0)[0], math.nan
        gap -= lam * math.log(float(pair.nu.min()))  # the entropy of a plan is at most that
    full = torch.zeros(target.n, dtype=torch.float64, device=target.y.device)
    full[target.nu > 0] = psi
    return Solution(target.center(full), value, gap, gap / size(value, pair.spread), error, steps, True)


def _law(points: str, x: Any, masses: str, weights: Any) -> DiscreteMeasure:
    """Read one of the two laws, in float64 and without a graph; the names are those of the arguments."""
    x = checks.cloud(points, x).detach().double()
    return DiscreteMeasure(x, checks.masses(masses, weights, len(x), x.device).detach())


class _Pair:
    """Two discrete laws, w on the rows and nu on the columns of a cost matrix (b, n), all masses positive."""

    def __init__(self, matrix: Tensor, w: Tensor, nu: Tensor) -> None:
        self.matrix, self.w, self.nu = matrix, w, nu
        self.spread = max(float(matrix.max() - matrix.min()), 1e-12 * float(matrix.abs().max()), 1e-100)

    def transposed(self) -> _Pair:
        return _Pair(self.matrix.T, self.nu, self.w)

    def transform(self, psi: Tensor, lam: float) -> Tensor:
        """psi^{c,lam} on the rows (b,)."""
        if lam == 0:
            return (self.matrix - psi).amin(dim=1)
        if lam > WIDE * self.spread:
            return self.wide_transform(self.matrix - psi, lam)
        return -lam * torch.logsumexp((psi - self.matrix) / lam + self.nu.log(), dim=1)

    def wide_transform(self, gaps: Tensor, lam: float) -> Tensor:
        """The same from c - psi (b, n), with the digits that a large lam would take."""
        least = gaps.amin(dim=1, keepdim=True)
        if lam > self.spread / torch.finfo(gaps.dtype).eps:  # expm1 is the identity, and may underflow
            return least.squeeze(1) + (gaps - least) @ self.nu
        return least.squeeze(1) - lam * (((least - gaps) / lam).expm1() @ self.nu).log1p()

    def plan(self, psi: Tensor, lam: float) -> Tensor:
        """Assignment of each row (b, n), times its mass; its first marginal is w."""
        return self.w[:, None] * torch.softmax((psi - self.matrix) / lam + self.nu.log(), dim=1)

    def semidual(self, psi: Tensor, lam: float) -> tuple[float, Tensor]:
        """F(psi) and, for lam > 0, its gradient (n,)."""
        value = float(self.w @ self.transform(psi, lam) + self.nu @ psi)
        return value, self.nu - self.plan(psi, lam).sum(0) if lam > 0 else torch.zeros_like(psi)

    def solve(self, lam: float, tol: float) -> tuple[Tensor, int]:
        """Anneal from the cost's spread down to lam on the smaller side; return psi (n,) and the step count."""
        small = self if len(self.nu) <= len(self.w) else self.transposed()
        u, steps = torch.zeros_like(small.nu), 0
        for stage in _stages(self.spread, lam):
            stage_tol = max(tol, 1e-14 * self.spread / lam) if stage == lam else 1e-3
            u, used = small.newton(u, stage, stage_tol)
            steps += used
        return (u if small is self else small.transform(u, lam)), steps

    def newton(self, u: Tensor, lam: float, tol: float) -> tuple[Tensor, int]:
        """Damped Newton ascent on the columns' potential u until the marginal's L1 error is below tol."""
        damping = 0.0
        for step in range(MAX_NEWTON_STEPS):
            value, grad = self.semidual(u, lam)
            if float(grad.abs().sum()) <= tol:
                return u, step
            direction = self.newton_direction(u, grad, lam, damping)
            moved = self.line_search(u, direction, value, grad, lam)
            if moved is None:
                damping = max(10 * damping, 1e-6)
            else:
                u, damping = moved, damping / 10 if damping > 1e-9 else 0.0
        error = float(self.semidual(u, lam)[1].abs().sum())
        raise RuntimeError(f"solve_exact: marginal error {error:.1e} > {tol:.1e} at lam = {lam:.3g}; raise lam or tol")

    def newton_direction(self, u: Tensor, grad: Tensor, lam: float, damping: float) -> Tensor:
        """Solve (diag(p) - P^T W P + nu nu^T + damping diag(nu)) du = lam grad; nu nu^T fixes the gauge."""
        plan = self.plan(u, lam)
        hessian = torch.outer(self.nu, self.nu) - plan.T @ (plan / self.w[:, None])
        hessian.diagonal().add_(plan.sum(0))
        for _ in range(40):  # a plan that nearly falls apart is singular to rounding: damp until it factors
            factor, info = torch.linalg.cholesky_ex(hessian + torch.diag(damping * self.nu))
            if int(info) == 0:
                return lam * torch.cholesky_solve(grad[:, None], factor).squeeze(1)
            damping = max(10 * damping, 1e-14)
        raise RuntimeError(f"solve_exact: the Newton system is singular at lam = {lam:.3g}; raise lam")

    def line_search(self, u: Tensor, du: Tensor, value: float, grad: Tensor, lam: float) -> Tensor | None:
        """Halve the step until F rises (Armijo) or, at rounding level, until the gradient shrinks."""
        slope, size = float(grad @ du), float(grad.abs().sum())
        for halvings in range(30):
            trial = u + 0.5**halvings * du
            new_value, new_grad = self.semidual(trial, lam)
            rises = new_value >= value + 1e-4 * 0.5**halvings * slope
            level = new_value >= value - 1e-12 * self.spread
            if rises or (level and float(new_grad.abs().sum()) < 0.5 * size):
                return trial
        return None

    def solve_unregularised(self, aim: float) -> tuple[Tensor, int, float]:
        """Lower lam until the duality gap of the hard transform meets the aim; return psi (n,), step count, gap."""
        small = self if len(self.nu) <= len(self.w) else self.transposed()
        u, psi, steps, gap, bound = torch.zeros_like(small.nu), torch.zeros_like(self.nu), 0, math.inf, 0.0
        for lam in _stages(self.spread, UNREGULARISED * self.spread):
            u, used = small.newton(u, lam, 1e-6)  # times the spread: below 1e-4 of a value that is small
            steps += used
            psi = u if small is self else small.transform(u, lam)
            value = self.semidual(psi, 0.0)[0]
            gap, bound = self.rounded_cost(psi, lam) - value, max(abs(value), UNREGULARISED_GAP * self.spread)
            if gap <= aim * bound:
                return psi, steps, gap
        if gap <= UNREGULARISED_GAP * bound:
            return psi, steps, gap
        raise RuntimeError(f"solve_exact: duality gap {gap:.1e} at lam = 0 is above {UNREGULARISED_GAP} of the value")

    def rounded_cost(self, psi: Tensor, lam: float) -> float:
        """Cost of psi's plan rounded to both marginals (Altschuler, Weed, Rigollet 2017, Algorithm 2)."""
        plan = self.plan(psi, lam)
        plan = plan * (self.nu / plan.sum(0)).clamp(max=1)
        row_rest, column_rest = (self.w - plan.sum(1)).clamp(min=0), (self.nu - plan.sum(0)).clamp(min=0)
        rest = torch.outer(row_rest, column_rest) / row_rest.sum().clamp(min=1e-300)
        return float(((plan + rest) * self.matrix).sum())


def _stages(spread: float, lam: float) -> list[float]:
    """Decreasing regularisations from the cost's spread to lam, by about LAM_DECREASE each, ending on lam."""
    count = max(0, math.ceil(math.log(spread / lam, LAM_DECREASE)))
    return [lam * LAM_DECREASE**k for k in range(count, 0, -1)] + [lam]
