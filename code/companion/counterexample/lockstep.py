"""Algorithm 1 on one counterexample under many settings at once, for tables over hundreds of them.

The same steps as `counterexample.run`, which spends nearly all its time on calls for tensors of two numbers; written
anew on tensors with one row per setting, and held against it by a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from companion.counterexample.descent import Instance, Step, Trajectory
from otgrad.solvers.stochastic import SPREAD_FRACTION, StepRule


@dataclass(frozen=True)
class Setting:
    """How one run of Algorithm 1 is made: arguments of `counterexample.run`.

    Raises:
        ValueError: for a step rule other than "plain" and "scaled", or one whose lam decreases.
    """

    lam: float
    inner_steps: int
    rule: StepRule
    step: Step

    def __post_init__(self) -> None:
        """Refuse what is not written here."""
        if self.rule.kind == "sinkhorn" or self.rule.anneal > 0:
            raise ValueError(f"step rule = {self.rule}: give 'plain' or 'scaled', without anneal")

    def shape(self) -> tuple[int, str, float, float]:
        """What runs in lockstep have in common."""
        averaging = -1.0 if self.rule.averaging is None else self.rule.averaging
        return self.inner_steps, self.rule.kind, self.rule.power, averaging


def run_all(
    instance: Instance, settings: Sequence[Setting], iterations: int, batch_size: int = 1, seed: int = 0
) -> list[Trajectory]:
    """Run Algorithm 1 once per setting, all on the same latent draws; see `counterexample.run`.

    Raises:
        FloatingPointError: if a theta is no longer finite.
    """
    found: dict[int, Trajectory] = {}
    for _, group in groupby(
        sorted(enumerate(settings), key=lambda pair: pair[1].shape()), lambda pair: pair[1].shape()
    ):
        places, chosen = zip(*group, strict=True)
        paths = _run_group(instance, chosen, iterations, batch_size, torch.Generator().manual_seed(seed))
        found |= {place: Trajectory(instance, path) for place, path in zip(places, paths, strict=True)}
    return [found[place] for place in range(len(settings))]


def _run_group(
    instance: Instance, settings: Sequence[Setting], iterations: int, batch_size: int, rng: torch.Generator
) -> Tensor:
    """Paths of theta (K, iterations + 1, 2) of K settings of one shape."""
    lam = torch.tensor([setting.lam for setting in settings], dtype=torch.float64)
    theta = torch.tensor(instance.theta_0, dtype=torch.float64).repeat(len(settings), 1)
    psi, path = torch.zeros(len(settings), instance.target.n, dtype=torch.float64), [theta]
    for k in range(iterations):
        psi = _ascend(instance, settings, lam, psi, theta, batch_size, rng)
        x = instance.latent(batch_size, rng) - theta[:, None]
        slopes = 2 * (x - _assignment(x, instance, psi, lam) @ instance.target.y)
        taus = [setting.step(k) if callable(setting.step) else setting.step for setting in settings]
        theta = theta + torch.tensor(taus, dtype=torch.float64)[:, None] * slopes.mean(1)
        path.append(theta)
        if not bool(torch.isfinite(theta).all()):
            raise FloatingPointError(f"theta is not finite after outer step {k + 1}: lower the step on theta")
    return torch.stack(path, dim=1)


def _ascend(
    instance: Instance,
    settings: Sequence[Setting],
    lam: Tensor,
    start: Tensor,
    theta: Tensor,
    batch_size: int,
    rng: torch.Generator,
) -> Tensor:
    """Average of psi (K, n) after one round of ASGD from `start`."""
    inner_steps, _, power, averaging = settings[0].shape()
    psi, average, length = start, start, torch.empty(0, dtype=torch.float64)
    for i in range(1, inner_steps + 1):
        x = instance.latent(batch_size, rng) - theta[:, None]
        if i == 1:
            length = _step_lengths(instance, settings, lam, x)
        psi = psi + length / i**power * (instance.target.nu - _assignment(x, instance, psi, lam).mean(1))
        average = psi if averaging < 0 else average + (averaging + 1) / (averaging + i) * (psi - average)
    return average


def _step_lengths(instance: Instance, settings: Sequence[Setting], lam: Tensor, x: Tensor) -> Tensor:
    """First step on psi (K, n): c, or c times the two terms of the "scaled" rule (asgd)."""
    c = torch.tensor([setting.rule.c for setting in settings], dtype=torch.float64)[:, None]
    if settings[0].rule.kind == "plain":
        return c
    nu, some = instance.target.nu, x[:, :16]
    costs = torch.cdist(some, instance.target.y).square()
    spread = ((costs - (costs @ nu)[..., None]).square() @ nu).sqrt().mean(1, keepdim=True)
    noise = SPREAD_FRACTION * spread * ((1 / nu).clamp(max=x.shape[1]) / nu).sqrt()
    return c * torch.maximum(lam[:, None] / nu, noise)


def _assignment(x: Tensor, instance: Instance, psi: Tensor, lam: Tensor) -> Tensor:
    """pi_j(x) (K, b, n) of points x (K, b, d), with one psi (n,) and one lam per row, one-hot where lam = 0."""
    y, nu = instance.target.y, instance.target.nu
    t = torch.where(lam > 0, lam, 1.0)[:, None, None]
    scores = (psi[:, None] - y.square().sum(1)) / t + 2 / t * (x @ y.T)
    hard = torch.nn.functional.one_hot(scores.argmax(-1), len(nu)).to(scores.dtype)
    return torch.where(lam[:, None, None] > 0, torch.softmax(scores + nu.log(), dim=-1), hard)
