"""The products of a law whose atoms lie in several processes: the device's own kernel on each, put together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from otgrad import ctransform
from otgrad.costs import Cost
from otgrad.kernels import dispatch
from otgrad.kernels.mixture import combine
from otgrad.measures import DiscreteMeasure
from otgrad.scale.shards import Shard

T = TypeVar("T")


def psi_step(x: Tensor, law: Shard, psi: Tensor, lam: float, cost: Cost, w: Tensor) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) of the whole law and the marginal at this process's atoms (n_r,)."""
    values, marginal = torch.empty_like(w), torch.zeros_like(psi)
    for rows in _row_tiles(x, law):
        share = _Exchange(law, lam)
        kernel = dispatch.choose(x[rows], law.local, lam, cost)
        marginal += kernel.psi_step(x[rows], law.local, psi, lam, cost, w[rows], share)[1]
        values[rows] = share.values
    return values, marginal


def x_grad(x: Tensor, law: Shard, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and its gradient (b, d), of the whole law."""
    share = _Exchange(law, lam)
    own, grads = dispatch.choose(x, law.local, lam, cost).x_grad(x, law.local, psi, lam, cost)
    grads = law.total(share(own)[:, None] * grads)
    return share.values, grads


def assignment(x: Tensor, law: Shard, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute pi_j(x_i) of the whole law for this process's atoms (b, n_r); differentiable but for their share."""
    values = law.team.gather(ctransform.c_transform(x, law.local, psi, lam, cost))
    share = combine(values, law.masses, lam)[1][law.team.rank]
    return share[:, None] * ctransform.assignment(x, law.local, psi, lam, cost)


def in_tiles(call: Callable[[slice], T], b: int, law: DiscreteMeasure) -> list[T]:
    """Call on all b points at once: the functions here cut them themselves, for all processes take the same tiles."""
    return [call(slice(0, b))]


class _Exchange:
    """This process's shares, from its values and those of the others; keeps the values of the whole law."""

    values: Tensor

    def __init__(self, law: Shard, lam: float) -> None:
        self.law, self.lam = law, lam

    def __call__(self, own: Tensor) -> Tensor:
        self.values, shares = combine(self.law.team.gather(own), self.law.masses, self.lam)
        return shares[self.law.team.rank]


def _row_tiles(x: Tensor, law: Shard) -> list[slice]:
    """Cut the points so that every process's kernel takes each tile at once, and all exchange at the same time."""
    size = dispatch.rows_at_once(int(law.counts[:, 0].max()), x.device)
    return [slice(start, min(start + size, len(x))) for start in range(0, len(x), size)]


dispatch.register(Shard, sys.modules[__name__])
