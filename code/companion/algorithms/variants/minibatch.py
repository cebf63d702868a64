"""psi on a random batch of the data, by Sinkhorn's algorithm between two batches: what most of the literature does.

The expectation of OT^lam between batches is no OT^lam of the laws: it exceeds it, and its minimiser in theta is another
one (Fatras et al. 2020). Of two points of data with a batch of one each, half of the mass is sent to the farther atom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState

STAGES = 8  # over which lam falls, from the mean cost
SWEEPS = 6  # iterations in each
LEAST = 1e-250  # of a sum, so that what no point reaches stays finite


def sinkhorn_psi(matrix: Tensor, lam: float, stages: int = STAGES, sweeps: int = SWEEPS) -> Tensor:
    """Compute psi (m,) of OT^lam between uniform laws on the rows and the columns of a cost matrix (b, m).

    In float64, by products with exp((f_i + psi_j - c_ij) / lam), the potentials taken in at every stage (the stabilised
    iteration of Schmitzer 2019): no exponential is formed within a stage.

    Returns:
        psi in units of the cost, with mean 0; its error falls with `sweeps`, the slower the smaller lam.
    """
    cost, (b, m) = matrix.double(), matrix.shape
    top, psi = max(float(cost.mean()), lam), cost.new_zeros(m)
    for stage in range(stages):
        t = lam * (top / lam) ** (1 - (stage + 1) / stages)
        f = -t * torch.logsumexp((psi - cost) / t, dim=1)
        plan, u = torch.exp((f[:, None] + psi - cost) / t), cost.new_ones(b)  # rows sum to 1
        v = cost.new_ones(m)
        for _ in range(sweeps):
            v = b / m / (plan.T @ u).clamp_(min=LEAST)
            u = 1 / (plan @ v).clamp_(min=LEAST)
        psi = psi + t * v.log()
    return (psi - psi.mean()).to(matrix.dtype)


class MinibatchDual:
    """A batch of atoms and its psi, new at every theta-step; there are no psi-steps."""

    def __init__(self, semidual: SemiDual, atoms: int, rng: torch.Generator) -> None:
        """Draw `atoms` atoms at a time, according to nu, with replacement.

        Raises:
            ValueError: at lam == 0.
        """
        if semidual.lam == 0:
            raise ValueError("potential = 'minibatch': Sinkhorn's algorithm needs lam > 0")
        self.semidual, self.atoms, self.rng, self.asgd = semidual, atoms, rng, AsgdState.zeros(semidual.law)

    def begin_round(self) -> None:
        """Do nothing."""

    def ascend(self, batch: Tensor, lam: float) -> None:
        """Do nothing: psi is solved for at the theta-step."""

    def law(self, x: Tensor, lam: float) -> tuple[DiscreteMeasure, Tensor]:
        """Draw a batch of the data and solve for psi between it and x (b, d)."""
        drawn = torch.multinomial(self.semidual.law.nu, self.atoms, replacement=True, generator=self.rng)
        y = self.semidual.law.points_at(drawn)
        return DiscreteMeasure.from_atoms(y), sinkhorn_psi(self.semidual.cost.matrix(x, y), lam)

    def everywhere(self) -> Tensor:
        """Return 0: there is no psi on all atoms."""
        return torch.zeros_like(self.semidual.law.nu)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Do nothing."""


class BatchSelfTerm:
    """The self term between x and a fresh batch of the model, by the same solver.

    With batches of one size both terms have the same bias, and their sum is least at mu = nu: the divergence between
    batches (Genevay et al. 2018, whose second batch is the first; Salimans et al. 2018, whose two are independent).
    """

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        """Take in the sampler of the model, () -> (m, d), without a graph."""
        self.draw = draw

    def slopes(self, x: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
        """Compute psi_self^{c,lam}(x_i) (b,) and its gradients (b, d) at points x (b, d), without a graph."""
        samples = self.draw()
        psi = sinkhorn_psi(cost.matrix(x, samples), lam)
        return SemiDual.of(samples, None, lam, cost).x_grad(x, psi)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Do nothing."""
