"""psi on a random batch of the data, by Sinkhorn's algorithm between two batches: what most of the literature does.

The expectation of OT^lam between batches is no OT^lam of the laws: it exceeds it, and its minimiser in theta is another
one (Fatras et al. 2020). Of two points of data with a batch of one each, half of the mass is sent to the farther atom.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from otgrad.asgd import AsgdState
from otgrad.measures import DiscreteMeasure
from otgrad.problem import Problem

SWEEPS = 100  # of Sinkhorn's algorithm, over the first half of which lam falls from the largest cost


def sinkhorn_psi(matrix: Tensor, lam: float, sweeps: int = SWEEPS) -> Tensor:
    """Compute psi (m,) of OT^lam between uniform laws on the rows and the columns of a cost matrix (b, m).

    Returns:
        psi after `sweeps` iterations in the log domain, in units of the cost; the columns' marginal is then exact.
    """
    top, psi = max(float(matrix.max()), lam), matrix.new_zeros(matrix.shape[1])
    for k in range(sweeps):
        t = lam * (top / lam) ** max(0.0, 1 - 2 * (k + 1) / sweeps)
        f = -t * torch.logsumexp((psi - matrix) / t, dim=1)
        psi = -t * torch.logsumexp((f[:, None] - matrix) / t, dim=0)
    return psi - psi.mean()  # the masses 1 / b and 1 / m, left out of the sums, are constants: only the gauge


class MinibatchDual:
    """A batch of atoms and its psi, new at every theta-step; there are no psi-steps."""

    def __init__(self, problem: Problem, atoms: int, rng: torch.Generator) -> None:
        """Draw `atoms` atoms at a time, according to nu, with replacement.

        Raises:
            ValueError: at lam == 0.
        """
        if problem.lam == 0:
            raise ValueError("potential = 'minibatch': Sinkhorn's algorithm needs lam > 0")
        self.problem, self.atoms, self.rng, self.asgd = problem, atoms, rng, AsgdState.zeros(problem.target)

    def begin_round(self) -> None:
        """Do nothing."""

    def ascend(self, batch: Tensor, lam: float) -> None:
        """Do nothing: psi is solved for at the theta-step."""

    def law(self, x: Tensor, lam: float) -> tuple[DiscreteMeasure, Tensor]:
        """Draw a batch of the data and solve for psi between it and x (b, d)."""
        drawn = torch.multinomial(self.problem.target.nu, self.atoms, replacement=True, generator=self.rng)
        y = self.problem.target.points_at(drawn)
        return DiscreteMeasure.from_atoms(y), sinkhorn_psi(self.problem.cost.matrix(x, y), lam)

    def everywhere(self) -> Tensor:
        """Return 0: there is no psi on all atoms."""
        return torch.zeros_like(self.problem.target.nu)

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Do nothing."""
