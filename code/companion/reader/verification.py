"""Verification: is this reproduction what it should be?

Compares what a run produced with closed forms, with POT and with reference ranges. A row passes, fails or is skipped
with a reason. Nothing that is checked is written here. (Whether the paper's sentences hold is asked in claims.py.)
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from companion.common.checks import Row, row
from companion.common.files import replacing, write_json
from companion.common.job import job
from companion.common.readers import data_spread, read_json, read_table, run_summary, sha256
from companion.persistence.verdicts import check_adaptation, check_generation, check_planar
from companion.reader.claims_map import markdown as claims_table
from companion.reader.claims_map import outcomes
from companion.scores.verdicts import check_evaluation

# --- Figure 1 ---------------------------------------------------------------------------------------------------------


def check_figure1(table_path, reference_path):
    """Compare both panels with the numbers digitised from the paper's figure."""
    reference = {line["quantity"]: line for line in read_table(reference_path)}
    panels = {}
    for line in read_table(table_path):
        panels.setdefault(line["panel"], []).append((float(line["theta_x"]), float(line["theta_y"])))
    panels = {name: np.array(points) for name, points in panels.items()}
    return [
        *_check_two_cycle(panels["plain"], reference),
        _check_right(panels["entropic"], "Algorithm 1", reference, "right_closed_form"),
        _check_right(panels["entropic_exact"], "exact psi", reference, "right_closed_form_exact_psi"),
        _check_limit(panels["entropic"], reference),
    ]


def _check_two_cycle(points, reference):
    tail = np.sort(points[-10:, 1]).reshape(2, 5)
    for name, values in (("two_cycle_low", tail[0]), ("two_cycle_high", tail[1])):
        expected, tolerance = _numbers(reference[name])
        worst = values[np.argmax(np.abs(values - expected))]
        yield row(
            f"Figure 1, left: {name.replace('_', '-')} end of the 2-cycle",
            f"{expected:.5f}",
            f"{worst:.5f}",
            f"{tolerance:g}",
            abs(worst - expected) <= tolerance,
        )


def _check_right(points, how, reference, name):
    contraction, _ = _numbers(reference["contraction_per_step"])
    _, tolerance = _numbers(reference[name])
    closed_form = 0.5 * (1 - contraction ** np.arange(1, len(points) + 1))
    worst = float(np.abs(points[:, 1] - closed_form).max())
    return row(
        f"Figure 1, right ({how}): every step on 0.5 (1 - 0.86^(k+1))",
        "0 difference",
        f"{worst:.1e}",
        f"{tolerance:g}",
        worst <= tolerance,
    )


def _check_limit(points, reference):
    expected, tolerance = _numbers(reference["limit_y"])
    error = math.hypot(points[-1, 0], points[-1, 1] - expected)
    return row(
        "Figure 1, right: last point at theta* = (0, 0.5)",
        f"(0, {expected})",
        f"{error:.1e} away",
        f"{tolerance:g}",
        error <= tolerance,
    )


def _numbers(line):
    return float(line["value"]), float(line["tolerance"])


# --- Potentials against POT -------------------------------------------------------------------------------------------


def check_crosscheck(table_path):
    """One row per compared quantity: the worst case over instances and lam."""
    worst = {}
    for line in read_table(table_path):
        ratio = float(line["difference"]) / float(line["tolerance"])
        if not ratio <= worst.get(line["quantity"], (-math.inf,))[0]:
            worst[line["quantity"]] = (ratio, line)
    if not worst:
        yield row("POT cross-check", "0 difference", "nothing was compared", "-", False)
    for quantity, (ratio, line) in worst.items():
        yield row(
            f"POT cross-check, {quantity} (worst: {line['instance']}, lam {line['lam']})",
            "0 difference",
            f"{float(line['difference']):.1e}",
            f"{float(line['tolerance']):g}",
            ratio <= 1,
        )


# --- Image runs -------------------------------------------------------------------------------------------------------


def check_runs(runs, collapsed_cost, preset, dataset, reference_dir):
    """Check each run against theory, and against the ranges kept for this preset and data set (as in dataset.json)."""
    if preset == "smoke":
        yield Row("image runs", "a trained generator", "-", "-", "skipped: the smoke preset does not train to the end")
        return
    for run in runs:
        bound = 1.02 * collapsed_cost
        yield row(
            f"{run['name']}: value at most that of the collapsed generator",
            f"<= {collapsed_cost:.4f}",
            f"{run['value']:.4f}",
            "2%",
            run["value"] <= bound,
        )
    path = Path(reference_dir) / f"images-{preset}-{dataset['name']}.json"
    reference = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if reference.get("data_sha256", {}).get("train") != dataset["sha256"]["train"]:
        why = f"{path.name} was made on other data" if reference else f"no {path.name}"
        yield Row(f"image runs in their ranges ({preset}, {dataset['label']})", "-", "-", "-", f"skipped: {why}")
        return
    for run in runs:
        yield from _check_ranges(run, reference)


def _check_ranges(run, reference):
    kept = reference["runs"].get(run["setting"])
    differing = [key for key, value in reference["config"].items() if run["config"].get(key) != value]
    if kept is None or differing:
        why = f"settings differ from the reference's: {', '.join(differing)}" if differing else "no range for this run"
        yield Row(f"{run['name']}: in its ranges", "-", "-", "-", f"skipped: {why}")
        return
    for quantity, (low, high) in kept["ranges"].items():
        measured = run[quantity]
        yield row(
            f"{run['name']}: {quantity}",
            f"{low:.4g} to {high:.4g}",
            f"{measured:.4g}",
            "in the range",
            low <= measured <= high,
        )


# --- Figures ----------------------------------------------------------------------------------------------------------


def check_figures(figures):
    """Compare the hashes each figure carries with those of the tables it should have been drawn from.

    Args:
        figures: name -> (figure files, table files in the order they were drawn).
    """
    for name, (files, tables) in figures.items():
        digest = "tables-sha256:" + ",".join(sha256(table) for table in tables)
        stale = [Path(file).name for file in files if digest.encode() not in Path(file).read_bytes()]
        yield row(
            f"figures/{name}.*: drawn from the tables that are there",
            "matching hashes",
            f"not matching: {', '.join(stale)}" if stale else "matching" if files and tables else "nothing to compare",
            "exact",
            bool(files and tables) and not stale,
        )


def check_equations(junit_path):
    """Count the equation tests; one that fails refutes a claim or, more likely, this implementation."""
    found = outcomes(junit_path)
    failed = sorted({name for name, results in found.items() if False in results})
    passed = sum(result is True for results in found.values() for result in results)
    measured = f"{passed} passed, failed: {', '.join(failed) or 'none'}"
    yield row("equation tests", "none fails", measured, "each test's own", passed > 0 and not failed)


# --- Output -----------------------------------------------------------------------------------------------------------


def markdown(rows, claims, title):
    """Render both tables."""
    lines = [f"# Verification: {title}", "", "| claim | expected | measured | tolerance | verdict |", "|" + "---|" * 5]
    lines += ["| " + " | ".join(asdict(r).values()) + " |" for r in rows]
    return "\n".join(lines) + "\n\n# Claims\n\n" + claims_table(claims, up="../")


def verify(tables, run_folders, paper_b, figures, reference_dir, preset, outputs):
    """Write verification.json and verification.md.

    Args:
        tables: paths by name: figure1, crosscheck, train, dataset, scores, classifier, equations, claims.
        run_folders: folders of the image runs.
        paper_b: folders of the arms of its experiments: planar, adaptation, generation.
        figures: as for check_figures.
        reference_dir: folder of the reference tables.
        preset: name of the preset that was run.
        outputs: paths by name: table, markdown.
    """
    dataset = read_json(tables["dataset"])
    runs = [run_summary(folder) for folder in run_folders]
    _, collapsed_cost = data_spread(tables["train"], runs[0]["config"]["n_train"])
    rows = [
        *check_figure1(tables["figure1"], Path(reference_dir) / "figure1.csv"),
        *check_crosscheck(tables["crosscheck"]),
        *check_runs(runs, collapsed_cost, preset, dataset, reference_dir),
        *check_planar(paper_b["planar"], preset, reference_dir),
        *check_adaptation(paper_b["adaptation"]),
        *check_generation(paper_b["generation"], preset),
        *check_evaluation(tables["scores"], tables["classifier"], preset, dataset, reference_dir),
        *check_equations(tables["equations"]),
        *check_figures(figures),
    ]
    claims = read_json(tables["claims"])
    write_json(Path(outputs["table"]), [asdict(r) for r in rows])
    with replacing(Path(outputs["markdown"])) as stream:
        stream.write(markdown(rows, claims, f"preset {preset}, data {dataset['label']}").encode())


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        verify(
            dict(smk.input.items()),
            [str(Path(path).parent) for path in smk.input.runs],
            {name: [Path(path).parent for path in smk.input[name]] for name in ("planar", "adaptation", "generation")},
            smk.params.figures,
            Path(smk.input.references[0]).parent,
            smk.params.preset,
            dict(smk.output.items()),
        )
