"""What Algorithm 1 and its variants are given."""

from __future__ import annotations

from dataclasses import dataclass

from otgrad.measures import Sampler
from otgrad.semidual import SemiDual


@dataclass(frozen=True)
class Problem:
    """The latent law, and the data law with lam >= 0 (in units of the cost) and the cost."""

    latent: Sampler
    semidual: SemiDual
