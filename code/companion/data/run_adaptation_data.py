"""Prepare MNIST and USPS for the adaptation between them: one .npz and the record of what it holds, or of why not."""

from companion.common.job import job

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from companion.common.files import replacing, write_json
from companion.data.downloads import DownloadError, default_cache
from companion.data.images import load_part
from companion.data.usps import load_usps

REMEDY = "give dataset=mnist, and where there is no network a data_dir with mnist/*.gz and usps/usps.h5"


def prepare(train_path, test_path, dataset_path, data_dir, cache_dir, arrays_path, record_path):
    """Write both domains' arrays and their record; without MNIST or USPS an .npz without arrays and the reason.

    Args:
        train_path: .npz of the run's training images, with labels.
        test_path: .npz of its test images.
        dataset_path: JSON record of what these are.
        data_dir: folder that holds usps/usps.h5; None or "" to use the cache and the mirror.
        cache_dir: folder of this project's own downloads.
        arrays_path: written, the fields of `prepare_adaptation` or none.
        record_path: written as JSON: not_run (null or the reason), usps_source, sha256 and counts of the arrays.

    Returns:
        the record.

    Raises:
        DataError: if a file is there and cannot be used.
    """
    arrays, reason, source = {}, not_mnist(json.loads(Path(dataset_path).read_text(encoding="utf-8"))), None
    if reason is None:
        try:
            usps = load_usps(Path(data_dir).expanduser() if data_dir else None, Path(cache_dir).expanduser())
        except DownloadError as error:
            reason = str(error)
        else:
            source = "data_dir" if data_dir else "download"
            arrays = prepared((load_part(train_path), load_part(test_path)), usps)
    record = {
        "not_run": reason,
        "usps_source": source,
        "sha256": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
        "counts": {name: len(array) for name, array in arrays.items() if not name.endswith("_labels")},
    }
    with replacing(Path(arrays_path)) as file:
        np.savez(file, **arrays)
    write_json(Path(record_path), record)
    if reason:
        sys.stderr.write(f"ADAPTATION: no data ({reason})\n")
    return record


def prepared(mnist, usps):
    """The same as `prepare_adaptation`, with one thread; torch is loaded only where there is something to resize."""
    import torch

    from companion.data.adaptation_data import prepare_adaptation

    torch.set_num_threads(1)
    return prepare_adaptation(mnist, usps)


def not_mnist(record):
    """Say why the run's images are not MNIST's digits; None if they are."""
    # a user's file may be called mnist.npz
    if record["name"] == "mnist" and record["source"] != "file":
        return None
    return f"the run's data set is {record['label']}, not MNIST; {REMEDY}"


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        chosen = (smk.input.train, smk.input.test, smk.input.record, smk.config["data_dir"], default_cache())
        prepare(*chosen, smk.output.arrays, smk.output.record)
