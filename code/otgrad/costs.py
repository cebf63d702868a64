"""Ground costs c(x, y) = ||x - y||^p / scale, with the two products that the solvers need."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from otgrad.pairs import distances, product, without_autocast

_NAMED_POWERS = {"sqeuclidean": 2.0, "euclidean": 1.0}
_NORM_BLOCK = 2**14  # atoms whose norms are taken at once: no second array of the size of y
_DIRECT_DISTANCE_MAX_DIM = 16  # below, differences are formed one by one: no cancellation, and as fast
_DIFFERENCES = 2**22  # coordinates of differences held at once
_CLOSE = 0.15  # of ||x||: below, a distance from a matrix product has lost two digits and is formed again


@dataclass(frozen=True)
class Cost:
    """Ground cost c(x, y) = ||x - y||^p / scale.

    Attributes:
        p: exponent of the Euclidean norm, > 0 (2: squared Euclidean, the papers' default; 1: Euclidean).
        scale: divisor, > 0, in units of ||x - y||^p; 1 leaves the cost raw.

    Raises:
        ValueError: if p or scale is not a positive finite number.
    """

    p: float = 2.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse exponents and scales that define no cost."""
        for name in ("p", "scale"):
            value = getattr(self, name)
            if not _positive(value):
                hint = f", or Cost.from_name({value!r})" if isinstance(value, str) else ""
                raise ValueError(f"cost {name} = {value!r}: give a positive finite number{hint}")

    @classmethod
    def from_name(cls, cost: str | float | Cost) -> Cost:
        """Read a cost from "sqeuclidean", "euclidean", an exponent p, or a Cost.

        Raises:
            ValueError: if the name is unknown.
        """
        if isinstance(cost, Cost):
            return cost
        if isinstance(cost, str):
            if cost not in _NAMED_POWERS:
                raise ValueError(f"cost = {cost!r}: give 'sqeuclidean', 'euclidean' or an exponent p > 0")
            return cls(p=_NAMED_POWERS[cost])
        try:
            return cls(p=cost if isinstance(cost, bool) else float(cost))
        except TypeError:
            raise ValueError(f"cost is of type {type(cost).__name__}: give a name, an exponent p or a Cost") from None

    def normalized(self, y: Tensor, nu: Tensor, unit: float = 1.0) -> Cost:
        """Divide by sum_j nu_j ||y_j||^p, so that lam has the same meaning on every data set.

        Args:
            y: atoms (n, d), in multiples of unit.
            nu: their masses (n,), summing to 1.
            unit: of y.

        Returns:
            the same cost with `scale` set; the raw cost's scale is replaced, not multiplied.

        Raises:
            ValueError: if all the mass sits at the origin.
        """
        blocks = (y[start : start + _NORM_BLOCK].to(nu.dtype) for start in range(0, len(y), _NORM_BLOCK))
        return self.normalized_by(blocks, nu, unit)

    def normalized_by(self, blocks: Iterable[Tensor], nu: Tensor, unit: float = 1.0) -> Cost:
        """Divide by sum_j nu_j ||y_j||^p, the atoms given block by block (n_k, d) in nu's dtype; see `normalized`."""
        norms = torch.cat([torch.linalg.vector_norm(block, dim=1) for block in blocks])
        norms = (unit * norms) ** self.p
        scale = float((nu.double() * norms.double()).sum())
        if scale <= 0:
            raise ValueError("normalize = True: mean ||y||^p is 0; use normalize = False")
        return replace(self, scale=scale)

    @without_autocast
    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """All pairs c(x_i, y_j), differentiable in x; memory of the order of the result's.

        Args:
            x: points (b, d).
            y: atoms (n, d), same dtype and device.

        Returns:
            (b, n), in units of ||x - y||^p / scale.
        """
        if self.p == 2:
            return self._squared_distances(x, y) / self.scale
        distances = self.distances(x, y)
        if self.p < 1 and distances.requires_grad:  # infinite slope times 0 would be nan
            apart = distances > 0
            return torch.where(apart, torch.where(apart, distances, 1.0) ** self.p, 0.0) / self.scale
        return distances**self.p / self.scale

    @without_autocast
    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """Euclidean distances (b, n), right near 0 and exact at 0, with derivative 0 where x_i = y_j."""
        one_by_one = functools.partial(distances, x, y, exact=True)
        if x.shape[1] <= _DIRECT_DISTANCE_MAX_DIM:
            return one_by_one()
        found = distances(x, y, exact=False)
        close = found.detach() < _CLOSE * torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True)
        count = int(close.count_nonzero())
        if count * x.shape[1] > close.numel():
            return one_by_one()
        rows, columns = close.nonzero(as_tuple=True)
        pairs = torch.linalg.vector_norm(x[rows] - y[columns], dim=1)
        return found if count == 0 else found.index_put((rows, columns), pairs)

    @staticmethod
    def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
        if x.shape[1] > _DIRECT_DISTANCE_MAX_DIM:
            sq = x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - product(2 * x, y.T)
            return sq.clamp(min=0)
        if x.numel() * len(y) <= _DIFFERENCES:
            return _squares(x, y)
        return _SquaresInTiles.apply(x, y)  # type: ignore[no-any-return]


def _squares(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None, :] - y[None, :, :]).square().sum(-1)


class _SquaresInTiles(torch.autograd.Function):
    """Squared distances (b, n) by blocks of atoms, forwards and backwards: no (b, n, d) is held."""

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([_squares(x, block) for block in y.split(_block(x))], dim=1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, *upstream):  # type: ignore[override]
        x, y = ctx.saved_tensors
        along, against = torch.zeros_like(x), []
        for block, slope in zip(y.split(_block(x)), upstream[0].split(_block(x), dim=1), strict=True):
            pull = 2 * slope[:, :, None] * (x[:, None, :] - block)
            along = along + pull.sum(1)
            against.append(-pull.sum(0))
        return along, torch.cat(against)


def _block(x: Tensor) -> int:
    return max(1, _DIFFERENCES // max(1, x.numel()))


def _positive(value: object) -> bool:
    try:
        return not isinstance(value, bool | str) and 0 < float(value) < math.inf  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
