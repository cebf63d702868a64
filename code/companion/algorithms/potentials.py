"""Kantorovich potentials for a generator to follow: a critic network, or psi on the atoms of the data.

phi is larger on the data than on the model's samples, and a sample y moves with velocity v(y) = grad phi(y)
(Malik and Huang, the flow dY = grad phi(Y) dt; their phi has the other sign).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor, nn

from companion.algorithms.networks import CriticMlp
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Sampler
from otgrad.semidual import SemiDual
from otgrad.solvers.exact import solve_exact
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_round

Draw = Callable[[int], Tensor]
"""Samples of the model: batch_size -> (b, d), without a graph."""


class Potential(Protocol):
    """What the loops ask of a potential."""

    def update(self, draw: Draw, batch_size: int, rng: torch.Generator) -> None:
        """Fit the potential to the model as it now is."""
        ...

    def velocity(self, y: Tensor) -> Tensor:
        """Compute v (b, d) at points y (b, d), without a graph."""
        ...

    def values(self, y: Tensor) -> Tensor:
        """Compute phi (b,) at points y (b, d), up to a constant, without a graph."""
        ...

    def frozen(self) -> Self:
        """Copy the potential as it now is."""
        ...


@dataclass(frozen=True)
class CriticRule:
    """How a critic is trained.

    Attributes:
        penalty: "gp" (two-sided: (||grad phi|| - 1)^2, Gulrajani et al. 2017), "lp" (one-sided:
            max(||grad phi|| - 1, 0)^2, Petzka et al. 2018) or "clip" (weights cut to [-clip, clip] after every step,
            Arjovsky et al. 2017).
        gp_weight: weight of the penalty.
        clip: the bound of "clip".
        steps: critic steps per update.

    Raises:
        ValueError: on an unknown penalty or a value out of range.
    """

    penalty: Literal["gp", "lp", "clip"] = "lp"
    gp_weight: float = 10.0
    clip: float = 0.01
    steps: int = 5

    def __post_init__(self) -> None:
        """Refuse rules that train nothing."""
        if self.penalty not in ("gp", "lp", "clip"):
            raise ValueError(f"critic penalty = {self.penalty!r}: give 'gp', 'lp' or 'clip'")
        for name in ("gp_weight", "clip", "steps"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"critic {name} = {value}: give a positive finite number")


@dataclass
class Critic:
    """phi as a network (b, d) -> (b,), warm-started from update to update.

    Attributes:
        network: phi.
        optimizer: of its parameters.
        data: law of the data, fresh points at every step.
        rule: how it is trained.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    data: Sampler
    rule: CriticRule

    def update(self, draw: Draw, batch_size: int, rng: torch.Generator) -> None:
        """Take `rule.steps` steps, each on fresh data and fresh samples."""
        for _ in range(self.rule.steps):
            loss = critic_loss(self.network, self.data(batch_size, rng), draw(batch_size), self.rule, rng)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.rule.penalty == "clip":
                with torch.no_grad():
                    for weight in self.network.parameters():
                        weight.clamp_(-self.rule.clip, self.rule.clip)

    def velocity(self, y: Tensor) -> Tensor:
        """Compute grad phi(y) (b, d)."""
        return critic_slopes(self.network, y).detach()

    @torch.no_grad()
    def values(self, y: Tensor) -> Tensor:
        """Compute phi(y) (b,)."""
        return self.network(y)

    def frozen(self) -> Critic:
        """Copy the network; the optimizer stays with the original."""
        return Critic(copy.deepcopy(self.network), self.optimizer, self.data, self.rule)


@dataclass
class SemiDiscrete:
    """phi = -psi^{c,lam} (p = 1) or -psi^{c,lam} / 2 (p = 2), with psi on the atoms of the data by our own solver.

    For p = 1 phi is the potential of W1; for p = 2 that of the cost ||x - y||^2 / 2, so that v(y) = T(y) - y, with T
    the barycentric projection. v is then a multiple of the explicit gradient of Houdard et al. Not in either paper.
    Claims: B-explicit-velocity.

    Attributes:
        target: the data law.
        p: 1 or 2.
        lam: regularisation >= 0, in units of ||x - y||^p.
        steps: psi-steps per update, warm-started from the average; 0: the exact solver on one fresh batch of samples.
        rule: their step rule.
    """

    target: DiscreteMeasure
    p: int
    lam: float = 0.0
    steps: int = 10
    rule: StepRule = StepRule()

    def __post_init__(self) -> None:
        """Start from psi = 0."""
        if self.p not in (1, 2):
            raise ValueError(f"p = {self.p}: give 1 or 2")
        self.semidual = SemiDual(self.target, self.lam, Cost(self.p))
        self.state = AsgdState.zeros(self.target)

    def update(self, draw: Draw, batch_size: int, rng: torch.Generator) -> None:
        """Take `steps` psi-steps on fresh samples, or solve the problem between one batch of them and the atoms."""
        if self.steps == 0:
            solution = solve_exact(draw(batch_size), None, self.semidual)
            self.state.average = solution.psi.to(self.target.nu.dtype)
            return
        options = {"state": self.state, "steps": self.steps, "rule": self.rule}
        self.state = asgd_round(lambda: draw(batch_size), self.semidual, **options)

    def velocity(self, y: Tensor) -> Tensor:
        """Compute -grad psi^{c,lam}(y) / p (b, d)."""
        return -self.semidual.x_grad(y, self.state.average)[1] / self.p

    def values(self, y: Tensor) -> Tensor:
        """Compute -psi^{c,lam}(y) / p (b,)."""
        return -self.semidual.x_grad(y, self.state.average)[0] / self.p

    def frozen(self) -> SemiDiscrete:
        """Copy psi."""
        twin = SemiDiscrete(self.target, self.p, self.lam, self.steps, self.rule)
        twin.state = self.state.restarted()
        return twin


def critic_loss(critic: nn.Module, x: Tensor, y: Tensor, rule: CriticRule, rng: torch.Generator) -> Tensor:
    """Compute -mean(phi(x) - phi(y)) + gp_weight * penalty at random interpolates of data x and samples y, (b, d)."""
    on_samples, on_data = critic(torch.cat([y, x])).split([len(y), len(x)])  # one pass: half the overhead
    loss = on_samples.mean() - on_data.mean()
    if rule.penalty == "clip":
        return loss
    t = torch.rand(len(x), 1, generator=rng, dtype=x.dtype, device=x.device)
    return loss + rule.gp_weight * slope_penalty(critic, torch.lerp(y, x, t), one_sided=rule.penalty == "lp")


def slope_penalty(critic: nn.Module, points: Tensor, *, one_sided: bool) -> Tensor:
    """Mean of h^2 with h = ||grad phi|| - 1, or its positive part, at the points (b, d)."""
    excess = torch.linalg.vector_norm(critic_slopes(critic, points), dim=1) - 1
    return (excess.clamp(min=0) if one_sided else excess).square().mean()


def critic_slopes(critic: nn.Module, points: Tensor) -> Tensor:
    """Compute grad phi (b, d) at the points, differentiable in phi's weights, by autograd unless phi knows better."""
    if isinstance(critic, CriticMlp):
        return critic.slopes(points.detach())
    points = points.detach().requires_grad_()
    return torch.autograd.grad(critic(points).sum(), points, create_graph=True)[0]
