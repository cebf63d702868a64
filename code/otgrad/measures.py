"""The two measures of the problem: weighted atoms (the data law nu) and latent laws (zeta)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from otgrad import checks
from otgrad.kept import kept, stamp

BLOCK = 2**14  # atoms

Sampler = Callable[[int, "torch.Generator | None"], Tensor]
"""A law one can draw from: (batch_size, generator) -> points (b, d)."""


@dataclass(frozen=True, eq=False)
class DiscreteMeasure:
    """Data law nu = sum_j nu_j delta_{y_j}.

    Attributes:
        y: atoms (n, d) in multiples of `unit`: floating point, or bytes (images as they are stored, a quarter of the
            memory of float32). A tensor is not copied; where it is changed in place, what was derived of it is so anew.
        nu: masses (n,), >= 0, summing to 1, on y's device; float64 if y is, else float32, which is then the dtype of
            points, potentials and values. Atoms of zero mass are kept in place but leave every transform and sum.
        unit: what one unit of y is worth: atom j is the point unit * y_j. 1 / 255 for bytes as images in [0, 1].

    Raises:
        ValueError: on a wrong type or shape, a non-finite entry, a negative mass, a total other than 1, a positive
            mass below the smallest normal number of the dtype, or a tensor that requires grad.
    """

    y: Tensor
    nu: Tensor
    unit: float = 1.0

    in_memory: ClassVar[bool] = True
    """Whether this process holds all atoms, so that `points` can be had. Laws without bring products of their own."""

    def __post_init__(self) -> None:
        """Check once, so that the kernels need not; arrays and tensors of inference mode are copied."""
        with torch.inference_mode(False), torch.no_grad():
            y = checks.atoms(self.y)
            object.__setattr__(self, "y", y.clone() if y.is_inference() else y)
            object.__setattr__(self, "nu", checks.without_graph("nu", checks.numbers("nu", self.nu)).clone())
            object.__setattr__(self, "unit", checks.number("unit", self.unit, zero=False))
            object.__setattr__(self, "_stamp", stamp(self.y))
            total = self.total(self.nu.double().sum()) if self.nu.shape == (self.n,) else self.nu.sum()
            checks.normal_masses(self.nu, self.y, float(total))
            if not all(checks.is_finite(block) for block in self.blocks()):
                raise ValueError("y has entries that are not finite: remove or repair those atoms")

    @classmethod
    def from_atoms(cls, y: Any, nu: Any = None, unit: float = 1.0) -> Self:
        """Build the measure from atoms (n, d) and masses (n,) of any positive total (None: uniform)."""
        y = checks.atoms(y)
        nu = checks.masses("nu", nu, len(y), y.device)
        return cls(y, nu.to(torch.float64 if y.dtype == torch.float64 else torch.float32), unit)

    @property
    def now(self) -> Self:
        """This law, or where y was changed in place since it was made, the law of the atoms as they now are."""
        if stamp(self.y) == self.__dict__["_stamp"]:
            return self
        anew = self.__dict__.get("_anew")
        if anew is None or stamp(self.y) != anew.__dict__["_stamp"]:
            anew = replace(self)
            object.__setattr__(self, "_anew", anew)
        return anew

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle what the law is made of, not what is kept of it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin to watch y."""
        self.__dict__.update(state, _stamp=stamp(state["y"]))

    @property
    def n(self) -> int:
        """Number of atoms, those of zero mass included."""
        return self.y.shape[0]

    @property
    def points(self) -> Tensor:
        """Atoms as points (n, d) of nu's dtype: y itself, or a copy where y is of another dtype or unit."""
        return self.y if self.y.dtype == self.nu.dtype and self.unit == 1 else self.points_at(slice(None))

    def points_at(self, atoms: Tensor | slice) -> Tensor:
        """Some of the atoms as points of nu's dtype."""
        y = self.y[atoms].to(self.nu.dtype)
        return y if self.unit == 1 else self.unit * y

    def blocks(self) -> Iterator[Tensor]:
        """The points in blocks of BLOCK atoms, so that whole passes need no second array of the size of y."""
        return (self.points_at(slice(start, start + BLOCK)) for start in range(0, self.n, BLOCK))

    @kept
    def y_sq(self) -> Tensor:
        """Squared norms ||y_j||^2 (n,)."""
        norms, done = torch.empty_like(self.nu), 0  # filled in place: small results between large ones scatter the heap
        for block in self.blocks():
            norms[done : done + len(block)] = torch.linalg.vector_norm(block, dim=1).square()
            done += len(block)
        return norms

    @kept
    def mean_square(self) -> float:
        """sum_j nu_j ||y_j||^2, the scale that a squared Euclidean cost is compared to."""
        return float(torch.dot(self.nu, self.y_sq))

    @kept
    def per_mass(self) -> Tensor:
        """1 / nu_j (n,), and 0 where there is no mass."""
        return torch.where(self.nu > 0, 1 / self.nu, 0.0)

    @kept
    def support(self) -> Tensor | None:
        """Indices of the atoms with positive mass, or None if that is all of them."""
        return None if bool((self.nu > 0).all()) else torch.nonzero(self.nu).squeeze(1)

    @kept
    def positive(self) -> DiscreteMeasure:
        """The same law without its atoms of zero mass."""
        if self.support is None:
            return self
        return DiscreteMeasure(self.y[self.support], self.nu[self.support], self.unit)

    # What a law whose atoms lie in several processes has to do otherwise (otgrad.scale.shards).

    @property
    def size(self) -> int:
        """Number of atoms of the whole law."""
        return self.n

    def every(self, stride: int) -> slice:
        """Every stride-th atom."""
        return slice(None, None, stride)

    def total(self, part: Tensor) -> Tensor:
        """Complete a sum over the atoms at hand: here they are all."""
        return part

    def part(self, whole: Tensor) -> Tensor:
        """Of numbers per atom (n,) those of the atoms at hand."""
        return whole

    def whole(self, part: Tensor) -> Tensor:
        """Numbers per atom (n,) from those of the atoms at hand."""
        return part

    def mean(self, psi: Tensor) -> Tensor:
        """Compute `<nu, psi>` (scalar tensor) of psi (n,)."""
        return self.total(torch.dot(self.nu, psi))

    def center(self, psi: Tensor) -> Tensor:
        """Fix the gauge: shift psi (n,) so that `<nu, psi> = 0`, and set it to 0 where there is no mass."""
        shifted = psi - self.mean(psi)
        return shifted if self.support is None else torch.where(self.nu > 0, shifted, 0.0)


@dataclass(frozen=True)
class Dirac:
    """Latent law delta_{z0}: every draw is the point z0 (k,)."""

    z0: tuple[float, ...]
    dtype: torch.dtype = torch.float64

    def __call__(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Return z0 repeated, (batch_size, k)."""
        return torch.tensor(self.z0, dtype=self.dtype).expand(batch_size, -1)


@dataclass(frozen=True)
class Segment:
    """Uniform law on the segment from `start` to `end`, both (k,)."""

    start: tuple[float, ...]
    end: tuple[float, ...]
    dtype: torch.dtype = torch.float64

    def __call__(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (batch_size, k)."""
        t = torch.rand(batch_size, 1, generator=generator, dtype=self.dtype)
        start, end = (torch.tensor(point, dtype=self.dtype) for point in (self.start, self.end))
        return start + t * (end - start)


@dataclass(frozen=True)
class Uniform:
    """Uniform law on [low, high]^k; drawn on the generator's device."""

    k: int
    low: float = -1.0
    high: float = 1.0
    dtype: torch.dtype = torch.float32

    def __call__(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (batch_size, k)."""
        z = torch.rand(batch_size, self.k, generator=generator, dtype=self.dtype, device=rng_device(generator))
        return self.low + (self.high - self.low) * z


@dataclass(frozen=True)
class Normal:
    """Isotropic normal law N(mean, std^2 I_k); drawn on the generator's device."""

    k: int
    mean: float = 0.0
    std: float = 1.0
    dtype: torch.dtype = torch.float32

    def __call__(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (batch_size, k)."""
        z = torch.randn(batch_size, self.k, generator=generator, dtype=self.dtype, device=rng_device(generator))
        return self.mean + self.std * z


def rng_device(generator: torch.Generator | None) -> torch.device:
    """Device that a generator draws on; None draws on the CPU."""
    return torch.device("cpu") if generator is None else generator.device
