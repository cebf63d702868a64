"""Train one generator by Algorithm 1 and write its run folder: from the workflow, or by hand on any machine.

By hand, with nothing but torch, numpy and filelock:
PYTHONPATH=code python code/companion/images/run_training.py --data results/data --out results/runs/images --lam 0.01
With the atoms dealt out among four processes, same options:
torchrun --nproc-per-node 4 code/companion/images/run_training.py
"""

from companion.common.job import job

import argparse
import json
import os
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from companion.algorithms.algorithm1 import sample_images, train
from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.networks import LATENT_DIM
from companion.algorithms.runs import OTConfig, run_record
from companion.common.devices import own_device
from companion.common.files import replacing, write_csv, write_json
from companion.common.progress import Progress
from otgrad.kernels.dispatch import choice
from otgrad.measures import Uniform
from otgrad.scale.shards import Team

N_SAMPLES = 256


def run(config, data_dir, out_dir, checkpoint_dir, device="cpu", threads=None):
    """Train, or go on from the last checkpoint, and write log.csv, timing.csv, samples.npz, weights.pt, run.json.

    Args:
        config: an OTConfig; its sizes are cut to what there is.
        data_dir: folder with train.npz and dataset.json.
        out_dir: the run's folder, written only when training is over.
        checkpoint_dir: folder under which the run's checkpoints lie.
        device: "cpu", "cuda" or "cuda:<number>".
        threads: CPU threads, None for torch's choice.
    """
    if threads:
        torch.set_num_threads(threads)
    device = own_device(device)
    images, record = load_images(Path(data_dir))
    told, config = config.identity(), cut_to(config, len(images))  # a run is called what was asked for
    digest = config.digest(record["sha256"]["train"])
    checkpoints = CheckpointFolder(Path(checkpoint_dir) / f"{config.name()}-{digest}")
    kernel = choice(device)
    with Team.start(device) as team:
        first = team is None or team.rank == 0
        atoms = slice(config.n_train) if team is None else team.share_of(config.n_train)
        y = torch.from_numpy(images[atoms].reshape(-1, images[0].size)).to(device)
        with checkpoints.locked() if first else nullcontext():
            if first:
                print(f"kernel: {kernel}" + (f", on {team.size} processes" if team else ""))
            track = progress(config) if first else iter
            result = train(config, y, images.shape[1:], checkpoints, digest, track, team)
            if first:
                size, sent = (team.size, team.sent) if team else (1, 0)
                told |= {"kernel": kernel, "processes": size, "sent_bytes": sent}
                write_run(result, config, record, images.shape[1:], Path(out_dir), device, told)
                checkpoints.clear()


def cut_to(config, count):
    """Cut a run's sizes to the `count` images there are, and a variant's to the run's own."""
    n_train = min(config.n_train, count)
    batch_atoms, reuse = min(config.batch_atoms, n_train), min(config.reuse, config.inner_steps)
    return replace(config, n_train=n_train, batch_atoms=batch_atoms, reuse=reuse)


def write_run(result, config, record, shape, out, device, told):
    """Write the run's folder; what is told of the run besides is added to its record."""
    for name, rows in (("log.csv", result.log), ("timing.csv", result.timing)):
        write_csv(out / name, list(rows[0]), [list(row.values()) for row in rows])
    rng = torch.Generator(device).manual_seed(config.seed + 2_000_003)
    samples = sample_images(result.generator, Uniform(LATENT_DIM), N_SAMPLES, rng).cpu().numpy()
    with replacing(out / "samples.npz") as stream:
        np.savez(stream, images=samples.reshape(N_SAMPLES, *shape))
    with replacing(out / "weights.pt") as stream:
        torch.save({"generator": result.generator.state_dict(), "psi": result.psi}, stream)
    write_json(out / "run.json", run_record(config, record, device, result.timing[-1]["seconds"]) | told)


def load_images(data_dir):
    """Read train.npz as float32 in [0, 1] (n, h, w), and dataset.json."""
    with np.load(data_dir / "train.npz", allow_pickle=False) as data:
        images = data["images"]
    if images.dtype == np.uint8:
        images = images / np.float32(255)
    return images.astype(np.float32), json.loads((data_dir / "dataset.json").read_text(encoding="utf-8"))


def progress(config):
    """Return a wrapper of the theta-steps that says now and then how far they are."""

    def told(steps):
        tell = Progress(config.name(), config.outer_steps, "theta-steps", steps.start - 1)
        for step in steps:
            yield step
            tell(step)

    return told


def parse_arguments(arguments):
    """Read the command line: every field of OTConfig, with the defaults of the paper's sequel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data", help="folder with train.npz and dataset.json")
    parser.add_argument("--out", default="results/runs/images", help="folder under which the run's folder is made")
    parser.add_argument("--checkpoints", default="checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    paper = OTConfig("mlp", 0.01, 0, 200, 3000, 10, 1e-3, 60000)
    for field in fields(OTConfig):
        default = getattr(paper, field.name)
        parser.add_argument("--" + field.name.replace("_", "-"), type=type(default), default=default)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run from the command line."""
    given = parse_arguments(arguments)
    config = OTConfig(**{field.name: getattr(given, field.name) for field in fields(OTConfig)})
    rank = os.environ.get("RANK", "0")
    log = f"{config.name()}.log" if rank == "0" else f"{config.name()}-process{rank}.log"
    with job(config.name(), Path(given.out) / log):
        run(config, given.data, Path(given.out) / config.name(), given.checkpoints, given.device, given.threads)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.wildcards.run, smk.log[0]):
        run(
            OTConfig(**smk.params.config),
            Path(smk.input.train).parent,
            Path(smk.output.record).parent,
            smk.params.checkpoints,
            smk.params.device,
            smk.threads,
        )
elif __name__ == "__main__":
    main()
