"""Free particles at the optimum of the generators' objective, for lam from 0 on: do they copy the data, or blur?"""

from companion.common.job import job

from pathlib import Path

import numpy as np
import torch

from companion.common.checks import write_verdicts
from companion.common.files import write_csv
from companion.common.readers import read_table
from companion.data.images import load_part
from companion.shrinkage import spectrum as shrinkage
from companion.shrinkage.bounds import copying_bound, copying_threshold
from companion.shrinkage.memorise import apart, copies, gaussian_start, minimise
from companion.shrinkage.verdicts import memorised
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual

STARTS = ("data", "gaussian")
COLUMNS = ("n", "lam", "start", "value", "gap", "likelihood", "rounds", "atoms", "copies", "distance", "hit")


def memorise(train_path, n, lam, settings, path):
    """Write the particles of both starts at one n and lam.

    Columns: n, lam, start; value and gap of OT_c^lam at the end and the lower bound likelihood, in units of the cost;
    rounds; atoms, how many a particle averages over; copies, the share of particles that copy an image; distance, their
    mean squared distance to the nearest image in units of the cost; hit, the share of images that some particle copies
    or is nearest to.

    Args:
        train_path: training images.
        n: images used, the first ones, and as many particles.
        lam: regularisation > 0, in units of the cost ||x - y||^2 / mean ||y||^2.
        settings: rounds, tol, gain and seed.
        path: written.
    """
    y = torch.from_numpy(load_part(Path(train_path)).to_unit())[:n]
    law, scale = DiscreteMeasure.from_atoms(y), float(y.double().square().sum(1).mean())
    semidual, rows, gaps = SemiDual(law, lam, Cost(2.0, scale)), [], apart(y)
    for start in STARTS:
        rng = torch.Generator().manual_seed(settings["seed"])
        x = y.clone() if start == "data" else gaussian_start(y, lam, scale, rng)
        x, seen = minimise(x, semidual, settings["rounds"], settings["tol"], settings["gain"])
        seen |= {"n": n, "lam": lam, "start": start} | copies(x, y, gaps, scale)
        print(f"n {n}, lam {lam:g}, from {start}: " + ", ".join(f"{key} {seen[key]:.4g}" for key in COLUMNS[3:]))
        rows.append([seen[key] for key in COLUMNS])
    write_csv(Path(path), COLUMNS, rows)


def models(train_path, runs, path):
    """Write the same columns for trained generators, start `generator`; what was not measured of them is empty.

    Args:
        train_path: training images.
        runs: of each run its log.csv, samples.npz and settings.
        path: written.
    """
    images, rows = torch.from_numpy(load_part(Path(train_path)).to_unit()), []
    for log, samples, config in runs:
        y, last = images[: config["n_train"]], read_table(log)[-1]
        scale = float(y.double().square().sum(1).mean())
        with np.load(samples, allow_pickle=False) as found:
            x = torch.from_numpy(found["images"]).flatten(1)
        seen = {"n": len(y), "lam": config["lam"], "start": "generator", "value": float(last["value"])}
        seen |= {"atoms": float(last["effective_atoms"])} | copies(x, y, apart(y), scale)
        rows.append([seen.get(key, "") for key in COLUMNS])
    write_csv(Path(path), COLUMNS, rows)


def expected(train_path, sizes, path):
    """Write what theory expects: n, lam, and there the covariance bound and the copying bound; n, threshold, collapse.

    Args:
        train_path: training images.
        sizes: numbers n of images.
        path: written.
    """
    images, rows = torch.from_numpy(load_part(Path(train_path)).to_unit()), []
    for n in sizes:
        y = images[:n]
        eigenvalues, _ = shrinkage.spectrum(y, float(y.double().square().sum(1).mean()))

        def bound(lam, eigenvalues=eigenvalues):
            return shrinkage.cost_bound(eigenvalues, lam)

        law = DiscreteMeasure.from_atoms(y)
        rows += [(n, "bound", lam, bound(lam), copying_bound(law, lam)) for lam in shrinkage.lams_to_draw(eigenvalues)]
        rows.append((n, "threshold", copying_threshold(len(y), bound), "", ""))
        rows.append((n, "collapse", shrinkage.critical_lam(eigenvalues), float(eigenvalues.sum()), ""))
    write_csv(Path(path), ("n", "kind", "lam", "gaussian", "copying"), rows)


def judge(tables, bounds, path):
    """Write the verdict on A-memorise."""
    thresholds = {int(row["n"]): float(row["lam"]) for row in read_table(bounds) if row["kind"] == "threshold"}
    write_verdicts(memorised([row for table in tables for row in read_table(table)], thresholds), path)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    torch.set_num_threads(smk.threads)
    with job(smk.rule, smk.log[0]):
        if smk.rule == "memorise_bounds":
            expected(smk.input.train, smk.params.sizes, smk.output[0])
        elif smk.rule == "memorise_verdict":
            judge(smk.input.tables, smk.input.bounds, smk.output[0])
        elif smk.rule == "memorise_models":
            runs = list(zip(smk.input.logs, smk.input.samples, smk.params.runs, strict=True))
            models(smk.input.train, runs, smk.output[0])
        else:
            settings = smk.params.settings
            memorise(smk.input.train, int(smk.wildcards.n), float(smk.wildcards.lam), settings, smk.output[0])
