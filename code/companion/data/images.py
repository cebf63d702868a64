"""Hold grey images: scikit-learn's embedded digits or a user's own .npz file, split and saved.

Every bad input ends in a `DataError`, one line that names the file or the field, the fault and the remedy.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from companion.common.files import replacing

# What the readers of zip, gzip and .npy raise on a bad file.
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zlib.error, zipfile.BadZipFile)
ROUNDING = 1e-5  # beyond [0, 1], that arithmetic may leave: clamped; half a grey value is 2e-3
LEAST_SCORED = 10  # images in a set that samples are compared with
_NPZ_FIELDS = ("images", "labels", "test_images", "test_labels")


class DataError(Exception):
    """A data file or a data setting cannot be used; the message is one line and ends with the remedy."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line, whatever a file name or a library's error holds."""
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Grey images (n, h, w), uint8 in 0..255 or float in [0, 1], with labels (n,) int64 or None."""

    images: NDArray[Any]
    labels: NDArray[np.int64] | None = None

    def to_unit(self) -> NDArray[np.float32]:
        """Return the images as rows (n, h * w), float32 in [0, 1]."""
        rows = self.images.reshape(len(self.images), -1)
        if rows.dtype == np.uint8:
            return rows.astype(np.float32) / np.float32(255)
        return rows.astype(np.float32)


def split_holdout(images: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out the last `fraction` of a seeded permutation, at least one image on each side.

    Raises:
        ValueError: if fraction is not inside (0, 1) or there are fewer than two images.
    """
    n = len(images.images)
    if not 0 < fraction < 1 or n < 2:
        raise ValueError(f"cannot hold out a fraction {fraction} of {n} images: give (0, 1) and n >= 2")
    cut = n - held_out_count(n, fraction)
    order = np.random.default_rng(seed).permutation(n)
    return _subset(images, order[:cut]), _subset(images, order[cut:])


def held_out_count(n: int, fraction: float) -> int:
    """How many of n >= 2 images are held out."""
    return max(min(round(fraction * n), n - 1), 1)


def _subset(images: ImageSet, rows: NDArray[np.int64]) -> ImageSet:
    return ImageSet(images.images[rows], None if images.labels is None else images.labels[rows])


def load_digits() -> ImageSet:
    """Load scikit-learn's embedded digits: 1797 images of 8 x 8, pixel / 16 as float32 in [0, 1]."""
    from sklearn.datasets import load_digits as load

    pixels, labels = load(return_X_y=True)
    return ImageSet((pixels.reshape(-1, 8, 8) / 16).astype(np.float32), np.asarray(labels, np.int64))


def load_npz(path: Path) -> tuple[ImageSet, ImageSet | None]:
    """Load a user's file: `images` (n, h, w), uint8 or float in [0, 1], and if present `labels` (n,).

    The test part is read from `test_images` and `test_labels` if they are there, else None. Floats become
    float32; what rounding left beyond [0, 1] is clamped.

    Raises:
        DataError: if the file or one of these fields cannot be used.
    """
    fields = _npz_fields(path)
    train = _checked_images(path, fields)
    if "test_images" not in fields:
        return train, None
    test = _checked_images(path, fields, "test_")
    if test.images.shape[1:] != train.images.shape[1:]:
        raise DataError(f"{path}: test_images and images differ in height or width; make them equal")
    return train, test


def load_part(path: Path) -> ImageSet:
    """Load a part of a data set, as `save_npz_atomic` wrote it: held out, it may be a single image, or black.

    Raises:
        DataError: if the file or its images cannot be used.
    """
    return _checked_images(path, _npz_fields(path), least=1)


def _npz_fields(path: Path) -> dict[str, NDArray[Any]]:
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; give the path of an existing .npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an .npz file; write it with numpy.savez(path, images=...)")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "images" in archive.files:
                return {name: np.asarray(archive[name]) for name in archive.files if name in _NPZ_FIELDS}
            raise DataError(f"{path}: no field images, only {archive.files}; name the array (n, h, w) images")
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}); store plain arrays with numpy.savez") from error


def _checked_images(path: Path, fields: Mapping[str, NDArray[Any]], prefix: str = "", least: int = 2) -> ImageSet:
    images, labels = fields[f"{prefix}images"], fields.get(f"{prefix}labels")
    fault = _image_fault(images, least)
    if fault:
        raise DataError(f"{path}: {prefix}images {fault}")
    if images.dtype != np.uint8:
        images = images.clip(0, 1).astype(np.float32)
    if labels is None:
        return ImageSet(images)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"{path}: {prefix}labels are {found}; give one integer per image, ({len(images)},)")
    return ImageSet(images, labels.astype(np.int64))


def _image_fault(images: NDArray[Any], least: int) -> str | None:
    """Say what keeps an array from being `least` grey images or more, and the remedy; None if nothing does."""
    if images.ndim != 3:
        return f"have shape {images.shape}; give (n, h, w)"
    if len(images) < least or 0 in images.shape:
        return f"have shape {images.shape}; give at least {least} images of at least 1 pixel"
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        return f"have dtype {images.dtype}; store uint8, or float in [0, 1]"
    if not np.isfinite(images).all():
        return "have entries that are not finite; remove or repair those images"
    if images.dtype != np.uint8 and not _in_unit(images):
        return f"range over [{float(images.min()):.9g}, {float(images.max()):.9g}]; rescale floats to [0, 1]"
    return None if images.any() or least == 1 else "are zero everywhere; give images with some bright pixel"


def _in_unit(images: NDArray[Any]) -> bool:
    """Whether floats lie in [0, 1] up to rounding: that of their own type, of which half has three digits."""
    slack = max(ROUNDING, float(np.finfo(images.dtype).eps))
    return -slack <= float(images.min()) and float(images.max()) <= 1 + slack


def npz_counts(path: Path) -> tuple[int, int | None]:
    """Read from the headers alone how many training images a user's file holds, and test images, None without them.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: if there is no such file, or no arrays in it.
    """
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        return _count(archive, "images"), _count(archive, "test_images") if "test_images.npy" in held else None


def _count(archive: zipfile.ZipFile, field: str) -> int:
    with archive.open(f"{field}.npy") as stream:
        major, _ = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape = read(stream)[0]
    if not shape:
        raise ValueError(f"{field} has no axis")
    return shape[0]


def save_npz_atomic(path: Path, images: ImageSet) -> None:
    """Write `images` and, unless None, `labels`; the same arrays give the same bytes (no dates)."""
    fields = {"images": images.images}
    if images.labels is not None:
        fields["labels"] = images.labels
    with replacing(path) as file:
        np.savez(file, **fields)  # type: ignore[arg-type]
