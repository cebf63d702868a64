"""Means with intervals, over sample sets or over training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95% interval (Student t); nan where one number says nothing of the spread."""

    mean: float
    half_width: float


def interval(runs: Sequence[Sequence[float]]) -> Interval:
    """Compute mean and interval of a score over training seeds or, for a single seed, over its sample sets.

    With several seeds the unit is the mean of a seed's sets, since sets of one generator share its training; the
    interval then holds for another seed. With one it only tells how well this generator was measured.

    Args:
        runs: for every seed the scores of its sets, at least one.

    Returns:
        mean and half-width; both nan if a score is nan.

    Raises:
        ValueError: if there is no seed, or a seed without a score.
    """
    from scipy.stats import t

    if not runs or not all(len(scores) for scores in runs):
        raise ValueError("no scores: give at least one seed with at least one set")
    means = [sum(scores) / len(scores) for scores in runs]
    units = means if len(runs) > 1 else list(runs[0])
    count, mean = len(units), sum(means) / len(means)
    if count == 1:
        return Interval(mean, math.nan)
    spread = math.sqrt(sum((value - sum(units) / count) ** 2 for value in units) / (count - 1))
    return Interval(mean, float(t.ppf((1 + LEVEL) / 2, count - 1)) * spread / math.sqrt(count))
