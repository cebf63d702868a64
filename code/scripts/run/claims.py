"""Claims: do the papers' sentences hold on these results? Confirmed, refuted or undecided; never a failure."""

from pathlib import Path

import numpy as np

from otgrad.atomic import write_json
from otgrad.joblog import job
from paper_b_summary import claims as paper_b_claims
from readers import data_spread, read_table, run_summary

TAIL = 50  # iterations at the end of a trajectory that count as its limit
REACHED = 1e-3  # distance to theta* that counts as convergence with a constant step
NEAR = 0.02  # the same with decreasing steps, which close in slowly; every 2-cycle of a constant step is wider


def claim(name, sentence, holds, evidence):
    """One entry of claims.json; holds None: undecided."""
    verdict = "undecided" if holds is None else "confirmed" if holds else "refuted"
    return {"id": name, "claim": sentence, "verdict": verdict, "evidence": evidence}


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
    return [
        claim(
            "A-no-convergence",
            "With lam = 0 and a constant step, descent does not converge to theta*.",
            min(plain) > REACHED,
            f"distance to theta*, largest of the last {TAIL}, smallest over solvers and steps: {min(plain):.3g}",
        ),
        claim(
            "A-decreasing-steps",
            "With lam = 0, decreasing steps can converge (ours, not the paper's).",
            min(decreasing) <= NEAR,
            f"the same distance, best and worst: {min(decreasing):.2g}, {max(decreasing):.2g}",
        ),
        claim(
            "A-convergence",
            "With lam > 0, a constant step and psi*, descent converges to theta* = (0, 0.5).",
            max(exact) <= REACHED,
            f"distance to theta*, largest of the last {TAIL}, worst lam and step: {max(exact):.1e}",
        ),
        claim(
            "A-convergence-algorithm1",
            "With lam > 0 and a constant step, Algorithm 1 with its stochastic inner loop converges to theta*.",
            True if len(reached) == len(inexact) else None if reached else False,
            f"{inexact[0]['inner_steps']} inner steps of the default rule; converged for lam / step "
            f"{_pairs(reached)}; not for {_pairs([r for r in inexact if r not in reached]) or 'none'}",
        ),
    ]


def image_claims(runs, variance, preset):
    """Whether lam trades fidelity for smoothing on the image runs: diversity falls, effective atoms rise."""
    entries = []
    for generator in dict.fromkeys(run["config"]["generator"] for run in runs):
        chosen = sorted(
            (run for run in runs if run["config"]["generator"] == generator), key=lambda run: run["config"]["lam"]
        )
        atoms = [run["effective_atoms"] for run in chosen]
        spread = [run["diversity"] / variance for run in chosen]
        trained = preset != "smoke" and len(chosen) >= 3
        entries.append(
            claim(
                f"A-smoothing-{generator}",
                f"lam trades fidelity for smoothing ({generator}): more atoms per sample, less varied samples.",
                bool(np.all(np.diff(atoms) > 0) and spread[-1] < spread[0]) if trained else None,
                f"lam {_list([run['config']['lam'] for run in chosen])}: atoms {_list(atoms)}; "
                f"variance over the data's {_list(spread)}",
            )
        )
    return entries


def _pairs(rows):
    return ", ".join(f"{float(r['lam']):g} / {float(r['step']):g}" for r in rows)


def _list(numbers):
    return ", ".join(f"{number:.3g}" for number in numbers)


def claims(steps_path, train_path, run_folders, paper_b_logs, preset, output):
    """Write claims.json: a list of objects with keys id, claim, verdict and evidence."""
    runs = [run_summary(folder) for folder in run_folders]
    variance, _ = data_spread(train_path, runs[0]["config"]["n_train"])
    entries = [*counterexample_claims(steps_path), *image_claims(runs, variance, preset)]
    logs = {Path(path).parent.name: path for path in paper_b_logs}
    entries += [claim(*entry) for entry in paper_b_claims(logs, preset)]
    write_json(Path(output), entries)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        folders = [str(Path(path).parent) for path in smk.input.runs]
        claims(smk.input.steps, smk.input.train, folders, smk.input.paper_b, smk.params.preset, smk.output[0])
