"""What every metric asks of its sets of points before it computes."""

from __future__ import annotations

import torch
from torch import Tensor


def check_sets(least: int, **sets: Tensor) -> None:
    """Refuse sets (n, d) of different width, of fewer than `least` points, or with an entry that is not finite.

    Args:
        least: number of points that the metric needs in each set.
        sets: the sets by the name that the message gives them.

    Raises:
        ValueError: on a wrong shape or too few points.
        FloatingPointError: on an entry that is not finite.
    """
    for name, points in sets.items():
        if points.ndim != 2 or 0 in points.shape:
            raise ValueError(f"{name} has shape {tuple(points.shape)}: give points as (n, d)")
        if len(points) < least:
            raise ValueError(f"{name} holds {len(points)} points: give at least {least}")
        if not bool(torch.isfinite(points).all()):
            raise FloatingPointError(f"{name} has an entry that is not finite")
    widths = {name: points.shape[1] for name, points in sets.items()}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ValueError(f"the sets differ in width ({found}): give points of one space")


def check_sizes(**sets: Tensor) -> None:
    """Refuse sets of different size: what is compared at finite size would depend on it.

    Raises:
        ValueError: if the sizes differ.
    """
    sizes = {name: len(points) for name, points in sets.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"the sets differ in size ({found}): give as many points in each")
