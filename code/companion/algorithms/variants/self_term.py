"""The self term -1/2 OT^lam(mu, mu) of the Sinkhorn divergence, for a model known by its samples alone.

OT^lam(mu, nu) is least at a model narrower than nu (Gaussian data: Sigma - lam/2 I). The divergence

    S(mu, nu) = OT^lam(mu, nu) - 1/2 OT^lam(mu, mu) - 1/2 OT^lam(nu, nu)

is least at mu = nu (Feydy et al. 2019). OT(mu, mu') is symmetric, so that its derivative along theta in both arguments
is twice that in the first: the gradient of -1/2 OT(mu, mu) is -1 times that of OT(mu, sg(mu)), sg(mu) held fixed,

    -E_z[(d_theta g_theta(z))^T grad psi_self^{c,lam}(g_theta(z))],  psi_self the potential of OT(mu, mu) on sg(mu).

sg(mu) may not be the batch itself: at small lam each point would be sent to itself and the term would vanish. It is the
model's latest m samples, of earlier theta-steps. With m = n this estimator has the finite-sample bias of the data term
(n atoms of nu), and both cancel at mu = nu; with fewer, it repels the more. Their potential solves psi = psi^{c,lam}
(both marginals are mu); each sample keeps the value the transform had at it when it was drawn, as in online Sinkhorn
(Mensch and Peyre 2020), so that one pass per theta-step gives both the gradient and the next potential. While theta
moves fast they are behind it, and push it on: many samples of many steps ago can drive it away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.semidual import SemiDual


class SelfTerm:
    """The model's latest samples (m, d), without a graph, and their potential (m,), in units of the cost."""

    def __init__(self, samples: Tensor) -> None:
        """Start from m samples with potential 0."""
        self.samples, self.psi, self.next = samples, samples.new_zeros(len(samples)), 0

    def slopes(self, x: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
        """Compute psi_self^{c,lam}(x_i) (b,) and its gradients (b, d), and take x in for the oldest samples.

        Args:
            x: fresh samples (b, d), without a graph; at most the last m of them are kept.
            lam: regularisation >= 0, in units of the cost.
            cost: ground cost.
        """
        values, grads = SemiDual.of(self.samples, None, lam, cost).x_grad(x, self.psi)
        m = len(self.samples)
        kept, start = x[-m:], self.next
        places = torch.arange(start, start + len(kept), device=x.device) % m
        self.samples[places], self.psi[places] = kept, values[-m:]
        self.next = (start + len(kept)) % m
        return values, grads

    def value(self) -> Tensor:
        """Mean of the potential (scalar), in units of the cost: 1/2 OT^lam(mu, mu), half of it from each marginal."""
        return self.psi.mean()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"samples": self.samples, "psi": self.psi, "next": self.next}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.samples, self.psi, self.next = saved["samples"], saved["psi"], saved["next"]
