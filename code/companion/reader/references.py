"""Keep this run as the reference: ranges of the image runs' numbers over the seeds there are, and light thumbnails.

Not part of `all`: it writes tracked files. Call it by name, after runs with several seeds; then the rule `docs`, which
writes the tables of README.md and docs/ anew.
"""

from companion.common.job import job

import math
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from companion.common.files import replacing, write_json
from companion.common.readers import read_json, read_table, run_summary
from companion.persistence.verdicts import PLANAR_SETTINGS
from companion.reader.standing import settled
from companion.scores.verdicts import read_scores

# Smallest half-width of each quantity's range; that of a collapsed generator's diversity is rounding, not learning.
FLOOR = {"value": 0.0, "diversity": 0.05, "effective_atoms": 0.0}
FID_FACTOR = 2.2
THUMBNAIL_WIDTH = 1000  # pixels
PER_RUN = ("lam", "generator", "seed")  # settings that differ between the runs of one reference


def ranges(run_root, config_of):
    """Range of each quantity per setting, its seeds together: mean +- the larger of 5 standard deviations and 25%.

    Seeds differ less than machines do (another CPU, or kernel, rounds differently, and a thousand steps amplify it: by
    up to 21% of the diversity, seen once): hence the floor of 25%.

    Args:
        run_root: folder of the image runs.
        config_of: settings a run must have to count, without those in PER_RUN.
    """
    found = {}
    for path in sorted(Path(run_root).glob("*/run.json")):
        record = read_json(path)
        told = "setting" in record  # not by code before version 0.2.0, whose folders may lie there still
        if told and {key: record["config"].get(key) for key in config_of} == config_of:
            found.setdefault(record["setting"], []).append(run_summary(path.parent))
    result = {}
    for name, runs in found.items():
        result[name] = {"seeds": len(runs), "ranges": {}}
        for quantity in FLOOR:
            values = np.array([run[quantity] for run in runs])
            half = max(5 * values.std(), 0.25 * abs(values.mean()), FLOOR[quantity])
            result[name]["ranges"][quantity] = [
                float(f"{values.mean() - half:.6g}"),
                float(f"{values.mean() + half:.6g}"),
            ]
    return result


def today():
    """The day, which rows that use the ranges tell."""
    return date.today().isoformat()


def planar_ranges(table_path):
    """Range of W1 at the end of every arm of the 2-D experiment: mean +- the larger of 5 standard deviations and 30%.

    The floor is wider than that of the image runs because a single seed must lie in the range.
    """
    found = {}
    for line in read_table(table_path):
        mean, spread, seeds = float(line["w1_mean"]), float(line["w1_std"]), int(line["seeds"])
        half = max(5 * spread if seeds > 1 else 0.0, 0.3 * mean)
        found[line["arm"]] = [float(f"{max(mean - half, 0):.6g}"), float(f"{mean + half:.6g}")]
    return found


def update_planar(table_path, run_record, preset, reference_dir):
    """Write planar-{preset}.json."""
    record = read_json(run_record)
    reference = {
        "kept_on": today(),
        "made_on": {key: record[key] for key in ("device", "threads", "versions", "git_commit", "seeds")},
        "config": {key: record["config"][key] for key in PLANAR_SETTINGS},
        "ranges": planar_ranges(table_path),
    }
    write_json(Path(reference_dir) / f"planar-{preset}.json", reference)


def score_ranges(table_path):
    """Range of each run's Frechet distance and recall: 2.2 times the value either way, and +- 0.15.

    As wide as other seeds and machines ask for: of one variant three seeds had a spread of 0.4 of their mean, two of
    which are a factor of 2.2, and on another processor rounding alone took one to half of its distance.
    """
    found = {}
    for name, scores in read_scores(table_path).items():
        if scores["generator"] and not math.isnan(scores["fid"]):
            fid, recall = scores["fid"], scores["recall"]
            low_high = {
                "fid": (fid / FID_FACTOR, fid * FID_FACTOR),
                "recall": (max(recall - 0.15, 0), min(recall + 0.15, 1)),
            }
            found[name] = {key: [float(f"{value:.4g}") for value in pair] for key, pair in low_high.items()}
    return found


def update_scores(table_path, dataset_path, preset, reference_dir):
    """Write scores-{preset}-{data set}.json."""
    dataset = read_json(dataset_path)
    reference = {"kept_on": today(), "data_sha256": dataset["sha256"], "ranges": score_ranges(table_path)}
    write_json(Path(reference_dir) / f"scores-{preset}-{dataset['name']}.json", reference)


def update(run_records, dataset_path, figures, preset, reference_dir):
    """Write images-{preset}-{data set}.json and the thumbnails of `figures`, all made on this data set."""
    dataset = read_json(dataset_path)
    record = read_json(run_records[0])
    config = {key: value for key, value in record["config"].items() if key not in PER_RUN}
    folder = Path(reference_dir)
    reference = {
        "kept_on": today(),
        "made_on": {key: record[key] for key in ("device", "threads", "versions", "git_commit")},
        "data_sha256": dataset["sha256"],
        "config": config,
        "runs": ranges(Path(run_records[0]).parent.parent, config),
    }
    write_json(folder / f"images-{preset}-{dataset['name']}.json", reference)
    for figure in map(Path, figures):
        thumbnail(figure, folder / "thumbnails" / f"{figure.stem}-{preset}-{dataset['name']}.png")


def update_claims(claims_path, reference_dir):
    """Write claims.json, the verdicts by id."""
    entries = read_json(claims_path)
    write_json(Path(reference_dir) / "claims.json", {entry["id"]: settled(entry) for entry in entries})


def thumbnail(source, destination):
    """Write a small palette copy of a PNG."""
    with Image.open(source) as image:
        height = round(image.height * THUMBNAIL_WIDTH / image.width)
        small = image.convert("RGB").resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with replacing(destination) as stream:
            palette = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # small marks keep hues
            palette.save(stream, "PNG", optimize=True)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        update(smk.input.runs, smk.input.dataset, smk.input.figures, smk.params.preset, smk.params.references)
        update_scores(smk.input.scores, smk.input.dataset, smk.params.preset, smk.params.references)
        update_claims(smk.input.claims, smk.params.references)
        update_planar(smk.input.planar, smk.input.planar_record, smk.params.preset, smk.params.references)
