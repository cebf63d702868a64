"""Proposition 1: two instances of g_theta(z) = z - theta at which the gradient formula fails, in closed form and run.

Both have the cost ||x - y||^2 and two atoms of mass 1/2. They are built so that c(x, y_1) - c(x, y_2) takes one value
on the whole support of the model: at psi*(theta_0) every point of the model ties between the two Laguerre cells. Then

    W_c(theta) = W_c^lam(theta) = ||theta - theta*||^2 + Var(zeta) + Var(nu)      for every lam >= 0,

because every coupling costs the same and the product plan has no entropy to pay. The cost is smooth and does not
depend on lam; F(psi*(theta_0), .) has a kink at theta_0 for lam = 0 and none for lam > 0.

Everything is float64, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from companion.algorithms.algorithm1 import ascend_psi, descend_theta
from companion.algorithms.problem import Problem
from otgrad.measures import Dirac, DiscreteMeasure, Sampler, Segment
from otgrad.semidual import SemiDual
from otgrad.solvers.exact import solve_exact
from otgrad.solvers.stochastic import AsgdState, StepRule

Point = tuple[float, float]
Step = float | Callable[[int], float]
"""Step on theta: a number, or a function of the outer iteration k = 0, 1, ..."""


class Translation(nn.Module):
    """g_theta(z) = z - theta, with the parameter theta (2,)."""

    def __init__(self, theta: Point | Tensor) -> None:
        """Start from theta."""
        super().__init__()
        self.theta = nn.Parameter(torch.as_tensor(theta, dtype=torch.float64).clone())

    def forward(self, z: Tensor) -> Tensor:
        """Translate z (b, 2)."""
        return z - self.theta


@dataclass(frozen=True)
class Instance:
    """One counterexample.

    Attributes:
        name: "dirac" or "segment".
        latent: the law zeta.
        latent_mean: its mean.
        latent_variance: E ||z - mean||^2.
        y: the two atoms, of mass 1/2 each.
        theta_0: where descent starts.
        kink_axis: the coordinate of theta along which F(psi*, .) is not differentiable.
    """

    name: str
    latent: Sampler
    latent_mean: Point
    latent_variance: float
    y: tuple[Point, Point]
    theta_0: Point
    kink_axis: int

    @cached_property
    def target(self) -> DiscreteMeasure:
        """The data law nu, uniform on the two atoms."""
        return DiscreteMeasure.from_atoms(torch.tensor(self.y, dtype=torch.float64))

    @cached_property
    def theta_star(self) -> Tensor:
        """Minimiser of W_c (2,): the translation that puts the model's mean on the data's."""
        return torch.tensor(self.latent_mean, dtype=torch.float64) - self.target.y.mean(0)

    @property
    def jump(self) -> float:
        """Right minus left derivative of F(psi*(theta_0), .) along kink_axis, in absolute value: 2 |y_1 - y_2|."""
        return 2 * abs(self.y[0][self.kink_axis] - self.y[1][self.kink_axis])

    def problem(self, lam: float) -> Problem:
        """What Algorithm 1 is given; lam >= 0 in units of ||x - y||^2, not normalised."""
        return Problem(self.latent, SemiDual(self.target, lam))


def dirac() -> Instance:
    """Build the paper's Figure 1: one latent point, y_1 = (0, 1) above y_2 = (0, 0), theta* = (0, 1/2)."""
    # ASSUME: z0 = y_1 + y_2 and theta_0 = (-1, 0). The figure fixes theta* and theta_0's second coordinate; its
    # horizontal scale, hence theta_0's first coordinate, cannot be read.
    z0 = (0.0, 1.0)
    return Instance("dirac", Dirac(z0), z0, 0.0, ((0.0, 1.0), (0.0, 0.0)), (-1.0, 0.0), kink_axis=1)


def segment() -> Instance:
    """Spread zeta evenly on {0} x [0, 1], the interface of y_1 = (-1, 0) and y_2 = (1, 0); theta* = (0, 1/2)."""
    latent = Segment((0.0, 0.0), (0.0, 1.0))
    return Instance("segment", latent, (0.0, 0.5), 1 / 12, ((-1.0, 0.0), (1.0, 0.0)), (-1.0, 0.0), kink_axis=0)


INSTANCES = {"dirac": dirac, "segment": segment}


def transport_cost(instance: Instance, theta: Tensor) -> Tensor:
    """W_c(theta) = W_c^lam(theta) = ||theta - theta*||^2 + Var(zeta) + Var(nu), a scalar; differentiable in theta."""
    y = instance.target.y
    spread = instance.latent_variance + (y - y.mean(0)).square().sum(1).mean()
    return (theta - instance.theta_star).square().sum() + spread


def optimal_psi(instance: Instance, theta: Tensor) -> Tensor:
    """psi*_j(theta) = E c(z - theta, y_j) - mean over j (2,), the same for every lam >= 0; gauge `<nu, psi> = 0`."""
    mean = torch.tensor(instance.latent_mean, dtype=torch.float64) - theta
    costs = (mean - instance.target.y).square().sum(1)
    return costs - costs.mean()


def one_sided_derivatives(instance: Instance, theta_0: Tensor, axis: int) -> tuple[float, float]:
    """Left and right derivative of F(psi*(theta_0), .) at theta_0 along `axis`, for lam = 0.

    All points tie, so F(psi*, theta_0 + t e) = E min_j of two functions equal at t = 0, with the slopes
    2 (theta_0 - z + y_j)_axis: to the right the smaller one counts, to the left the larger one. The derivative of W_c
    is the mean of the two. At lam = 0 the gradient formula returns one of them, whichever the tie is broken to: with
    psi* exact and ties always broken alike, descent goes to the minimiser of one piece alone, not to theta*.
    Claims: A-no-gradient.
    """
    centre = 2 * float(theta_0[axis] - instance.latent_mean[axis])
    slopes = [centre + 2 * y[axis] for y in instance.y]
    return max(slopes), min(slopes)


def gradient_descent(instance: Instance, step: float, iterations: int) -> Tensor:
    """Descent on W_c itself: theta_k = theta* + (1 - 2 step)^k (theta_0 - theta*), (iterations + 1, 2)."""
    powers = (1 - 2 * step) ** torch.arange(iterations + 1, dtype=torch.float64)
    offset = torch.tensor(instance.theta_0, dtype=torch.float64) - instance.theta_star
    return instance.theta_star + powers[:, None] * offset


def two_cycle(instance: Instance, step: float) -> tuple[float, float]:
    """Ends of theta[kink_axis] when the one-sided gradients alternate: theta* -+ step jump / (4 (1 - step))."""
    half = step * instance.jump / (4 * (1 - step))
    centre = float(instance.theta_star[instance.kink_axis])
    return centre - half, centre + half


@dataclass(frozen=True)
class Trajectory:
    """theta_k for k = 0 (the start) to `iterations`, (iterations + 1, 2), of one run on `instance`."""

    instance: Instance
    theta: Tensor

    def errors(self, window: int | None = None) -> Tensor:
        """Distances ||theta_k - theta*|| over the last `window` iterates (None: all)."""
        return torch.linalg.vector_norm(self._last(window) - self.instance.theta_star, dim=1)

    def kink_errors(self, window: int | None = None) -> Tensor:
        """Distances |theta_k - theta*| along kink_axis alone: no sampling noise of zeta enters there."""
        axis = self.instance.kink_axis
        return (self._last(window)[:, axis] - self.instance.theta_star[axis]).abs()

    def amplitude(self, window: int) -> float:
        """Maximum minus minimum of theta along kink_axis over the last `window` iterates."""
        coordinate = self._last(window)[:, self.instance.kink_axis]
        return float(coordinate.max() - coordinate.min())

    def _last(self, window: int | None) -> Tensor:
        return self.theta if window is None else self.theta[-window:]


def run(
    instance: Instance,
    lam: float,
    inner_steps: int,
    rule: StepRule,
    step: Step,
    iterations: int,
    batch_size: int = 1,
    seed: int = 0,
) -> Trajectory:
    """Run Algorithm 1: `inner_steps` of ASGD on psi from the last average, then one gradient step on theta.

    Args:
        instance: the counterexample.
        lam: regularisation >= 0, in units of ||x - y||^2.
        inner_steps: steps on psi per step on theta.
        rule: how psi moves.
        step: step on theta. # Paper: Adam in general; here: plain gradient steps, as its Figure 1 shows.
        iterations: steps on theta.
        batch_size: fresh points per step (1 is exact for the Dirac instance).
        seed: of the latent draws.

    Raises:
        FloatingPointError: if psi or theta is no longer finite.
    """
    problem, rng = instance.problem(lam), torch.Generator().manual_seed(seed)
    state = AsgdState.zeros(problem.semidual.law)

    def next_psi(generator: Translation) -> Tensor:
        nonlocal state
        state = ascend_psi(generator, problem, state, rule, inner_steps, batch_size, rng)
        return state.average

    return descend(instance, problem, next_psi, step, iterations, batch_size, rng)


def run_exact(
    instance: Instance, lam: float, step: Step, iterations: int, batch_size: int = 1, seed: int = 0
) -> Trajectory:
    """Run Algorithm 1 as `run` does, but psi is the optimum on a fresh batch (`solve_exact`). Claims: A-convergence."""
    problem, rng = instance.problem(lam), torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def next_psi(generator: Translation) -> Tensor:
        x = generator(problem.latent(batch_size, rng))
        return solve_exact(x, None, problem.semidual).psi

    return descend(instance, problem, next_psi, step, iterations, batch_size, rng)


def descend(
    instance: Instance,
    problem: Problem,
    next_psi: Callable[[Translation], Tensor],
    step: Step,
    iterations: int,
    batch_size: int,
    rng: torch.Generator,
) -> Trajectory:
    """Take the steps on theta, each with what `next_psi` finds for the generator as it is."""
    generator = Translation(instance.theta_0)
    optimizer = torch.optim.SGD(generator.parameters(), lr=1.0)
    path = [generator.theta.detach().clone()]
    for k in range(iterations):
        psi = next_psi(generator)
        optimizer.param_groups[0]["lr"] = step(k) if callable(step) else step
        descend_theta(generator, problem, psi, optimizer, batch_size, rng)
        path.append(generator.theta.detach().clone())
        if not bool(torch.isfinite(path[-1]).all()):
            raise FloatingPointError(f"theta is not finite after outer step {k + 1}: lower the step on theta")
    return Trajectory(instance, torch.stack(path))


def decreasing(first: float) -> Callable[[int], float]:
    """Steps tau_k = first / (1 + k / 10): their sum diverges, the sum of their squares does not."""
    return lambda k: first / (1 + 0.1 * k)
