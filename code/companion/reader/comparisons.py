"""Which outcome every sentence of paper/sentences.yaml has in this run, and the numbers that say so."""

import math
from pathlib import Path

import numpy as np

from companion.common import labels
from companion.common.readers import read_json, read_table, run_summary
from companion.common.sentences import Sentence, order, part, wordings
from companion.counterexample.verdicts import REACHED
from companion.images.verdicts import COLLAPSED, critical_lam
from companion.persistence.arms import AdaptationConfig, GenerationConfig
from companion.persistence.summary import FLAT, curves
from companion.persistence.verdicts import PERSISTENCE, SIGNIFICANCE, arm, least_p
from companion.reader.report_text import listed, several, sig
from companion.scores.run_table import blur
from companion.scores.verdicts import BEATEN, LONGER, is_plain, read_scores, seconds_by_setting
from companion.shrinkage.verdicts import FEW_TIES, solver_numbers

CLOSE = 0.01  # share by which single numbers, without an interval, must differ


def sentences(inputs, verdicts, learned):
    """Every sentence that the report shows.

    Args:
        inputs: paths by name, as of report_numbers.collect.
        verdicts: id of a claim -> its verdict.
        learned: whether the preset trains generators to the end.
    """
    scores = read_scores(inputs["scores"])
    judged = {
        "images.smoothing": smoothing(inputs["runs"], inputs["cost"]),
        "scores.fidelity": fidelity(scores),
        "scores.solver": solver(inputs["stability"]),
        "scores.beyond": beyond(scores, seconds_by_setting(inputs["judged"])),
        "planar.better": better(planar_ends(inputs), (arm("w1fe", PERSISTENCE), arm("w1fe", 1))),
        "adaptation.better": better(*last(inputs["adaptation"], "accuracy", AdaptationConfig)),
        "generation.better": better(*last(inputs["generation"], "w1", GenerationConfig)),
    }
    if not last(inputs["adaptation"], "accuracy", AdaptationConfig)[0]:
        del judged["adaptation.better"]  # the section says why it was not run
    by_verdict = [Sentence(key, verdicts[wordings()[key]["claim"]], *found) for key, found in judged.items()]
    w2 = [(scores[name]["w2"], scores[name]["w2_pm"]) for name in ("blurred", "real")]
    return [
        algorithm1(inputs["steps"]),
        *collapse(inputs["spectrum"], inputs["cost"], learned),
        blur(*w2),
        *planar(inputs),
        *generation(inputs["generation"]),
        *by_verdict,
    ]


# --- Paper A ----------------------------------------------------------------------------------------------------------


def algorithm1(table):
    """Of the runs of Algorithm 1 on the counterexample with lam > 0 and constant steps, how many converged?"""
    rows = [row for row in read_table(table) if (row["instance"], row["schedule"]) == ("dirac", "constant")]
    far = [float(row["max_distance"]) for row in rows if row["solver"] == "default" and float(row["lam"]) > 0]
    numbers = {"reached": sum(x <= REACHED for x in far), "runs": len(far)}
    return Sentence("counterexample.algorithm", part(*numbers.values()), numbers, {"tried": several(len(far), "run")})


def smoothing(records, cost):
    """Along lam up to the critical one, of every generator's mean over seeds: where atoms rise and diversity falls."""
    groups, threshold = {}, critical_lam(cost)
    for run in (run_summary(Path(path).parent) for path in records):
        if run["config"]["lam"] <= threshold:
            found = groups.setdefault(run["config"]["generator"], {}).setdefault(run["config"]["lam"], [])
            found.append((run["effective_atoms"], -run["diversity"]))
    steps = [
        np.diff([np.mean(found, axis=0) for _, found in sorted(runs.items())], axis=0) > 0 for runs in groups.values()
    ]
    rises, falls = (int(sum(step[:, k].sum() for step in steps if len(step))) for k in (0, 1))
    return ({"rises": rises, "falls": falls, "pairs": sum(map(len, steps))},)


def collapse(spectrum, cost, learned):
    """Which lam lie above twice the first eigenvalue, and what became of the samples at the largest lam."""
    threshold = critical_lam(cost)
    rows = [row for row in read_table(spectrum) if row["set"] != "held out"]
    lams = sorted({float(row["lam"]) for row in rows})
    above = [lam for lam in lams if lam >= threshold]
    numbers = {"above": len(above), "lams": len(lams)}
    texts = {"threshold": sig(threshold), "over": listed(above), "below": listed(lams[: len(lams) - len(above)])}
    yield Sentence("images.threshold", part(*numbers.values()), numbers, texts)
    last_ones = [row for row in rows if float(row["lam"]) == lams[-1]]
    kept = [float(row["variance"]) / (float(row["data"]) or math.nan) for row in last_ones if row["k"] == "0"]
    axes = [float(row["predicted"]) > 0 for row in last_ones if row["k"] != "0" and row["set"] == last_ones[0]["set"]]
    numbers = {"lam": lams[-1], "threshold": threshold, "least": min(kept), "most": max(kept), "limit": COLLAPSED}
    left = several(sum(axes), "direction")
    shares = dict.fromkeys(f"{share:.1%}" for share in (min(kept), max(kept)))
    texts = {"kept": " to ".join(shares), "directions": f"at least {left}" if axes and all(axes) else left}
    yield Sentence(
        "images.collapse", became(numbers) if learned else "untrained", numbers, texts | {"lam": sig(lams[-1])}
    )


def became(numbers):
    """Name the outcome: did the samples collapse, and should they have?"""
    if math.isnan(numbers["most"]):
        return "missing"
    if numbers["lam"] >= numbers["threshold"]:
        return "collapses" if numbers["most"] <= COLLAPSED else "varies above"
    return "varies" if numbers["least"] > COLLAPSED else "collapses below"


def fidelity(scores):
    """Along lam, of the MLP: steps in which the Fréchet distance rises."""
    plain = sorted((f["lam"], f["fid"]) for f in scores.values() if is_plain(f) and f["generator"] == "mlp")
    steps = np.diff([fid for _, fid in plain]) > 0
    return ({"rises": int(steps.sum()), "pairs": len(steps)},)


def solver(table):
    """What the verdict on the solver's error goes by."""
    found = solver_numbers(read_table(table)) or dict.fromkeys(
        ("few", "many", "worse", "helps", "noise", "ties"), math.nan
    )
    return found | {"better": -found["worse"], "limit": FEW_TIES}, {"tied": f"{found['ties']:.1%}"}


def beyond(scores, seconds):
    """How many variants reach the share of the best fixed lam's Fréchet distance, no slower, at no lower recall."""
    scores = {name: found for name, found in scores.items() if name in seconds}
    plain = [name for name, found in scores.items() if is_plain(found)]
    best = min(plain, key=lambda name: scores[name]["fid"], default=None)
    winners = [
        name
        for name, found in scores.items()
        if name not in plain
        and best
        and found["fid"] <= BEATEN * scores[best]["fid"]
        and found["recall"] >= scores[best]["recall"]
        and seconds[name] <= (1 + LONGER) * seconds[best]
    ]
    return ({"winners": len(winners)},)


# --- Paper B ----------------------------------------------------------------------------------------------------------


def planar_ends(inputs):
    """Name of every arm in the plane -> W1 at the end."""
    return {row["arm"]: float(row["w1_mean"]) for row in read_table(inputs["planar"])}


def better(ends, names):
    """Ends of the arms with persistence and without; nan for one that was not run."""
    persistent, plain = (ends.get(name, math.nan) for name in names)
    return {"persistent": persistent, "plain": plain}, {"persistent": sig(persistent), "plain": sig(plain)}


def planar(inputs):
    """Can so few seeds decide anything; and which arm on the first law ended lowest, which highest?"""
    runs = {record["name"]: record for record in map(read_json, inputs["planar_records"])}
    first = next(iter(runs.values()))
    seeds, numbers = len(first["seeds"]), {"least": least_p(len(first["seeds"])), "level": SIGNIFICANCE}
    texts = {name: sig(number, 2) for name, number in numbers.items()}
    power = "more" if numbers["least"] > SIGNIFICANCE else "less"
    yield Sentence("planar.power", power, numbers, texts | {"seeds": several(seeds, "seed")})
    law = first["config"]["law"]
    ends = {name: w1 for name, w1 in planar_ends(inputs).items() if runs[name]["config"]["law"] == law}
    best, worst = min(ends, key=ends.get), max(ends, key=ends.get)
    falls = [float(row["fall"]) for row in read_table(inputs["planar"]) if row["arm"] in ends]
    fall = math.nan if any(map(math.isnan, falls)) else max(falls)
    numbers = {"lowest": round(ends[best], 3), "highest": round(ends[worst], 3), "fall": fall, "rest": FLAT}
    outcome = order(numbers["lowest"], numbers["highest"]) if fall <= FLAT else "falling" if fall > FLAT else "short"
    names = dict(zip(runs, labels.arms([run["config"] for run in runs.values()]), strict=True))
    texts = {"best": names[best], "worst": names[worst]}
    texts |= {name: f"{numbers[name]:.3f}" for name in ("lowest", "highest", "fall")}
    yield Sentence("planar.ends", outcome, numbers, texts)


def last(logs, column, config):
    """Ends of all arms of an experiment on images, none if it was not run; the names of the two that are compared."""
    records = {path: read_json(Path(path).with_name("run.json")) for path in logs}
    ran = {path: record["name"] for path, record in records.items() if not record.get("not_run")}
    ends = {name: float(np.mean([curve[column][-1] for curve in curves(path).values()])) for path, name in ran.items()}
    return ends, [config(persistence=k).name() for k in (PERSISTENCE, 1)]


def generation(logs):
    """Does W1 on these images prefer the mean image to training images; how many arms ended no nearer than it?"""
    with np.load(Path(logs[0]).with_name("samples.npz"), allow_pickle=False) as data:
        levels = {"mean_image": float(data["w1_mean_image"]), "data": float(data["w1_data"])}
    margin = CLOSE * max(levels.values())
    texts = {name: sig(level) for name, level in levels.items()}
    yield Sentence("generation.blur", order(*levels.values(), margin), levels | {"margin": margin}, texts)
    ends, _ = last(logs, "w1", GenerationConfig)
    numbers = {"beyond": sum(w1 >= levels["mean_image"] for w1 in ends.values()), "arms": len(ends)}
    known = not math.isnan(levels["mean_image"])
    yield Sentence("generation.arms", part(*numbers.values()) if known else "missing", numbers)
