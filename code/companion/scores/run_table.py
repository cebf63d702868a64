"""Gather the scores of all runs and of the control sets: one row each, with 95% intervals, as CSV and to read."""

from companion.common.job import job

import math
from pathlib import Path

from companion.common import labels
from companion.common.files import replacing, write_csv
from companion.common.readers import read_json
from companion.common.sentences import Sentence, order
from companion.common.statistics import Interval, interval
from companion.images.verdicts import told as told_of
from companion.scores.fixed import CONTROLS, DIVERGENCE_LAM

# the tables to read: title, then score: (heading, format)
BLOCKS = {
    "Transport": {
        "semidual": ("OT_c^λ to held-out images", ".4f"),
        "semidual_real": ("the same of real images", ".4f"),
        "semidual_gap": ("its certified gap", ".1%"),
        "w2": ("W2 (exact)", ".3f"),
        "divergence": (f"1000 × Sinkhorn divergence, λ = {DIVERGENCE_LAM}", ".2f"),
    },
    "As the classifier sees them": {
        "fid": ("Fréchet distance", ".1f"),
        "precision": ("precision", ".3f"),
        "recall": ("recall", ".3f"),
        "density": ("density", ".3f"),
        "coverage": ("coverage", ".3f"),
        "classes": ("classes", ".1f"),
        "imbalance": ("imbalance", ".3f"),
        "confidence": ("confidence", ".3f"),
    },
    "Pixels, and ψ at the end of training": {
        "sharpness": ("sharpness", ".3f"),
        "diversity": ("diversity", ".3f"),
        "copied_share": ("nearer to training images", ".3f"),
        "copied_ratio": ("ratio of distances", ".3f"),
        "marginal_error": ("marginal error", ".3f"),
        "effective_atoms": ("atoms per sample", ".1f"),
    },
}
SCORES = {name: cell for block in BLOCKS.values() for name, cell in block.items()}
FACTOR = {"divergence": 1000}
ALONE = ("semidual_gap",)  # a bound, written without its spread
NOTES = (
    "Mean ± half-width of the 95% interval (Student t): over training seeds where there are several, else over the"
    " sample sets of one generator. All sets are of one size, since most scores depend on it: read a run beside the row"
    " of real images, which is what perfect samples would get. Sharpness and diversity are relative to held-out images."
    " Nearer to training images: 0.5 without memorisation, 1 for copies; the ratio is 1, or 0; both say little of"
    " samples that are all alike. The control rows have λ = 0. The marginal error is that of the log's samples: at λ ="
    " 0 it is at least 2 (1 - samples / atoms)."
)


def table(run_paths, controls_path, classifier_path, title, csv_path, markdown_path):
    """Write both forms.

    Args:
        run_paths: JSON of each run, as written by evaluate_run; those that differ in the seed alone share a row.
        controls_path: JSON of the control sets.
        classifier_path: JSON record of the classifier.
        title: preset and data.
        csv_path: written; a score is nan where it was not computed; last, label, generator and a variant's changes.
        markdown_path: written.
    """
    controls = read_json(controls_path)
    rows = [*control_rows(controls), *run_rows([read_json(path) for path in run_paths], controls["floors"])]
    header = ["name", "lam", "seeds", "sets", "images"]
    told, spread = ["label", "generator", "changes"], [column for score in SCORES for column in (score, f"{score}_pm")]
    flat = [
        [row[key] for key in header]
        + [number for score in SCORES for number in numbers(row["scores"][score])]
        + [row[key] for key in told]
        for row in rows
    ]
    write_csv(Path(csv_path), header + spread + told, flat)
    with replacing(Path(markdown_path)) as stream:
        stream.write(markdown(rows, read_json(classifier_path), title).encode())


def control_rows(controls):
    """One row per control that there is."""
    found = {name: controls["controls"][name] for name in CONTROLS if name in controls["controls"]}
    return [
        {"name": name, "lam": 0.0, "seeds": 1, "sets": len(sets), "images": controls["size"]}
        | {"scores": intervals([sets]), "label": labels.SETS[name], "generator": "", "changes": ""}
        for name, sets in found.items()
    ]


def run_rows(runs, floors):
    """One row per setting, in the order given."""
    return [setting_row(name, group, floors) for name, group in grouped(runs).items()]


def grouped(runs):
    """Setting -> its runs: they differ in the seed alone."""
    groups = {}
    for run in runs:
        groups.setdefault(run["setting"], []).append(run)
    return groups


def setting_row(name, runs, floors):
    """Row of the runs of one setting."""
    lam, told = runs[0]["config"]["lam"], told_of(runs[0]["config"])
    real = [{"semidual_real": score["semidual"]} for score in floors[f"{lam:g}"]]
    ends = intervals([[run["training"]] for run in runs])
    return {
        "name": name,
        "lam": lam,
        "seeds": len(runs),
        "sets": len(runs[0]["sets"]),
        "images": runs[0]["size"],
        "label": labels.generated(told),
        "generator": told["generator"],
        "changes": labels.run({"lam": lam, "changes": told["changes"]}) if told["changes"] else "",
        "scores": intervals([run["sets"] for run in runs])
        | {key: ends[key] for key in ("marginal_error", "effective_atoms")}
        | {"semidual_real": intervals([real])["semidual_real"]},
    }


def intervals(runs):
    """Interval of every score, nan where it is missing.

    Args:
        runs: for each seed its sets, each a dict of scores.
    """
    return {
        score: interval([[math.nan if one.get(score) is None else one[score] for one in sets] for sets in runs])
        for score in SCORES
    }


def numbers(found: Interval):
    """Mean and half-width for the CSV."""
    return found.mean, found.half_width


def markdown(rows, classifier, title):
    """Render the tables to read."""
    lines = [f"# Scores of samples: {title}", "", f"{classifier['judgement']} {NOTES}", ""]
    found = {row["name"]: numbers(row["scores"]["w2"]) for row in rows}
    lines += [blur(found["blurred"], found["real"]).text, ""]
    for heading, scores in BLOCKS.items():
        heads = ["samples", *(label for label, _ in scores.values())]
        lines += [f"## {heading}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join([row["label"], *(cell(row, score) for score in scores)]) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def blur(blurred, real):
    """Does W2 between finite sets prefer blurred images to real ones? Of each its mean and half-width."""
    margin = sum(0.0 if math.isnan(half) else half for _, half in (blurred, real))
    compared = {"blurred": blurred[0], "real": real[0]}
    texts = {name: f"{mean:.2f}" for name, mean in compared.items()}
    return Sentence("scores.w2", order(*compared.values(), margin), compared | {"margin": margin}, texts)


def cell(row, score):
    """Write a score with its interval."""
    (_, form), found = SCORES[score], row["scores"][score]
    mean, half_width = (FACTOR.get(score, 1) * number for number in numbers(found))
    if math.isnan(mean):
        return "–"
    return f"{mean:{form}}" + ("" if math.isnan(half_width) or score in ALONE else f" ± {half_width:{form}}")


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        label = f"preset {smk.params.preset}, data {read_json(smk.input.dataset)['label']}"
        given = smk.input.runs, smk.input.controls, smk.input.classifier
        table(*given, label, smk.output.table, smk.output.markdown)
