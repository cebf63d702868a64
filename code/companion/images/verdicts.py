"""Are the image runs what training gives, and does lam trade fidelity for smoothing in them?"""

from dataclasses import astuple, fields
from pathlib import Path

from companion.algorithms.variants.settings import Variant
from companion.common import labels
from companion.common.checks import (
    LEAST_LAMS,
    LEAST_SEEDS,
    TOO_FEW,
    UNTRAINED,
    Against,
    in_range,
    kept_for,
    kept_range,
    listed,
    rises,
    row,
    skipped,
)
from companion.common.readers import data_spread, read_json, read_table, run_summary
from companion.common.statistics import interval

COLLAPSED = 0.01  # share of the data's variance up to which next to nothing is left
SLACK = 0.02  # share by which a value may exceed that of the collapsed generator


def claims(inputs, preset):
    """Judge A-collapse and A-smoothing."""
    runs, (variance, _) = _read(inputs)
    given = runs, variance, critical_lam(inputs["cost"]), preset
    return {"A-collapse": collapse(*given), "A-smoothing": smoothing(*given)}


def critical_lam(cost):
    """Twice the first eigenvalue of the data, in units of lam, as the table of costs has it."""
    return next(float(row["lam"]) for row in read_table(cost) if row["kind"] == "critical")


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


def collapse(runs, variance, critical, preset):
    """Whether the samples' variance is gone in every run beyond the critical lam, and in none below it.

    Args:
        runs: of `run_summary`.
        variance: total, of the data.
        critical: twice the data's first eigenvalue, in units of lam.
        preset: its name.
    """
    left = [(run["config"]["lam"], run["diversity"] / variance) for run in runs]
    beyond, below = ([share for lam, share in left if (lam > critical) == side] for side in (True, False))
    evidence = f"critical lam {critical:.3f}; variance over the data's beyond it {listed(beyond) or 'not run'}"
    evidence += f", least below it {listed(sorted(below)[:1]) or 'not run'}"
    if preset == "smoke" or not beyond or not below:
        return TOO_FEW, evidence
    return max(beyond) <= COLLAPSED < min(below), evidence


def smoothing(runs, variance, critical, preset):
    """Whether with every generator, up to the critical lam, variance falls and atoms rise at each step of lam.

    Each beyond the intervals over training seeds: False if one goes the other way so, None if they leave it open.
    """
    found, evidence = [], []
    for generator in dict.fromkeys(run["config"]["generator"] for run in runs):
        own = [run for run in runs if run["config"]["generator"] == generator and run["config"]["lam"] <= critical]
        lams = sorted({run["config"]["lam"] for run in own})
        by_lam = [[run for run in own if run["config"]["lam"] == lam] for lam in lams]
        atoms = [interval([[run["effective_atoms"]] for run in same]) for same in by_lam]
        fall = [interval([[-run["diversity"] / variance] for run in same]) for same in by_lam]
        seeds = min(map(len, by_lam), default=0)
        enough = preset != "smoke" and len(lams) >= LEAST_LAMS and seeds >= LEAST_SEEDS
        found += [rises(*zip(*map(astuple, values), strict=True)) for values in (fall, atoms)] if enough else [TOO_FEW]
        told = ", ".join(f"{-one.mean:.3g} ± {one.half_width:.2g}" for one in fall)
        evidence.append(
            f"{labels.GENERATORS[generator]}, λ = {listed(lams)}: variance over the data's {told}; "
            f"atoms {listed(a.mean for a in atoms)}; training seeds: {seeds}"
        )
    if TOO_FEW in found or not found:
        return TOO_FEW, "; ".join(evidence) or "no run"
    return False if False in found else None if None in found else True, "; ".join(evidence)


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
