"""Stages of gpu_pass.py that train paper B's experiments: the plane in stacks, adaptation and generation one by one.

The arms are those of the paper preset, which gpu_data.py wrote to arms.json. Where time does not suffice for all steps,
each arm gets an equal share of it, and its row says how far it came. Samples are kept and scored by exact W1 afterwards
(gpu_keep.py), on a machine that has POT.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from companion.algorithms.graphs import recorded
from companion.common.files import replacing
from companion.data.adaptation_data import prepare_adaptation
from companion.data.images import ImageSet, load_npz
from companion.persistence.adaptation import AdaptationRun, Domains
from companion.persistence.arms import CRITIC_METHODS, DIRECTIONS, AdaptationConfig, GenerationConfig, PlanarConfig
from companion.persistence.experiments import Experiment
from companion.persistence.generation import GenerationRun, Images
from companion.persistence.planar_stacked import Look, train_stacked
from companion.scores.pixels import total_variance
from gpu_images import bench
from gpu_record import FILE_BYTES, Record
from problems import SIDE

EVERY = 100  # outer steps between two looks in the plane
TINY_ARMS: dict[str, Any] = {
    "planar": [{"method": method, "persistence": k} for method in ("w1fe", "wgan") for k in (1, 2)],
    "adaptation": [{"persistence": 2}],
    "generation": [{"method": "w1fe"}, {"method": "ot"}],
}
TINY = {"outer_steps": 4, "measure_every": 2, "batch_size": 16}


def arms(record: Record, study: str) -> list[dict[str, Any]]:
    """The paper preset's arms of a study."""
    if record.tiny:
        return [TINY | arm for arm in TINY_ARMS[study]]
    return json.loads((record.data / "arms.json").read_text(encoding="utf-8"))[study]


def plane(record: Record) -> None:
    """Train all arms with a critic on ten seeds, in stacks; a file per some looks, a row per look."""
    configs = [PlanarConfig(**arm) for arm in arms(record, "planar")]
    configs = [config for config in configs if config.method in CRITIC_METHODS]
    seeds, every = (range(2), 2) if record.tiny else (range(10), EVERY)
    device = torch.device(record.device)

    def capture(step, generators):
        return recorded(step, device, *generators)

    kept: list[Look] = []
    files = 0
    for look in train_stacked(configs, list(seeds), every, record.device, capture):
        if kept and (look.step == 0 or samples_bytes([*kept, look]) > 0.95 * FILE_BYTES):
            kept, files = [], files + 1
        kept.append(look)
        keep_looks(record, f"plane-{files}", kept)
        diverged = [f"{name}, seed {seed}" for name, seed in look.diverged()]
        seconds = look.seconds * len(look.arms)
        row = {"step": look.step, "networks": len(look.arms), "seconds": seconds, "file": f"plane-{files}.npz"}
        record.add(row | {"diverged": diverged})
        record.need()


def samples_bytes(looks: list[Look]) -> int:
    """Bytes of the samples of some looks, as they are kept: two per number."""
    return sum(2 * look.samples.numel() for look in looks)


def keep_looks(record: Record, name: str, looks: list[Look]) -> None:
    """Write looks of the same arms: arm and seed (A,), step (T,), samples (T, A, 512, 2) in float16."""
    fields = {"arm": np.array([config.name() for config, _ in looks[0].arms])}
    fields |= {"law": np.array([config.law for config, _ in looks[0].arms])}
    fields |= {"seed": np.array([seed for _, seed in looks[0].arms]), "step": np.array([look.step for look in looks])}
    with replacing(record.out / f"{name}.npz") as stream:
        np.savez(stream, samples=np.stack([look.samples.half().numpy() for look in looks]), **fields)


def adaptation(record: Record) -> None:
    """USPS to MNIST and back: accuracy of the nearest neighbour, seed by seed."""
    domains = {way: _domains(record, way) for way in DIRECTIONS}
    configs = [AdaptationConfig(**arm) for arm in arms(record, "adaptation")]
    makers = {
        config: partial(AdaptationRun, config, domains[config.direction], device=record.device) for config in configs
    }
    one_by_one(record, makers, lambda run: run.score())


def generation(record: Record) -> None:
    """WGAN, W1-FE and Algorithm 1 with one generator; the samples that W1 is measured on are kept."""
    place = bench(record.data, record.device, record.tiny)
    images = Images(place.train, place.test, (SIDE, SIDE))
    configs = [GenerationConfig(**arm) for arm in arms(record, "generation")]
    makers = {config: partial(GenerationRun, config, images, device=record.device) for config in configs}

    def look(run: GenerationRun) -> dict[str, float]:
        return {"diversity": total_variance(run.samples())}

    def keep(name: str, run: GenerationRun) -> None:
        record.keep_samples(f"generation {name}", run.samples().cpu().numpy().reshape(-1, SIDE, SIDE))

    one_by_one(record, makers, look, keep)


def one_by_one(
    record: Record,
    makers: dict[Any, Callable[..., Experiment]],
    look: Callable[[Any], dict[str, float]],
    keep: Callable[[str, Any], None] = lambda name, run: None,
) -> None:
    """Train the first seed of each arm, each in an equal share of the time that is left; a row per arm."""
    left = {config: make for config, make in makers.items() if not record.has(arm=config.name())}
    for k, (config, make) in enumerate(left.items()):
        record.need()
        now = time.monotonic()
        end = now + (record.stage_end - now) / (len(left) - k)
        run, curve, seconds = make(seed=0), [], 0.0
        while run.step < config.outer_steps and time.monotonic() < end:
            seconds += run.advance(min(config.measure_every, config.outer_steps - run.step))
            found = look(run)
            curve.append([run.step, *found.values()])
        keep(config.name(), run)
        row = {"arm": config.name(), "seed": 0, "step": run.step, "of": config.outer_steps, "seconds": seconds}
        record.add(row | found | {"curve": curve})


def _domains(record: Record, way: str) -> Domains:
    if record.tiny:
        rng, labels = np.random.default_rng(0), np.arange(60) % 10
        parts = {f"{name}_{part}" for name in ("usps", "mnist") for part in ("train", "test")}
        rows = {part: rng.uniform(-1, 1, (60, 256)).astype(np.float32) for part in sorted(parts)}
        return Domains.read(rows | {f"{part}_labels": labels for part in parts}, *DIRECTIONS[way])
    usps = np.load(record.data / "usps.npz")
    sets = (ImageSet(usps["train"], usps["train_labels"]), ImageSet(usps["test"], usps["test_labels"]))
    mnist = (load_npz(record.data / "train.npz")[0], load_npz(record.data / "test.npz")[0])
    return Domains.read(prepare_adaptation(mnist, sets), *DIRECTIONS[way])
