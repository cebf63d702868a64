"""The 2-D experiment: four laws of the plane, and the networks and loops of both papers on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from companion.algorithms.algorithm1 import algorithm1
from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.algorithms.potentials import Critic, CriticRule, Potential, SemiDiscrete
from companion.algorithms.problem import Problem
from companion.algorithms.w1fe import EulerRule, w1fe
from companion.algorithms.wgan import wgan
from companion.persistence.arms import CRITIC_METHODS, LAW_NAMES, PlanarConfig
from companion.persistence.experiments import Experiment
from companion.scores.distances import exact_w1, slope_cosine
from otgrad.measures import DiscreteMeasure, Normal, rng_device
from otgrad.solvers.stochastic import AsgdState, StepRule

LATENT = Normal(2, std=0.05)
EVAL_POINTS = 512  # of each cloud of a measured W1, whatever the batch of the training

Rng = torch.Generator | Sequence[torch.Generator] | None
Law = Callable[[int, Rng], Tensor]
"""A law of the plane: (b, generator) -> points (b, 2); of several generators one cloud each, (len, b, 2)."""


def gaussians(count: int) -> Law:
    """Mixture of `count` Gaussians, std 0.1, on the circle of radius 1, in equal parts (the last draws at random)."""

    def sample(b: int, rng: Rng = None) -> Tensor:
        mode = torch.arange(b, device=_device(rng)) % count
        if b % count:
            rest = (count * _uniform(b % count, rng)).long()
            mode = torch.cat([mode[: b - b % count].expand(*rest.shape[:-1], -1), rest], -1)
        angle = 2 * math.pi / count * mode
        return torch.stack([angle.cos(), angle.sin()], -1) + _noise(b, 0.1, rng)

    return sample


def swiss_roll(b: int, rng: Rng = None) -> Tensor:
    """Spiral of one and a half turns in the unit disc, with noise of std 0.05."""
    t = 0.5 + _uniform(b, rng)  # turns / 1.5, from the third quarter of a turn on
    angle = 3 * math.pi * t
    return (t / 1.5)[..., None] * torch.stack([angle.cos(), angle.sin()], -1) + _noise(b, 0.05, rng)


def checkerboard(b: int, rng: Rng = None) -> Tensor:
    """Uniform on the eight black fields of a 4 x 4 board on [-1, 1]^2."""
    field = (8 * _uniform(b, rng)).long()
    row, column = field // 2, 2 * (field % 2) + field // 2 % 2
    within = torch.stack([_uniform(b, rng), _uniform(b, rng)], -1)
    return (torch.stack([column, row], -1) + within) / 2 - 1


def numbers(draw: Callable[..., Tensor], shape: tuple[int, ...], rng: Rng) -> Tensor:
    """Numbers of this shape by `draw`, torch.rand or torch.randn; of several generators (len, *shape)."""
    if isinstance(rng, Sequence):
        return torch.stack([numbers(draw, shape, one) for one in rng])
    return draw(shape, generator=rng, device=_device(rng))


def _uniform(b: int, rng: Rng) -> Tensor:
    return numbers(torch.rand, (b,), rng)


def _noise(b: int, std: float, rng: Rng) -> Tensor:
    return std * numbers(torch.randn, (b, 2), rng)


def _device(rng: Rng) -> torch.device:
    return rng_device(rng[0] if isinstance(rng, Sequence) else rng)


LAWS: dict[str, Law] = dict(zip(LAW_NAMES, (gaussians(8), gaussians(4), swiss_roll, checkerboard), strict=True))


def planar_generator(seed: int) -> ResidualMlp:
    """Build G, the same in every arm."""
    return ResidualMlp((2, 128, 128, 128, 2), seed)


def planar_critic(seed: int) -> CriticMlp:
    """Build phi, the same in every arm with a critic."""
    return CriticMlp((2, 128, 128, 128), seed + 4_000_037)


def held_out(law: str, seed: int) -> tuple[Tensor, Tensor]:
    """Data x and latents z, (512, 2) each, of all looks: one cloud and one batch, as with the authors of paper B."""
    rng = torch.Generator().manual_seed(seed + 1_000_003)
    return LAWS[law](EVAL_POINTS, rng), LATENT(EVAL_POINTS, rng)


class PlanarRun(Experiment):
    """One seed of one arm in the plane."""

    def __init__(self, config: PlanarConfig, seed: int, device: str = "cpu") -> None:
        """Build networks, optimizers and the loop; the same seed gives the same initial weights in every arm."""
        inner = config.critic_steps if config.method in CRITIC_METHODS else config.psi_steps
        inner = 1 if config.method.endswith("exact") else inner  # a solve counts as one
        updates = 1 if config.method == "ot" else config.persistence
        taken = 1 if config.method == "wgan-stale" else updates
        super().__init__(seed, device, updates, taken + inner)
        self.config, self.law = config, LAWS[config.law]
        self._x, self._z = (points.to(device) for points in held_out(config.law, seed))
        self.generator = planar_generator(seed).to(device)
        optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.lr_factor * config.lr_theta, fused=True)
        self.potential = self._potential(seed)
        self._loop = self._start(optimizer)

    def _potential(self, seed: int) -> Potential:
        config = self.config
        if config.method not in CRITIC_METHODS:
            atoms = self.law(config.atoms, torch.Generator(self.rng.device).manual_seed(seed + 2_000_003))
            p, steps = 1 if config.method.startswith("w1fe") else 2, config.psi_steps
            steps = 0 if config.method.endswith("exact") else steps
            return SemiDiscrete(DiscreteMeasure.from_atoms(atoms), p, config.lam, steps)
        network = planar_critic(seed).to(self.rng.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.lr_critic, fused=True)
        rule = CriticRule(config.penalty, steps=config.critic_steps)  # type: ignore[arg-type]
        return Critic(network, optimizer, self.law, rule)

    def _start(self, optimizer: torch.optim.Optimizer) -> Iterator[Any]:
        config, phi, common = self.config, self.potential, (self.config.batch_size, self.rng)
        if isinstance(phi, SemiDiscrete) and config.method == "ot":
            return self._algorithm1(Problem(LATENT, phi.semidual), phi, optimizer)
        if isinstance(phi, Critic) and config.method.startswith("wgan"):
            stale = config.method == "wgan-stale"
            return wgan(self.generator, phi, LATENT, optimizer, config.persistence, *common, stale=stale)
        rule = EulerRule(config.dt, config.persistence, "ab2" if config.method.endswith("ab2") else "euler")
        return w1fe(self.generator, phi, LATENT, optimizer, rule, *common)

    def _algorithm1(self, problem: Problem, phi: SemiDiscrete, optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
        config, start = self.config, AsgdState.zeros(phi.target)
        common = config.psi_steps, config.batch_size, self.rng
        for phi.state, value in algorithm1(self.generator, problem, start, optimizer, StepRule(), *common):
            yield value

    def score(self) -> dict[str, float]:
        """W1 to the held-out data, and the mean cosine of phi's slopes with the exact ones."""
        y = self.samples()
        w1, partners = exact_w1(self._x, y)
        return {"w1": w1, "cosine": slope_cosine(self.potential.velocity(y), y, partners)}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Samples (512, 2) of the held-out latents."""
        return self.generator(self._z)


def sampling_floor(law: str, seed: int, repeats: int = 10) -> float:
    """Mean W1 between two fresh clouds of the law itself: what a perfect generator would show."""
    rng = torch.Generator().manual_seed(seed + 5_000_011)
    return sum(exact_w1(*(LAWS[law](EVAL_POINTS, rng) for _ in "xy"))[0] for _ in range(repeats)) / repeats
