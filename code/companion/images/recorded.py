"""Training as the authors did it, for the losses that they recorded: psi's steps constant, last iterate or mean.

Their code: SDOT, the notebook of 2021 and the branch of the TMLR paper; figures/reference/recorded.csv has the losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from companion.algorithms.algorithm1 import algorithm1, ascend_psi
from companion.algorithms.networks import LATENT_DIM, make_generator, make_potential
from companion.algorithms.problem import Problem
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Normal, Uniform
from otgrad.semidual import SemiDual
from otgrad.solvers.certified import solve_certified
from otgrad.solvers.stochastic import AsgdState, StepRule

SHAPE = (28, 28)


@dataclass(frozen=True)
class Budget:
    """How the generator and psi are trained.

    Attributes:
        outer_steps: on theta, by Adam with rate lr_theta.
        inner_steps: on psi before each, of constant length lr_psi, in units of the cost.
        batch_size: points per step of either.
        averaged: whether theta's step takes the mean of the inner steps, as in 2021, or the last (the sequel).
    """

    outer_steps: int
    inner_steps: int
    batch_size: int
    lr_theta: float
    lr_psi: float
    averaged: bool = False

    @property
    def rule(self) -> StepRule:
        """Psi's steps; torch's ASGD also shrinks psi by 1e-4 lr_psi per step, which is left out."""
        return StepRule("plain", self.lr_psi, power=0, averaging=0 if self.averaged else None)


def sequel(y: Tensor, lam: float) -> Problem:
    """Images y (n, 784) in [0, 1], the cost ||x - y||^2 / mean ||y||^2, latents uniform on [-1, 1]^100."""
    law = DiscreteMeasure.from_atoms(y)
    return Problem(Uniform(LATENT_DIM), SemiDual(law, lam, Cost().normalized(law.y, law.nu)))


def notebook(y: Tensor, lam: float) -> Problem:
    """The square-root notebook of 2021: images in [-1, 1], the cost ||x - y|| / sqrt(d), latents N(0, I_100)."""
    return Problem(Normal(LATENT_DIM), SemiDual.of(2 * y - 1, None, lam, Cost(1.0, y.shape[1] ** 0.5)))


def make_tanh_generator(seed: int) -> nn.Module:
    """The notebook's MLP, which ends in tanh."""
    generator = make_generator("mlp", SHAPE, seed)
    assert isinstance(generator, nn.Sequential)
    return nn.Sequential(*generator[:-1], nn.Tanh())


def losses(generator: nn.Module, problem: Problem, budget: Budget, seed: int) -> Iterator[Tensor]:
    """Train where the atoms lie; yield F(psi, theta) on each theta-step's batch before the step, a scalar tensor."""
    device = problem.semidual.law.y.device
    optimizer = torch.optim.Adam(generator.parameters(), lr=budget.lr_theta, fused=device.type == "cuda")
    start, rng = AsgdState.zeros(problem.semidual.law), torch.Generator(device).manual_seed(seed + 3_000_003)
    steps = budget.inner_steps, budget.batch_size
    loop = algorithm1(generator, problem, start, optimizer, budget.rule, *steps, rng)
    for _ in range(budget.outer_steps):
        yield next(loop)[1]


def on_minibatches(
    generator: nn.Module, y: Tensor, lam: float, atoms: int, budget: Budget, seed: int
) -> Iterator[Tensor]:
    """Train as the sequel does on batches of the data, psi a network of the atoms; yield F on each theta-step's batch.

    Psi's network by plain steps of length lr_psi. F is that of `atoms` images drawn anew at every step, which is
    below zero where the network's psi, made for other images, does not suit them: no bound of a transport cost.
    `# ASSUME:` new atoms at every step of either network.
    """
    rng, latent = torch.Generator().manual_seed(seed + 3_000_003), Uniform(LATENT_DIM)
    potential = make_potential(y.shape[1], seed)
    climb = torch.optim.SGD(potential.parameters(), lr=budget.lr_psi, maximize=True)
    descend = torch.optim.Adam(generator.parameters(), lr=budget.lr_theta)
    cost = Cost().normalized(y, torch.full((len(y),), 1 / len(y)))

    def value(ascending: bool) -> Tensor:
        some = y[torch.randint(len(y), (atoms,), generator=rng)]
        psi = potential(some)
        with torch.set_grad_enabled(not ascending):
            x = generator(latent(budget.batch_size, rng))
        return SemiDual.of(some, None, lam, cost).transform(x, psi).mean() + psi.mean()

    for _ in range(budget.outer_steps):
        for _ in range(budget.inner_steps):
            climb.zero_grad()
            value(ascending=True).backward()
            climb.step()
        loss = value(ascending=False)
        descend.zero_grad()
        loss.backward()
        descend.step()
        yield loss.detach()


def fixed_batch(y: Tensor, lams: tuple[float, float], budget: Budget, tol: float, seed: int) -> dict[str, float]:
    """Dual values of one batch of an untrained DCGAN against all atoms, by name.

    optimum (within tol of it), last and average after `inner_steps` steps on that batch, all at the first lam; start,
    psi = 0 at the second.
    """
    rng, problem = torch.Generator().manual_seed(seed), sequel(y, lams[0])
    with torch.no_grad():
        x = make_generator("dcgan", SHAPE, seed)(problem.latent(budget.batch_size, rng))
    found = {"optimum": solve_certified(x, None, problem.semidual, tol=tol).value}
    fixed = Problem(lambda *_: x, problem.semidual)
    for name, averaging in (("last", None), ("average", 0.0)):
        rule = StepRule("plain", budget.lr_psi, power=0, averaging=averaging)
        zero = AsgdState.zeros(problem.semidual.law)
        state = ascend_psi(nn.Identity(), fixed, zero, rule, budget.inner_steps, budget.batch_size, rng)
        found[name] = float(problem.semidual.value(x, state.average)[0])
    at = problem.semidual.at(lams[1])
    return found | {"start": float(at.value(x, torch.zeros(len(y)))[0])}
