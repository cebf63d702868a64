"""Two bounds of OT_c^lam that need no potential: blurred likelihood from below, copying the data from above.

Both are known: the first is the duality behind maximum-likelihood deconvolution (Rigollet, Weed 2018,
arXiv 1809.05572), where min over all laws mu is the data's rate-distortion function (Yang, Eckstein, Nutz, Mandt 2023,
arXiv 2310.18908); the second is the plan that leaves every atom where it is.
"""

from __future__ import annotations

import math

import torch

from otgrad.costs import Cost
from otgrad.ctransform import c_transform
from otgrad.measures import DiscreteMeasure


def likelihood_bound(model: DiscreteMeasure, nu: DiscreteMeasure, lam: float, cost: Cost) -> float:
    """Compute -lam E_y log E_x exp(-c(x, y) / lam) <= OT_c^lam(model, nu), x drawn from the model and y from nu.

    With c = ||x - y||^2 it is lam times the negative log-likelihood, up to a constant, of nu under the model blurred by
    N(0, lam / 2 I). It equals OT_c^lam at the mu where that is least over all laws. In units of the cost; lam > 0.
    Claims: A-two-bounds.
    """
    values = c_transform(nu.points, model, torch.zeros_like(model.nu), lam, cost)
    return float(nu.mean(values))


def copying_bound(nu: DiscreteMeasure, lam: float) -> float:
    """Compute lam H(nu) >= OT_c^lam(nu, nu), H the entropy of the masses: lam log n for n equal ones."""
    return lam * float(torch.special.entr(nu.positive.nu.double()).sum())


def copying_threshold(n: int, covariance_bound) -> float:
    """Find the lam > 0 at which lam log n meets `covariance_bound(lam)`: below it copying is the better bound.

    Args:
        n: atoms of equal mass, n >= 2.
        covariance_bound: a function of lam with a finite limit, such as `spectrum.cost_bound` of the data.
    """
    low, high = 0.0, 1.0
    while covariance_bound(high) > high * math.log(n):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if covariance_bound(middle) > middle * math.log(n) else (low, middle)
    return high
