"""Find MNIST in a user's folder, in the cache or on a mirror, checksummed, and read its IDX files."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from companion.data.downloads import DOWNLOAD_TIMEOUT, download, fetch_verified, is_intact
from companion.data.downloads import (
    DownloadError as DownloadError,  # "auto" takes the digits instead, for this one failure
)
from companion.data.images import UNREADABLE, DataError, ImageSet

MNIST_FILES = {  # name: (bytes, sha256), of the original distribution
    "train-images-idx3-ubyte.gz": (
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_IDX_DIMENSIONS = {2051: 3, 2049: 1}  # magic number: images (n, h, w), labels (n,)


def load_mnist(paths: Mapping[str, Path]) -> tuple[ImageSet, ImageSet]:
    """Read the training and test images from the four located files, 60000 and 10000 of 28 x 28, uint8."""
    train, test = (
        ImageSet(
            read_idx(paths[f"{part}-images-idx3-ubyte.gz"]),
            read_idx(paths[f"{part}-labels-idx1-ubyte.gz"]).astype(np.int64),
        )
        for part in ("train", "t10k")
    )
    return train, test


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read gzipped IDX images (n, h, w), magic 2051, or labels (n,), magic 2049; uint8.

    Raises:
        DataError: if the file is missing, corrupt, of another kind, too short or too long.
    """
    try:
        content = gzip.decompress(Path(path).read_bytes())
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable gzip file ({error}); put the original file there") from error
    magic = int.from_bytes(content[:4], "big")
    if magic not in _IDX_DIMENSIONS:
        raise DataError(f"{path}: IDX magic number {magic}, not 2051 or 2049; put the original file there")
    start = 4 + 4 * _IDX_DIMENSIONS[magic]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    size = start + math.prod(shape)
    if len(content) != size:
        fault = "truncated" if len(content) < size else "trailing bytes"
        raise DataError(f"{path}: {fault}, {len(content)} bytes, not {size}; put the original file there")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def locate_mnist(
    data_dir: Path | None,
    cache_dir: Path,
    mirrors: Sequence[str] = MNIST_MIRRORS,
    timeout: float | tuple[float, float] = DOWNLOAD_TIMEOUT,
) -> dict[str, Path]:
    """Find the four files by name: in data_dir/mnist if data_dir is given, else in the cache or on a mirror.

    A user's file is only read; a corrupt file in the cache is fetched again. Every path returned has the
    sha256 of the original distribution.

    Raises:
        DataError: if a user's file is missing or has another sha256, or the cache cannot be written.
        DownloadError: if no mirror has it.
    """
    if data_dir is not None:
        return _user_files(Path(data_dir) / "mnist")
    paths = {name: Path(cache_dir) / "mnist" / name for name in MNIST_FILES}
    lacking = {path: _known_hash(name) for name, path in paths.items() if not _is_intact(path)}
    remedy = "put its four .gz files in <data_dir>/mnist and set data_dir or OTGRAD_DATA_DIR"
    download("MNIST", lacking, mirrors, lambda url, path: _fetch(url, path, timeout), remedy)
    return paths


def cached(cache_dir: Path) -> bool:
    """Whether an earlier run left the four files in the cache; their checksums are for `locate_mnist` to see."""
    return all((Path(cache_dir) / "mnist" / name).is_file() for name in MNIST_FILES)


def _user_files(folder: Path) -> dict[str, Path]:
    missing = [name for name in MNIST_FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: lacks {', '.join(missing)}; put them there or unset data_dir")
    for name in MNIST_FILES:
        if not _is_intact(folder / name):
            raise DataError(
                f"{folder / name}: unreadable, or not the sha256 of the original file (it is left as it is); "
                "replace it, or unset data_dir to download it"
            )
    return {name: folder / name for name in MNIST_FILES}


def _is_intact(path: Path) -> bool:
    return is_intact(path, _known_hash(path.name), size=MNIST_FILES[path.name][0])


def _known_hash(name: str) -> str:
    return f"sha256:{MNIST_FILES[name][1]}"


def _fetch(url: str, path: Path, timeout: float | tuple[float, float]) -> None:
    fetch_verified(url, path, _known_hash(path.name), timeout)
