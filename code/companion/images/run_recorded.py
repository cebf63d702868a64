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

COLUMNS = ("run", "lam", "seed", "step", "value")
VECTOR, NETWORK = "sequel, psi as a vector", "sequel, psi as a network"
WHY = {  # run of the authors: why ours may differ
    VECTOR: "another seed",
    NETWORK: "theirs has a network for psi, ours a vector",
    "2021 notebook": "another seed",
    "one batch": "another untrained network; theirs differ from each other as ours do, or not: see the differences",
    "mini-batches": "another seed, and theirs may leave out lam log m",
}


def follow(y, piece, settings, path):
    """Train one piece and write its losses: run, lam, seed, step, value, the loss in units of the cost.

    Args:
        y: images (n, 784) in [0, 1].
        piece: kind, one of sequel, notebook, minibatches, fixed, and lam or atoms.
        settings: the block `recorded` of settings.yaml.
        path: written.
    """
    kind, seed, own = piece["kind"], settings["seed"], settings[piece["kind"]]
    budget = Budget(**{field.name: own[field.name] for field in fields(Budget) if field.name in own})
    lam = piece.get("lam", own.get("lam"))
    if kind == "fixed":
        found = fixed_batch(y, (lam, own["start_lam"]), budget, own["tol"], seed)
        rows = [
            (f"one batch, {name}", own["start_lam"] if name == "start" else lam, value) for name, value in found.items()
        ]
        write_csv(Path(path), COLUMNS, [(run, at, seed, budget.inner_steps, value) for run, at, value in rows])
        return
    if kind == "sequel":
        run, curve = VECTOR, losses(make_generator("mlp", SHAPE, seed), sequel_problem(y, lam), budget, seed)
    elif kind == "notebook":
        run, curve = "2021 notebook", losses(make_tanh_generator(seed), notebook(y, lam), budget, seed)
    else:
        run, generator = f"mini-batches of {piece['atoms']}", make_generator("dcgan", SHAPE, seed)
        curve = on_minibatches(generator, y, lam, piece["atoms"], budget, seed)
    tell, rows = Progress(f"{run}, lam = {lam:g}", budget.outer_steps, "outer steps"), []
    for step, value in enumerate(curve):
        rows.append((run, lam, seed, step, value))
        tell(step + 1)
    write_csv(Path(path), COLUMNS, rows)


def compare(recorded_path, tables, path):
    """Write each recorded loss beside ours: theirs, its reading error, ours, the difference, whether equal, or why not.

    Of batches of the data the least loss stands for a run. Two rows more hold the least and the greatest of the
    recorded steps up to 200 of psi as a vector, which oscillates.
    """
    ours = {}
    for row in (row for table in tables for row in read_table(table)):
        run, lam, value = row["run"], float(row["lam"]), float(row["value"])
        ours[run, lam, int(row["step"])] = value
        ours[run, lam, "least"] = min(value, ours.get((run, lam, "least"), value))
    rows, swing = [], []
    for row in read_table(recorded_path):
        run, lam = row["run"], float(row["lam"])
        step = "least" if run.startswith("mini-batches") else int(row["step"])
        value = ours.get((VECTOR if run == NETWORK else run, lam, step))
        if value is None:
            continue
        theirs, error = float(row["loss"]), float(row["error"])
        rows.append(compared(run, lam, step, theirs, error, value))
        if run == VECTOR and 10 <= step <= 200:
            swing.append((theirs, value))
    for name, end in (("least", min), ("greatest", max)):
        if swing:
            theirs, value = (end(numbers) for numbers in zip(*swing, strict=True))
            rows.append(compared(VECTOR, 0.0, f"{name} of 10 to 200", theirs, float(row["error"]), value))
    write_csv(Path(path), ("run", "lam", "step", "theirs", "error", "ours", "difference", "equal", "why"), rows)


def compared(run, lam, step, theirs, error, value):
    """One row."""
    equal = abs(value - theirs) <= error
    why = "" if equal else next(text for start, text in WHY.items() if run.startswith(start))
    return run, lam, step, theirs, error, round(value, 4), round(value - theirs, 4), "yes" if equal else "no", why


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
