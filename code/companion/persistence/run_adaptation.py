"""Train one arm of the domain adaptation on its paired seeds, measuring accuracy as it goes."""

from companion.common.job import job

from pathlib import Path

import numpy as np
import torch

from companion.algorithms.runs import run_record
from companion.common.devices import own_device
from companion.common.files import replacing, write_json
from companion.common.readers import read_json
from companion.common.seed_tables import follow_seeds, write_seed_tables
from companion.persistence.adaptation import AdaptationRun, Domains
from companion.persistence.arms import DIRECTIONS, AdaptationConfig

COLUMNS = ("step", "generator_updates", "gradients", "accuracy", "drawn")


def run(config, arrays_path, record_path, seeds, out_dir, device="cpu", threads=1):
    """Train and write log.csv, timing.csv, samples.npz and run.json; without data, tables and samples without content.

    Args:
        config: an AdaptationConfig.
        arrays_path: .npz of both domains, with the fields of `adaptation_data.prepare_adaptation`.
        record_path: its JSON record, whose not_run says why there is no data, or is null.
        seeds: paired with those of the other arms; the first one's images are kept.
        out_dir: the arm's folder.
        device: "cpu" or "cuda...".
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    own_device(device)  # refuses what this machine does not have
    out, data = Path(out_dir), read_json(record_path)
    courses, kept = {}, {}
    if data["not_run"] is None:
        with np.load(arrays_path) as arrays:
            domains = Domains.read(arrays, *DIRECTIONS[config.direction])
        runs = follow_seeds(config, seeds, lambda seed: AdaptationRun(config, domains, seed, device))
        for seed, training, course in runs:
            courses[seed] = course
            kept = kept or one_per_digit(domains, training)
    total = write_seed_tables(out, COLUMNS, courses)
    with replacing(out / "samples.npz") as stream:
        np.savez(stream, **kept)
    record = run_record(config, data, torch.device(device), total)
    write_json(out / "run.json", record | {"seeds": list(seeds), "not_run": data["not_run"]})


def one_per_digit(domains, training):
    """First source image of every digit, and what it is moved to: source and adapted (10, 16, 16), in [-1, 1]."""
    adapted = training.adapted().cpu().numpy()
    first = np.unique(domains.source_labels[: len(adapted)].numpy(), return_index=True)[1]
    pairs = {"source": domains.source.numpy()[first], "adapted": adapted[first]}
    return {name: images.reshape(-1, 16, 16) for name, images in pairs.items()}


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.wildcards.arm, smk.log[0]):
        chosen = smk.input.arrays, smk.input.record, smk.params.seeds, Path(smk.output.record).parent
        run(AdaptationConfig(**smk.params.config), *chosen, smk.params.device, smk.threads)
