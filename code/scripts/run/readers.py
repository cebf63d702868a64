"""Reading what the rules wrote: tables, and the numbers of an image run."""

import csv
import json
from pathlib import Path

import numpy as np


def read_table(path):
    """Rows of a CSV as dicts of strings."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def run_summary(folder):
    """Numbers of one image run: last log row, diversity of its samples, its configuration."""
    folder = Path(folder)
    log = read_table(folder / "log.csv")
    with np.load(folder / "samples.npz", allow_pickle=False) as data:
        samples = data["images"].reshape(len(data["images"]), -1).astype(np.float64)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "name": folder.name,
        "config": record["config"],
        "device": record["device"],
        "value": float(log[-1]["value"]),
        "effective_atoms": float(log[-1]["effective_atoms"]),
        "marginal_error": float(log[-1]["marginal_error"]),
        "diversity": float(samples.var(axis=0).sum()),
    }


def data_spread(train_path, n_train):
    """Total variance of the training images, and the same over mean ||y||^2: the cost of a collapsed generator."""
    with np.load(train_path, allow_pickle=False) as data:
        images = data["images"][:n_train]
    y = images.reshape(len(images), -1) / (255.0 if images.dtype == np.uint8 else 1.0)
    variance = float(y.var(axis=0).sum())
    return variance, variance / float(np.square(y).sum(axis=1).mean())
