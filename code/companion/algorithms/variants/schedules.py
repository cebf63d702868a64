"""What changes along training by itself: lam, the step of theta, and the average of theta."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from companion.algorithms.variants.settings import Variant


def lam_at(done: float, lam: float, variant: Variant) -> float:
    """Compute lam (lam_start / lam)^(1 - done / lam_share) until it reaches lam; `done` is the share of steps taken."""
    if variant.lam_start == 0:
        return lam
    return lam * (variant.lam_start / lam) ** max(0.0, 1 - done / variant.lam_share)


def rate_at(done: float, lr_theta: float, variant: Variant) -> float:
    """Compute lr_theta (1 + cos(pi t)) / 2, t running from 0 to 1 over the last `lr_decay` of training."""
    if variant.lr_decay == 0:
        return lr_theta
    t = max(0.0, 1 - (1 - done) / variant.lr_decay)
    return lr_theta * (1 + math.cos(math.pi * t)) / 2


class WeightAverage:
    """Exponential average of a generator's weights, a plain mean at first: theta_bar += max(1 - decay, 1 / k) (...).

    What is no parameter (the statistics of a batch normalisation) is copied as it is.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        """Start from a copy of the generator."""
        self.average, self.decay, self.k = copy.deepcopy(generator), decay, 0

    @torch.no_grad()
    def update(self, generator: nn.Module) -> None:
        """Take in the weights as they now are."""
        self.k += 1
        weight = max(1 - self.decay, 1 / self.k)
        for mine, its in zip(self.average.parameters(), generator.parameters(), strict=True):
            mine.lerp_(its, weight)
        for mine, its in zip(self.average.buffers(), generator.buffers(), strict=True):
            mine.copy_(its)
