"""The kernels for a CPU with AVX-512 VNNI, on atoms that are small integers times a unit (images of bytes).

With y_j = unit * u_j, u_j in {0..255}^d, and x_i = origin_i + step_i v_i + rest_i, v_i whole numbers of 16 bits,

    <x_i, y_j> = unit (step_i <v_i, u_j> + origin_i sum_k u_jk) + <rest_i, y_j>

The first product is exact in integers, four times as fast as in float32. The last term, of the size of float32's own
error at lam >= 0.01 mean ||y||^2, is left out of the assignment; to first order it changes the value by
`-2 <rest_i, sum_j pi_j(x_i) y_j> / scale`, which is put back (x_grad: exactly; psi_step: nearly, by `drift`). Of points
that range much further than the atoms the rest is taken as a point of its own, and its products are added: 32 bits.
Each point has its own origin and step: its results do not depend on the others.

Most coordinates of many images are 0 in whole neighbourhoods. Atoms are sorted so that like ones stand together, and
blocks of 32 atoms x 4 coordinates without an entry are not stored nor multiplied: for MNIST 55% of them, exactly.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels import build
from otgrad.kernels.mixture import Shares
from otgrad.kernels.packing import GROUP, WIDTH, Packed, pack
from otgrad.kernels.reference import buffer, shared
from otgrad.measures import DiscreteMeasure

LEAST_ATOMS = 512  # below, packing costs more than it gains
BUFFER_BYTES = 24 * 2**20  # scores formed at once, so that they stay in the cache of the last level
LEAST_ROWS = 96  # and at least so many points at once, or reading the atoms again costs more
LEAST_SHARE = 1e-9  # of a row's mass: tiles below it are left out of the barycentre
LEVELS = 65407  # of 16 bits: two signed bytes hold -32768 to 32639
FURTHER = 4.0  # times the largest coordinate of an atom: points that range further take a second product
_packed: WeakKeyDictionary[DiscreteMeasure, Packed | None] = WeakKeyDictionary()


def covers(x: Tensor, law: DiscreteMeasure, lam: float, cost: Cost) -> bool:
    """Whether this kernel serves the arguments: float32, p = 2, atoms of small integers, lam of some middle size.

    lam is compared to mean ||y||^2 / scale: below 1e-4 of it 16 bits of x would show in the assignment; above it the
    value needs the digits that the reference keeps there.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or cost.p != 2 or law.n < LEAST_ATOMS:
        return False
    if lam > 0 and not 1e-4 * law.mean_square <= lam * cost.scale <= law.mean_square:
        return False
    return build.unavailable() is None and packed(law) is not None


def packed(law: DiscreteMeasure) -> Packed | None:
    """Pack the atoms once per law; None if they are no small integers."""
    if law not in _packed:
        _packed[law] = pack(law)
    return _packed[law]


def rows_at_once(n: int) -> int:
    """Points that are one tile, for n atoms."""
    return max(LEAST_ROWS, BUFFER_BYTES // (4 * GROUP * math.ceil(n / GROUP)) // 6 * 6)


def psi_step(
    x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, w: Tensor, shares: Shares | None = None
) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and the marginal p_j = sum_i w_i pi_j(x_i) (n,), for atoms of positive mass."""
    atoms = _of(law)
    values, total = torch.empty_like(w), x.new_zeros(atoms.ld)
    for rows, step in _steps(x, atoms, psi, lam, cost):
        if lam == 0:
            value, cell = step.hard()
            values[rows] = value
            total.index_add_(0, cell, shared(w[rows], values[rows], shares))
        else:
            top, z, sums = step.exponentials()
            values[rows] = step.soft_values(top, z) - 2 / cost.scale * step.drift(z, sums)
            total += step.columns(sums, shared(w[rows], values[rows], shares) / z)
    if lam > 0:
        total.mul_(atoms.nu)
    marginal = torch.empty_like(psi)
    marginal[atoms.order_long] = total[: law.n]
    return values, marginal


def x_grad(x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and its gradient 2 (x_i - sum_j pi_j(x_i) y_j) / scale (b, d)."""
    atoms = _of(law)
    values, grads = x.new_empty(len(x)), torch.empty_like(x)
    for rows, step in _steps(x, atoms, psi, lam, cost):
        if lam == 0:
            values[rows], cell = step.hard()
            mean = law.points_at(atoms.order_long[cell])
        else:
            top, z, sums = step.exponentials()
            mean = atoms.unit * step.weighted_means(z, sums) + step.poison[:, None]
            values[rows] = step.soft_values(top, z) - 2 / cost.scale * (step.rest * mean).sum(1)
        grads[rows] = 2 / cost.scale * (x[rows] - mean)
    return values, grads


def heights(x: Tensor, law: DiscreteMeasure, psi: Tensor, cost: Cost) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield psi_j - c(x_i, y_j) up to a term per row, by tiles of rows (b', n), and the atom of each column (n,)."""
    atoms = _of(law)
    for _, step in _steps(x, atoms, psi, 0.0, cost):
        scores = step.scores[: step.b, : atoms.n]
        scores[step.poison.isnan()] = math.nan
        yield scores, atoms.order_long


def _of(law: DiscreteMeasure) -> Packed:
    atoms = packed(law)
    assert atoms is not None, "ask covers first"
    return atoms


def _steps(x: Tensor, atoms: Packed, psi: Tensor, lam: float, cost: Cost) -> Iterator[tuple[slice, _Step]]:
    """Cut the points into tiles of rows and form the scores of each."""
    rows = rows_at_once(atoms.n)
    for start in range(0, len(x), rows):
        tile = slice(start, min(start + rows, len(x)))
        yield tile, _Step(x[tile].contiguous(), atoms, psi, lam, cost)


class _Step:
    """Scores of b points, (6 ceil(b / 6), ld), in the order of the packed atoms; overwritten by their exponentials.

    Attributes:
        rest: what is left of x (b, d), in units of x.
        x_sq: ||x_i||^2 / scale (b,).
        poison: 0 (b,), or nan where psi, x_i or a score of x_i is not finite: maxima would not show it.
    """

    def __init__(self, x: Tensor, atoms: Packed, psi: Tensor, lam: float, cost: Cost) -> None:
        self.atoms, self.cost, self.b, self.lam = atoms, cost, len(x), lam
        t = lam or 1.0
        bias = x.new_full((atoms.ld,), -math.inf)
        bias[: atoms.n] = ((psi - atoms.y_sq / cost.scale) / t)[atoms.order_long]
        self.x_sq = x.square().sum(1) / cost.scale
        self.scores = buffer(x, _sixes(self.b), atoms.ld)
        self.tops = x.new_empty(_sixes(self.b), atoms.tiles)
        self._per_product = 2 / (cost.scale * t)
        self.rest, left, largest = self._add(x, torch.arange(len(self.tops)), bias)
        self.poison = (0 * psi).sum() + 0 * largest + 0 * self.rest[:, 0]
        further = (left > FURTHER / 2 / LEVELS * atoms.largest).nonzero().squeeze(1)
        if len(further) > 0:
            self.rest[further] = self._add(
                self.rest[further], torch.cat([further, further[-1:].expand(-len(further) % 6)]), None
            )[0]

    def _add(self, x: Tensor, rows: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Put bias plus the products of x (b', d), or these beside what is there, into some rows of the scores.

        rows: which (6 ceil(b' / 6),); beyond b' any.

        Returns:
            what is left of x, the largest coordinate of that (b',), and a bound of the products (b',).
        """
        atoms, lib, b = self.atoms, build.library(), len(x)
        limbs = torch.zeros(_sixes(b) * atoms.fours * 8, dtype=torch.int8)
        rest, (origin, step), left = torch.empty_like(x), x.new_zeros(2, _sixes(b)), x.new_empty(b)
        lib.quantise(
            _p(x), _i(b), _i(x.shape[1]), _d(LEVELS), _p(limbs), _p(rest), _p(origin), _p(step), _p(left)
        )  # fmt: skip
        slope, factor = origin * self._per_product, step * (atoms.unit * self._per_product)
        lib.scores(
            *(_p(a) for a in (atoms.blocks, atoms.ks, atoms.starts)), _i(atoms.groups), _p(limbs), _i(atoms.fours),
            _i(b), _p(rows), _p(factor), _p(slope), None if bias is None else _p(bias), _p(atoms.y_sum),
            _p(self.scores), _i(atoms.ld), _p(self.tops),
        )  # fmt: skip
        largest = (LEVELS * factor / atoms.unit + slope.abs()) * (atoms.d * atoms.largest)
        return rest, left, largest[:b]

    def hard(self) -> tuple[Tensor, Tensor]:
        """psi^c(x) (b,) and the cell of each point, a place in the packed order (b,)."""
        top, cell = self.scores[: self.b].max(dim=1)
        nearest = self.atoms.law_points(cell)
        return self.x_sq - top - 2 / self.cost.scale * (self.rest * nearest).sum(1) + self.poison, cell

    def exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return max_j s_ij (b,), z_i = sum_j nu_j exp(s_ij - max) (b,) and the tiles' parts of z (b, tiles)."""
        atoms, top = self.atoms, self.tops[: self.b].amax(dim=1)
        sums = top.new_empty(self.b, atoms.tiles)
        build.library().exponentials(
            _p(self.scores), _i(atoms.ld), _i(self.b), _i(atoms.groups), _p(self.tops), _p(top), _p(atoms.nu),
            _f(atoms.cut), _p(sums),
        )  # fmt: skip
        return top, sums.sum(dim=1) + self.poison, sums

    def soft_values(self, top: Tensor, z: Tensor) -> Tensor:
        """psi^{c,lam}(x) (b,) without the term of the rest."""
        return self.x_sq - self.lam * (top + z.log())

    def drift(self, z: Tensor, sums: Tensor) -> Tensor:
        """Nearly the inner product of rest_i and sum_j pi_ij y_j (b,): atoms but the nearest by their tile's mean."""
        atoms, every = self.atoms, torch.arange(self.b)
        tile = self.tops[: self.b].argmax(dim=1)
        places = (tile[:, None] * WIDTH + torch.arange(WIDTH)).clamp_(max=atoms.ld - 1)
        nearest = places[every, self.scores[: self.b].gather(1, places).argmax(dim=1)]
        means, share = self.rest @ atoms.tile_means.T, atoms.nu[nearest] / z
        beyond = (self.rest * atoms.law_points(nearest)).sum(dim=1) - means[every, tile]
        return (means * sums).sum(dim=1) / z + share * beyond

    def columns(self, sums: Tensor, factor: Tensor) -> Tensor:
        """sum_i factor_i e_ij (ld,)."""
        atoms, out = self.atoms, factor.new_empty(self.atoms.ld)
        build.library().columns(
            _p(self.scores), _i(atoms.ld), _i(self.b), _i(atoms.groups), _p(sums), _p(factor.contiguous()), _p(out)
        )
        return out

    def weighted_means(self, z: Tensor, sums: Tensor) -> Tensor:
        """sum_j pi_ij u_j (b, d), in units of the integers.

        The weights are rounded to 16 bits of the largest in their tile, an error of the sum of about 1e-5 times that
        weight times the square root of the number of atoms: below 1e-4 of a pixel's range.
        """
        atoms = self.atoms
        out = z.new_zeros(self.b, 32 * math.ceil(atoms.d / 32))
        build.library().weighted_means(
            _p(atoms.integers), _p(atoms.order), _i(atoms.n), _i(atoms.d), _p(self.scores), _i(atoms.ld), _i(self.b),
            _p(atoms.nu), _p(sums), _p(z), _f(LEAST_SHARE), _p(out),
        )  # fmt: skip
        return out[:, : atoms.d]


def _sixes(b: int) -> int:
    return 6 * math.ceil(b / 6)


def _p(tensor: Tensor) -> ctypes.c_void_p:
    assert tensor.is_contiguous()
    return ctypes.c_void_p(tensor.data_ptr())


_i, _f, _d = ctypes.c_int64, ctypes.c_float, ctypes.c_double
assert GROUP * 8 == WIDTH
