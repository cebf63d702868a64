"""The semi-dual `F(psi) = E_x[psi^{c,lam}(x)] + <nu, psi>`, the value every solver maximises."""

from __future__ import annotations

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.ctransform import assignment, psi_step
from otgrad.measures import DiscreteMeasure


def objective(
    x: Tensor,
    target: DiscreteMeasure,
    psi: Tensor,
    lam: float,
    cost: Cost,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute F(psi) on the weighted points x and its psi-gradient (explicit form).

    F is concave, invariant under psi -> psi + t, and at most OT_c^lam(sum_i w_i delta_{x_i}, nu), with equality at
    psi*. Arguments as `psi_step`. Claims: A-duality.

    Returns:
        F (scalar tensor), in units of the cost, and dF/dpsi (n,).
    """
    values, grad = psi_step(x, target, psi, lam, cost, weights)
    mean = values.mean() if weights is None else torch.dot(weights, values)
    return mean + target.mean(psi), grad


def marginal_error(grad: Tensor, target: DiscreteMeasure | None = None) -> float:
    """L1 distance between nu and the model's second marginal, sum_j |nu_j - E pi_j|, from the psi-gradient (n,).

    target: the data law, needed where its atoms lie in several processes.
    """
    error = grad.abs().sum()
    return float(error if target is None else target.total(error))


def effective_atoms(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> float:
    """Mean perplexity exp(-sum_j pi_j log pi_j) of the assignment: how many atoms one sample averages over."""
    pi = assignment(x, target, psi, lam, cost)
    return float(target.total(torch.special.entr(pi).sum(dim=1)).exp().mean())
