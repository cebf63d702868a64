"""What Algorithm 1 and its variants are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Sampler
from otgrad.semidual import SemiDual


@dataclass(frozen=True)
class Problem:
    """The latent law, the data law, the cost and lam >= 0 (in units of the cost)."""

    latent: Sampler
    target: DiscreteMeasure
    cost: Cost
    lam: float

    @cached_property
    def semidual(self) -> SemiDual:
        """All of these but the latent law."""
        return SemiDual(self.target, self.lam, self.cost)
