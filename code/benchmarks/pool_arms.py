"""Solvers that see the whole pool: this library's, Sinkhorn's algorithm by four libraries, and L-BFGS.

Signature and rules: solver_arms.py. Forming the costs counts as solver's time; those who store them say so.
"""

from __future__ import annotations

import numpy as np

from peers import torch_tensors
from problems import GAPS, Problem
from worker import NotInstalled, need

ROWS = 16  # of a stored matrix handled at once, so that they stay in cache: half the time of 512


def fixed_source(problem: Problem, lam: float, parameter: None, clock, certified: bool = False) -> None:
    """The library's solver on a fixed source: one run watched, or called anew for every gap that it is to certify."""
    import torch

    from otgrad.costs import Cost
    from otgrad.measures import DiscreteMeasure

    try:
        from otgrad.semidual import SemiDual
        from otgrad.solvers.certified import solve_certified
    except ImportError as error:
        raise NotInstalled("otgrad.solvers.certified") from error
    x, cost = torch.from_numpy(problem.x), Cost(scale=problem.scale)
    few = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y[:1024]), unit=1 / 255)
    solve_certified(x[:64], None, SemiDual(few, 1.0, cost), tol=None, max_passes=1)  # builds what is built once
    for tol in GAPS if certified else (None,):
        clock.start()
        semidual = SemiDual(DiscreteMeasure.from_atoms(torch.from_numpy(problem.y), unit=1 / 255), lam, cost)
        if certified:
            found = solve_certified(x, None, semidual, tol=tol)
            clock(found.psi.numpy, look=True)
        else:
            seen = [0.0]  # a step of a whole pass is Newton's result on the pairs: always looked at

            def watch(psi, passes, seen=seen):
                long, seen[0] = passes - seen[0] > 0.9, passes
                clock(psi.numpy, look=long)

            solve_certified(x, None, semidual, tol=min(GAPS), watch=watch)


def stored_costs(x, y):
    """Costs (b, n) in one float32 array."""
    import torch

    costs = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    return costs.add_(x.square().sum(1)[:, None])


def value_and_marginal(costs, psi, lam):
    """F(psi) and the second marginal of psi's plan, by tiles of rows that stay in cache."""
    import torch

    (b, n), marginal, total = costs.shape, torch.zeros_like(psi), 0.0
    for tile in costs.split(ROWS):
        scores = (psi - tile).div_(lam)
        top = scores.amax(1, keepdim=True)
        scores.sub_(top).clamp_(min=-80).exp_()
        z = scores.sum(1)
        marginal += (1 / (b * z)) @ scores
        total += float((top[:, 0] + z.log()).double().sum())
    return -lam * (total / b - np.log(n)) + float(psi.double().mean()), marginal


def torch_sinkhorn(problem: Problem, lam: float, parameter: None, clock) -> None:
    """Sinkhorn's algorithm in torch, in place on stored costs, one pass an iteration: psi += lam log(nu / p)."""
    x, y, _, psi = torch_tensors(problem, np.zeros(problem.n, np.float32))
    clock.start()
    costs = stored_costs(x, y)
    while True:
        _, marginal = value_and_marginal(costs, psi, lam)
        psi -= lam * (marginal * problem.n).clamp(min=1e-30).log()
        clock(psi.numpy)


def torch_lbfgs(problem: Problem, lam: float, unit: float, clock) -> None:
    """torch.optim.LBFGS with strong Wolfe steps on stored costs; psi in units of n lam, or the first step is tiny."""
    import torch

    x, y, _, psi = torch_tensors(problem, np.zeros(problem.n, np.float32))
    unit *= problem.n * lam
    u = torch.zeros_like(psi).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [u], lr=1, max_iter=10**9, max_eval=10**9, history_size=20, line_search_fn="strong_wolfe"
    )
    optimizer.param_groups[0].update(tolerance_grad=0, tolerance_change=0)
    best = [-np.inf, psi]
    clock.start()
    costs = stored_costs(x, y)

    def closure():
        psi = unit * u.detach()
        value, marginal = value_and_marginal(costs, psi, lam)
        if value > best[0]:
            best[:] = value, psi
        u.grad = unit * (marginal - 1 / problem.n)
        clock(best[1].numpy)
        return torch.tensor(-value)

    optimizer.step(closure)


def pot_sinkhorn(problem: Problem, lam: float, parameter: None, clock) -> None:
    """POT's log-domain Sinkhorn on torch tensors (costs stored), some iterations at a time from where it was."""
    import torch

    pot = need("ot.bregman")
    x, y, _, _ = torch_tensors(problem, np.zeros(problem.n, np.float32))
    w, nu = torch.full((len(x),), 1 / len(x)), torch.full((len(y),), 1 / len(y))
    clock.start()
    costs, at = stored_costs(x, y), (torch.zeros_like(w), torch.zeros_like(nu))
    while True:
        settings = {"numItermax": 2, "stopThr": 0.0, "warn": False, "log": True, "warmstart": at}
        _, log = pot.sinkhorn_log(w, nu, costs, lam, **settings)
        at = log["log_u"], log["log_v"]
        clock((lam * (at[1] - nu.log())).numpy, 2)


def ott_sinkhorn(problem: Problem, lam: float, momentum: float, clock, stored: bool) -> None:
    """OTT-JAX's Sinkhorn, costs stored or formed anew by blocks of rows; two iterations at a time."""
    jax, jnp = need("jax"), need("jax.numpy")
    pointcloud, linear = need("ott.geometry.pointcloud"), need("ott.problems.linear.linear_problem")
    module, acceleration = need("ott.solvers.linear.sinkhorn"), need("ott.solvers.linear.acceleration")
    x, y = map(jnp.asarray, problem.in_cost_units())
    counts = {"min_iterations": 2, "max_iterations": 2, "inner_iterations": 2}
    solver = module.Sinkhorn(threshold=0.0, momentum=acceleration.Momentum(value=momentum), **counts)

    @jax.jit
    def form(x, y):  # the points are arguments: as constants, the compiler would compute with them for minutes
        return pointcloud.PointCloud(x, y).cost_matrix if stored else jnp.zeros((1, 1))

    @jax.jit
    def run(f, g, costs, x, y):
        online = pointcloud.PointCloud(x, y, epsilon=lam, batch_size=min(1024, len(x)))
        geometry = need("ott.geometry.geometry").Geometry(cost_matrix=costs, epsilon=lam) if stored else online
        return solver(linear.LinearProblem(geometry), init=(f, g)).potentials

    f, g = jnp.zeros(len(x)), jnp.zeros(len(y))
    run = run.lower(f, g, jax.eval_shape(form, x, y), x, y).compile()
    form = form.lower(x, y).compile()
    clock.start()
    costs = form(x, y)
    while True:
        f, g = jax.block_until_ready(run(f, g, costs, x, y))
        clock(lambda g=g: g + lam * np.log(problem.n), 2)


def geomloss(problem: Problem, lam: float, scaling: float, clock, backend: str) -> None:
    """GeomLoss's annealed Sinkhorn; its cost is half of ours. One call anneals to the end and gives one potential.

    Called again with slower annealing until the driver has seen enough: each time is that of a whole call.
    """
    need("pykeops")
    loss = need("geomloss").SamplesLoss
    x, y, _, _ = torch_tensors(problem, np.zeros(problem.n, np.float32))

    def solve(points, atoms, ratio):
        settings = {"blur": (lam / 2) ** 0.5, "scaling": ratio, "debias": False, "potentials": True}
        return loss("sinkhorn", p=2, backend=backend, **settings)(points, atoms)[1]

    solve(x[:16], y[:16], scaling)  # compiles
    for ratio in (scaling, 1 - (1 - scaling) / 4, 1 - (1 - scaling) / 16):
        clock.start()
        g = solve(x, y, ratio)
        clock(lambda g=g: 2 * g.detach().flatten(), look=True)
