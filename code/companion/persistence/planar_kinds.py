"""One outer step of many arms of the 2-D experiment: what they draw, once, and their networks in stacks.

Each arm takes the step of its `planar.PlanarRun`: the loops of `training.w1fe` and `training.wgan` and the critic's
update are written anew on stacks, and held against them by a test. Nothing in a step waits for the device, and all
that it changes keeps its place in memory after the first one, so that it can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.algorithms.potentials import CriticRule
from companion.persistence.arms import PlanarConfig
from companion.persistence.experiments import training_rng
from companion.persistence.planar import (
    LATENT,
    LAWS,
    held_out,
    numbers,
    planar_critic,
    planar_generator,
)
from companion.persistence.stacked import StackedAdam, critic_gradients, critic_points, residual, slopes, stack, unstack

Arm = tuple[PlanarConfig, int]
"""An arm on one seed."""


def pace(arm: Arm) -> tuple[int, int, int, bool]:
    """Batch, critic steps, outer steps and whether the critic has no penalty: what arms in lockstep share."""
    config = arm[0]
    return config.batch_size, config.critic_steps, config.outer_steps, config.penalty == "clip"


def kind(arm: Arm) -> tuple[str, int]:
    """Method and K: what arms in a stack share beside their pace."""
    return arm[0].method, arm[0].persistence


def rates(arm: Arm) -> tuple[float, float]:
    """Adam's rates of G and of phi."""
    return arm[0].lr_factor * arm[0].lr_theta, arm[0].lr_critic


class Draws:
    """What the plain runs of some laws and seeds draw in an outer step, bit by bit, once for all arms that share it.

    Attributes:
        sources: law and seed of each of the G generators.
        rngs: the generators.
        values: (critic steps + 1, G, 5, b): rows of x, of z, and t, for each step of the critic, and z for theta.
    """

    def __init__(self, arms: Sequence[Arm], device: torch.device, dtype: torch.dtype) -> None:
        """Seed the generators as the plain runs do."""
        self.b, critic_steps, _, self.clips = pace(arms[0])
        self.sources = sorted({(config.law, seed) for config, seed in arms})
        self.rngs = [training_rng(seed, device) for _, seed in self.sources]
        self.values = torch.zeros(critic_steps + 1, len(self.rngs), 5, self.b, device=device, dtype=dtype)
        laws = [law for law, _ in self.sources]
        self._rows = {law: slice(laws.index(law), laws.index(law) + laws.count(law)) for law in sorted(set(laws))}

    def fill(self) -> None:
        """Draw for the next outer step, each generator in the order of its plain run."""
        for step in self.values[:-1]:
            for law, rows in self._rows.items():
                step[rows, :2] = LAWS[law](self.b, self.rngs[rows]).mT.to(step.dtype)
            step[:, 2:4] = self._latents()
            if not self.clips:
                step[:, 4] = numbers(partial(torch.rand, dtype=step.dtype), (self.b,), self.rngs)
        self.values[-1, :, 2:4] = self._latents()

    def _latents(self) -> Tensor:
        z = LATENT.mean + LATENT.std * numbers(torch.randn, (self.b, LATENT.k), self.rngs)
        return z.mT.to(self.values.dtype)


class Kind:
    """Arms of one method and one K at one pace, stacked: W1-FE or WGAN as their loops have it, for all at once."""

    def __init__(self, arms: Sequence[Arm], draws: Draws) -> None:
        """Build the stacks of networks and their optimizers."""
        self.arms, self.draws = arms, draws
        (self.method, self.persistence), values = kind(arms[0]), draws.values
        where = {"device": values.device, "dtype": values.dtype}
        self.rows = torch.tensor(
            [draws.sources.index((config.law, seed)) for config, seed in arms], device=values.device
        )
        self.dt = torch.tensor([config.dt for config, _ in arms], **where)[:, None, None]
        self.floor = torch.tensor([-float(config.penalty == "gp") for config, _ in arms], **where)[:, None, None]
        self.held_out = torch.stack([held_out(config.law, seed)[1].mT for config, seed in arms]).to(**where)
        self.generator = [w.requires_grad_() for w in stack([planar_generator(seed) for _, seed in arms], **where)]
        self.critic = stack([planar_critic(seed) for _, seed in arms], **where)
        self.rule = CriticRule()
        lr_theta, lr_critic = zip(*map(rates, arms), strict=True)
        self._generator_adam = StackedAdam(self.generator, lr_theta)
        self._critic_adam = StackedAdam(self.critic, lr_critic)
        self._before: list[Tensor] = []

    def step(self) -> None:
        """Take one outer step of every arm with the draws as they are: the critic's steps, then K theta-steps."""
        x, z, t = self.draws.values.index_select(1, self.rows).split((2, 2, 1), 2)
        with torch.no_grad():  # G is the same in all steps of the critic, and so are its batches
            y = residual(self.generator, z.permute(1, 2, 0, 3)).permute(2, 0, 1, 3)
        self._fit_critic(x[:-1], y[:-1], t[:-1])
        pull = self._pull(y[-1], z[-1])
        gradients: Sequence[Tensor | None] = []
        for k in range(self.persistence):
            if k == 0 or self.method != "wgan-stale":
                moved = residual(self.generator, z[-1])
                gradients = torch.autograd.grad(moved, self.generator, pull(moved.detach()), allow_unused=True)
            self._generator_adam.step(gradients)

    @torch.no_grad()
    def _fit_critic(self, x: Tensor, y: Tensor, t: Tensor) -> None:
        """Take a step on each of the batches (steps, A, 2, b)."""
        clips, rule = self.draws.clips, self.rule
        batches, factors = critic_points(x, y, None if clips else t)
        for points in batches:
            gradients = critic_gradients(self.critic, points, factors, None if clips else self.floor, rule.gp_weight)
            self._critic_adam.step(gradients)
            for weight in self.critic if clips else ():
                weight.clamp_(-rule.clip, rule.clip)

    @torch.no_grad()
    def _pull(self, start: Tensor, z: Tensor) -> Callable[[Tensor], Tensor]:
        """Derivative of each arm's loss in its samples y (A, 2, b), `start` before theta moves, as a function of y."""
        b = z.shape[2]
        if self.method.startswith("wgan"):
            return lambda y: slopes(self.critic, y) / -b
        target = start + self.dt * self._velocity(start, z)
        return lambda y: (y - target) / b  # 2 / (b d), d = 2

    @torch.no_grad()
    def _velocity(self, y: Tensor, z: Tensor) -> Tensor:
        """Velocity of the Euler step, or of Adams-Bashforth, whose first step is Euler's."""
        v = slopes(self.critic, y)
        if self.method != "w1fe-ab2":
            return v
        now, count = [*self.generator, *self.critic], len(self.generator)
        if not self._before:
            self._before = [weights.detach().clone() for weights in now]
            return v
        v_before = slopes(self._before[count:], residual(self._before[:count], z))
        for kept, weights in zip(self._before, now, strict=True):
            kept.copy_(weights)
        return 1.5 * v - 0.5 * v_before

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Samples (A, 2, 512) of the held-out latents."""
        return residual(self.generator, self.held_out)

    def networks(self) -> Iterator[tuple[ResidualMlp, CriticMlp]]:
        """Yield the plain networks of each arm."""
        for k, (_, seed) in enumerate(self.arms):
            generator, critic = planar_generator(seed), planar_critic(seed)
            dtype = self.draws.values.dtype
            yield unstack(self.generator, k, generator.to(dtype)), unstack(self.critic, k, critic.to(dtype))
