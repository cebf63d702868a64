"""Duality gap of a potential on a pool of points: an upper bound of OT_c^lam from a plan with the right marginals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otgrad.kernels.reference import row_tiles
from otgrad.semidual import SemiDual, marginal_error

TILE = 4096  # points or atoms taken to float64 at once
LOST = 200  # of the values' rounding: at a smaller lam their differences over lam tell nothing


@dataclass(frozen=True)
class Certified:
    """A potential with bounds of OT_c^lam on both sides, in units of the cost.

    Attributes:
        psi: potential (n,).
        value: F(psi), the lower bound.
        upper: the upper bound, up to rounding.
        marginal_error: L1 error of the second marginal at psi.
    """

    psi: Tensor
    value: float
    upper: float
    marginal_error: float


@torch.no_grad()
def certify(x: Tensor, w: Tensor, semidual: SemiDual, psi: Tensor) -> Certified:
    """Lower psi where the marginal p exceeds nu, and bound OT_c^lam by a plan made of psi's; two steps.

    Columns of the plan P are scaled by a = min(1, nu / p), leaving A = P diag(a); what is then missing in the rows,
    r, and in the columns, s, each of mass e, is joined by r s^T / e (Altschuler, Weed, Rigollet 2017, Algorithm 2). As
    t log t is convex, the plan's cost is at most

        <A 1, f> + <A^T 1, psi'> - lam (1 - e) log(1 - e) + r^T c s / e + lam e (KL(r / e | w) + KL(s / e | nu))

    with f = psi^{c,lam} and psi' = psi + lam log a. The transform f' of psi' yields the rows of A without the plan,
    A 1 = w exp((f - f') / lam). F(psi') >= F(psi): psi' is a Sinkhorn step on some of the atoms. Where lam is lost in
    the rounding of f, the plan itself is taken.

    Args:
        x: points (m, d).
        w: their masses (m,), > 0, summing to 1.
        semidual: the atoms, all of positive mass, lam > 0 and the cost.
        psi: potential (n,).

    Returns:
        psi' with its bounds.
    """
    nu, lam, mass = semidual.law.nu.double(), semidual.lam, w.double()
    values, grad = semidual.step(x, psi, w)
    p = (nu - grad.double()).clamp(min=0)
    lowered = (psi.double() - lam * (p / nu).clamp(min=1).log()).to(psi.dtype)
    columns = torch.minimum(p, nu)
    upper = float(mass @ values.double() + columns @ lowered.double())
    lowered_values, grad = semidual.step(x, lowered, w)
    if lost(lam, float(values.abs().max()), values.dtype):
        rows = mass * _rows(x, semidual, psi, (nu / p).clamp(max=1))
    else:
        rows = mass * ((values.double() - lowered_values.double()) / lam).clamp(max=0).exp()
    r, s = mass - rows, nu - columns
    upper += _joined(x, mass, r, semidual, s) - float(r @ values.double())
    value = float(mass @ lowered_values.double() + nu @ lowered.double())
    return Certified(lowered, value, upper, marginal_error(grad))


def lost(lam: float, size: float, dtype: torch.dtype) -> bool:
    """Whether differences of numbers of this size, over lam, are rounding alone."""
    return lam < LOST * torch.finfo(dtype).eps * size


def _rows(x: Tensor, semidual: SemiDual, psi: Tensor, a: Tensor) -> Tensor:
    """sum_j pi_j(x_i) a_j (m,), for a in [0, 1] (n,), float64."""
    found = [semidual.assignment(x[t], psi).double() @ a for t in row_tiles(len(x), semidual.law.n)]
    return torch.cat(found).clamp(max=1)


def _joined(x: Tensor, w: Tensor, r: Tensor, semidual: SemiDual, s: Tensor) -> float:
    """Cost of the product plan r s^T / e with its entropy, and the entropy of mixing it with the rest."""
    e = float(s.sum())
    if e <= 0 or float(r.sum()) <= 0:
        return 0.0
    r, s = r / r.sum(), s / e  # the two masses agree up to rounding
    divergence = torch.special.xlogy(r, r / w).sum() + torch.special.xlogy(s, s / semidual.law.nu).sum()
    mixing = -(1 - e) * math.log1p(-e) if e < 1 else 0.0
    return e * _product_cost(x, r, semidual, s) + semidual.lam * (e * float(divergence) + mixing)


def _product_cost(x: Tensor, r: Tensor, semidual: SemiDual, s: Tensor) -> float:
    """r^T c s (r and s of mass 1, float64), for p = 2 from the atoms' mean and variance."""
    law, cost = semidual.law, semidual.cost
    if cost.p != 2:
        y = law.points
        return float(sum(r[t] @ cost.matrix(x[t], y).double() @ s for t in row_tiles(len(r), law.n)))
    atoms = [slice(start, start + TILE) for start in range(0, law.n, TILE)]
    points = [slice(start, start + TILE) for start in range(0, len(r), TILE)]
    mean = torch.stack([s[t] @ law.points_at(t).double() for t in atoms]).sum(0)
    squares = [s[t] @ (law.points_at(t).double() - mean).square().sum(1) for t in atoms]
    squares += [r[t] @ (x[t].double() - mean).square().sum(1) for t in points]
    return float(torch.stack(squares).sum()) / cost.scale
