"""Prepare the images of the experiments: train.npz, test.npz and the record of what they are."""

from companion.common.job import job

import sys
from pathlib import Path

from companion.common.files import write_json
from companion.data.datasets import resolve_dataset
from companion.data.downloads import default_cache
from companion.data.images import save_npz_atomic


def prepare(dataset, data_dir, cache_dir, seed, train_path, test_path, record_path, asked=None):
    """Resolve `dataset` and write its two parts and its record; each file whole or not at all.

    Args:
        dataset: "auto", "mnist", "digits" or the path of a .npz file.
        data_dir: folder that holds mnist/*.gz; None or "" to use the cache and the mirrors.
        cache_dir: folder of this project's own downloads.
        seed: seed of the hold-out split.
        train_path: written, fields images and (if there are any) labels.
        test_path: written likewise.
        record_path: written as JSON.
        asked: kept in the record: what these images were made for, see companion.common.places.

    Returns:
        the record.
    """
    folder = Path(data_dir).expanduser() if data_dir else None
    data = resolve_dataset(str(dataset), folder, Path(cache_dir).expanduser(), int(seed))
    record = data.record | {"asked": asked} if asked else data.record
    save_npz_atomic(Path(train_path), data.train)
    save_npz_atomic(Path(test_path), data.test)
    write_json(Path(record_path), record)
    if record["fallback_reason"]:
        sys.stderr.write(fallback_notice(record))
    return record


def fallback_notice(record):
    """Frame the fact that the figures will not show MNIST, the reason, and the command to retry."""
    frame = "#" * 78
    lines = (
        f"DATA: using {record['label']}",
        "Figures made from it say so in their label; they do not show MNIST.",
        f"Reason: {record['fallback_reason']}",
        f"Retry:  {record['retry']}",
    )
    return "\n".join(["", frame, *(f"# {line}" for line in lines), frame, "", ""])


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        asked = smk.params.asked
        dataset = smk.input.files[0] if smk.input.files else asked["dataset"]
        chosen = (dataset, smk.config["data_dir"], default_cache(), asked["seed"] or 0)
        prepare(*chosen, smk.output.train, smk.output.test, smk.output.record, asked)
