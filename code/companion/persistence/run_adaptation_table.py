"""Summarise the adaptation in both directions, between no adaptation and the ceiling, and judge it."""

from companion.common.job import job

from pathlib import Path

import numpy as np
import torch

from companion.algorithms.runs import RunError
from companion.common.checks import write_verdicts
from companion.common.files import write_csv
from companion.common.readers import read_json
from companion.persistence.adaptation import Domains
from companion.persistence.arms import DIRECTIONS
from companion.persistence.summary import curves
from companion.persistence.verdicts import judged
from companion.scores.distances import nearest_neighbour_accuracy

COLUMNS = ("source", "target", "arm", "seeds", "accuracy", "std", "drawn", "drawn_std")


def table(arrays_path, records, logs, path):
    """Write a row per arm and direction, and the two accuracies that training does not enter.

    "accuracy" is on all of the target's test images, "drawn" as with the authors on 2,007 of them drawn anew; both are
    last values, mean and standard deviation over seeds.

    Args:
        arrays_path: .npz of both domains.
        records: run.json of every arm.
        logs: log.csv of every arm, in the same order.
        path: written.

    Raises:
        RunError: if there were no images to adapt.
    """
    contents = [read_json(record) for record in records]
    if contents[0]["not_run"]:
        raise RunError(f"no adaptation: {contents[0]['not_run']}")
    rows = []
    for name, ends in DIRECTIONS.items():
        with np.load(arrays_path) as arrays:
            before, ceiling = unadapted(arrays, *ends)
        rows.append([*ends, "no adaptation", 0, before, 0, before, 0])
        for content, log in zip(contents, logs, strict=True):
            if content["config"]["direction"] == name:
                rows.append([*ends, content["name"], *last(log)])
        rows.append([*ends, "ceiling", 0, ceiling, 0, ceiling, 0])
    write_csv(Path(path), COLUMNS, rows)


def unadapted(arrays, source, target):
    """1-NN accuracy on the target's test images among the source's training images as they are, and the target's."""
    domains = Domains.read(arrays, source, target)
    truth = domains.target_test, domains.target_labels
    own = torch.from_numpy(arrays[f"{target}_train_labels"])
    among = ((domains.source, domains.source_labels), (domains.target, own))
    return [nearest_neighbour_accuracy(*known, *truth) for known in among]


def last(log):
    """Seeds of an arm, and mean and standard deviation of the last value of both accuracies."""
    found = list(curves(log).values())
    ends = [np.array([curve[column][-1] for curve in found]) for column in ("accuracy", "drawn")]
    return [len(found), *(number for end in ends for number in (end.mean(), end.std(ddof=1)))]


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(smk.threads)
        table(smk.input.arrays, smk.input.records, smk.input.logs, smk.output.table)
        names = [read_json(record)["name"] for record in smk.input.records]
        write_verdicts(judged(dict(zip(names, smk.input.logs, strict=True)), ""), smk.output.verdicts)
