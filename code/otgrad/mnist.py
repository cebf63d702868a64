"""Find MNIST in a user's folder, in the cache or on a mirror, checksummed, and read its IDX files."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from otgrad.images import UNREADABLE, DataError, ImageSet

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
# Seconds to (connect, read). The first counts for every address of a host, and mirrors have up to sixteen.
DOWNLOAD_TIMEOUT = (2.0, 10.0)
DOWNLOAD_ATTEMPTS = 2
_IDX_DIMENSIONS = {2051: 3, 2049: 1}  # magic number: images (n, h, w), labels (n,)


class DownloadError(DataError):
    """MNIST could be had from no mirror: the one failure for which "auto" takes the digits instead."""


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
    _download([path for path in paths.values() if not _is_intact(path)], mirrors, timeout)
    return paths


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
    size, sha256 = MNIST_FILES[path.name]
    try:
        return path.stat().st_size == size and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _download(paths: Sequence[Path], mirrors: Sequence[str], timeout: float | tuple[float, float]) -> None:
    alive = list(mirrors)
    failures: dict[str | None, str] = {}
    for path in paths:
        while alive:  # a mirror given up is not asked again, so that the waits do not add up per file
            reason = _try_mirror(alive[0], path, timeout)
            if reason is None:
                break
            failures[urlsplit(alive.pop(0)).hostname] = reason
        else:
            tried = ", ".join(f"{host} ({reason})" for host, reason in failures.items())
            raise DownloadError(
                f"MNIST could not be downloaded from {tried}; put its four .gz files in <data_dir>/mnist "
                "and set data_dir or OTGRAD_DATA_DIR"
            )


def _try_mirror(mirror: str, path: Path, timeout: float | tuple[float, float]) -> str | None:
    """Return None on success, else why the mirror is given up: at once if it cannot be connected to."""
    import requests

    reason = None
    for _ in range(DOWNLOAD_ATTEMPTS):
        try:
            _fetch(mirror + path.name, path, timeout)
            return None
        except requests.ConnectionError:
            return "no connection"
        except requests.RequestException as error:
            reason = type(error).__name__
        except OSError as error:
            raise DataError(f"{path}: not writable ({error}); give another cache_dir") from error
        except ValueError:
            reason = "wrong sha256"
    return reason


def _fetch(url: str, path: Path, timeout: float | tuple[float, float]) -> None:
    """Download one file; pooch verifies it in a temporary file, then renames."""
    import pooch

    if not url.startswith("https://"):
        raise DataError(f"mirror {url}: give an https address")
    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(
        url,
        known_hash=f"sha256:{MNIST_FILES[path.name][1]}",
        fname=path.name,
        path=path.parent,
        downloader=pooch.HTTPDownloader(timeout=timeout),  # type: ignore[arg-type] (pooch's own class)
    )
