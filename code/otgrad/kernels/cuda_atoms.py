"""Atoms as the CUDA kernel reads them: in float16, exact or as two halves, made once per law and kept beside it.

Beyond COPY_BYTES no copy is made, and the programs convert on the way instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from otgrad.kernels.integers import CHECKED_AT_ONCE, as_bytes
from otgrad.measures import DiscreteMeasure

ATOM_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)
COPY_BYTES = 2**32
_atoms: WeakKeyDictionary[DiscreteMeasure, Atoms] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Atoms:
    """Atoms as the programs read them: unit * y_scale * y, whose factor y_scale is applied on loading.

    Attributes:
        y: (n, d) contiguous, or (2, n, d), two halves to be added, of kind "halves".
        unit: what one unit of y_scale * y is worth.
        kind: KIND of the programs.
        y_scale: power of two, 1 but for the kind "split".
    """

    y: Tensor
    unit: float
    kind: str
    y_scale: float = 1.0


def prepared(law: DiscreteMeasure) -> Atoms:
    """Return the atoms as the programs read them, made once per law."""
    if law not in _atoms:
        _atoms[law] = _prepare(law)
    return _atoms[law]


def _prepare(law: DiscreteMeasure) -> Atoms:
    y, unit = law.y.contiguous(), law.unit
    found = as_bytes(law)
    if found is not None:
        y, unit = found
    if y.dtype == torch.float16:
        return Atoms(y, unit, "half")
    fits = y.numel() * (4 if y.dtype == torch.float32 else 2) <= COPY_BYTES
    if y.dtype == torch.uint8:
        return Atoms(y.half(), unit, "half") if fits else Atoms(y, unit, "bytes")
    largest = max(float(y.max()), -float(y.min()))
    scale = 2.0 ** (13 - math.floor(math.log2(largest))) if largest > 0 else 1.0  # to 2^13..2^14, in float16's range
    if not fits:
        return Atoms(y, unit / scale, "split", scale)
    head = torch.cat([(part.float() * scale).half() for part in y.split(CHECKED_AT_ONCE)])
    if y.dtype == torch.bfloat16:
        return Atoms(head, unit / scale, "half")
    pairs = zip(y.split(CHECKED_AT_ONCE), head.split(CHECKED_AT_ONCE), strict=True)
    rest = [(part * scale - whole).half() for part, whole in pairs]
    return Atoms(torch.stack([head, torch.cat(rest)]), unit / scale, "halves")
