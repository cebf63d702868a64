"""What the logs of paper B's experiments say: how fast W1 fell and where it ended.

The rules are fixed here, before any run is looked at: speed is the first measured outer step from which IN_A_ROW
measures have a mean W1 of at most one of LEVELS (never: one measure past the end), the end value is the mean of the
last TAIL measures.
"""

import math

import numpy as np

from companion.common.readers import read_table

LEVELS = (0.25, 0.2)
IN_A_ROW, TAIL = 3, 10
FLAT = 0.01  # an arm whose W1 falls by less over its last measures has come to rest


def curves(log_path):
    """Columns of a log by seed: {seed: {column: array over the measures}}."""
    by_seed = {}
    for row in read_table(log_path):
        by_seed.setdefault(int(row["seed"]), []).append(row)
    return {seed: {c: np.array([float(r[c]) for r in rows]) for c in rows[0]} for seed, rows in by_seed.items()}


def reached(steps, w1, level):
    """First of `steps` from which IN_A_ROW measures have a mean of at most `level`; one past the end if none."""
    means = np.convolve(w1, np.full(IN_A_ROW, 1 / IN_A_ROW), "valid") if len(w1) >= IN_A_ROW else np.array([])
    hits = np.flatnonzero(means <= level)
    return float(steps[hits[0]]) if len(hits) else float(2 * steps[-1] - steps[-2])


def end_value(curve):
    """Mean W1 of the last measures."""
    return float(curve["w1"][-TAIL:].mean())


def fall(found):
    """By how much the mean W1 of the last measures is below that of as many before; nan with too few of them."""
    if any(len(curve["w1"]) < 2 * TAIL for curve in found):
        return math.nan
    return float(np.mean([curve["w1"][-2 * TAIL : -TAIL].mean() - end_value(curve) for curve in found]))


def summary(name, log_path, timing_path=None):
    """One arm by its name: mean and standard deviation over seeds of the end value, medians of the speeds."""
    by_seed = curves(log_path)
    ends = [end_value(curve) for curve in by_seed.values()]
    row = {
        "arm": name,
        "seeds": len(by_seed),
        "w1_mean": float(np.mean(ends)),
        "fall": fall(by_seed.values()),
        "w1_std": float(np.std(ends, ddof=1)) if len(ends) > 1 else math.nan,
        "cosine": float(np.mean([curve["cosine"][-TAIL:].mean() for curve in by_seed.values()])),
    }
    clocks = {"seconds": {}, "with_measuring": {}}
    for line in read_table(timing_path) if timing_path else []:
        seed, spent = int(line["seed"]), float(line["seconds"])
        clocks["seconds"].setdefault(seed, []).append(spent)
        clocks["with_measuring"].setdefault(seed, []).append(spent + float(line["measuring"]))
    for level in LEVELS:
        times = {seed: reached(curve["step"], curve["w1"], level) for seed, curve in by_seed.items()}
        last = max(curve["step"][-1] for curve in by_seed.values())
        median = np.median(list(times.values()))
        row[f"steps_to_{level:g}"] = float(median) if median <= last else math.inf
        for name, spent in clocks.items():
            at = [
                float(np.interp(times[seed], by_seed[seed]["step"], spent[seed])) if times[seed] <= last else math.inf
                for seed in times.keys() & spent.keys()
            ]
            row[f"{name}_to_{level:g}"] = float(np.median(at)) if at else math.nan
    return row


def differences(first, second, measure):
    """First arm's curves minus the second's by one of MEASURES, per paired seed."""
    number, seeds = MEASURES[measure], sorted(first.keys() & second.keys())
    return [number(first[seed], second[seed]) - number(second[seed], first[seed]) for seed in seeds]


def _at_equal(curve, other, column):
    """Mean W1 of the last IN_A_ROW measures up to the largest count that both curves reach."""
    within = curve[column] <= min(curve[column][-1], other[column][-1])
    return float(curve["w1"][within][-IN_A_ROW:].mean())


MEASURES = {  # number of a curve, given the other arm's
    "outer steps to the first level": lambda curve, _: reached(curve["step"], curve["w1"], LEVELS[0]),
    "W1 at the end": lambda curve, _: end_value(curve),
    "last W1": lambda curve, _: float(curve["w1"][-1]),
    "last accuracy": lambda curve, _: float(curve["accuracy"][-1]),
    "W1 at equal updates": lambda curve, other: _at_equal(curve, other, "generator_updates"),
    "W1 at equal gradients": lambda curve, other: _at_equal(curve, other, "gradients"),
}
