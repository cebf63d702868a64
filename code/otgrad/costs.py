"""Ground costs c(x, y) = ||x - y||^p / scale, with the two products that the solvers need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_NAMED_POWERS = {"sqeuclidean": 2.0, "euclidean": 1.0}
_NORM_BLOCK = 2**14  # atoms whose norms are taken at once: no second array of the size of y
_DIRECT_DISTANCE_MAX_DIM = 16  # below, differences are formed one by one: no cancellation, and as fast


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
            return cls(p=float(cost))
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

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """All pairs c(x_i, y_j), differentiable in x.

        Args:
            x: points (b, d).
            y: atoms (n, d), same dtype and device.

        Returns:
            (b, n), in units of ||x - y||^p / scale.
        """
        if self.p == 2:
            return self._squared_distances(x, y) / self.scale
        return self.distances(x, y) ** self.p / self.scale

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """Euclidean distances (b, n), with derivative 0 where x_i = y_j."""
        direct = x.shape[1] <= _DIRECT_DISTANCE_MAX_DIM
        mode = "donot_use_mm_for_euclid_dist" if direct else "use_mm_for_euclid_dist"
        return torch.cdist(x, y, compute_mode=mode)

    @staticmethod
    def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
        if x.shape[1] <= _DIRECT_DISTANCE_MAX_DIM:
            return (x[:, None, :] - y[None, :, :]).square().sum(-1)
        sq = x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * x @ y.T
        return sq.clamp(min=0)


def _positive(value: object) -> bool:
    try:
        return not isinstance(value, bool | str) and 0 < float(value) < math.inf  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
