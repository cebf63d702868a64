"""Summarise the 2-D experiment: one row per arm, as CSV and as a table to read. Judge what targets by name have run."""

from companion.common.job import job

import math
from pathlib import Path

from companion.common import labels
from companion.common.checks import write_verdicts
from companion.common.files import replacing, write_csv
from companion.common.readers import read_json
from companion.persistence.summary import FLAT, LEVELS, summary
from companion.persistence.verdicts import judged

SPEEDS = {"steps": "steps", "seconds": "seconds", "with_measuring": "seconds with measuring"}


def table(records, logs, timings, csv_path, markdown_path):
    """Write both forms.

    Args:
        records: run.json of every arm.
        logs: log.csv of every arm, in the same order.
        timings: timing.csv of every arm, in the same order.
        csv_path: written.
        markdown_path: written.
    """
    contents = [read_json(record) for record in records]
    names = [content["name"] for content in contents]
    rows = [summary(name, *paths) for name, *paths in zip(names, logs, timings, strict=True)]
    write_csv(Path(csv_path), list(rows[0]), [list(row.values()) for row in rows])
    with replacing(Path(markdown_path)) as stream:
        stream.write(markdown(rows, labels.arms([content["config"] for content in contents])).encode())


def verdicts(records, logs, path):
    """Write what the arms say of paper B's claims: id, verdict, evidence.

    Args:
        records: run.json of every arm.
        logs: log.csv of every arm, in the same order.
        path: written.
    """
    names = [read_json(record)["name"] for record in records]
    write_verdicts(judged(dict(zip(names, logs, strict=True)), ""), path)


def markdown(rows, names):
    """Render the table, its arms by the names that readers know them by."""
    heads = ["arm", "seeds", "W1 at the end", "still falling by", "cosine of slopes"]
    heads += [f"{what} to W1 <= {level:g}" for level in LEVELS for what in SPEEDS.values()]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row, name in zip(rows, names, strict=True):
        spread = "" if math.isnan(row["w1_std"]) else f" ± {row['w1_std']:.3f}"
        rest = f"{row['fall']:.3f}" if row["fall"] > FLAT else "" if math.isnan(row["fall"]) else "at rest"
        cells = [name, str(row["seeds"]), f"{row['w1_mean']:.3f}{spread}", rest, f"{row['cosine']:.2f}"]
        cells += [number(row[f"{what}_to_{level:g}"]) for level in LEVELS for what in SPEEDS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def number(value):
    """Write a median; inf: never."""
    return "never" if math.isinf(value) else f"{value:.0f}"


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        if smk.rule != "generation_verdict":
            table(smk.input.records, smk.input.logs, smk.input.timings, smk.output.table, smk.output.markdown)
        if smk.rule != "planar_table":
            verdicts(smk.input.records, smk.input.logs, smk.output[-1])
