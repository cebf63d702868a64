"""Stages of gpu_pass.py that train generators of images by Algorithm 1, at the paper preset's and the authors' sizes.

Scores need torch alone: the Frechet distance, precision and recall in the classifier's features, and sharpness, over
sets of 2,000 images as in the workflow; W2 is left to a machine with POT, from samples.npz.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from companion.algorithms.algorithm1 import sample_images, train
from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.networks import LATENT_DIM, make_generator
from companion.algorithms.runs import OTConfig
from companion.images.recorded import Budget, losses, sequel
from companion.scores.classifier import from_state, train_classifier
from companion.scores.scores import Judge
from companion.scores.sets import Sets, choose_sets
from gpu_record import Record
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Uniform
from problems import SIDE, blots

PAPER = {"batch_size": 200, "outer_steps": 3000, "inner_steps": 10, "lr_theta": 1e-3, "n_train": 60_000}
TINY = {"batch_size": 8, "outer_steps": 3, "inner_steps": 2, "n_train": 100, "eval_samples": 20, "final_steps": 2}
WINNER = {"lam": 0.005, "lr_theta": 0.004, "lr_decay": 0.7, "potential": "minibatch", "self_atoms": 200}
ARMS = [{"lam": lam} for lam in (0.0, 0.001, 0.01, 0.1)] + [WINNER]
SCORES = ("fid", "precision", "recall", "density", "coverage", "sharpness", "diversity", "copied_share")
SETS, SIZE, KEPT = 4, 2000, 400  # sets that are scored, images in each; images of a run that are saved
LOOKS = (0, 10, 25, 50, 60, 100, 135, 160, 190, *range(200, 3000, 50), 990, 1950)  # outer steps of the recorded losses


AUTHORS = (  # name, budget, lam; psi's steps in this cost's units: 0.8 on images in [-1, 1], cost over d, is 1.79 here
    ("authors 2021", Budget(2000, 200, 100, 2e-4, 1.79, averaged=True), (0.0223,)),
    ("sequel, psi as a vector", Budget(3000, 10, 200, 1e-3, 5), (0.0, 0.025, 0.05, 0.075, 0.1)),
)
AUTHORS_SECONDS = 3815.0  # of the first, for 2,000 outer steps: 3,720 s for 1,950 by the notebook's own output


@dataclass(frozen=True, eq=False)
class Bench:
    """Training images (n, 784) and held-out ones in [0, 1] on the device, the judge and its sets."""

    train: Tensor
    test: Tensor
    judge: Judge
    sets: Sets


@cache
def bench(data: Path, device: str, tiny: bool) -> Bench:
    """Load images and classifier; in a rehearsal, random blots and a classifier that has learned nothing."""
    if tiny:
        arrays, labels = (blots(300, 0), blots(60, 1)), torch.arange(300) % 3
    else:
        arrays = tuple(np.load(data / f"{part}.npz")["images"].reshape(-1, SIDE**2) for part in ("train", "test"))
        labels = torch.empty(0)
    train_images, test = (torch.from_numpy(part).to(device).float() / 255 for part in arrays)
    if tiny:
        network = train_classifier(train_images, labels, (SIDE, SIDE), 1, 0)
    else:
        network = from_state(torch.load(data / "classifier.pt", map_location=device, weights_only=True)).to(device)
    size, count, n_train = (20, 1, TINY["n_train"]) if tiny else (SIZE, SETS, PAPER["n_train"])
    sets = choose_sets(len(train_images), min(n_train, len(train_images)), len(test), size, count, 0)
    law = DiscreteMeasure.from_atoms(train_images)
    cost = Cost().normalized(law.y, law.nu)
    judge = Judge((SIDE, SIDE), cost, network, train_images[sets.memory.to(device)], test[sets.fresh.to(device)])
    return Bench(train_images, test, judge, sets)


def train_all(record: Record) -> None:
    """Four lam and the winning variant, three seeds, scored: seed by seed, so that a cut leaves whole comparisons."""
    place = bench(record.data, record.device, record.tiny)
    if not record.has(run="real images"):
        real = torch.cat([place.train[rows.to(record.device)] for rows in place.sets.real])
        record.add({"run": "real images"} | scored(place, real))
    for seed in range(1 if record.tiny else 3):
        for arm in ARMS:
            train_one(record, OTConfig(**{"generator": "mlp", "seed": seed} | settings(record) | arm))


def train_dcgan(record: Record) -> None:
    """Three lam with the DCGAN."""
    for lam in (0.001, 0.01, 0.1)[: 1 if record.tiny else None]:
        train_one(record, OTConfig(generator="dcgan", seed=0, lam=lam, **settings(record)))


def settings(record: Record) -> dict[str, int | float]:
    """What all runs share."""
    return PAPER | {"checkpoint_every": 10**9} | (TINY if record.tiny else {})


def train_one(record: Record, config: OTConfig) -> None:
    """Train one run within the time that is left, score it, keep its row and some of its images."""
    name = config.name()
    if record.has(run=name):
        return
    record.need(1 if record.tiny else 10)
    place = bench(record.data, record.device, record.tiny)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kept = CheckpointFolder(Path(folder))
        with kept.locked():
            y = place.train[: config.n_train]
            result = train(config, y, (SIDE, SIDE), kept, "pass", record.track)
    seconds = time.perf_counter() - begun
    count = place.sets.size * len(place.sets.held_out)
    rng = torch.Generator(record.device).manual_seed(config.seed + 11_000_027)
    samples = sample_images(result.generator, Uniform(LATENT_DIM), count, rng)
    record.keep_samples(name, samples[:KEPT].cpu().numpy().reshape(-1, SIDE, SIDE))
    what = {
        "run": name,
        "setting": config.setting(),
        "lam": config.lam,
        "seed": config.seed,
        "generator": config.generator,
        "atoms": config.n_train,
    }
    steps = f"{config.outer_steps} x {config.inner_steps} x {config.batch_size}"
    curve = [[row["step"], round(row["value"], 5)] for row in result.log]
    train_seconds = result.timing[-1]["seconds"]
    times = {"seconds": seconds, "train_seconds": train_seconds, "steps": steps, "variant": config.suffix().strip("-")}
    record.add(what | times | result.log[-1] | scored(place, samples) | {"curve": curve})


def scored(place: Bench, samples: Tensor) -> dict[str, float]:
    """Mean and standard deviation of the scores over the sets."""
    pairs = zip(samples.split(place.sets.size), place.sets.held_out, strict=True)
    found = []
    for part, rows in pairs:
        real = place.test[rows.to(part.device)]
        found.append(place.judge.features(part, real) | place.judge.pixels(part, real))
    numbers = {}
    for name in SCORES:
        values = np.array([scores[name] for scores in found])
        numbers |= {name: float(values.mean()), f"{name}_std": float(values.std(ddof=1)) if len(values) > 1 else 0.0}
    return numbers


def authors(record: Record) -> None:
    """The authors' budgets with all images, and their settings of psi's steps; the loss is told where theirs is."""
    for name, budget, lams in AUTHORS:
        for lam in lams[: 1 if record.tiny else None]:
            if not record.has(run=name, lam=lam):
                record.need(1 if record.tiny else 10)
                record.add(follow(record, name, budget, lam))


def follow(record: Record, name: str, budget: Budget, lam: float) -> dict:
    """Train once by a budget; the row holds the loss F(psi, theta) on the theta-step's batch at LOOKS."""
    place = bench(record.data, record.device, record.tiny)
    if record.tiny:
        budget = replace(budget, outer_steps=3, inner_steps=2, batch_size=8)
    outer, inner = budget.outer_steps, budget.inner_steps
    y = place.train[: TINY["n_train"] if record.tiny else PAPER["n_train"]]
    generator = make_generator("mlp", (SIDE, SIDE), 0).to(record.device)
    begun, curve = time.perf_counter(), []
    found = losses(generator, sequel(y, lam), budget, 0)
    for step in record.track(range(outer)):
        value = next(found)
        if step in LOOKS or step == outer - 1:
            curve.append([step, round(float(value), 5)])
    seconds = time.perf_counter() - begun
    rule = f"{budget.rule.kind}, c = {budget.rule.c:g}, averaging {budget.rule.averaging}"
    row = {"run": name, "lam": lam, "seed": 0, "steps": f"{outer} x {inner} x {budget.batch_size}", "rule": rule}
    row |= {"atoms": len(y), "lr_theta": budget.lr_theta, "latent": "U[-1, 1]^100", "generator": "mlp, sigmoid"}
    row |= {"seconds": seconds, "ms_per_psi_step": 1e3 * seconds / outer / inner}
    ours = {"authors_seconds": AUTHORS_SECONDS, "times_faster": AUTHORS_SECONDS / seconds}
    return row | (ours if name == "authors 2021" and not record.tiny else {}) | {"curve": curve}
