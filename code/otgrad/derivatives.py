"""psi^{c,lam} and its x-gradient in plain torch, differentiable to any order in points, atoms and masses, by tiles.

    psi^{c,lam}(x_i) = -lam log sum_j nu_j exp((psi_j - c_ij) / lam),   slopes_i = sum_j pi_ij grad_x c_ij

What the kernels do not give: derivatives in y and nu, and second ones. For p = 2, with the covariance of the soft
assignment, d slopes . v = 2 / scale (v - 2 / (scale lam) Cov_pi(y) v); at lam = 0 the cells are constant almost
everywhere, and so is what is taken here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.pairs import product

TILE_ELEMENTS = 2**21  # entries of a b x n buffer; about ten of them are held at once

Triple = tuple[Tensor, Tensor, Tensor]


class _Squares(torch.autograd.Function):
    """||x_i - y_j||^2 (b, n), as exact as the cost's distances; derivatives of any order without a b x n x d array."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, cost):
        return cost.distances(x, y).square()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx, *upstream):  # type: ignore[override]
        (x, y), g = ctx.saved_tensors, upstream[0]
        return 2 * (x * g.sum(1, keepdim=True) - product(g, y)), 2 * (y * g.sum(0)[:, None] - product(g.mT, x)), None

    @staticmethod
    def jvp(ctx, *tangents):
        _refuse_nested_forward_mode()
        (x, y), (dx, dy, _) = ctx.saved_tensors, tangents
        along = 0
        if dx is not None:
            along = along + (x * dx).sum(1, keepdim=True) - product(dx, y.mT)
        if dy is not None:
            along = along + (y * dy).sum(1) - product(x, dy.mT)
        return 2 * along


def transform(x: Tensor, y: Tensor, nu: Tensor, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and the slopes (b, d), for points (b, d), atoms (n, d) and masses (n,) > 0."""
    squares: Tensor = _Squares.apply(x, y, cost)  # type: ignore[assignment]
    apart = torch.where(squares > 0, squares, 1.0)  # where a power of the distance has no derivative, take 0
    costs = torch.where(squares > 0, apart ** (cost.p / 2), 0.0) / cost.scale if cost.p != 2 else squares / cost.scale
    gaps = costs - psi
    if lam == 0:
        cell = gaps.argmin(dim=1, keepdim=True)
        values, pi = gaps.gather(1, cell).squeeze(1), torch.zeros_like(gaps).scatter(1, cell, 1.0)
    else:
        scores = nu.log() - gaps / lam
        values, pi = -lam * torch.logsumexp(scores, dim=1), torch.softmax(scores, dim=1)
    if cost.p != 2:
        pi = pi * torch.where(squares > 0, apart ** (cost.p / 2 - 1), 0.0)
    return values, cost.p / cost.scale * (x * pi.sum(1, keepdim=True) - product(pi, y))


def pull(along: tuple[Tensor, Tensor], at: Triple, psi: Tensor, lam: float, cost: Cost) -> Triple:
    """Compute the gradients in x (b, d), y (n, d) and nu (n,) of sum_i v_i psi^{c,lam}(x_i) + `<u_i, slopes_i>`.

    Args:
        along: v (b,) and u (b, d).
        at: x (b, d), y (n, d) and nu (n,), all masses positive.
        psi: potential (n,).
        lam: regularisation >= 0, in units of the cost.
        cost: ground cost.
    """
    (v, u), (x, y, nu) = along, at
    xs, ys, nus = [], torch.zeros_like(y), torch.zeros_like(nu)
    with torch.autocast(x.device.type, enabled=False):
        for rows in _tiles(len(x), len(y)):
            given = partial(transform, psi=psi, lam=lam, cost=cost)
            of_x, of_y, of_nu = _pull_tile(given, (x[rows], y, nu), (v[rows], u[rows]))
            xs, ys, nus = [*xs, of_x], ys + of_y, nus + of_nu
    return torch.cat(xs), ys, nus


def _pull_tile(given: Callable[..., tuple[Tensor, Tensor]], at: Triple, along: tuple[Tensor, Tensor]) -> Triple:
    """Gradients of <along, given(*at)>, with a graph where one is wanted.

    Outside of torch.func plain autograd of a scalar serves: all else, at its first call, imports for seconds.
    """
    if _levels():
        return torch.func.vjp(given, *at)[1](along)
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [t if wanted and t.requires_grad else t.detach().requires_grad_() for t in at]
        values, slopes = given(*leaves)
        whole = (along[0] * values).sum() + (along[1] * slopes).sum()
        found = torch.autograd.grad(whole, leaves, create_graph=wanted, materialize_grads=True)
    return found[0], found[1], found[2]


def push(along: Triple, at: Triple, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute the derivatives of psi^{c,lam}(x_i) (b,) and the slopes (b, d) along (dx, dy, dnu); the rest as pull."""
    (dx, dy, dnu), (x, y, nu) = along, at
    found = []
    with torch.autocast(x.device.type, enabled=False):
        for rows in _tiles(len(x), len(y)):
            given = partial(transform, psi=psi, lam=lam, cost=cost)
            outputs, pullback = torch.func.vjp(given, x[rows], y, nu)[:2]
            pushed = torch.func.vjp(pullback, outputs)[1]  # linear: twice back is forth, and torch nests no jvp
            found.append(pushed((dx[rows], dy, dnu))[0])
    values, slopes = zip(*found, strict=True)
    return torch.cat(values), torch.cat(slopes)


@dataclass(frozen=True, eq=False)
class Task:
    """What is differentiated: x_grad's values and slopes of (x, psi), and where derivatives find atoms and masses."""

    x_grad: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    law: Callable[[], tuple[Tensor, Tensor]]
    lam: float
    cost: Cost

    def at(self, x: Tensor, y: Tensor | None, nu: Tensor | None) -> Triple:
        """Return points, atoms and masses, the latter as given or else the law's."""
        if y is not None and nu is not None:
            return x, y, nu
        own = self.law()
        return x, own[0] if y is None else y, own[1] if nu is None else nu


class _Transform(torch.autograd.Function):
    """psi^{c,lam}(x) and its x-gradient, by the kernels; derivatives in points, atoms and masses, psi held fixed.

    The x-gradient is an output that can be differentiated again, so that second derivatives take nothing of size b x n
    along. y and nu are the law's as tensors, or None where nothing is asked of them.
    """

    @staticmethod
    def forward(x, y, nu, psi, task):
        return task.x_grad(x, psi)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.task = inputs
        ctx.save_for_backward(*tensors, output[1])
        ctx.save_for_forward(*tensors, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, *upstream: Any):  # type: ignore[override]
        (v, u), (x, y, nu, psi, slopes), task = upstream, ctx.saved_tensors, ctx.task
        direct = None if v is None else v[:, None] * slopes
        if u is None and not any(ctx.needs_input_grad[1:3]):
            return direct, None, None, None, None
        along = (x.new_zeros(len(x)) if v is None else v, torch.zeros_like(x) if u is None else u)
        of_x, of_y, of_nu = pull(along, task.at(x, y, nu), psi, task.lam, task.cost)
        return direct if u is None else of_x, None if y is None else of_y, None if nu is None else of_nu, None, None

    @staticmethod
    def jvp(ctx, *tangents):
        _refuse_nested_forward_mode()
        (x, y, nu, psi, _), task = ctx.saved_tensors, ctx.task
        at = task.at(x, y, nu)
        along = [torch.zeros_like(t) if dt is None else dt for t, dt in zip(at, tangents, strict=False)]
        return push((along[0], along[1], along[2]), at, psi, task.lam, task.cost)

    @staticmethod
    def vmap(info, in_dims, *inputs):
        x, y, nu, psi, task = inputs
        if in_dims[0] is None or any(dim is not None for dim in in_dims[1:4]):
            raise NotImplementedError("vmap over atoms, masses or psi: loop over them, or give more points at once")
        batches = x.movedim(in_dims[0], 0)
        values, slopes = _Transform.apply(batches.flatten(0, 1), y, nu, psi, task)  # type: ignore[misc]
        return (values.view(batches.shape[:2]), slopes.view(batches.shape)), (0, 0)


def _tiles(b: int, n: int) -> Iterator[slice]:
    """Cut b rows; no row is one tile, too."""
    step = max(1, TILE_ELEMENTS // n)
    return (slice(start, start + step) for start in range(0, max(b, 1), step))


def differentiable(x: Tensor, y: Tensor | None, nu: Tensor | None, psi: Tensor, task: Task) -> Tensor:
    """Compute psi^{c,lam}(x) (b,) by the task's kernel, with derivatives of any order in x, y and nu (None: in x)."""
    return _Transform.apply(x, y, nu, psi.detach(), task)[0]  # type: ignore[no-any-return, index]


def _refuse_nested_forward_mode() -> None:
    """Refuse jacfwd of jacfwd: through functions like these torch silently gives it 0 (its issue 197867)."""
    if [level.name for level in _levels()].count("Jvp") > 1:
        raise NotImplementedError("forward mode within forward mode, which torch gets wrong: use jacrev for the inner")


def _levels() -> list[Any]:
    """Kinds of the transforms of torch.func that are at work, from the outermost."""
    stack = torch._C._functorch.get_interpreter_stack()  # type: ignore[attr-defined]
    return [level.key() for level in stack or ()]
