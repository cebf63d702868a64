"""Products and distances of all pairs, whose derivatives of any order stay outside of autocast wherever they are taken.

torch itself rounds the inputs of matrix products in a backward pass that is made inside autocast.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def without_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function as outside of torch.autocast, which would round the inputs of matrix products to 8 bits or 11."""

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        on = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
        if not on:
            return function(*args, **kwargs)
        with torch.autocast(on[0], enabled=False), torch.autocast(on[-1], enabled=False):
            return function(*args, **kwargs)

    return plain


def product(a: Tensor, b: Tensor) -> Tensor:
    """Compute a @ b of two matrices."""
    return _Product.apply(a, b)  # type: ignore[no-any-return]


def distances(x: Tensor, y: Tensor, exact: bool) -> Tensor:
    """Compute ||x_i - y_j|| (b, n), with derivative 0 where it is 0; exact: by differences, not by a product."""
    return _Distances.apply(x, y, exact)  # type: ignore[no-any-return]


class _Product(torch.autograd.Function):
    """a @ b."""

    generate_vmap_rule = True

    @staticmethod
    @without_autocast
    def forward(a, b):
        return a @ b

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, *upstream):  # type: ignore[override]
        (a, b), (of_a, of_b) = ctx.saved_tensors, ctx.needs_input_grad
        return product(upstream[0], b.mT) if of_a else None, product(a.mT, upstream[0]) if of_b else None

    @staticmethod
    def jvp(ctx, *tangents):
        (a, b), (da, db) = ctx.saved_tensors, tangents
        parts = [None if da is None else product(da, b), None if db is None else product(a, db)]
        return sum(part for part in parts if part is not None)


class _Distances(torch.autograd.Function):
    """||x_i - y_j||; derivatives take no array of b x n x d."""

    generate_vmap_rule = True

    @staticmethod
    @without_autocast
    def forward(x, y, exact):
        mode = "donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist"
        return torch.cdist(x, y, compute_mode=mode)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *points, ctx.exact = inputs
        ctx.save_for_backward(*points, output)
        ctx.save_for_forward(*points, output)

    @staticmethod
    def backward(ctx, *upstream):  # type: ignore[override]
        (x, y, found), g = ctx.saved_tensors, upstream[0]
        of_x = _slopes(g, x, y, found, ctx.exact) if ctx.needs_input_grad[0] else None
        return of_x, _slopes(g.mT, y, x, found.mT, ctx.exact) if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def jvp(ctx, *tangents):
        (x, y, found), (dx, dy, _) = ctx.saved_tensors, tangents
        along = torch.zeros_like(found)
        if dx is not None:
            along = along + (x * dx).sum(1, keepdim=True) - product(dx, y.mT)
        if dy is not None:
            along = along + (y * dy).sum(1) - product(x, dy.mT)
        return _per_distance(along, found)


def _slopes(g: Tensor, x: Tensor, y: Tensor, found: Tensor, exact: bool) -> Tensor:
    """Compute sum_j g_ij (x_i - y_j) / ||x_i - y_j|| (b, d); exact: by differences, its graph by a product."""
    by_differences = None
    if exact:
        args = (t.detach().contiguous() for t in (g, x, y))
        by_differences = torch.ops.aten._cdist_backward(*args, 2.0, found.detach().contiguous())
        if not torch.is_grad_enabled():
            return by_differences
    rates = _per_distance(g, found)
    slopes = x * rates.sum(1, keepdim=True) - product(rates, y)
    return slopes if by_differences is None else slopes + (by_differences - slopes).detach()


def _per_distance(g: Tensor, found: Tensor) -> Tensor:
    apart = found > 0
    return torch.where(apart, g / torch.where(apart, found, 1.0), 0.0)
