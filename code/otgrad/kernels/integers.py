"""Atoms as bytes times a unit, where that is what they are: the fast kernels are exact, and faster, on those."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from otgrad.measures import DiscreteMeasure

CHECKED_AT_ONCE = 2**12  # atoms looked at together


def as_bytes(law: DiscreteMeasure) -> tuple[Tensor, float] | None:
    """Write the atoms as unit * u, u (n, d) in {0..255}, exact up to float32's rounding; None if they are not so.

    Floats are tried as multiples of 1 / 255 and of their least entry above 0.
    """
    if law.y.dtype == torch.uint8:
        return law.y.contiguous(), law.unit
    if law.y.dtype != torch.float32:
        return None
    for unit in _units(law.y):
        if _multiples(law.y[:64], unit) is not None:  # a look at a few first
            integers = torch.empty(law.y.shape, dtype=torch.uint8, device=law.y.device)
            for part, place in zip(_parts(law.y), _parts(integers), strict=True):
                whole = _multiples(part, unit)
                if whole is None:
                    break
                place.copy_(whole)  # in place: small results kept between large ones would scatter the heap
            else:
                return integers, unit * law.unit
    return None


def _parts(rows: Tensor) -> tuple[Tensor, ...]:
    return rows.split(CHECKED_AT_ONCE)


def _units(y: Tensor) -> Iterator[float]:
    yield 1 / 255
    yield float(torch.stack([torch.where(part > 0, part, math.inf).amin() for part in _parts(y)]).amin())


def _multiples(y: Tensor, unit: float) -> Tensor | None:
    """Divide by unit, if that gives whole numbers in {0..255} up to float32's rounding."""
    whole = torch.round(y / unit)
    off = ((whole * unit - y).abs() <= 2e-7 * y.abs()).logical_not_()  # so that nan counts as off
    return None if bool((off | (whole < 0) | (whole > 255)).any()) else whole.to(torch.uint8)
