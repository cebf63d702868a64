"""Algorithm 1 with worse and better inner loops at one lam: the solver's error told apart from a missing gradient.

The counterexample fails because half of the model's mass ties between two atoms, and no psi helps. If that were what
limits training at lam = 0 on images, samples would tie, and better inner loops would not help; if it is the solver's
error that limits it, they do, and the same at a small lam > 0, where the gradient exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from companion.algorithms.algorithm1 import algorithm1, sample_images
from companion.algorithms.networks import LATENT_DIM, make_generator
from companion.algorithms.problem import Problem
from companion.scores.transport import exact_w2
from otgrad.costs import Cost
from otgrad.ctransform import heights
from otgrad.measures import DiscreteMeasure, Uniform
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers.stochastic import AsgdState, StepRule

JUDGED = 1000  # samples, and held-out images, of W2
MARGINAL_POINTS = 20_000  # on which psi is judged: ten an atom, where there are 2,000
TIE = 1e-6  # of the cost's scale: what float32 does not tell apart


@dataclass(frozen=True)
class StabilityConfig:
    """One arm.

    Attributes:
        lam: regularisation >= 0, in units of the cost divided by mean ||y||^2.
        inner_steps: psi-steps before each theta-step.
        averaging: whether the theta-step uses the averaged psi (else the last iterate, from which psi goes on).
        n_train: atoms, the first training images.
        outer_steps: theta-steps.
        batch_size: points per step.
        lr_theta: Adam's step size.
        seed: of network and draws.
    """

    lam: float
    inner_steps: int
    averaging: bool
    n_train: int
    outer_steps: int
    batch_size: int
    lr_theta: float
    seed: int

    def rule(self) -> StepRule:
        """Return the rule of the psi-steps."""
        return StepRule() if self.averaging else StepRule(averaging=None)


def follow(config: StabilityConfig, y: Tensor, held_out: Tensor, shape: tuple[int, int]) -> dict[str, float]:
    """Train on images y (n, h w) in [0, 1] and judge the end against others, held_out (m, h w). Claims: A-solver-error.

    Returns:
        marginal_error: L1 error of the second marginal at the psi in use, on fresh points: the solver's error.
        ties: share of these points whose two best atoms are equally good for the psi in use, to 1e-6 of the scale.
        near_ties: the same to 1e-3.
        swing: noise of the batch's semi-dual value in the second half, see `swing`.
        w2: exact W2 between samples and as many held-out images, the same yardstick for every lam.
    """
    problem = _problem(config, y)
    generator = make_generator("mlp", shape, config.seed)
    optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr_theta)
    rng, state = torch.Generator().manual_seed(config.seed + 3_000_003), AsgdState.zeros(problem.semidual.law)
    given = config.rule(), config.inner_steps, config.batch_size, rng
    course = islice(algorithm1(generator, problem, state, optimizer, *given), config.outer_steps)
    values, psi = [], state.average
    for latest, value in course:
        psi = latest.average
        values.append(float(value))
    x = sample_images(generator, problem.latent, min(JUDGED, len(held_out)), rng)
    seen = {"swing": swing(values[len(values) // 2 :]), "w2": exact_w2(x, held_out[: len(x)])}
    return judge_psi(sample_images(generator, problem.latent, MARGINAL_POINTS, rng), problem, psi) | seen


def swing(values: list[float]) -> float:
    """Noise about a trend: root mean square of consecutive differences over sqrt(2), relative to the mean."""
    course = torch.tensor(values, dtype=torch.float64)
    return float(course.diff().square().mean().sqrt() / 2**0.5 / course.mean().abs())


def _problem(config: StabilityConfig, y: Tensor) -> Problem:
    target = DiscreteMeasure.from_atoms(y[: config.n_train])
    return Problem(Uniform(LATENT_DIM), SemiDual(target, config.lam, Cost().normalized(target.y, target.nu)))


def judge_psi(x: Tensor, problem: Problem, psi: Tensor) -> dict[str, float]:
    """Marginal error of psi (n,) on points x (b, d), and how many of them tie between two atoms, or nearly."""
    tiles = heights(x, problem.semidual.law, psi, problem.semidual.cost)
    margins = torch.cat([tile.topk(2, dim=1).values.diff(dim=1).abs() for tile, _ in tiles])
    error = marginal_error(problem.semidual.step(x, psi)[1])
    ties, near = (float((margins < width).double().mean()) for width in (TIE, 1000 * TIE))
    return {"marginal_error": error, "ties": ties, "near_ties": near}
