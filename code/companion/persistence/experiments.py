"""What the experiments of paper B share: the course of a run, the loop of those on images."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from companion.algorithms.potentials import Critic, CriticRule
from companion.algorithms.w1fe import EulerRule, w1fe
from companion.algorithms.wgan import wgan
from companion.persistence.arms import ImageConfig
from otgrad.measures import Sampler, rng_device


class Experiment(ABC):
    """One seed of one arm: `advance` trains, `measure` looks without disturbing the training's draws.

    Attributes:
        step: outer steps taken.
        rng: of the training's draws.
        updates: theta-steps per outer step.
        gradients: batch gradients taken per outer step, of networks and psi.
    """

    _loop: Iterator[Any]

    def __init__(self, seed: int, device: str, updates: int, gradients: int) -> None:
        """Seed the draws of the training."""
        self.step, self.updates, self.gradients = 0, updates, gradients
        self.rng = training_rng(seed, device)

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Measure the generator as it now is."""

    def advance(self, steps: int) -> float:
        """Take outer steps; return the seconds they took."""
        start = time.perf_counter()
        for _ in range(steps):
            next(self._loop)
        self.step += steps
        return time.perf_counter() - start

    def measure(self) -> dict[str, float]:
        """One row: outer steps, theta-steps and batch gradients so far, and the score."""
        updates, gradients = self.step * self.updates, self.step * self.gradients
        return {"step": self.step, "generator_updates": updates, "gradients": gradients} | self.score()

    def follow(
        self, outer_steps: int, every: int, look: Callable[[], None] = lambda: None
    ) -> tuple[list[dict[str, float]], list[tuple[float, float]]]:
        """Train to the end, measuring `every` so many steps.

        Args:
            outer_steps: where the end is.
            every: outer steps between two rows.
            look: called after each measure.

        Returns:
            the rows, the first before training, and at each the seconds of training and of measuring so far.
        """
        rows, seconds, trained, measured = [], [], 0.0, 0.0
        while True:
            start = time.perf_counter()
            rows.append(self.measure())
            measured += time.perf_counter() - start
            seconds.append((trained, measured))
            look()
            if self.step >= outer_steps:
                return rows, seconds
            trained += self.advance(min(every, outer_steps - self.step))


def training_rng(seed: int, device: str | torch.device) -> torch.Generator:
    """Generator of a training's draws."""
    return torch.Generator(device).manual_seed(seed + 3_000_003)


def critic_loop(
    config: ImageConfig, generator: nn.Module, network: nn.Module, latent: Sampler, data: Sampler, rng: torch.Generator
) -> Iterator[Tensor]:
    """Start W1-FE or WGAN with a critic, Adam with betas (0, 0.9) on both networks."""

    def adam(module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=config.lr, betas=(0.0, 0.9), fused=True)

    rule = CriticRule(config.penalty, steps=config.critic_steps)  # type: ignore[arg-type]
    critic, common = Critic(network, adam(network), data, rule), (config.batch_size, rng)
    if config.method == "wgan":
        return wgan(generator, critic, latent, adam(generator), config.persistence, *common)
    return w1fe(generator, critic, latent, adam(generator), EulerRule(config.dt, config.persistence), *common)


def rows_of(images: Tensor) -> Sampler:
    """Law of the rows of images (n, d), each drawn with the same probability, with replacement."""

    def sample(b: int, rng: torch.Generator | None = None) -> Tensor:
        return images[torch.randint(len(images), (b,), generator=rng, device=rng_device(rng))]

    return sample
