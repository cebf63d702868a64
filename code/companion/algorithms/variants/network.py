"""SDOTNN: psi as a network of y (the paper's sequel), trained by Adam on the same semi-dual."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from companion.algorithms.networks import make_potential
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState

LR_PSI = 1e-3  # ASSUME: Adam's, as the sequel's for theta


class NetworkDual:
    """psi(y) by an MLP d-512-256-128-1; F is taken on all atoms, or on fresh random ones with their psi.

    With m atoms drawn of n the law in the transform is that of the m: a bias which vanishes as m tends to n.
    """

    def __init__(self, semidual: SemiDual, atoms: int, seed: int, rng: torch.Generator) -> None:
        """Build the network from `seed`; `atoms` are drawn at every step, uniformly over nu (0: all, no draw)."""
        self.semidual, self.atoms, self.rng, target = semidual, atoms, rng, semidual.law
        self.asgd = AsgdState.zeros(target)
        self.network = make_potential(target.y.shape[1], seed).to(target.y.device, target.nu.dtype)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LR_PSI)

    def begin_round(self) -> None:
        """Do nothing: Adam goes on."""

    @torch.enable_grad()
    def ascend(self, batch: Tensor, lam: float) -> None:
        """Take one step of Adam on -F.

        Raises:
            FloatingPointError: if F is not finite.
        """
        law = self._drawn()
        psi = self.network(law.points)
        transform = SemiDual(law, lam, self.semidual.cost).transform(batch, psi)
        value = transform.mean() + torch.dot(law.nu, psi)
        if not math.isfinite(float(value.detach())):
            raise FloatingPointError("psi as a network: the semi-dual is not finite; lower lr_theta")
        self.optimizer.zero_grad(set_to_none=True)
        (-value).backward()
        self.optimizer.step()

    @torch.no_grad()
    def law(self, x: Tensor, lam: float) -> tuple[DiscreteMeasure, Tensor]:
        """Return all atoms, or a draw of them, with their psi."""
        law = self._drawn()
        return law, self.network(law.points)

    @torch.no_grad()
    def everywhere(self) -> Tensor:
        """Return psi on all atoms (n,)."""
        return torch.cat([self.network(block) for block in self.semidual.law.blocks()])

    def state(self) -> dict[str, Any]:
        """Return weights and Adam's moments."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])

    def _drawn(self) -> DiscreteMeasure:
        target = self.semidual.law
        if self.atoms == 0:
            return target
        places = torch.multinomial(target.nu, self.atoms, replacement=False, generator=self.rng)
        return DiscreteMeasure.from_atoms(target.points_at(places), unit=1.0)
