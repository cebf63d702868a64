"""WGAN, and WGAN with naive persistence: K theta-steps on mean(-phi(G(z))) per round of the critic.

repeat

    phi   <- some critic steps
    theta <- K steps on mean(-phi(G(z))), one fresh batch z                 (K = 1: WGAN)

For K > 1 ("naive persistent training" of Malik and Huang) there are two readings. "recomputed": the loss is taken
anew before each step. "stale": its gradient is taken once and applied K times, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from companion.algorithms.potentials import Critic
from otgrad.measures import Sampler


def wgan(
    generator: nn.Module,
    critic: Critic,
    latent: Sampler,
    optimizer: torch.optim.Optimizer,
    persistence: int,
    batch_size: int,
    rng: torch.Generator,
    *,
    stale: bool = False,
) -> Iterator[Tensor]:
    """Train without end, yielding after every outer step. Claims: B-naive.

    Args:
        generator: G, (b, k) -> (b, d), changed in place.
        critic: phi, updated in place.
        latent: law of z.
        optimizer: of the generator's parameters.
        persistence: K >= 1.
        batch_size: points per step, of phi and of theta.
        rng: of every draw.
        stale: the reading of naive persistence.

    Yields:
        mean(-phi(G(z))) before the first of the K steps.

    Raises:
        ValueError: if K < 1.
        FloatingPointError: if the loss is no longer finite.
    """
    if persistence < 1:
        raise ValueError(f"persistence = {persistence}: give an integer >= 1")

    @torch.no_grad()
    def draw(count: int) -> Tensor:
        return generator(latent(count, rng))

    while True:
        critic.update(draw, batch_size, rng)
        z = latent(batch_size, rng)
        first = None
        for step in range(persistence):
            if step == 0 or not stale:
                loss = -critic.network(generator(z)).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                first = loss.detach() if first is None else first
            optimizer.step()
        if first is None or not bool(torch.isfinite(first)):
            raise FloatingPointError("the generator's loss is not finite: lower lr_theta or the critic's rate")
        yield first
