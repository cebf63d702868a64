"""Judge the samples of one trained run, and take pictures of them, or judge the control sets: scores as JSON."""

from companion.common.job import job

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from companion.algorithms.algorithm1 import sample_images
from companion.algorithms.networks import LATENT_DIM
from companion.common.files import write_json
from companion.common.readers import read_json, read_table
from companion.data.images import DataError, load_part
from companion.scores.classifier import from_state
from companion.scores.run_pictures import trained_generator, write_pictures
from companion.scores.scores import Judge
from companion.scores.sets import Sets, choose_sets, controls
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Uniform


@dataclass(frozen=True, eq=False)
class Bench:
    """The images, the sets chosen from them, and the judge."""

    train: torch.Tensor
    test: torch.Tensor
    labels: torch.Tensor | None
    sets: Sets
    judge: Judge

    def score_sets(self, samples, lam):
        """Scores of sample sets, a list of (size, h w), each against its own held-out images."""
        pairs = zip(samples, self.sets.held_out, strict=True)
        return [self.judge.scores(part, self.test[rows], lam) for part, rows in pairs]


def load_bench(paths, n_train, settings):
    """Load images and classifier and choose the sets.

    Args:
        paths: of train, test and classifier.
        n_train: number of images that generators were trained on.
        settings: size and count of the sets, and the seed of their choice: the same for every run.
    """
    parts = [load_part(Path(paths[name])) for name in ("train", "test")]
    train, test = (torch.from_numpy(part.to_unit()) for part in parts)
    labels, shape = parts[0].labels, parts[0].images.shape[1:]
    state = torch.load(paths["classifier"], map_location="cpu", weights_only=True)
    network = from_state(state) if state else None
    for found, whose in ((parts[1].images.shape[1:], paths["test"]), (network and network.shape, paths["classifier"])):
        if found and tuple(found) != tuple(shape):
            raise DataError(f"{whose}: for images of {found}, not {shape} as in {paths['train']}; make it again")
    n_train = min(n_train, len(train))
    try:
        sets = choose_sets(len(train), n_train, len(test), settings["size"], settings["count"], settings["seed"])
    except ValueError as error:
        raise DataError(f"{paths['train']}: {error}") from None
    atoms = DiscreteMeasure.from_atoms(train[:n_train])
    judge = Judge(shape, Cost().normalized(atoms.y, atoms.nu), network, train[sets.memory], test[sets.fresh])
    return Bench(train, test, None if labels is None else torch.from_numpy(labels), sets, judge)


def evaluate_run(folder, paths, settings, out_path):
    """Draw sample sets from a run's generator and write their scores.

    Args:
        folder: of the run: weights.pt, run.json, log.csv.
        paths: of train, test and classifier.
        settings: as for load_bench.
        out_path: written as JSON: run, setting, changes, config, sets (score by name), training (what its log ends
            with), seconds.
    """
    begun, folder = time.process_time(), Path(folder)
    record, log = read_json(folder / "run.json"), read_table(folder / "log.csv")[-1]
    config = record["config"]
    bench = load_bench(paths, config["n_train"], settings)
    samples = draw_samples(folder / "weights.pt", config, bench)
    result = {
        "run": record["name"],
        "setting": record["setting"],
        "changes": record["changes"],
        "config": config,
        "sets": bench.score_sets(samples, config["lam"]),
        "training": {key: float(log[key]) for key in ("value", "marginal_error", "effective_atoms")},
    }
    write_json(Path(out_path), plain(result | {"size": bench.sets.size, "seconds": time.process_time() - begun}))


def draw_samples(weights_path, config, bench):
    """Rebuild the generator and draw as many disjoint sets as are to be judged."""
    generator = trained_generator(weights_path, config, bench.judge.shape)
    rng = torch.Generator().manual_seed(config["seed"] + 11_000_027)
    count = bench.sets.size * len(bench.sets.held_out)
    return sample_images(generator, Uniform(LATENT_DIM), count, rng).split(bench.sets.size)


def evaluate_controls(paths, n_train, lams, settings, out_path):
    """Write the scores of the control sets, at lam = 0, and OT_c^lam of real images for every lam.

    Args:
        paths: as for evaluate_run.
        n_train: as in the runs.
        lams: of the runs.
        settings: as for load_bench.
        out_path: written as JSON: controls (name -> scores of the sets), floors (lam -> scores of the sets), seconds.
    """
    begun, bench = time.process_time(), load_bench(paths, n_train, settings)
    made = controls(bench.train, bench.labels, bench.judge.shape, bench.sets, settings["seed"])
    held_out = [bench.test[rows] for rows in bench.sets.held_out]
    floors = {
        f"{lam:g}": [bench.judge.semidual(*pair, lam) for pair in zip(made["real"], held_out, strict=True)]
        for lam in lams
    }
    scores = {name: bench.score_sets(parts, 0) for name, parts in made.items()}
    result = {"controls": scores, "floors": floors, "size": bench.sets.size}
    write_json(Path(out_path), plain(result | {"seconds": time.process_time() - begun}))


def plain(obj):
    """The same with null for nan, which JSON lacks."""
    if isinstance(obj, dict):
        return {key: plain(value) for key, value in obj.items()}
    if isinstance(obj, list):
        return [plain(value) for value in obj]
    return None if isinstance(obj, float) and math.isnan(obj) else obj


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(smk.threads)
        given = {name: smk.input[name] for name in ("train", "test", "classifier")}
        if smk.rule == "evaluate_run":
            folder, settings = Path(smk.input.weights).parent, smk.params.settings
            evaluate_run(folder, given, settings, smk.output.scores)
            write_pictures(folder, given["train"], given["test"], settings["seed"], smk.output.pictures)
        else:
            evaluate_controls(given, smk.params.n_train, smk.params.lams, smk.params.settings, smk.output[0])
