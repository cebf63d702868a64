"""Are the image runs what training gives, and does lam trade fidelity for smoothing in them?"""

from dataclasses import fields
from pathlib import Path

import numpy as np

from companion.algorithms.variants.settings import Variant
from companion.common import labels
from companion.common.checks import UNTRAINED, Against, in_range, kept_for, kept_range, listed, row, skipped
from companion.common.readers import data_spread, read_json, run_summary

LEAST_LAMS = 3  # of one generator, for a verdict on what lam does
SLACK = 0.02  # share by which a value may exceed that of the collapsed generator


def claims(inputs, preset):
    """Judge A-smoothing."""
    runs, (variance, _) = _read(inputs)
    return {"A-smoothing": smoothing(runs, variance, preset)}


def checks(inputs, preset, references):
    """Check each run against theory, and against the ranges kept for this preset and data set."""
    runs, (_, collapsed_cost) = _read(inputs)
    return check_runs(runs, collapsed_cost, preset, read_json(inputs["dataset"]), references)


def told(config):
    """What labels are made of: generator, lam, and the settings of a variant that are not Algorithm 1's."""
    changes = {f.name: config[f.name] for f in fields(Variant) if config.get(f.name, f.default) != f.default}
    return {"generator": config["generator"], "lam": config["lam"], "changes": changes}


def shown(config):
    """Name of a run for its rows; a seed other than 0 is said."""
    seed = f", seed {config['seed']}" if config.get("seed") else ""
    return f"{labels.generated(told(config))}{seed}"


def _read(inputs):
    runs = [run_summary(Path(path).parent) for path in inputs["runs"]]
    return runs, data_spread(inputs["train"], runs[0]["config"]["n_train"])


def smoothing(runs, variance, preset):
    """Whether with every generator diversity falls and effective atoms rise with lam."""
    holds, evidence = [], []
    for generator in dict.fromkeys(run["config"]["generator"] for run in runs):
        own = [run for run in runs if run["config"]["generator"] == generator]
        seed = min(run["config"]["seed"] for run in own)  # of several, the first
        chosen = sorted((run for run in own if run["config"]["seed"] == seed), key=lambda run: run["config"]["lam"])
        atoms = [run["effective_atoms"] for run in chosen]
        spread = [run["diversity"] / variance for run in chosen]
        trained = preset != "smoke" and len(chosen) >= LEAST_LAMS
        holds.append(bool(np.all(np.diff(atoms) > 0) and spread[-1] < spread[0]) if trained else None)
        evidence.append(
            f"{labels.GENERATORS[generator]}, λ = {listed(run['config']['lam'] for run in chosen)}: "
            f"atoms {listed(atoms)}; variance over the data's {listed(spread)}"
        )
    return None if not holds or None in holds else all(holds), "; ".join(evidence) or "no run"


def check_runs(runs, collapsed_cost, preset, dataset, references):
    """Give the rows of runs; of dataset.json the content."""
    if preset == "smoke":
        yield skipped(Against.BOUND, "image runs", UNTRAINED, "a trained generator")
        return
    for run in runs:
        yield row(
            Against.BOUND,
            f"{shown(run['config'])}: value reached, at most that of the mean image alone",
            f"<= {collapsed_cost:.3g}",
            f"{run['value']:.3g}",
            f"{SLACK:.0%}",
            run["value"] <= (1 + SLACK) * collapsed_cost,
        )
    path = Path(references) / f"images-{preset}-{dataset['name']}.json"
    reference, why = kept_for(path, dataset)
    if why:
        yield skipped(Against.EARLIER, f"image runs in their ranges ({preset}, {dataset['label']})", why)
        return
    for run in runs:
        yield from _check_ranges(run, reference, kept_range(path, reference))


def _check_ranges(run, reference, source):
    kept = reference["runs"].get(run["setting"])
    differing = [key for key, value in reference["config"].items() if run["config"].get(key) != value]
    if kept is None or differing:
        why = f"settings differ from the reference's: {', '.join(differing)}" if differing else "no range for this run"
        yield skipped(source[0], f"{shown(run['config'])}: in its ranges", why)
        return
    for quantity, (low, high) in kept["ranges"].items():
        claim = f"{shown(run['config'])}: {labels.QUANTITIES[quantity]}"
        yield in_range(claim, [run[quantity]], low, high, source)
