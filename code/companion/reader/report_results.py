"""What each section of the report says in numbers, as strings: one function per section, from the section's tables."""

import math
from pathlib import Path

import numpy as np

from companion.common import labels
from companion.common.readers import data_spread, read_json, read_table, run_summary
from companion.counterexample.verdicts import NEAR, REACHED, TAIL
from companion.persistence.arms import PlanarConfig
from companion.persistence.summary import LEVELS, curves
from companion.persistence.verdicts import PERSISTENCE, SIGNIFICANCE
from companion.reader.report_text import listed, several, sig, spread, whole

THETA_STAR = (0, 0.5)
SOLVERS = {"exact": "exact ψ*", "averaged": "{} averaged steps", "default": "{} default steps"}


# --- Paper A ----------------------------------------------------------------------------------------------------------


def counterexample(figure1, steps, chart, slopes, shrinkage):
    """Numbers of Figure 1, of the tables of steps and of solver settings, and of the theory's closed forms.

    Args:
        figure1: its table, as are the others; steps and chart of the Dirac instance.
        steps: distances to theta* for every lam, step, schedule and inner solver.
        chart: the same for inner steps and their size.
        slopes: one-sided derivatives.
        shrinkage: the minimiser against lam.
    """
    panels = {}
    for row in read_table(figure1):
        panels.setdefault(row["panel"], []).append((float(row["theta_x"]), float(row["theta_y"])))
    cycle = [y for _, y in panels["plain"][-TAIL:]]
    rows = [row for row in read_table(steps) if row["instance"] == "dirac"]
    cells = read_table(chart)
    gone = [row for row in read_table(shrinkage) if float(row["gaussian"]) == 0]
    return {
        "low": sig(min(cycle), 4),
        "high": sig(max(cycle), 4),
        "away": {name: sig(math.dist(points[-1], THETA_STAR), 2) for name, points in panels.items()},
        "digitised": {
            name: sig(max(map(math.dist, panels[run], panels[f"{name}_paper"])), 1)
            for name, run in (("plain", "plain_ties"), ("entropic", "entropic"))
        },
        "reached": sig(REACHED),
        "near": sig(NEAR),
        "tail": whole(TAIL),
        "lams": listed(float(row["lam"]) for row in rows if float(row["lam"]) > 0),
        "steps": listed(float(row["step"]) for row in rows),
        "table": [_steps_row(rows, *key) for key in dict.fromkeys((r["solver"], r["schedule"]) for r in rows)],
        "chart": {
            name: share([float(c["tail_distance"]) <= REACHED for c in cells if (float(c["lam"]) > 0) == entropic])
            for name, entropic in (("plain", False), ("entropic", True))
        },
        "slopes": {
            row["instance"]: {key: sig(float(row[key])) for key in ("left", "right")} for row in read_table(slopes)
        },
        "gone": sig(float(gone[0]["lam"])) if gone else "beyond the table",
    }


def share(held):
    """Write how many of a list are true: 3 of 5."""
    return f"{sum(held)} of {len(held)}"


def _steps_row(rows, solver, schedule):
    chosen = [row for row in rows if (row["solver"], row["schedule"]) == (solver, schedule)]
    bound = REACHED if schedule == "constant" else NEAR
    parts = {}
    for name, entropic in (("plain", False), ("entropic", True)):
        found = [float(row["max_distance"]) for row in chosen if (float(row["lam"]) > 0) == entropic]
        parts[name] = {"reached": share([x <= bound for x in found]), "worst": sig(max(found, default=math.nan), 2)}
    return {"solver": SOLVERS[solver].format(chosen[0]["inner_steps"]), "schedule": schedule} | parts


def crosscheck(table):
    """For each quantity: on how many problems, how many agree, the largest difference and its tolerance."""
    groups = {}
    for row in read_table(table):
        groups.setdefault(row["quantity"], []).append(row)
    lams = listed(sorted({float(row["lam"]) for rows in groups.values() for row in rows}))
    instances = ", ".join(dict.fromkeys(row["instance"] for rows in groups.values() for row in rows))
    return {"lams": lams, "instances": instances, "rows": [_agreement(name, rows) for name, rows in groups.items()]}


def _agreement(name, rows):
    worst = max(rows, key=lambda row: float(row["difference"]) / float(row["tolerance"]))
    return {
        "quantity": labels.COMPARED[name],
        "agree": share([row["verdict"] == "pass" for row in rows]),
        "worst": sig(float(worst["difference"]), 2),
        "tolerance": sig(float(worst["tolerance"]), 1),
    }


def images(records, train):
    """Settings and end of every image run, and the cost of the mean image."""
    runs = [run_summary(Path(path).parent) for path in records]
    config = runs[0]["config"]
    variance, collapsed = data_spread(train, config["n_train"])
    return {
        "lams": listed(run["config"]["lam"] for run in runs),
        "settings": {key: whole(config[key]) for key in ("n_train", "batch_size", "outer_steps", "inner_steps")},
        "seeds": listed(run["config"]["seed"] for run in runs),
        "collapsed": sig(collapsed, 4),
        "rows": [
            {
                "generator": labels.GENERATORS[run["config"]["generator"]],
                "lam": sig(run["config"]["lam"]),
                "value": sig(run["value"], 4),
                "atoms": sig(run["effective_atoms"], 4),
                "variance": sig(run["diversity"] / variance),
                "seconds": whole(read_json(path)["seconds"]),
            }
            for run, path in zip(runs, records, strict=True)
        ],
    }


# --- Paper B ----------------------------------------------------------------------------------------------------------


def planar(table, records):
    """Settings of the experiment in the plane, and a row per arm."""
    runs = {record["name"]: record for record in map(read_json, records)}
    first = next(iter(runs.values()))
    names = dict(zip(runs, labels.arms([run["config"] for run in runs.values()]), strict=True))
    rows = read_table(table)
    return {
        "law": labels.law(first["config"]["law"]),
        "settings": {key: whole(first["config"][key]) for key in ("outer_steps", "batch_size", "critic_steps")},
        "authors": {key: whole(getattr(PlanarConfig(), key)) for key in ("outer_steps", "batch_size")},
        "dt": sig(first["config"]["dt"]),
        "seeds": several(len(first["seeds"]), "seed"),
        "floor": sig(first["data"]["sampling_floor"], 2),
        "persistence": str(PERSISTENCE),
        "levels": [sig(level) for level in LEVELS],
        "significance": sig(SIGNIFICANCE),
        "rows": [_planar_row(row, names[row["arm"]]) for row in rows],
    }


def _planar_row(row, name):
    mean, std = float(row["w1_mean"]), float(row["w1_std"])
    return {
        "arm": name,
        "w1": f"{mean:.3f}" + ("" if math.isnan(std) else f" ± {std:.3f}"),
        "steps": [sig(float(row[f"steps_to_{level:g}"])) for level in LEVELS],
        "cosine": f"{float(row['cosine']):.2f}".replace("-", "−"),
    }


def adaptation(logs):
    """Accuracies before, at the end and at best of every arm, or the sentence that says why it was not run."""
    records = {path: read_json(Path(path).with_name("run.json")) for path in logs}
    first = next(iter(records.values()))
    reason = next((record["not_run"] for record in records.values() if record["not_run"]), "")
    settings = {key: whole(first["config"][key]) for key in ("outer_steps", "batch_size")}
    names = labels.arms([record["config"] for record in records.values()])
    told = zip(records.items(), names, strict=True)
    rows = [] if reason else [_adapted(path, record, name) for (path, record), name in told]
    return {"not_run": reason, "seeds": several(len(first["seeds"]), "seed"), "settings": settings, "rows": rows}


def _adapted(path, record, name):
    courses = [curve["accuracy"] for curve in curves(path).values()]
    return {
        "arm": f"{labels.direction(record)}, {name}",
        "before": spread([course[0] for course in courses]),
        "end": spread([course[-1] for course in courses]),
        "best": spread([course.max() for course in courses]),
    }


def generation(logs):
    """W1 and variety at the end of every arm, and the data's variety."""
    records = {path: read_json(Path(path).with_name("run.json")) for path in logs}
    first = next(iter(records.values()))
    names = labels.arms([record["config"] for record in records.values()])
    with np.load(Path(logs[0]).with_name("samples.npz"), allow_pickle=False) as data:
        diversity = sig(float(data["diversity_data"]))
    return {
        "seeds": several(len(first["seeds"]), "seed"),
        "settings": {key: whole(first["config"][key]) for key in ("outer_steps", "n_train")},
        "diversity_data": diversity,
        "rows": [_generated(path, record, name) for (path, record), name in zip(records.items(), names, strict=True)],
    }


def _generated(path, record, name):
    courses = curves(path).values()
    return {
        "arm": name,
        "w1": spread([course["w1"][-1] for course in courses], 2),
        "variety": spread([course["diversity"][-1] for course in courses], 1),
        "seconds": whole(record["seconds"] / len(record["seeds"])),
    }
