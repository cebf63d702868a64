"""Atoms as the compiled kernel wants them: integers, sorted, without their empty blocks."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otgrad.kernels import build
from otgrad.kernels.integers import CHECKED_AT_ONCE, as_bytes
from otgrad.measures import DiscreteMeasure

GROUP, WIDTH = 32, 256  # atoms of a group and of a tile, as in cpu.cpp
SORTED_TOGETHER = 2**17  # atoms sorted at once: bounds the memory that sorting takes
PIECE, SAMPLE = 16, 256  # sorting looks at so many coordinates together, and at so many atoms for a direction
DENSE = 0.9  # part of pieces with an entry above which sorting gains nothing


@dataclass(eq=False)
class Packed:
    """n atoms of d integers in {0..255}, times unit.

    Attributes:
        integers: u (n, d), uint8, in the law's order.
        unit: y = unit * u.
        order: the atom at each place (n,), int32.
        blocks: the non-empty blocks of 32 atoms x 4 coordinates, uint8.
        ks: which 4 coordinates each block holds, int32.
        starts: first block of each group (groups + 1,), int64.
        nu: masses at each place (ld,), 0 beyond n; ld is n rounded up to whole groups.
        y_sq: ||y_j||^2 in the law's order (n,).
        y_sum: sum_k y_jk at each place (ld,), 0 beyond n.
        largest: the largest y_jk.
        tile_means: mean of each tile's atoms under nu (tiles, d).
    """

    integers: Tensor
    unit: float
    order: Tensor
    blocks: Tensor
    ks: Tensor
    starts: Tensor
    nu: Tensor
    y_sq: Tensor
    y_sum: Tensor
    largest: float
    tile_means: Tensor

    def __post_init__(self) -> None:
        """Derive the sizes."""
        self.n, self.d = self.integers.shape
        self.fours, self.groups = math.ceil(self.d / 4), math.ceil(self.n / GROUP)
        self.tiles, self.ld = math.ceil(self.n / WIDTH), self.groups * GROUP
        self.order_long = self.order.long()
        # what is left out weighs less than 1e-8 of the row's sum, which is at least the lightest mass
        self.cut = min(60.0, 18 - math.log(float(self.nu[: self.n].min())))

    def law_points(self, places: Tensor) -> Tensor:
        """Atoms at the given places (b,) as points (b, d)."""
        return self.unit * self.integers[self.order_long[places]].to(self.nu.dtype)


def pack(law: DiscreteMeasure) -> Packed | None:
    """Pack the atoms of a law; None if they are not small integers times a unit, up to float32's rounding."""
    found = as_bytes(law)
    if found is None:
        return None
    integers, unit = found
    order = torch.cat([start + _similar(part) for start, part in _chunks(integers, SORTED_TOGETHER)]).int()
    groups = math.ceil(law.n / GROUP)
    counts = torch.empty(groups, dtype=torch.int64)
    arguments = _p(integers), _p(order), ctypes.c_int64(law.n), ctypes.c_int64(integers.shape[1])
    build.library().count_blocks(*arguments, _p(counts))
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    blocks, ks = _aligned_zeros(int(starts[-1]) * GROUP * 4), torch.empty(int(starts[-1]), dtype=torch.int32)
    build.library().fill_blocks(*arguments, _p(starts), _p(blocks), _p(ks))
    nu, y_sum = law.nu.new_zeros(2, groups * GROUP)
    nu[: law.n] = law.nu[order.long()]
    sums, largest = torch.empty_like(law.nu), 0  # filled in place: small results between large ones scatter the heap
    for start, part in _chunks(integers, CHECKED_AT_ONCE):
        sums[start : start + len(part)] = unit * part.sum(1, dtype=torch.int32)
        largest = max(largest, int(part.max()))
    y_sum[: law.n] = sums[order.long()]
    means = _tile_means(integers, order.long(), nu, unit)
    return Packed(integers, unit, order, blocks, ks, starts, nu, law.y_sq, y_sum, unit * largest, means)


def _similar(integers: Tensor) -> Tensor:
    """Order atoms so that those with entries in like places stand together: halve along principal directions."""
    n, d = integers.shape
    pieces = torch.nn.functional.pad(integers, (0, -d % PIECE)).view(n, -1, PIECE)
    mask = (pieces.amax(dim=2) > 0).to(torch.float32)
    order, rng = torch.arange(n), torch.Generator().manual_seed(0)
    if float(mask.mean()) > DENSE:
        return order
    size = GROUP * 2 ** max(0, math.ceil(math.log2(n / GROUP)))
    while size > GROUP:
        parts = math.ceil(n / size)
        rows = torch.nn.functional.pad(mask[order], (0, 0, 0, parts * size - n)).view(parts, size, -1)
        some = rows[:, :: max(1, size // SAMPLE)]
        some = some - some.mean(dim=1, keepdim=True)
        axis = torch.randn(parts, mask.shape[1], 1, generator=rng, dtype=torch.float32)
        for _ in range(4):  # power iterations
            axis = some.mT @ (some @ axis)
            axis /= axis.norm(dim=1, keepdim=True) + 1e-9
        along = (rows @ axis).view(-1)[:n].argsort(stable=True)
        part = torch.arange(n) // size
        order, size = order[along[part[along].argsort(stable=True)]], size // 2
    return order


def _tile_means(integers: Tensor, order: Tensor, nu: Tensor, unit: float) -> Tensor:
    means = []
    for start in range(0, len(order), WIDTH):
        places = order[start : start + WIDTH]
        mass = nu[start : start + len(places)]
        means.append(unit / mass.sum() * (mass @ integers[places].to(mass.dtype)))
    return torch.stack(means)


def _chunks(rows: Tensor, size: int):
    return ((start, rows[start : start + size]) for start in range(0, len(rows), size))


def _aligned_zeros(size: int) -> Tensor:
    raw = torch.zeros(size + 64, dtype=torch.uint8)
    offset = -raw.data_ptr() % 64
    return raw[offset : offset + size]


def _p(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
