"""Claims: do the papers' statements hold here? Confirmed, refuted, undecided or not tested; never a failure."""

from pathlib import Path

import numpy as np

from companion.common.files import write_json
from companion.common.job import job
from companion.common.readers import data_spread, read_json, read_table, run_summary
from companion.persistence.summary import claims as paper_b_claims
from companion.reader.claims_map import UNRUN, judge, outcomes, read_map
from companion.scores.verdicts import evaluation_claims

TAIL = 50  # iterations at the end of a trajectory that count as its limit
REACHED = 1e-3  # distance to theta* that counts as convergence with a constant step
STABILITY = ("lam", "inner_steps", "ties", "w2", "marginal_error")
NEAR = 0.02  # the same with decreasing steps, which close in slowly; every 2-cycle of a constant step is wider


def counterexample_claims(steps_path):
    """Read off the table of step sizes which sentence holds in it, for the Dirac instance."""
    rows = [line for line in read_table(steps_path) if line["instance"] == "dirac"]

    def chosen(schedule, solvers, entropic):
        keep = [r for r in rows if r["schedule"] == schedule and r["solver"] in solvers]
        return [r for r in keep if (float(r["lam"]) > 0) == entropic]

    solvers = {r["solver"] for r in rows}
    plain = [float(r["max_distance"]) for r in chosen("constant", solvers, entropic=False)]
    decreasing = [float(r["max_distance"]) for r in chosen("decreasing", solvers, entropic=False)]
    exact = [float(r["max_distance"]) for r in chosen("constant", {"exact"}, entropic=True)]
    inexact = chosen("constant", {"default"}, entropic=True)
    reached = [r for r in inexact if float(r["max_distance"]) <= REACHED]
    return {
        "A-no-convergence": _of(
            plain,
            lambda: min(plain) > REACHED,
            lambda: (
                f"distance to theta*, largest of the last {TAIL}, smallest over solvers and steps: {min(plain):.3g}"
            ),
        ),
        "A-decreasing-steps": _of(
            decreasing,
            lambda: min(decreasing) <= NEAR,
            lambda: f"the same distance, best and worst: {min(decreasing):.2g}, {max(decreasing):.2g}",
        ),
        "A-convergence": _of(
            exact,
            lambda: max(exact) <= REACHED,
            lambda: f"distance to theta*, largest of the last {TAIL}, worst lam and step: {max(exact):.1e}",
        ),
        "A-convergence-algorithm1": _of(
            inexact,
            lambda: _all_or_some(len(reached), len(inexact)),
            lambda: (
                f"{inexact[0]['inner_steps']} inner steps of the default rule; converged for lam / step "
                f"{_pairs(reached)}; not for {_pairs([r for r in inexact if r not in reached]) or 'none'}"
            ),
        ),
    }


def _of(found, verdict, evidence, without="no run with such a lam is there"):
    """Verdict and evidence of what was found; nothing confirms nothing."""
    return (verdict(), evidence()) if found else (None, without)


def _all_or_some(part, whole):
    """True of all, False of none, None between."""
    return True if part == whole else None if part else False


def image_claims(runs, variance, preset):
    """Whether lam trades fidelity for smoothing with every generator: diversity falls, effective atoms rise."""
    holds, evidence = [], []
    for generator in dict.fromkeys(run["config"]["generator"] for run in runs):
        own = [run for run in runs if run["config"]["generator"] == generator]
        seed = min(run["config"]["seed"] for run in own)  # of several, the first
        chosen = sorted((run for run in own if run["config"]["seed"] == seed), key=lambda run: run["config"]["lam"])
        atoms = [run["effective_atoms"] for run in chosen]
        spread = [run["diversity"] / variance for run in chosen]
        trained = preset != "smoke" and len(chosen) >= 3
        holds.append(bool(np.all(np.diff(atoms) > 0) and spread[-1] < spread[0]) if trained else None)
        evidence.append(
            f"{generator}, lam {_list([run['config']['lam'] for run in chosen])}: atoms {_list(atoms)}; "
            f"variance over the data's {_list(spread)}"
        )
    return {"A-smoothing": (None if not holds or None in holds else all(holds), "; ".join(evidence) or "no run")}


def blur_claims(cost_path, stability_path, preset):
    """Whether trained generators reach the bound of the best Gaussian, and what limits Algorithm 1 at lam = 0."""
    decided, arms = preset != "smoke", [{key: float(r[key]) for key in STABILITY} for r in read_table(stability_path)]
    found = {"A-bound": bound_claim(read_table(cost_path)), "A-solver-error": solver_claim(arms)}
    return {key: (holds if decided else None, evidence) for key, (holds, evidence) in found.items()}


def bound_claim(rows):
    """Of the runs with lam > 0 on the bound's grid: is each value at most the bound, within 1%?"""
    bounds = np.array([(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "bound"]).reshape(-1, 2).T
    runs = [(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "run" and float(r["lam"]) > 0]
    if not bounds.size:
        return None, "no bound was computed"
    kept = [run for run in runs if run[0] >= bounds[0, 0]]  # below the grid the bound is lower than at its end
    limits = [float(np.interp(np.log(lam), np.log(bounds[0]), bounds[1])) for lam, _ in kept]
    told = [f"{lam:g}: {value:.3f} / {limit:.3f}" for (lam, value), limit in zip(kept, limits, strict=True)]
    reached = sum(value <= 1.01 * limit for (_, value), limit in zip(kept, limits, strict=True))
    without = f"no run with lam >= {bounds[0, 0]:.1g}, the grid's least" if runs else "no lam > 0 was run"
    return _of(
        kept, lambda: _all_or_some(reached, len(runs)), lambda: f"lam: value / bound: {', '.join(told)}", without
    )


def solver_claim(arms):
    """At lam = 0: do more inner steps give a smaller W2, with next to no samples that tie?"""
    plain = [arm for arm in arms if arm["lam"] == 0]
    means = {
        steps: {key: np.mean([arm[key] for arm in plain if arm["inner_steps"] == steps]) for key in STABILITY}
        for steps in sorted({arm["inner_steps"] for arm in plain})
    }
    if len(means) < 2:
        return None, "no two numbers of inner steps were run at lam = 0"
    (few, *_, many), ties = means.values(), max(arm["ties"] for arm in plain)
    return bool(many["w2"] < few["w2"] and ties < 0.01), (
        f"lam = 0, {_list(means)} inner steps: W2 {_list(m['w2'] for m in means.values())}, marginal error"
        f" {_list(m['marginal_error'] for m in means.values())} of 2; samples that tie: {ties:.2%}"
    )


def seconds_by_setting(record_paths):
    """Mean seconds of training of runs that differ in the seed alone."""
    found = {}
    for path in record_paths:
        record = read_json(path)
        found.setdefault(record["setting"], []).append(record["seconds"])
    return {name: float(np.mean(seconds)) for name, seconds in found.items()}


def _pairs(rows):
    return ", ".join(f"{float(r['lam']):g} / {float(r['step']):g}" for r in rows)


def _list(numbers):
    return ", ".join(f"{number:.3g}" for number in numbers)


def not_run(records):
    """Claim id -> reason, of the experiment of paper B that needs data which could not be had.

    Args:
        records: what the arms of paper B's experiments say of themselves: the contents of their run.json.
    """
    reasons = filter(None, (record["not_run"] for record in records if record["study"] == "adaptation"))
    return dict.fromkeys(["B-adaptation"], next((f"not run: {reason}" for reason in reasons), UNRUN))


def claims(inputs, run_folders, judged, paper_b, preset, output):
    """Write claims.json: every entry of paper/claims.yaml with its verdict and evidence.

    Args:
        inputs: paths by name: map, tests, steps, train, scores, cost, stability.
        run_folders: folders of the image runs.
        judged: run.json of every run that was scored.
        paper_b: run.json and log.csv of every arm of paper B's experiments, a pair each.
        preset: its name.
        output: written.
    """
    runs = [run_summary(folder) for folder in run_folders]
    variance, _ = data_spread(inputs["train"], runs[0]["config"]["n_train"])
    measured = counterexample_claims(inputs["steps"]) | image_claims(runs, variance, preset)
    measured |= evaluation_claims(inputs["scores"], seconds_by_setting(judged), preset)
    measured |= blur_claims(inputs["cost"], inputs["stability"], preset)
    arms = [(read_json(record), log) for record, log in paper_b]
    measured |= paper_b_claims({record["name"]: log for record, log in arms}, preset)
    reasons = not_run([record for record, _ in arms])
    entries = judge(read_map(inputs["map"]), measured, outcomes(inputs["tests"]), reasons)
    write_json(Path(output), entries)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        folders = [str(Path(path).parent) for path in smk.input.runs]
        paper_b = list(zip(smk.input.paper_b_records, smk.input.paper_b, strict=True))
        claims(dict(smk.input.items()), folders, smk.input.judged, paper_b, smk.params.preset, smk.output[0])
