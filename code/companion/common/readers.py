"""Reading what the rules wrote: tables, and the numbers of an image run."""

import csv
import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np


def read_table(path):
    """Rows of a CSV as dicts of strings."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_json(path):
    """Content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path):
    """Hex digest of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


NOT_RUN = "not run: "  # how the title of a figure's files begins that hold a line of text instead


def not_run(svg):
    """Say why a file holds a line of text in the place of a figure, as its title has it, or None."""
    title = ElementTree.parse(svg).findtext("{http://www.w3.org/2000/svg}title") or ""
    return title.removeprefix(NOT_RUN) if title.startswith(NOT_RUN) else None


def at_papers_scale(run):
    """Whether a run, as told in provenance.json, is the paper preset on MNIST; all others are stamped."""
    return run["preset"] == "paper" and run["dataset"]["name"] == "mnist"


def run_summary(folder):
    """Numbers of one image run: last log row, diversity of its samples, its configuration."""
    folder = Path(folder)
    log = read_table(folder / "log.csv")
    with np.load(folder / "samples.npz", allow_pickle=False) as data:
        samples = data["images"].reshape(len(data["images"]), -1).astype(np.float64)
    record = read_json(folder / "run.json")
    return {
        "name": record["name"],
        "setting": record["setting"],
        "config": record["config"],
        "device": record["device"],
        "value": float(log[-1]["value"]),
        "effective_atoms": float(log[-1]["effective_atoms"]),
        "marginal_error": float(log[-1]["marginal_error"]),
        "diversity": float(samples.var(axis=0).sum()),
    }


def training_rows(train_path, n_train):
    """The first training images as rows (n, h w) in [0, 1]."""
    with np.load(train_path, allow_pickle=False) as data:
        images = data["images"][:n_train]
    return images.reshape(len(images), -1) / (255.0 if images.dtype == np.uint8 else 1.0)


def data_spread(train_path, n_train):
    """Total variance of the training images, and the same over mean ||y||^2: the cost of a collapsed generator."""
    y = training_rows(train_path, n_train)
    variance = float(y.var(axis=0).sum())
    return variance, variance / float(np.square(y).sum(axis=1).mean())
