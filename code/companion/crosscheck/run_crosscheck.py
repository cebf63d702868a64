"""Compare our solvers with POT on three small instances and on a generator's samples: table, potentials, trace."""

from companion.common.job import job

import numpy as np
import torch

from companion.common.files import write_csv
from companion.crosscheck.comparison import compare
from companion.crosscheck.instances import image_instance, small_instances

IMAGE_LAM = 0.05  # in units of mean ||y||^2: POT's Sinkhorn takes minutes on images below
N_SAMPLES = 200
CHECK_FIELDS = ("instance", "lam", "quantity", "ours", "pot", "difference", "tolerance", "verdict")


def crosscheck(samples_path, images_path, table_path, potentials_path, trace_path, n_images, lams, seed):
    """Run every comparison and write its three tables; a comparison that fails is a row, not an error.

    Args:
        samples_path: .npz with images (m, h, w) in [0, 1]; the first 200, or all if there are fewer, are used.
        images_path: .npz with images (n, h, w), uint8 or float in [0, 1].
        table_path: written, one row per instance, lam and quantity.
        potentials_path: written, psi of both sides at every atom with mass, lam > 0.
        trace_path: written, relative dual gap against iteration.
        n_images: number of images, drawn without replacement; all if there are fewer.
        lams: of the small instances; of the images 0 and those from 0.05 on.
        seed: of the small instances, the drawn images and the stochastic solvers.
    """
    samples, images = load_rows(samples_path)[:N_SAMPLES], load_rows(images_path)
    chosen = np.random.default_rng(seed).permutation(len(images))[:n_images]
    problems = [(instance, lam) for instance in small_instances(seed) for lam in lams]
    instance = image_instance(samples, images[chosen])
    problems += [(instance, lam) for lam in lams if lam == 0 or lam >= IMAGE_LAM]
    checks, potentials, trace = [], [], []
    for instance, lam in problems:
        found = compare(instance, lam, seed)
        checks += [[getattr(check, field) for field in CHECK_FIELDS] for check in found.checks]
        potentials += [[instance.name, lam, *pair] for pair in found.potentials]
        trace += [[instance.name, lam, *point] for point in found.trace]
    write_csv(table_path, CHECK_FIELDS, checks)
    write_csv(potentials_path, ("instance", "lam", "psi_pot", "psi_ours"), potentials)
    write_csv(trace_path, ("instance", "lam", "solver", "iteration", "gap"), trace)


def load_rows(path):
    """Read images as rows (n, h * w), float64 in [0, 1]."""
    with np.load(path, allow_pickle=False) as data:
        images = data["images"]
    scale = 255 if images.dtype == np.uint8 else 1
    return images.reshape(len(images), -1).astype(np.float64) / scale


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(1)  # two threads took six times as long on a busy machine
        tables = smk.output.table, smk.output.potentials, smk.output.trace
        crosscheck(smk.input.samples, smk.input.images, *tables, **smk.params)
