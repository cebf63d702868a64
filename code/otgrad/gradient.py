"""The gradient formula: grad W_c^lam(theta) = E_z[(d_theta g_theta(z))^T grad psi*^{c,lam}(g_theta(z))].

Two forms of one vector. The explicit one is what Algorithm 1 uses; the autograd one differentiates the definition of
the c-transform and exists to check it. At lam = 0 both return one of several one-sided derivatives wherever a point
ties between two Laguerre cells: that is the gradient which may not exist.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from otgrad.semidual import SemiDual


def theta_gradient_explicit(generator: nn.Module, z: Tensor, semidual: SemiDual, psi: Tensor) -> list[Tensor]:
    """Pull the explicit x-gradient sum_j pi_j(x) grad_x c(x, y_j) back through the generator.

    Claims: A-envelope, A-gradient, A-regularity.

    Args:
        generator: g_theta, a module z (b, k) -> x (b, d).
        z: latents (b, k), equally weighted.
        semidual: data law of n atoms, lam and cost.
        psi: potential (n,), held fixed.

    Returns:
        one tensor per parameter, in the order of generator.parameters().
    """
    objective = semidual.fixed_psi(generator(z), psi).mean()
    return list(torch.autograd.grad(objective, list(generator.parameters())))


def theta_gradient_autograd(generator: nn.Module, z: Tensor, semidual: SemiDual, psi: Tensor) -> list[Tensor]:
    """Differentiate mean psi^{c,lam}(g_theta(z)) by autograd. Arguments and result as the explicit form."""
    objective = semidual.transform(generator(z), psi).mean()
    return list(torch.autograd.grad(objective, list(generator.parameters())))
