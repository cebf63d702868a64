"""Verdicts from few paired seeds: the exact sign-flip test, and Holm's correction for several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MAX_PAIRS = 20  # 2^20 sign patterns


def sign_flip_p(differences: Sequence[float]) -> float:
    """Compute the exact one-sided p-value of "the mean difference is positive" under symmetry around 0.

    p = share of the 2^n sign patterns whose mean is at least the observed one; never below 2^-n, so two pairs
    decide nothing.

    Args:
        differences: one per paired seed (n,), finite.

    Raises:
        ValueError: if there are none or more than 20, or one is not finite.
    """
    d = np.asarray(differences, dtype=float)
    if not 1 <= len(d) <= MAX_PAIRS or not np.isfinite(d).all():
        raise ValueError(f"{len(d)} differences: give 1 to {MAX_PAIRS} finite numbers")
    sums = np.zeros(1)
    for value in np.abs(d):
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(sums >= d.sum() - 1e-12 * np.abs(d).sum()))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for the number of tests (Holm 1979): compare each with the level of the whole family."""
    adjusted, worst = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = worst
    return adjusted
