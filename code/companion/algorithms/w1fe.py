"""W1-FE: the generator follows the forward Euler scheme of the gradient flow of W1 (Malik and Huang).

repeat

    phi   <- some steps towards a Kantorovich potential from the model to the data
    y     <- G(z) on one fresh batch,   y1 <- y + dt grad phi(y)           (one Euler step, held fixed)
    theta <- K Adam steps on mean((G(z) - y1)^2), the same z and y1         (persistent training)

For K = 1 the gradient is (2 dt / d) times that of WGAN, mean(-phi(G(z))). With the potential of the quadratic cost
(potentials.SemiDiscrete, p = 2) the same loop is W2-FE.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from companion.algorithms.potentials import Potential
from otgrad.measures import Sampler


@dataclass(frozen=True)
class EulerRule:
    """How targets are made and followed.

    Attributes:
        dt: Euler step, > 0; unit speed makes it a length in units of x for W1.
        persistence: K >= 1, theta-steps per target.
        scheme: "euler", or "ab2": y + dt (3/2 v_n(y) - 1/2 v_(n-1)(y_(n-1))), two-step Adams-Bashforth.
            `# ASSUME:` the previous velocity is that of the same latent: the previous phi at the previous G(z).

    Raises:
        ValueError: on a value out of range.
    """

    dt: float = 1.0
    persistence: int = 1
    scheme: Literal["euler", "ab2"] = "euler"

    def __post_init__(self) -> None:
        """Refuse rules that move nothing."""
        if not self.dt > 0 or self.persistence < 1 or self.scheme not in ("euler", "ab2"):
            raise ValueError(f"{self}: give dt > 0, persistence >= 1 and scheme 'euler' or 'ab2'")


def w1fe(
    generator: nn.Module,
    potential: Potential,
    latent: Sampler,
    optimizer: torch.optim.Optimizer,
    rule: EulerRule,
    batch_size: int,
    rng: torch.Generator,
) -> Iterator[Tensor]:
    """Train without end, yielding after every outer step.

    Claims: B-euler-is-wgan, B-persistence, B-euler-converges, B-faster, B-better, B-equal-updates, B-equal-gradients,
    B-equal-rate.

    Args:
        generator: G, (b, k) -> (b, d), changed in place.
        potential: phi, updated in place.
        latent: law of z.
        optimizer: of the generator's parameters.
        rule: dt, K and the scheme.
        batch_size: points per step, of phi and of theta.
        rng: of every draw.

    Yields:
        mean((G(z) - y1)^2) before the first of the K steps: dt^2 mean ||v||^2 / d.

    Raises:
        FloatingPointError: if that is no longer finite.
    """

    @torch.no_grad()
    def draw(count: int) -> Tensor:
        return generator(latent(count, rng))

    before: tuple[nn.Module, Potential] | None = None
    while True:
        potential.update(draw, batch_size, rng)
        z = latent(batch_size, rng)
        with torch.no_grad():
            y = generator(z).detach()  # of free particles it is the parameter itself
        v = potential.velocity(y)
        if rule.scheme == "ab2":
            if before is not None:
                v = 1.5 * v - 0.5 * _velocity_at(*before, z)
            before = copy.deepcopy(generator), potential.frozen()
        target = y + rule.dt * v
        first = None
        for _ in range(rule.persistence):
            loss = (generator(z) - target).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            first = loss.detach() if first is None else first
        if first is None or not bool(torch.isfinite(first)):
            raise FloatingPointError("the distance to the Euler targets is not finite: lower lr_theta or dt")
        yield first


def _velocity_at(generator: nn.Module, potential: Potential, z: Tensor) -> Tensor:
    with torch.no_grad():
        y = generator(z)
    return potential.velocity(y)
