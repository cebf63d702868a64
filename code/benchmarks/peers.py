"""How each peer computes psi^{c,lam}(x) with its psi-gradient, or with its x-gradient.

A function here is (problem, psi, lam, quantity) -> step; step() does the whole work that a solver repeats for a new psi
and returns (values (b,) or their mean, gradient). What depends on y alone may be prepared outside of step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from problems import Problem
from worker import need

Step = Callable[[], tuple]
LEAST_EXPONENT = -80.0  # float32's exp is subnormal, and slow on many CPUs, below -87


def numpy_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str, clamp: bool = False) -> Step:
    """The explicit formula in numpy, in place, in one b x n array; with or without the clamp of the exponent."""
    x, y = problem.in_cost_units()
    (b, n), root = (len(x), len(y)), np.float32(problem.scale**0.5)
    x_sq, y_sq, scores = np.einsum("id,id->i", x, x), np.einsum("jd,jd->j", y, y), np.empty((b, n), np.float32)

    def step():
        np.matmul(x, y.T, out=scores)
        np.multiply(scores, np.float32(2 / lam), out=scores)
        np.add(scores, (psi - y_sq) / np.float32(lam), out=scores)
        top = scores.max(axis=1, keepdims=True)
        np.subtract(scores, top, out=scores)
        if clamp:
            np.maximum(scores, np.float32(LEAST_EXPONENT), out=scores)
        np.exp(scores, out=scores)
        z = scores.sum(axis=1)
        values = x_sq - np.float32(lam) * (top[:, 0] + np.log(z / np.float32(n)))
        if quantity == "x":
            return values, 2 / root * (x - (scores @ y) / z[:, None])
        return values, np.float32(1 / n) - (1 / (b * z)) @ scores

    return step


def torch_tensors(problem: Problem, psi: np.ndarray):
    """Points, atoms, ||y||^2 and psi as tensors."""
    import torch

    x, y = map(torch.from_numpy, problem.in_cost_units())
    return x, y, y.square().sum(1), torch.from_numpy(psi)


def transform(x, y, y_sq, psi, lam):
    """Scores s and -lam log mean_j exp(s_j) in eager torch, differentiable."""
    import torch

    scores = (psi - (x.square().sum(1)[:, None] + y_sq - 2 * x @ y.T)) / lam
    return scores, -lam * (torch.logsumexp(scores, 1) - np.log(len(y)))


def explicit(x, y, y_sq, psi, lam):
    """Value and psi-gradient without autograd."""
    scores, values = transform(x, y, y_sq, psi, lam)
    return values, 1 / len(y) - scores.softmax(1).mean(0)


def explicit_x(x, y, y_sq, psi, lam):
    """Value and x-gradient without autograd."""
    scores, values = transform(x, y, y_sq, psi, lam)
    return values, 2 * (x - scores.softmax(1) @ y)


def torch_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str, compiled: str | None = None) -> Step:
    """The explicit formula in torch: eager, or by torch.compile in a mode."""
    import torch

    tensors = (*torch_tensors(problem, psi), torch.tensor(lam))
    function, unit = (explicit, 1) if quantity == "psi" else (explicit_x, problem.scale**-0.5)
    if compiled is not None:
        torch._dynamo.reset()
        function = torch.compile(function, mode=compiled, dynamic=False)

    @torch.no_grad()
    def step():
        values, gradient = function(*tensors)
        return values, unit * gradient

    return step


def autograd_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str) -> Step:
    """The definition, differentiated by autograd: the style of most research code."""
    import torch

    x, y, y_sq, potential = torch_tensors(problem, psi)
    (x if quantity == "x" else potential).requires_grad_()

    def step():
        _, values = transform(x, y, y_sq, potential, lam)
        if quantity == "x":
            return values.detach(), torch.autograd.grad(values.sum(), x)[0] / problem.scale**0.5
        return values.detach(), torch.autograd.grad(values.mean(), potential)[0] + 1 / len(y)

    return step


def pot_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str, values_too: bool = True) -> Step:
    """POT's semi-discrete functions on torch tensors: weights (or map), and the c-transform for the value."""
    import torch

    pot = need("ot.semidiscrete")
    x, y, _, potential = torch_tensors(problem, psi)

    def step():
        values = pot.semidiscrete_c_transform(y, x, potential, reg=lam) if values_too else torch.tensor(np.nan)
        if quantity == "x":
            moved = pot.semidiscrete_ot_map(y, x, potential, reg=lam)
            return values, 2 / problem.scale**0.5 * (x - moved)
        return values, 1 / len(y) - pot.semidiscrete_atom_weights(y, x, potential, reg=lam).mean(0)

    return step


def ott_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str) -> Step:
    """OTT-JAX's jitted semi-discrete loss with its gradient (the value is the batch's mean); for x, jax.grad."""
    jax, jnp = need("jax"), need("jax.numpy")
    loss = need("ott.solvers.linear.semidiscrete")._semidiscrete_loss
    pointcloud, linear = need("ott.geometry.pointcloud"), need("ott.problems.linear.linear_problem")
    (x, y), potential = map(jnp.asarray, problem.in_cost_units()), jnp.asarray(psi)

    def of(points, atoms):
        return linear.LinearProblem(pointcloud.PointCloud(points, atoms, epsilon=lam))

    if quantity == "x":

        def values(points, atoms, g):
            each, _ = of(points, atoms)._c_transform(g, axis=1)
            return each.sum(), each

        run = jax.jit(jax.value_and_grad(values, has_aux=True))

        def step():
            (_, each), gradient = jax.block_until_ready(run(x, y, potential))
            return each, np.asarray(gradient) / problem.scale**0.5

        return step
    run = jax.jit(jax.value_and_grad(lambda g, points, atoms: loss(g, of(points, atoms))))

    def psi_step():
        value, gradient = jax.block_until_ready(run(potential, x, y))
        return -value - potential.mean(), -gradient

    return psi_step


def keops_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str) -> Step:
    """Lazy reductions of KeOps (what GeomLoss's "online" solvers are made of): nothing of size b x n is kept."""
    lazy = need("pykeops.torch").LazyTensor
    x, y, _, potential = torch_tensors(problem, psi)

    def step():
        gaps = lazy(potential[None, :, None]) - lazy(x[:, None, :]).sqdist(lazy(y[None, :, :]))
        scores = gaps / lam
        log_z = scores.logsumexp(1)
        values = -lam * (log_z[:, 0] - np.log(len(y)))
        pi = (scores - lazy(log_z[:, None, :])).exp()
        if quantity == "x":
            return values, 2 / problem.scale**0.5 * (x - pi @ y)
        return values, 1 / len(y) - pi.sum(0)[:, 0] / len(x)

    return step
