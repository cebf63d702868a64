"""What Algorithm 1 and its variants are given."""

from __future__ import annotations

from dataclasses import dataclass

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Sampler


@dataclass(frozen=True)
class Problem:
    """The latent law, the data law, the cost and lam >= 0 (in units of the cost)."""

    latent: Sampler
    target: DiscreteMeasure
    cost: Cost
    lam: float
