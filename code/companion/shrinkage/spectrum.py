"""What lam does to the best model of any data law, from its covariance alone, for the cost ||x - y||^2 / scale.

Let e_k be the eigenvalues of the data's covariance over the cost's scale. Among Gaussian models the best has the
variances max(e_k - lam / 2, 0) along the same axes: lam takes the same amount from every direction, and the first one,
the last to go, vanishes at lam = 2 e_1, where the model is the mean alone.

Its cost bounds that of the best model from above whatever the data law is. For given nu, minimising OT_c^lam(mu, nu)
over mu is maximum likelihood of nu under mu blurred by exp(-c / lam) (Rigollet, Weed 2018):

    min_mu OT_c^lam(mu, nu) = min_mu -lam E_nu log E_mu exp(-c(x, y) / lam),

and for mu Gaussian the right side depends on nu through its mean and covariance only. (Derived here.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spectrum(y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Compute the covariance of points y (n, d) over `scale`: eigenvalues (d,), decreasing, and axes (d, d), columns.

    In float64; eigenvalues that rounding leaves below 0 are 0.
    """
    centred = y.double() - y.double().mean(0)
    values, axes = torch.linalg.eigh(centred.T @ centred / (len(y) * scale))
    return values.flip(0).clamp_(min=0), axes.flip(1)


def variances_along(points: Tensor, axes: Tensor, scale: float) -> Tensor:
    """Variance (k,) of points (m, d) along each axis (d, k), over `scale`."""
    return (points.double() @ axes).var(dim=0, correction=0) / scale


def shrunk(eigenvalues: Tensor, lam: float) -> Tensor:
    """Variances max(e_k - lam / 2, 0) of the best Gaussian model, in units of the cost."""
    return (eigenvalues - lam / 2).clamp(min=0)


def critical_lam(eigenvalues: Tensor) -> float:
    """Return 2 e_1: from there on the best model is a single point, the mean of the data."""
    return 2 * float(eigenvalues.max())


def cost_bound(eigenvalues: Tensor, lam: float) -> float:
    """Upper bound of min_mu OT_c^lam(mu, nu): sum_k (lam / 2)(1 + log(2 e_k / lam)) where e_k > lam / 2, else e_k.

    Attained by Gaussian data, and by all data where lam >= `critical_lam`: there it is the sum of the e_k, the cost of
    the mean image. At lam = 0 it is 0. Claims: A-bound.
    """
    if lam == 0:
        return 0.0
    kept = eigenvalues[eigenvalues > lam / 2]
    blurred = lam / 2 * (1 + (2 * kept / lam).log())
    return float(blurred.sum() + eigenvalues[eigenvalues <= lam / 2].sum())


def lams_to_draw(eigenvalues: Tensor, count: int = 60) -> list[float]:
    """Values of lam, evenly spaced in its logarithm, from where next to nothing is lost to beyond the collapse."""
    top = critical_lam(eigenvalues)
    return [1e-4 * top * (1e5 ** (k / (count - 1))) for k in range(count)] if math.isfinite(top) and top > 0 else []
