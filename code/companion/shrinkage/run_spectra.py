"""Write what lam took from the generators, beside closed forms; and how Algorithm 1 fares with other inner loops."""

from companion.common.job import job

from pathlib import Path

import torch

from companion.algorithms.algorithm1 import sample_images
from companion.algorithms.networks import LATENT_DIM
from companion.common.files import write_csv
from companion.common.readers import read_json, read_table
from companion.common.schema import read_yaml
from companion.data.images import load_part
from companion.scores.run_pictures import trained_generator
from companion.shrinkage import spectrum as shrinkage
from companion.shrinkage.stability import StabilityConfig, follow
from otgrad.measures import Uniform

OWN = Path(__file__).with_name("settings.yaml")
SAMPLES = 2000  # of each generator, and as many held-out images
DIRECTIONS = 60  # principal axes that are told one by one


def spectra(train_path, test_path, run_folders, n_train, paths):
    """Write both tables.

    spectrum: set, lam, k, data, variance, predicted: along the k-th principal axis of the training images the variances
    of the images themselves, of the set's samples and of the best Gaussian model; over mean ||y||^2. Set "held out":
    real images. k = 0 is the total.
    cost: kind, name, lam, value: "bound" and "left" (share of the variance that the best Gaussian model keeps) on a
    grid of lam, "collapsed" (the mean image's cost), "critical" (its lam), and "run": each run's final semi-dual value.

    Args:
        train_path: training images.
        test_path: held-out images.
        run_folders: of the image runs.
        n_train: images that the runs were trained on.
        paths: of the tables spectrum and cost.
    """
    images = [load_part(Path(path)) for path in (train_path, test_path)]
    (train, test), shape = (torch.from_numpy(part.to_unit()) for part in images), images[0].images.shape[1:]
    y = train[:n_train]
    scale = float(y.double().square().sum(1).mean())
    eigenvalues, axes = shrinkage.spectrum(y, scale)
    sets = [("held out", 0.0, test[:SAMPLES])] + [samples_of(Path(folder), shape) for folder in run_folders]
    rows = [row for name, lam, points in sets for row in spectrum_rows(name, lam, points, eigenvalues, axes, scale)]
    write_csv(Path(paths["spectrum"]), ("set", "lam", "k", "data", "variance", "predicted"), rows)
    write_csv(Path(paths["cost"]), ("kind", "name", "lam", "value"), cost_rows(eigenvalues, map(Path, run_folders)))


def samples_of(folder, shape):
    """Name, lam and samples (SAMPLES, h w) of a run."""
    record = read_json(folder / "run.json")
    config = record["config"]
    generator = trained_generator(folder / "weights.pt", config, shape)
    rng = torch.Generator().manual_seed(config["seed"] + 12_000_017)
    return record["name"], config["lam"], sample_images(generator, Uniform(LATENT_DIM), SAMPLES, rng)


def spectrum_rows(name, lam, points, eigenvalues, axes, scale):
    """Rows of one set: its total, then its first directions."""
    found, predicted = shrinkage.variances_along(points, axes, scale), shrinkage.shrunk(eigenvalues, lam)
    columns = [[float(column.sum()), *column[:DIRECTIONS].tolist()] for column in (eigenvalues, found, predicted)]
    return [(name, lam, k, *values) for k, values in enumerate(zip(*columns, strict=True))]


def cost_rows(eigenvalues, run_folders):
    """Rows of the closed forms, then of the runs."""
    total = float(eigenvalues.sum())
    rows = [("collapsed", "", "", total), ("critical", "", shrinkage.critical_lam(eigenvalues), "")]
    for lam in shrinkage.lams_to_draw(eigenvalues):
        rows.append(("bound", "", lam, shrinkage.cost_bound(eigenvalues, lam)))
        rows.append(("left", "", lam, float(shrinkage.shrunk(eigenvalues, lam).sum()) / total))
    for folder in run_folders:
        record, last = read_json(folder / "run.json"), read_table(folder / "log.csv")[-1]
        rows.append(("run", record["name"], record["config"]["lam"], float(last["value"])))
    return rows


def stability(train_path, test_path, arms, path):
    """Write one row per arm: its settings and what was seen; see companion.shrinkage.stability.

    Args:
        train_path: training images.
        test_path: held-out images.
        arms: settings of StabilityConfig.
        path: written.
    """
    train, test = (load_part(Path(path)) for path in (train_path, test_path))
    y, held_out = (torch.from_numpy(images.to_unit()) for images in (train, test))
    told, training = ("lam", "inner_steps", "averaging"), read_yaml(OWN)["stability"]["training"]
    rows = []
    for arm in arms:
        seen = follow(StabilityConfig(**training | arm), y, held_out, train.images.shape[1:])
        rows.append({key: arm[key] for key in told} | seen)
        print(f"{len(rows)} of {len(arms)}: " + ", ".join(f"{key} {value:g}" for key, value in rows[-1].items()))
    write_csv(Path(path), list(rows[0]), [list(row.values()) for row in rows])


if "snakemake" in globals():
    smk = globals()["snakemake"]
    torch.set_num_threads(smk.threads)
    with job(smk.rule, smk.log[0]):
        if smk.rule == "stability_table":
            stability(smk.input.train, smk.input.test, smk.params.arms, smk.output[0])
        else:
            folders = [Path(path).parent for path in smk.input.records]
            spectra(smk.input.train, smk.input.test, folders, smk.params.n_train, dict(smk.output.items()))
