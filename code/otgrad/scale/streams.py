"""Atoms that stay in a file, for data larger than memory: read chunk by chunk, the next one while one is worked on."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otgrad import checks
from otgrad.measures import BLOCK, DiscreteMeasure

CHUNK_BYTES = 2**24  # of atoms read at once


class AtomsFile:
    """An .npy file of atoms (n, d), mapped into memory.

    Attributes:
        y: the atoms (n, d); what is read of it stays mapped until `forget`.

    Raises:
        ValueError: if the file is no .npy file of two dimensions in C order, of a dtype that atoms may have.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        """Map the file; nothing is read but its header."""
        self.path = Path(path)
        with self.path.open("rb") as stream:
            try:
                version = np.lib.format.read_magic(stream)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, dtype = read[version](stream)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path}: not an .npy file ({error}); write it with numpy.save") from None
            if len(shape) != 2 or fortran or 0 in shape or dtype.str not in ("|u1", "<f2", "<f4", "<f8"):
                found = f"{dtype} of shape {shape}{' in Fortran order' if fortran else ''}"
                raise ValueError(f"{path}: {found}; save atoms (n, d), C order, as uint8, float16, float32 or float64")
            self._start, self._row = stream.tell(), shape[1] * dtype.itemsize
            if self.path.stat().st_size < self._start + shape[0] * self._row:
                raise ValueError(f"{path}: the file ends before its {shape[0]} atoms do; write it again")
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)  # never written to
            self._as_opened = _state_of(os.fstat(stream.fileno()))
        flat = np.frombuffer(self._map, dtype, shape[0] * shape[1], self._start)
        with torch.inference_mode(False):  # what is made in that mode would have to be copied
            self.y = torch.from_numpy(flat).view(shape)

    def check(self) -> None:
        """Refuse a file that was written to since it was opened: parts of it may be mapped as they were.

        Another file that has taken its place, as careful programs write, does no harm, nor does its removal.

        Raises:
            ValueError: if it was.
        """
        try:
            found = _state_of(self.path.stat())
        except OSError:
            return
        if found[:2] == self._as_opened[:2] and found != self._as_opened:
            raise ValueError(f"{self.path}: written to since it was opened; open it again")

    def forget(self, rows: slice) -> None:
        """Give the memory of some rows back to the system, which may keep them as a cache of the file."""
        first, last = (self._start + self._row * row for row in (rows.start, rows.stop))
        page = mmap.PAGESIZE
        first, last = -(-first // page) * page, last // page * page
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class StreamedMeasure(DiscreteMeasure):
    """Data law whose atoms are in a file; every transform reads them chunk by chunk.

    Attributes:
        file: where y lies.
    """

    in_memory = False
    file: AtomsFile = field(kw_only=True)

    @classmethod
    def open(cls, path: str | Path, nu: Any = None, unit: float = 1.0) -> StreamedMeasure:
        """Build the law from an .npy file of atoms (n, d) and masses (n,) of any positive total (None: uniform).

        Raises:
            ValueError: if the file or the masses cannot be used.
            OSError: if the file cannot be opened.
        """
        file = AtomsFile(Path(path))
        masses = checks.masses("nu", nu, len(file.y), file.y.device)
        dtype = torch.float64 if file.y.dtype == torch.float64 else torch.float32
        return cls(file.y, masses.to(dtype), unit, file=file)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the file's path: it is opened again, and must then be there."""
        return _opened, (self.file.path, self.nu, self.unit)

    def __post_init__(self) -> None:
        """Check all but what would need the atoms in memory; refuse masses of zero."""
        super().__post_init__()
        if bool((self.nu == 0).any()):
            raise ValueError("nu has masses of 0: leave those atoms out of the file")

    @cached_property
    def chunks(self) -> list[slice]:
        """The atoms of each chunk."""
        size = max(1, CHUNK_BYTES // (self.y.shape[1] * self.y.element_size()))
        return [slice(start, min(start + size, self.n)) for start in range(0, self.n, size)]

    @cached_property
    def masses(self) -> Tensor:
        """Mass of each chunk, float64."""
        return torch.stack([self.nu[atoms].double().sum() for atoms in self.chunks])

    def read(self, order: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield chunks by number with their atoms as they are stored, a copy in memory."""
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self._copy, k) for k in order[:1]]
            for place, k in enumerate(order):
                y = ahead.pop().result()
                ahead = [reader.submit(self._copy, following) for following in order[place + 1 : place + 2]]
                yield k, y

    def parts(self, order: Sequence[int] | None = None) -> Iterator[tuple[int, slice, DiscreteMeasure]]:
        """Yield each chunk's number, its atoms, and them as a law of mass 1, while the next is read."""
        for k, y in self.read(range(len(self.chunks)) if order is None else order):
            yield k, self.chunks[k], DiscreteMeasure.from_atoms(y, self.nu[self.chunks[k]], self.unit)

    def _copy(self, k: int) -> Tensor:
        self.file.check()
        y = self.y[self.chunks[k]].clone()
        self.file.forget(self.chunks[k])
        return y

    @property
    def points(self) -> Tensor:
        """Not to be had: they are as many as would not fit.

        Raises:
            TypeError: always.
        """
        raise TypeError("the atoms of a StreamedMeasure stay in their file: use psi_step, x_grad or blocks()")

    def blocks(self) -> Iterator[Tensor]:
        """The points chunk by chunk."""
        for _, y in self.read(range(len(self.chunks))):
            for part in y.split(BLOCK):
                yield self.unit * part.to(self.nu.dtype)


def _opened(path: Path, nu: Tensor, unit: float) -> StreamedMeasure:
    file = AtomsFile(path)
    return StreamedMeasure(file.y, nu, unit, file=file)
