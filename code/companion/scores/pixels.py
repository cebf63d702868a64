"""Scores read from the pixels: sharpness, diversity, and whether samples are copies of training images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.scores.points import check_sets, check_sizes
from otgrad.costs import Cost

TILE = 500  # samples whose distances to all images are held at once


def gradient_energy(images: Tensor, shape: tuple[int, int]) -> float:
    """Mean over images of the sum of squared differences between neighbouring pixels: what a blur takes away.

    Noise raises it: beyond that of real images more is no better.

    Args:
        images: (n, h w) in [0, 1].
        shape: (h, w).

    Raises:
        ValueError: if the images are not of that shape.
        FloatingPointError: if an entry is not finite.
    """
    check_sets(1, images=images)
    if images.shape[1] != math.prod(shape):
        raise ValueError(
            f"images have shape {tuple(images.shape)}: give (n, {math.prod(shape)}), as {tuple(shape)} says"
        )
    pictures = images.double().reshape(-1, *shape)
    return sum(float(pictures.diff(dim=side).square().sum()) for side in (1, 2)) / len(images)


def total_variance(images: Tensor) -> float:
    """Sum over the pixels of the variance of images (n, d)."""
    return float(images.var(dim=0, correction=0).sum())


@dataclass(frozen=True)
class Memorisation:
    """Are samples nearer to the images that were trained on than to as many that were not?

    Attributes:
        share: of samples nearer to a training image than to any held-out one, ties counted half: 0.5 without
            memorisation, 1 for copies. Samples that are all alike are all counted alike: 0 or 1.
        ratio: median of the distance to the nearest training image over that to the nearest held-out one: 1, or 0.
    """

    share: float
    ratio: float


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor) -> Memorisation:
    """Compare each sample's nearest training image with its nearest held-out image, Euclidean.

    With more training images than are compared here, copies of the others go unseen.

    Args:
        samples: (m, d).
        train: images trained on (n, d).
        held_out: images not trained on (n, d), as many: of more, one is nearer by chance.

    Raises:
        ValueError: on a wrong shape, or sets of different size.
        FloatingPointError: if an entry is not finite.
    """
    check_sets(1, samples=samples, train=train, held_out=held_out)
    check_sizes(train=train, held_out=held_out)
    seen, unseen = (nearest(samples, images)[1] for images in (train, held_out))
    share = (seen < unseen).double() + (seen == unseen).double() / 2
    ratio = torch.where(seen == unseen, 1.0, seen / unseen)  # 0 / 0 where both hold a copy
    return Memorisation(float(share.mean()), float(ratio.median()))


def nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest of y (n, d) to each x_i of (m, d), Euclidean.

    Returns:
        rows of y (m,), and the distances (m,), taken once more from the difference: 0 for a copy.
    """
    rows = torch.cat([Cost().matrix(tile, y).argmin(dim=1) for tile in x.split(TILE)])
    return rows, torch.linalg.vector_norm(x - y[rows], dim=1)
