"""Turn the configured name of a data set into images: MNIST, the digits, or a user's own .npz file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from companion.data import mnist
from companion.data.images import (
    LEAST_SCORED,
    DataError,
    ImageSet,
    held_out_count,
    load_digits,
    load_npz,
    npz_counts,
    split_holdout,
)

HOLDOUT_FRACTION = 0.15
DIGITS = "scikit-learn 8x8 digits"
RETRY_COMMAND = "OTGRAD_DATA_DIR=/path/to/data uv run snakemake --cores all"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images, with the record of what they are (free of folders and time stamps)."""

    train: ImageSet
    test: ImageSet
    record: dict[str, Any]


def resolve_dataset(dataset: str, data_dir: Path | None, cache_dir: Path, seed: int) -> Dataset:
    """Turn the configured name into images.

    Args:
        dataset: "mnist", "digits", the path of a .npz file, or "auto": MNIST, else, if no mirror delivers it,
            the digits, with the reason in the record. A bad file in `data_dir` is never passed over.
        data_dir: folder that holds mnist/*.gz, or None to use the cache and the mirrors.
        cache_dir: folder of this project's own downloads.
        seed: seed of the hold-out split, for data without a test part.

    Raises:
        DataError: if the data cannot be had as asked.
    """
    if dataset.endswith(".npz"):
        path = Path(dataset)
        train, test = load_npz(path)
        return _dataset(train, test, seed, name=path.stem, label=f"{path.name} (user file)", source="file")
    if dataset == "digits":
        return _digits(seed)
    if dataset not in ("auto", "mnist"):
        raise DataError(f"dataset = {dataset!r}: give auto, mnist, digits or the path of a .npz file")
    try:
        paths = mnist.locate_mnist(data_dir, cache_dir, mnist.MNIST_MIRRORS)
    except mnist.DownloadError as error:
        if dataset == "mnist":
            raise
        return _digits(seed, fallback_reason=str(error))
    source = "data_dir" if data_dir is not None else "download"  # also from the cache: the record is stable
    return _dataset(*mnist.load_mnist(paths), seed, name="mnist", label="MNIST", source=source)


def expected_images(dataset: str, data_dir: str, cache_dir: Path, record: Mapping[str, Any] | None) -> str:
    """Say before a run, without asking the network, which images it will use and what to do where MNIST may be missing.

    Args:
        dataset: as `resolve_dataset` takes it.
        data_dir: folder that holds mnist/*.gz, or "".
        cache_dir: folder of this project's own downloads.
        record: of the images that are there already (dataset.json), or None.
    """
    if record is not None:
        reason = record["fallback_reason"]
        return f"{record['label']}, " + (f"since {reason}; to retry: {record['retry']}" if reason else "there already")
    if dataset.endswith(".npz"):
        return f"{Path(dataset).name}, a file of your own"
    if dataset == "digits":
        return f"{DIGITS}, as asked"
    if data_dir:
        return f"MNIST from data_dir, {data_dir}"
    if mnist.cached(cache_dir):
        return f"MNIST from earlier downloads, {cache_dir}"
    otherwise = f"{DIGITS} stand in" if dataset == "auto" else "the run stops"
    return f"MNIST, to be downloaded; if that fails {otherwise} (no network: {RETRY_COMMAND}, with mnist/*.gz there)"


def too_few_to_score(path: Path) -> str | None:
    """Say why the scores, which compare sets of `LEAST_SCORED` images or more, cannot be had of a file; else None.

    A file that cannot be read is left to `resolve_dataset`.
    """
    try:
        n, m = npz_counts(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    whole = m is None and n >= 2
    train, test = _parts(n) if whole else (n, m or 0)
    if min(test, train // 2) >= LEAST_SCORED:
        return None
    enough = next(k for k in count(2) if min(_parts(k)[1], _parts(k)[0] // 2) >= LEAST_SCORED)
    given = f"{n} images" if m is None else f"{n} training and {m} test images"
    need = f"give at least {enough}, or {2 * LEAST_SCORED} and {LEAST_SCORED} as test_images"
    return f"{given}, too few to score samples by: {need} (figure2 does with 2)"


def _parts(n: int) -> tuple[int, int]:
    test = held_out_count(n, HOLDOUT_FRACTION)
    return n - test, test


def _digits(seed: int, fallback_reason: str | None = None) -> Dataset:
    label = DIGITS + (" (MNIST could not be had)" if fallback_reason else "")
    return _dataset(load_digits(), None, seed, fallback_reason, name="digits", label=label, source="embedded")


def _dataset(
    train: ImageSet, test: ImageSet | None, seed: int, fallback_reason: str | None = None, **names: str
) -> Dataset:
    if test is None:
        train, test = split_holdout(train, HOLDOUT_FRACTION, seed)
    others = train if len(train.images) > 1 else test  # of two pictures one is held out
    if (others.images == train.images[0]).all():
        raise DataError(f"{names['label']}: all pictures to train on are equal; give different ones")
    sha256 = {
        part: hashlib.sha256(images.images.tobytes()).hexdigest() for part, images in (("train", train), ("test", test))
    }
    record = {
        **names,
        "sha256": sha256,
        "n_train": len(train.images),
        "n_test": len(test.images),
        "shape": list(train.images.shape[1:]),
        "fallback_reason": fallback_reason,
        "retry": RETRY_COMMAND if fallback_reason else None,
    }
    return Dataset(train, test, record)
