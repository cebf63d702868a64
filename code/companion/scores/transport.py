"""Transport costs between samples and held-out images: W2, OT_c^lam with its certificate, Sinkhorn divergence."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from companion.scores.points import check_sets, check_sizes
from otgrad.costs import Cost
from otgrad.semidual import SemiDual
from otgrad.solvers.certified import solve_certified

GAP = 0.01  # relative, certified, at which OT_c^lam is solved
DIVERGENCE_GAP = 1e-3  # of the divergence's three terms, which nearly cancel


@dataclass(frozen=True)
class Certified:
    """A number that is off by at most `error`, up to rounding."""

    value: float
    error: float


def exact_w2(x: Tensor, y: Tensor) -> float:
    """Compute W2 between two sets of equal size by network simplex (POT): W2^2 = min over s of mean ||x_s(i) - y_i||^2.

    Two sets of one law are not at 0, in high dimension not even near: print the distance of real to real images beside.
    Sets that hug the mean come nearer to the data than other data do, so a small W2 is no proof of quality.

    Args:
        x: points (n, d).
        y: points (n, d).

    Returns:
        W2 in units of x (pixels in [0, 1]: a distance of whole images).

    Raises:
        ValueError: if the sets differ in width or size.
        FloatingPointError: if an entry is not finite.
        RuntimeError: if the simplex does not end.
    """
    import ot

    check_sets(1, x=x, y=y)
    check_sizes(x=x, y=y)
    matrix = Cost().matrix(x.double(), y.double()).cpu().numpy()
    found, log = ot.emd2([], [], matrix, numItermax=10**7, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"W2 of {len(x)} points: {log['warning']}")
    return float(found) ** 0.5


def transport_cost(x: Tensor, y: Tensor, lam: float, cost: Cost, tol: float = GAP) -> Certified:
    """Compute OT_c^lam between two sets, uniform masses: F(psi) of the semi-dual, and a certificate of what it lacks.

    Args:
        x: points (n, d), float32 or float64.
        y: points (m, d), same dtype.
        lam: regularisation > 0, in units of the cost (lam == 0 and equal sizes: exact_w2(x, y)^2 / cost.scale).
        cost: ground cost.
        tol: relative gap to reach.

    Returns:
        the value, from below, and the absolute duality gap, in units of the cost.

    Raises:
        ValueError: on bad shapes or lam.
        FloatingPointError: if an entry is not finite.
    """
    check_sets(1, x=x, y=y)
    found = solve_certified(x, None, SemiDual.of(y, None, lam, cost), tol=tol)
    return Certified(found.value, found.relative_gap * abs(found.value))


def sinkhorn_divergence(x: Tensor, y: Tensor, lam: float, cost: Cost) -> Certified:
    """Compute S = OT_c^lam(x, y) - OT_c^lam(x, x) / 2 - OT_c^lam(y, y) / 2 (Genevay et al. 2018, Feydy et al. 2019).

    S >= 0 with equality for equal laws, which OT_c^lam alone does not have: that is least for a law shrunk to the mean.
    It holds for laws, not for sets: where lam is small beside the costs of neighbours, the terms of one set hold no
    transport, OT_c^lam(x, x) = lam log n, and S is W2^2 with all its liking for blurs.

    Args:
        x: points (n, d).
        y: points (m, d).
        lam: regularisation > 0, in units of the cost.
        cost: ground cost.

    Returns:
        S in units of the cost, and the certified error, which is mostly far from reached.

    Raises:
        ValueError: on bad shapes or lam.
        FloatingPointError: if an entry is not finite.
    """
    pairs = ((x, y), (x, x), (y, y))
    across, x_self, y_self = (transport_cost(a, b, lam, cost, DIVERGENCE_GAP) for a, b in pairs)
    value = across.value - (x_self.value + y_self.value) / 2
    return Certified(value, max(across.error, (x_self.error + y_self.error) / 2))
