"""Train one arm of the 2-D experiment on its paired seeds, measuring exact W1 as it goes."""

from companion.common.job import job

import math
from pathlib import Path

import numpy as np
import torch

from companion.algorithms.runs import run_record
from companion.common.devices import own_device
from companion.common.files import replacing, write_json
from companion.common.seed_tables import follow_seeds, write_seed_tables
from companion.persistence.arms import CRITIC_METHODS, PlanarConfig
from companion.persistence.planar import EVAL_POINTS, LAWS, PlanarRun, sampling_floor
from companion.persistence.planar_stacked import follow_stacked

SNAPSHOTS = (0, 1 / 8, 1 / 4, 1 / 2, 1)  # shares of the outer steps
EXTENT, GRID = 1.6, 65  # the potential is drawn on [-1.6, 1.6]^2


def run(config, seeds, out_dir, device="cpu", threads=1):
    """Train and write log.csv, timing.csv, snapshots.npz and run.json.

    Args:
        config: a PlanarConfig.
        seeds: paired with those of the other arms; the first one's snapshots are kept.
        out_dir: the arm's folder.
        device: "cpu" or "cuda...".
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    own_device(device)  # refuses what this machine does not have
    out, snapshots = Path(out_dir), []
    every, last = config.measure_every, config.outer_steps
    kept = {min(math.ceil(share * last / every) * every, last) for share in SNAPSHOTS}

    def look(training):
        if training.step in kept:
            snapshots.append(snapshot(training))

    if config.method in CRITIC_METHODS:
        courses = follow_stacked(config, seeds, device, look)
    else:
        plain = follow_seeds(config, seeds, lambda seed: PlanarRun(config, seed, device), look)
        courses = {seed: course for seed, _, course in plain}
    total = write_seed_tables(out, courses[seeds[0]][0][0], courses)
    data = LAWS[config.law](EVAL_POINTS, torch.Generator().manual_seed(seeds[0]))
    stacked = {key: np.stack([shot[key] for shot in snapshots]) for key in snapshots[0]}
    with replacing(out / "snapshots.npz") as stream:
        np.savez(stream, data=data.numpy(), extent=np.float64(EXTENT), **stacked)
    floor = sampling_floor(config.law, seeds[0])
    record = run_record(config, {"law": config.law, "sampling_floor": floor}, torch.device(device), total)
    write_json(out / "run.json", record | {"seeds": list(seeds)})


def snapshot(training):
    """Step, samples (512, 2), and phi on a grid (65, 65) over [-1.6, 1.6]^2, rows along y."""
    axis = torch.linspace(-EXTENT, EXTENT, GRID, device=training.rng.device)
    grid = torch.cartesian_prod(axis, axis).flip(1)
    phi = training.potential.values(grid).reshape(GRID, GRID)
    return {"step": training.step, "samples": training.samples().cpu().numpy(), "phi": phi.cpu().numpy()}


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.wildcards.arm, smk.log[0]):
        folder = Path(smk.output.record).parent
        run(PlanarConfig(**smk.params.config), smk.params.seeds, folder, smk.params.device, smk.threads)
