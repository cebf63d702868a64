"""Other libraries' arms of gpu.py: a function is Cell -> step, as in gpu_arms.py."""

from __future__ import annotations

import math

import torch

from gpu_cells import Cell, Step
from worker import need


def pot_arm(cell: Cell) -> Step:
    """POT's semi-discrete functions: weights (or map), and the c-transform for the value."""
    pot = need("ot.semidiscrete")
    x, y, _ = cell.peers

    def step():
        values = pot.semidiscrete_c_transform(y, x, cell.psi, reg=cell.lam)
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - pot.semidiscrete_ot_map(y, x, cell.psi, reg=cell.lam))
        return values, 1 / cell.n - pot.semidiscrete_atom_weights(y, x, cell.psi, reg=cell.lam).mean(0)

    return step


def ott_arm(cell: Cell) -> Step:
    """OTT-JAX's jitted semi-discrete loss with its gradient (the value is the batch's mean); for x, jax.grad."""
    jax, jnp = need("jax"), need("jax.numpy")
    loss = need("ott.solvers.linear.semidiscrete")._semidiscrete_loss
    pointcloud, linear = need("ott.geometry.pointcloud"), need("ott.problems.linear.linear_problem")
    x, y, psi = (jnp.asarray(part.cpu().numpy()) for part in (*cell.peers[:2], cell.psi))

    def of(points, atoms):
        return linear.LinearProblem(pointcloud.PointCloud(points, atoms, epsilon=cell.lam))

    def total(points, atoms, g):
        each, _ = of(points, atoms)._c_transform(g, axis=1)
        return each.sum(), each

    if cell.quantity == "x":
        run, arguments = jax.jit(jax.value_and_grad(total, has_aux=True)), (x, y, psi)
    else:
        run = jax.jit(jax.value_and_grad(lambda g, points, atoms: loss(g, of(points, atoms))))
        arguments = (psi, x, y)

    def step():
        value, gradient = jax.block_until_ready(run(*arguments))
        values, sign = (value[1], cell.unit) if cell.quantity == "x" else (-value - psi.mean(), -1)
        return values, sign * gradient

    return step


def jax_arm(cell: Cell) -> Step:
    """The formula in jitted JAX, float32 products at their highest precision; for x, the explicit gradient too."""
    jax, jnp, logsumexp = need("jax"), need("jax.numpy"), need("jax.scipy.special").logsumexp
    x, y, psi = (jnp.asarray(part.cpu().numpy()) for part in (*cell.peers[:2], cell.psi))

    @jax.jit
    def run(x, y, psi):
        products = jnp.matmul(x, y.T, precision="highest")
        scores = (psi - (y * y).sum(1) + 2 * products) / cell.lam
        log_z = logsumexp(scores, axis=1)
        pi = jnp.exp(scores - log_z[:, None])
        values = (x * x).sum(1) - cell.lam * (log_z - math.log(cell.n))
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - jnp.matmul(pi, y, precision="highest"))
        return values, 1 / cell.n - pi.mean(0)

    return lambda: jax.block_until_ready(run(x, y, psi))


def keops_arm(cell: Cell) -> Step:
    """Lazy reductions of KeOps (what GeomLoss's "online" solvers are made of): nothing of size b x n is kept."""
    lazy = need("pykeops.torch").LazyTensor
    x, y, _ = cell.peers

    def step():
        gaps = lazy(cell.psi[None, :, None]) - lazy(x[:, None, :]).sqdist(lazy(y[None, :, :]))
        log_z = (gaps / cell.lam).logsumexp(1)
        values = -cell.lam * (log_z[:, 0] - math.log(cell.n))
        pi = (gaps / cell.lam - lazy(log_z[:, None, :])).exp()
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - pi @ y)
        return values, 1 / cell.n - pi.sum(0)[:, 0] / len(x)

    return step


def flash_arm(cell: Cell, tf32: bool = False) -> Step:
    """FlashSinkhorn's transform of few rows (split over the atoms) and its plan-vector or plan-matrix product."""
    flash = "flash_sinkhorn.kernels."
    transform_rows = need(flash + "sinkhorn_splitn_sqeuclid").flashsinkhorn_lse_splitn
    apply = need(flash + "apply_flash")
    x, y, y_sq = cell.peers
    b, log_a, log_b = len(x), -math.log(len(x)), -math.log(cell.n)
    log_masses, x_sq = (x.new_full((b,), log_a), x.new_full((cell.n,), log_b)), x.square().sum(1)
    splits = max(1, 264 // math.ceil(b / 128))  # two programs for each of 132 processors

    def step():
        g_hat = cell.psi - y_sq
        f_hat = transform_rows(x, y, g_hat / cell.lam + log_b, cell.lam, num_splits=splits, allow_tf32=tf32)
        plan = x, y, f_hat, g_hat, *log_masses
        if cell.quantity == "x":
            means = b * apply.apply_plan_mat_flashstyle(*plan, y, eps=cell.lam, axis=1, allow_tf32=tf32)
            return f_hat + x_sq, 2 * cell.unit * (x - means)
        marginal = apply.apply_plan_vec_flashstyle(*plan, torch.ones_like(x_sq), eps=cell.lam, axis=0, allow_tf32=tf32)
        return f_hat + x_sq, 1 / cell.n - marginal

    return step


def flash_hard_arm(cell: Cell, tf32: bool = False) -> Step:
    """FlashSinkhorn's streaming hard c-transform (lam = 0), its block sizes not tuned: that takes minutes."""
    transform_rows = need("flash_sinkhorn.c_transform").c_transform_fwd
    x, y, _ = cell.peers
    w = x.new_full((len(x),), 1 / len(x))

    def step():
        values, cells = transform_rows(x, y, cell.psi, allow_tf32=tf32, autotune=False)
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - y[cells])
        return values, 1 / cell.n - torch.zeros_like(cell.psi).index_add_(0, cells, w)

    return step
