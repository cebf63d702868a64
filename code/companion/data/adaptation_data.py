"""Bring MNIST and USPS to one size and one scale: two domains of the same ten digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from companion.data.images import DataError, ImageSet

SIDE = 16
_CHUNK = 10000  # images resized at once: 31 MB of float32


def prepare_adaptation(mnist: tuple[ImageSet, ImageSet], usps: tuple[ImageSet, ImageSet]) -> dict[str, NDArray[Any]]:
    """Return both domains as rows (n, 256), float32 in [-1, 1] with the ground at -1, and labels (n,) int64.

    Args:
        mnist: training and test images with labels, resized to 16 x 16.
        usps: training and test images with labels, 16 x 16.

    Returns:
        usps_train, usps_train_labels, usps_test, usps_test_labels, mnist_train, ..., each row-major.

    Raises:
        DataError: if there are images without labels.
    """
    arrays = {}
    for domain, parts in (("usps", usps), ("mnist", mnist)):
        for part, images in zip(("train", "test"), parts, strict=True):
            if images.labels is None:
                raise DataError(f"{domain}'s {part} images have no labels; give one per image")
            arrays[f"{domain}_{part}"] = to_rows(images)
            arrays[f"{domain}_{part}_labels"] = images.labels
    return arrays


def to_rows(images: ImageSet) -> NDArray[np.float32]:
    """Return the images as rows (n, 256) of 16 x 16 pixels, float32 in [-1, 1]; other sizes are resized."""
    pixels = torch.from_numpy(images.to_unit()).reshape(-1, 1, *images.images.shape[1:])
    if tuple(pixels.shape[2:]) != (SIDE, SIDE):
        pixels = torch.cat([_resized(chunk) for chunk in pixels.split(_CHUNK)])
    return (2 * pixels - 1).reshape(-1, SIDE**2).numpy()


def _resized(pixels: torch.Tensor) -> torch.Tensor:
    """Resize (n, 1, h, w) in [0, 1] to (n, 1, 16, 16) in [0, 1], in whole numbers of 1 / 255 as the authors' PIL does.

    PIL differs by 1 / 255 in one pixel of a hundred (MNIST's test images, torch 2.15).
    """
    whole = (255 * pixels).round().to(torch.uint8)
    return interpolate(whole, size=(SIDE, SIDE), mode="bilinear", antialias=True).to(pixels.dtype) / 255
