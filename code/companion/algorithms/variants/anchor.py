"""A control variate for theta's gradient: what a batch says at an earlier theta, where the mean is well known.

    G(theta) = G_B(theta, psi) - G_B(theta_0, psi_0) + G_M(theta_0, psi_0),   G_B(theta, psi) the gradient on batch B

with M a large batch, taken once at the anchor theta_0 (Johnson and Zhang 2013). Its mean is that of G_B(theta, psi) up
to the error of G_M; its variance vanishes at the anchor and grows with the distance from it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from otgrad.semidual import SemiDual


class Anchor:
    """theta_0, psi_0 (n,), the lam of that time and the gradient there; renewed every `every` theta-steps."""

    def __init__(self, generator: nn.Module, semidual: SemiDual, every: int, batches: int) -> None:
        """Begin without an anchor.

        Args:
            generator: g_theta; a copy of it is kept.
            semidual: data law, cost, and lam until the first anchor.
            every: theta-steps from one anchor to the next.
            batches: over which the gradient at an anchor is taken.
        """
        self.generator, self.semidual = copy.deepcopy(generator), semidual
        self.every, self.batches, self.age = every, batches, 0
        self.psi, self.lam, self.mean = torch.zeros_like(semidual.law.nu), semidual.lam, list[Tensor]()

    def renew(self, generator: nn.Module, psi: Tensor, lam: float, draw: Callable[[], Tensor]) -> None:
        """Move to theta and psi as they are, if it is time; `draw` gives latents (b, k)."""
        if self.age % self.every == 0:
            self.generator.load_state_dict(generator.state_dict())
            self.psi, self.lam = psi.clone(), lam
            sums = [self._gradient(draw()) for _ in range(self.batches)]
            self.mean = [sum(parts[1:], parts[0]) / self.batches for parts in zip(*sums, strict=True)]
        self.age += 1

    def correct(self, parameters: Iterable[nn.Parameter], z: Tensor) -> None:
        """Add G_M - G_B at the anchor, for the latents z (b, k), to the gradients that the parameters hold."""
        for parameter, mean, here in zip(parameters, self.mean, self._gradient(z), strict=True):
            assert parameter.grad is not None
            parameter.grad += mean - here

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        weights = self.generator.state_dict()
        return {"generator": weights, "psi": self.psi, "lam": self.lam, "mean": self.mean, "age": self.age}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.generator.load_state_dict(saved["generator"])
        self.psi, self.lam, self.mean, self.age = (saved[key] for key in ("psi", "lam", "mean", "age"))

    @torch.enable_grad()
    def _gradient(self, z: Tensor) -> tuple[Tensor, ...]:
        x = self.generator(z)
        _, slopes = self.semidual.at(self.lam).x_grad(x.detach(), self.psi)
        return torch.autograd.grad(x, list(self.generator.parameters()), slopes / len(x))
