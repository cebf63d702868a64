"""Read USPS's handwritten digits from a user's usps.h5, or from LIBSVM's two files, downloaded and checksummed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from companion.data.downloads import DOWNLOAD_TIMEOUT, DownloadError, download, fetch_verified, is_intact
from companion.data.images import UNREADABLE, DataError, ImageSet

USPS_COUNTS = {"train": 7291, "test": 2007}
USPS_FILES = {  # LIBSVM's name: checksum, the one torchvision's USPS class holds the file to
    "train": ("usps.bz2", "md5:ec16c51db3855ca6c91edd34d0e9b197"),
    "test": ("usps.t.bz2", "md5:8ea070ee2aca1ac39742fdd1ef5ed118"),
}
USPS_MIRRORS = ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",)
_SIDE = 16
_REMEDY = "replace it, or remove it to go on without USPS"


def load_usps(data_dir: Path | None, cache_dir: Path) -> tuple[ImageSet, ImageSet]:
    """Load the training and test images, 7291 and 2007 of 16 x 16, float32 in [0, 1], ink bright, with labels.

    Args:
        data_dir: folder that holds usps/usps.h5, or None to use the cache and the mirror.
        cache_dir: folder of this project's own downloads.

    Raises:
        DownloadError: if there is no such file, or no mirror has it: USPS is optional.
        DataError: if a file is there and cannot be used.
    """
    if data_dir is None:
        paths = locate_libsvm(cache_dir)
        return read_libsvm(paths["train"], "train"), read_libsvm(paths["test"], "test")
    path = Path(data_dir) / "usps" / "usps.h5"
    if not os.path.lexists(path):  # a broken link is a fault
        raise DownloadError("data_dir holds no USPS; put usps.h5 in <data_dir>/usps")
    return read_h5(path)


def read_h5(path: Path) -> tuple[ImageSet, ImageSet]:
    """Read an HDF5 file with train/data (7291, 256) float32 in [0, 1], train/target (7291,) of 0..9, test/... alike.

    Raises:
        DataError: if the file is unreadable, lacks one of these or holds another kind of array.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:  # some network file systems refuse locks
            arrays = {
                part: [_h5_array(path, file, part, field) for field in ("data", "target")] for part in USPS_COUNTS
            }
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable HDF5 file ({error}); {_REMEDY}") from error
    return _checked(path, "train", *arrays["train"]), _checked(path, "test", *arrays["test"])


def _h5_array(path: Path, file: Any, part: str, field: str) -> NDArray[Any]:
    """Return one data set of an open file, read only if it has as many rows as it must have."""
    import h5py

    group = file.get(part)
    found = group.get(field) if isinstance(group, h5py.Group) else None
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: no data set {part}/{field}; {_REMEDY}")
    if not found.shape or found.shape[0] != USPS_COUNTS[part]:
        raise DataError(f"{path}: {part}/{field} has shape {found.shape}, not {USPS_COUNTS[part]} rows; {_REMEDY}")
    return np.asarray(found[()])


def locate_libsvm(cache_dir: Path) -> dict[str, Path]:
    """Find LIBSVM's two files, "train" and "test", in the cache or on a mirror.

    A corrupt file in the cache is fetched again.

    Raises:
        DownloadError: if no mirror has them.
        DataError: if the cache cannot be written.
    """
    folder = Path(cache_dir) / "usps"
    hashes = {folder / name: known_hash for name, known_hash in USPS_FILES.values()}
    lacking = {path: known_hash for path, known_hash in hashes.items() if not is_intact(path, known_hash)}
    download(
        "USPS",
        lacking,
        USPS_MIRRORS,
        lambda url, path: fetch_verified(url, path, hashes[path], DOWNLOAD_TIMEOUT),
        "put usps.h5 in <data_dir>/usps and set data_dir or OTGRAD_DATA_DIR",
    )
    return {part: folder / name for part, (name, _) in USPS_FILES.items()}


def read_libsvm(path: Path, part: str) -> ImageSet:
    """Read lines "label 1:v ... 256:v" with labels 1..10 for the digits 0..9 and v in [-1, 1] (one left out is 0).

    Args:
        path: the file, compressed if its name ends with .bz2.
        part: "train" or "test".

    Raises:
        DataError: if the file is unreadable, or a line or the number of lines is not as said.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        sparse, labels = load_svmlight_file(str(path), n_features=_SIDE**2, zero_based=False)[:2]  # type: ignore[arg-type]
    except (*UNREADABLE, OverflowError) as error:
        raise DataError(f"{path}: not a readable LIBSVM file ({error}); {_REMEDY}") from error
    if not np.isin(labels, range(1, 11)).all():
        raise DataError(f"{path}: labels are not the integers 1 to 10; {_REMEDY}")
    return _checked(path, part, ((sparse.toarray() + 1) / 2).astype(np.float32), labels.astype(np.int64) - 1)


def _checked(path: Path, part: str, pixels: NDArray[Any], labels: NDArray[Any]) -> ImageSet:
    fault = _pixel_fault(pixels, USPS_COUNTS[part]) or _label_fault(labels, USPS_COUNTS[part])
    if fault:
        raise DataError(f"{path}: {part} {fault}; {_REMEDY}")
    return ImageSet(pixels.reshape(-1, _SIDE, _SIDE), labels.astype(np.int64))


def _pixel_fault(pixels: NDArray[Any], n: int) -> str | None:
    if pixels.shape != (n, _SIDE**2) or pixels.dtype != np.float32:
        return f"pixels are {pixels.dtype} of shape {pixels.shape}, not float32 of shape ({n}, {_SIDE**2})"
    if not np.isfinite(pixels).all():
        return "pixels have entries that are not finite"
    if pixels.min() < 0 or pixels.max() > 1:
        return f"pixels range over [{pixels.min():.6g}, {pixels.max():.6g}], not [0, 1]"
    return None if pixels.any() else "pixels are zero everywhere"


def _label_fault(labels: NDArray[Any], n: int) -> str | None:
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        return f"labels are {labels.dtype} of shape {labels.shape}, not integers of shape ({n},)"
    if labels.min() < 0 or labels.max() > 9:
        return f"labels range from {labels.min()} to {labels.max()}, not 0 to 9"
    return None
