"""Train as the authors did for the losses they recorded, one piece at a time, and hold the losses side by side."""

from companion.common.job import job

from dataclasses import fields
from pathlib import Path

import torch

from companion.algorithms.networks import make_generator
from companion.algorithms.runs import RunError
from companion.common.files import write_csv
from companion.common.progress import Progress
from companion.common.readers import read_json, read_table
from companion.data.images import load_part
from companion.images.recorded import SHAPE, Budget, fixed_batch, losses, make_tanh_generator, notebook, on_minibatches
from companion.images.recorded import sequel as sequel_problem

COLUMNS = ("run", "atoms", "lam", "seed", "step", "value")
VECTOR, NETWORK, NOTEBOOK = "sequel, psi as a vector", "sequel, psi as a network", "2021 notebook"
BATCHES, ONE = "mini-batches", "one batch, {}"
WHY = {  # run of the authors: why ours may differ
    VECTOR: "another seed",
    NETWORK: "theirs has a network for psi, ours a vector",
    NOTEBOOK: "another seed",
    BATCHES: "fewer steps, another seed, and theirs may leave out lam log m",
}
OF_ONE = "another untrained network: compare differences"


def follow(y, piece, settings, path):
    """Train one piece and write its losses: run, lam, seed, step, value, the loss in units of the cost.

    Args:
        y: images (n, 784) in [0, 1].
        piece: kind, one of sequel (lam = 0), entropic, notebook, minibatches, fixed, and lam or atoms.
        settings: the block `recorded` of settings.yaml.
        path: written.
    """
    kind, seed, own = piece["kind"], settings["seed"], settings[piece["kind"]]
    budget = Budget(**{field.name: own[field.name] for field in fields(Budget) if field.name in own})
    lam = piece.get("lam", own.get("lam"))
    if kind == "fixed":
        found = fixed_batch(y, (lam, own["start_lam"]), budget, own["tol"], seed)
        at = dict.fromkeys(found, lam) | {"start": own["start_lam"]}
        rows = [(ONE.format(name), len(y), at[name], seed, budget.inner_steps, value) for name, value in found.items()]
        write_csv(Path(path), COLUMNS, rows)
        return
    atoms = piece.get("atoms", len(y))
    if kind in ("sequel", "entropic"):
        run, curve = VECTOR, losses(make_generator("mlp", SHAPE, seed), sequel_problem(y, lam), budget, seed)
    elif kind == "notebook":
        run, curve = NOTEBOOK, losses(make_tanh_generator(seed), notebook(y, lam), budget, seed)
    else:
        generator = make_generator("dcgan", SHAPE, seed)
        run, curve = BATCHES, on_minibatches(generator, y, lam, atoms, budget, seed)
    tell, rows = Progress(f"{run}, {atoms} atoms, lam = {lam:g}", budget.outer_steps, "outer steps"), []
    for step, value in enumerate(curve):
        rows.append((run, atoms, lam, seed, step, float(value)))
        tell(step + 1)
    write_csv(Path(path), COLUMNS, rows)


def compare(recorded_path, tables, path):
    """Write each recorded loss beside ours: theirs, its reading error, ours, the difference, whether equal, or why not.

    Of batches of the data the least loss stands for a run. Two rows more hold the least and the greatest of the
    recorded steps up to 200 of psi as a vector, which oscillates.
    """
    ours = {}
    for row in (row for table in tables for row in read_table(table)):
        key, value = (row["run"], int(row["atoms"]), float(row["lam"])), float(row["value"])
        ours[key, int(row["step"])] = value
        ours[key, "least"] = min(value, ours.get((key, "least"), value))
    rows, swing = [], []
    for row in read_table(recorded_path):
        run, atoms, lam = row["run"], int(row["atoms"]), float(row["lam"])
        step = "least" if run == BATCHES else int(row["step"])
        value = ours.get(((VECTOR if run == NETWORK else run, atoms, lam), step))
        if value is None:
            continue
        theirs, error = float(row["loss"]), float(row["error"])
        rows.append(compared((run, atoms, lam, step), theirs, error, value))
        if run == VECTOR and 10 <= step <= 200:
            swing.append((theirs, value, atoms, error))
    for name, end in (("least", min), ("greatest", max)):
        if swing:
            theirs, value, (atoms, *_), (error, *_) = map(list, zip(*swing, strict=True))
            rows.append(compared((VECTOR, atoms, 0.0, f"{name} of 10 to 200"), end(theirs), error, end(value)))
    head = ("run", "atoms", "lam", "step", "theirs", "error", "ours", "difference", "equal", "why")
    write_csv(Path(path), head, rows)


def compared(what, theirs, error, value):
    """One row."""
    equal = abs(value - theirs) <= error
    why = "" if equal else WHY.get(what[0], OF_ONE)
    return *what, theirs, error, round(value, 4), round(value - theirs, 4), "yes" if equal else "no", why


if "snakemake" in globals():
    smk = globals()["snakemake"]
    torch.set_num_threads(smk.threads)
    with job(smk.rule, smk.log[0]):
        if smk.rule == "recorded_table":
            compare(smk.input.recorded, smk.input.tables, smk.output[0])
        else:
            data = read_json(smk.input.dataset)
            if data["name"] != "mnist":
                raise RunError(f"the losses were recorded on MNIST, and this is {data['label']}: give data_dir")
            images = torch.from_numpy(load_part(Path(smk.input.train)).to_unit())
            follow(images, smk.params.piece, smk.params.settings, smk.output[0])
