"""The kernels for NVIDIA GPUs, in Triton, for squared Euclidean costs in float32.

Scores s_ij = (psi_j - c(x_i, y_j)) / t (t = lam, or 1 if lam == 0) come from products of float16 matrices summed in
float32. Points are split into two halves of 11 bits, x_i = scale_i (hi_i + lo_i); bytes, float16 and (scaled by a power
of two) bfloat16 atoms are exact in float16, so that two products give `<x_i, y_j>` as float32 would. float32 atoms that
are whole multiples of 1 or 1 / 255 count as bytes; others are split like the points and take three products. (Halves
in bfloat16 would have 8 bits each.)

One program forms a tile of scores and sums it, a second combines the tiles of a point, a third sums over points: by
tiles along the atoms too, so that few points still fill the device. No program uses an atomic sum: the same call gives
the same bits. After the first call with a law nothing waits for the device, so that calls can be captured in a CUDA
graph.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels.cuda_atoms import ATOM_DTYPES, prepared
from otgrad.kernels.cuda_blocks import BLOCKS, FUSED, blocks
from otgrad.kernels.mixture import Shares
from otgrad.kernels.reference import shared
from otgrad.measures import DiscreteMeasure

SCORES_BYTES = 2**31  # of scores kept at once; never less than one block of points
RECOMPUTE_BELOW = (
    372  # coordinates; with fewer, by a count of operations and bytes, forming a score again beats storing it
)


def covers(x: Tensor, law: DiscreteMeasure, lam: float, cost: Cost) -> bool:
    """Whether this kernel serves the arguments: p = 2, float32 points, no float64 atoms, a device that can run it.

    With TRITON_INTERPRET=1, set before Triton is imported, it serves tensors on a CPU instead, slowly, for tests.
    """
    if cost.p != 2 or x.dtype != torch.float32 or law.y.dtype not in ATOM_DTYPES or len(x) == 0:
        return False
    return law.y.device == x.device and _runs_on(x.device)


def rows_at_once(n: int) -> int:
    """Points that are one tile, for n atoms."""
    block = BLOCKS["sums"]["BLOCK_B"]
    return max(block, SCORES_BYTES // (4 * n) // block * block)


@torch.no_grad()
def psi_step(
    x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, w: Tensor, shares: Shares | None = None
) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and the marginal p_j = sum_i w_i pi_j(x_i) (n,), for atoms of positive mass."""
    values, marginal, w = x.new_empty(len(x)), psi.new_empty(law.n), w.contiguous()
    stored = lam > 0 and x.shape[1] >= RECOMPUTE_BELOW
    with torch.cuda.device_of(x):
        for rows in _row_tiles(len(x), law.n if stored else 0):
            step = _Step(x[rows], law, psi, lam, cost, values[rows], stored)
            _checked(values[rows], psi, lam)
            step.marginal(shared(w[rows], values[rows], shares), marginal, add=rows.start > 0)
    return values, marginal


@torch.no_grad()
def x_grad(x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and its gradient 2 (x_i - sum_j pi_j(x_i) y_j) / scale (b, d)."""
    values, grads = x.new_empty(len(x)), x.new_empty(x.shape)
    with torch.cuda.device_of(x):
        for rows in _row_tiles(len(x), law.n if lam > 0 else 0):
            step = _Step(x[rows], law, psi, lam, cost, values[rows], stored=lam > 0)
            mean = step.means() if lam > 0 else law.points_at(step.cell)
            torch.sub(x[rows], mean, out=grads[rows])
    return _checked(values, psi, lam), grads.mul_(2 / cost.scale)


class _Step:
    """Scores of b points by tiles, reduced to each point's value and maximum with z = sum_j nu_j exp(s_j - maximum).

    Args:
        x, law, psi, lam, cost: as in psi_step.
        values: psi^{c,lam}(x) (b,) is written here.
        stored: keep the scores for `marginal` and `means`, which needs them.
    """

    def __init__(
        self, x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, values: Tensor, stored: bool
    ) -> None:
        self.lam, self.stored, (self.b, self.d), self.n = lam, stored, x.shape, law.n
        self.atoms, self.nu = prepared(law), law.nu.contiguous()
        self.ld = 16 * math.ceil(law.n / 16)  # rows of scores start at multiples of 64 bytes
        self.scores = x.new_empty((self.b, self.ld) if stored else 1)
        self.cell = torch.empty(self.b, dtype=torch.int64, device=x.device)
        self.top, self.z, x_sq = x.new_empty(3, self.b)
        hi, lo = torch.empty(2, *x.shape, dtype=torch.float16, device=x.device)
        points = (hi, lo, x.new_empty(self.b))
        width = min(1024, max(16, 2 ** math.ceil(math.log2(self.d))))
        _programs().split_points[(self.b,)](x, *x.stride(), *points, x_sq, self.d, BLOCK=width, **FUSED)
        t = lam or 1.0
        factor = 2 * self.atoms.unit / (cost.scale * t)
        self.floats = (self.atoms.y_scale, factor, 1 / cost.scale, 1 / t)
        self.inputs = (*points, self.atoms.y, psi.contiguous(), law.y_sq, self.nu, self.scores)
        self._reduce(x_sq, values)

    def _reduce(self, x_sq: Tensor, values: Tensor) -> None:
        shape, hard = _shape("sums", x_sq.device, self.atoms.kind), self.lam == 0
        programs = math.ceil(self.n / shape["BLOCK_N"])
        tiles = 4 * programs  # each reduces its columns by quarters
        cells = torch.empty(self.b, tiles if hard else 1, dtype=torch.int32, device=x_sq.device)
        found = (*x_sq.new_empty(3, self.b, tiles), cells)
        _programs().tile_sums[(programs * math.ceil(self.b / shape["BLOCK_B"]),)](
            *self.inputs, *found, self.b, self.n, self.d, self.ld, tiles, *self.floats,
            HARD=hard, STORED=self.stored, KIND=self.atoms.kind, **shape,
        )  # fmt: skip
        rows = (x_sq, self.top, self.z, self.cell, values)
        _programs().combine[(self.b,)](*found, *rows, tiles, self.lam, self.floats[2], HARD=hard, BLOCK=512, **FUSED)

    def marginal(self, w: Tensor, out: Tensor, add: bool) -> None:
        """Write, or add, sum_i w_i pi_j(x_i) to out (n,)."""
        name = "marginal" if self.stored or self.lam == 0 else "again"
        shape = _shape(name, self.z.device, self.atoms.kind)
        programs = (math.ceil(self.n / shape["BLOCK_N"]),)
        if self.lam == 0:
            plain = {name: size for name, size in shape.items() if name != "BLOCK_D"}
            _programs().hard_marginal[programs](self.cell, w, out, self.b, self.n, ADD=add, **plain)
            return
        _programs().soft_marginal[programs](
            *self.inputs, self.top, self.z, w, out, self.b, self.n, self.d, self.ld, *self.floats,
            ADD=add, STORED=self.stored, KIND=self.atoms.kind, **shape,
        )  # fmt: skip

    def means(self) -> Tensor:
        """sum_j pi_j(x_i) y_j (b, d), from stored scores; the atoms are shared out so that all of the device works."""
        atoms, shape = self.atoms, _shape("means", self.z.device, self.atoms.kind)
        pieces = math.ceil(self.b / shape["BLOCK_B"]) * math.ceil(self.d / shape["BLOCK_D"])
        most = math.ceil(self.n / (16 * shape["BLOCK_N"]))
        shares = max(1, min(math.ceil(2 * _processors(self.scores.device) / pieces), most))
        share = shape["BLOCK_N"] * math.ceil(self.n / (shape["BLOCK_N"] * shares))
        shares = math.ceil(self.n / share)
        out = self.scores.new_empty(shares, self.b, self.d)
        _programs().weighted_sums[(pieces * shares,)](
            self.scores, self.top, self.z, self.nu, atoms.y, out, self.b, self.n, self.d, self.ld, atoms.y_scale, share,
            KIND=atoms.kind, **shape,
        )  # fmt: skip
        return out.sum(0).mul_(atoms.unit)


def _checked(values: Tensor, psi: Tensor, lam: float) -> Tensor:
    """Make values nan where psi has one, which the maxima of a hard transform pass over."""
    return values if lam > 0 else values.add_((0 * psi).sum())


def _row_tiles(b: int, n: int) -> Iterator[slice]:
    """Cut b points so that n scores of each fit in SCORES_BYTES (n = 0: none are kept)."""
    size = b if n == 0 else rows_at_once(n)
    return (slice(start, min(start + size, b)) for start in range(0, b, size))


def _shape(name: str, device: torch.device, kind: str) -> dict[str, int | bool]:
    """Choose a program's blocks; 9 and 10 are the architectures with 227 KiB of shared memory."""
    return blocks(name, kind, device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10))


def _programs() -> ModuleType:
    from otgrad.kernels import cuda_programs

    return cuda_programs


@functools.cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@functools.cache
def _runs_on(device: torch.device) -> bool:
    """Try one small program; where that fails on a GPU, warn once and leave the work to plain torch."""
    try:
        run = _programs()
    except ImportError:
        return False
    interpreted = type(run.hard_marginal).__name__ == "InterpretedFunction"
    if device.type != "cuda" or interpreted:
        return device.type == "cpu" and interpreted
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    cell, w = torch.zeros(1, dtype=torch.int64, device=device), torch.ones(1, dtype=torch.float32, device=device)
    try:
        with torch.cuda.device(device):
            run.hard_marginal[(1,)](cell, w, torch.empty_like(w), 1, 1, ADD=False, BLOCK_N=16, BLOCK_B=16, **FUSED)
    except Exception as error:  # a missing C compiler, an unwritable cache, a driver too old: whatever Triton raises
        warnings.warn(f"Triton does not run here, so plain torch is used: {error}", stacklevel=2)
        return False
    return True
