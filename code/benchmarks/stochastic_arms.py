"""Solvers that draw batches from the pool: this library's, the authors', plain SGD, POT's and OTT-JAX's.

Signature and rules: solver_arms.py. Every one draws BATCH points at a time with replacement, from the same pool.
"""

from __future__ import annotations

import sys

import numpy as np

from peers import torch_tensors
from problems import Problem
from worker import need

BATCH = 200


def sampler(points, seed: int = 0):
    """Rows of `points` drawn with replacement."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    return lambda b, _=None: points[torch.randint(len(points), (b,), generator=rng)]


def estimator(problem: Problem, lam: float, parameter: None, clock) -> None:
    """The library's default: SemiDiscreteOT.fit's steps, no setting. Packing the atoms counts."""
    import torch

    from otgrad.costs import Cost
    from otgrad.measures import DiscreteMeasure
    from otgrad.semidual import SemiDual
    from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step

    draw, cost, rule = sampler(torch.from_numpy(problem.x)), Cost(scale=problem.scale), StepRule()
    few = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y[:1024]), unit=1 / 255)
    asgd_step(draw(8), SemiDual(few, lam, cost), state=AsgdState.zeros(few), rule=rule)  # builds what is built once
    clock.start()
    target = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y), unit=1 / 255)
    state, semidual = AsgdState.zeros(target), SemiDual(target, lam, cost)
    while True:
        asgd_step(draw(256), semidual, state=state, rule=rule)
        clock(state.average.numpy)


def psi_gradient(x, y, y_sq, psi, lam):
    """Gradient nu - p of a batch in torch, in place: what a careful user writes."""
    import torch

    scores = torch.addmm((psi - y_sq) / lam, x, y.T, alpha=2 / lam)
    scores.sub_(scores.amax(1, keepdim=True)).clamp_(min=-80).exp_()
    return 1 / len(y) - (1 / (len(x) * scores.sum(1))) @ scores


def constant_step(problem: Problem, lam: float, step: float, clock, relative: bool = True) -> None:
    """The authors' ASGD: autograd, a constant step (5, or a multiple of n lam), the plain average of the iterates."""
    import torch

    from peers import transform

    x, y, y_sq, psi = torch_tensors(problem, np.zeros(problem.n, np.float32))
    draw, mean, step = sampler(x), torch.zeros_like(psi), step * problem.n * lam if relative else step
    clock.start()
    for k in range(1, sys.maxsize):
        psi.requires_grad_()
        value = transform(draw(BATCH), y, y_sq, psi, lam)[1].mean() + psi.mean()
        (gradient,) = torch.autograd.grad(value, psi)
        psi = psi.detach() + step * gradient
        mean.lerp_(psi, 1 / k)
        clock(mean.numpy)


def decreasing_step(problem: Problem, lam: float, step: float, clock) -> None:
    """Plain SGD with the step n lam / sqrt(k) and the average whose weights grow like k^3."""
    import torch

    x, y, y_sq, psi = torch_tensors(problem, np.zeros(problem.n, np.float32))
    draw, mean = sampler(x), torch.zeros_like(psi)
    clock.start()
    for k in range(1, sys.maxsize):
        psi += step * problem.n * lam / k**0.5 * psi_gradient(draw(BATCH), y, y_sq, psi, lam)
        mean.lerp_(psi, 4 / (3 + k))
        clock(mean.numpy)


def pot_default(problem: Problem, lam: float, parameter: None, clock) -> None:
    """POT's solve_semidiscrete with the settings that it comes with."""
    pot_run(problem, lam, clock, {})


def pot_tuned(problem: Problem, lam: float, step: float, clock, drag: bool) -> None:
    """The same with this track's batch, and lr0 for the normalised cost; with or without decreasing regularisation."""
    settings = {"batch_size": BATCH, "lr0": step * problem.n * lam, "decreasing_reg": drag}
    pot_run(problem, lam, clock, settings)


def pot_run(problem: Problem, lam: float, clock, settings: dict) -> None:
    """Run POT's solver; it has no callback, so its sampler reads the average in the frame that calls it."""
    solve = need("ot.semidiscrete").solve_semidiscrete
    x, y, _, _ = torch_tensors(problem, np.zeros(problem.n, np.float32))
    draw, begun = sampler(x), []

    def draw_and_show(batch_size: int):
        if begun:
            clock(sys._getframe(1).f_locals["g_avg"].numpy)
        begun.append(True)
        return draw(batch_size)

    clock.start()
    solve(y, draw_and_show, reg=lam, max_iter=sys.maxsize, **settings)


def ott(problem: Problem, lam: float, step: float, clock, default: bool = False) -> None:
    """OTT-JAX's SemidiscreteSolver, its jitted step in a loop; tuned: n lam / sqrt(k), with a real average.

    By default it keeps no average, so that the last iterate is what it would return and what is shown. Its own loop
    takes its iterations by the thousand; here it is looked at after each.
    """
    jax, jnp, optax = need("jax"), need("jax.numpy"), need("optax")
    semidiscrete = need("ott.solvers.linear.semidiscrete")
    cloud = need("ott.geometry.semidiscrete_pointcloud").SemidiscretePointCloud
    linear = need("ott.problems.linear.semidiscrete_linear_problem").SemidiscreteLinearProblem
    x, y = map(jnp.asarray, problem.in_cost_units())
    rate = step if default else lambda k: step * problem.n * lam / jnp.sqrt(k + 1.0)
    more = {} if default else {"potential_ema": 0.01}
    count = 100_000  # length of its own records; a run ends long before
    solver = semidiscrete.SemidiscreteSolver(num_iterations=count, batch_size=BATCH, optimizer=optax.sgd(rate), **more)
    records = [jnp.full((size,), jnp.inf) for size in (count, count, count // 1000)]
    g = jnp.zeros(problem.n)
    first = semidiscrete.SemidiscreteState(jnp.array(0), jnp.array(lam), g, g, solver.optimizer.init(g), *records)

    @jax.jit
    def advance(key, state, x, y):  # the points are arguments: as constants, the compiler would compute with them
        def draw(key, shape, dtype=None):
            return x[jax.random.randint(key, shape[:1], 0, len(x))]

        return solver.step(key, state, linear(cloud(draw, y, epsilon=lam)))

    keys = jax.random.split(jax.random.key(0), count)
    state = first
    jax.block_until_ready(advance(keys[0], first, x, y))
    clock.start()
    for key in keys:
        state = jax.block_until_ready(advance(key, state, x, y))
        clock(lambda state=state: state.g_ema)
