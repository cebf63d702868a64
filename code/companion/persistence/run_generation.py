"""Train one arm of the generation of images on its paired seeds, measuring exact W1 as it goes."""

from companion.common.job import job

import json
from pathlib import Path

import numpy as np
import torch

from companion.algorithms.runs import run_record
from companion.common.devices import own_device
from companion.common.files import replacing, write_json
from companion.common.seed_tables import follow_seeds, write_seed_tables
from companion.data.images import load_part
from companion.persistence.arms import GenerationConfig
from companion.persistence.generation import GenerationRun, Images, references
from otgrad.kernels.dispatch import choice

N_PICTURES = 64


def run(config, train_path, test_path, record_path, seeds, out_dir, device="cpu", threads=1):
    """Train and write log.csv, timing.csv, samples.npz and run.json.

    Args:
        config: a GenerationConfig.
        train_path: .npz of the training images.
        test_path: .npz of the held-out images.
        record_path: JSON record of what these are.
        seeds: paired with those of the other arms; the first one's `pictures` and `references` are kept.
        out_dir: the arm's folder.
        device: "cpu" or "cuda...".
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    own_device(device)  # refuses what this machine does not have
    out, images = Path(out_dir), load_images(train_path, test_path)
    courses, kept = {}, {}
    for seed, training, course in follow_seeds(config, seeds, lambda seed: GenerationRun(config, images, seed, device)):
        courses[seed] = course
        kept = kept or pictures(training, images) | references(images, seed)
    total = write_seed_tables(out, courses[seeds[0]][0][0], courses)
    with replacing(out / "samples.npz") as stream:
        np.savez(stream, **kept)
    data = json.loads(Path(record_path).read_text(encoding="utf-8"))
    record = run_record(config, data, torch.device(device), total)
    write_json(out / "run.json", record | {"seeds": list(seeds), "kernel": choice(torch.device(device))})


def pictures(training, images):
    """Samples and held-out images, (64, h, w) in [0, 1]."""
    parts = {"images": training.samples(), "data": images.held_out(0)}
    return {name: part[:N_PICTURES].cpu().numpy().reshape(-1, *images.shape) for name, part in parts.items()}


def load_images(train_path, test_path):
    """Both parts as rows in [0, 1]."""
    train, test = (load_part(Path(path)) for path in (train_path, test_path))
    parts = (torch.from_numpy(part.to_unit()) for part in (train, test))
    return Images(*parts, shape=train.images.shape[1:])


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.wildcards.arm, smk.log[0]):
        data = smk.input.train, smk.input.test, smk.input.dataset
        chosen = smk.params.seeds, Path(smk.output.record).parent, smk.params.device, smk.threads
        run(GenerationConfig(**smk.params.config), *data, *chosen)
