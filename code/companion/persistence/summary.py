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


def summary(name, log_path, timing_path=None):
    """One arm by its name: mean and standard deviation over seeds of the end value, medians of the speeds."""
    by_seed = curves(log_path)
    ends = [end_value(curve) for curve in by_seed.values()]
    row = {
        "arm": name,
        "seeds": len(by_seed),
        "w1_mean": float(np.mean(ends)),
        "w1_std": float(np.std(ends, ddof=1)) if len(ends) > 1 else math.nan,
        "cosine": float(np.mean([curve["cosine"][-TAIL:].mean() for curve in by_seed.values()])),
    }
    seconds = {}
    for line in read_table(timing_path) if timing_path else []:
        seconds.setdefault(int(line["seed"]), []).append(float(line["seconds"]))
    for level in LEVELS:
        times = [reached(curve["step"], curve["w1"], level) for curve in by_seed.values()]
        last = max(curve["step"][-1] for curve in by_seed.values())
        row[f"steps_to_{level:g}"] = float(np.median(times)) if np.median(times) <= last else math.inf
        clock = [
            float(np.interp(time, by_seed[seed]["step"], seconds[seed])) if time <= last else math.inf
            for (seed, time) in zip(by_seed, times, strict=True)
            if seed in seconds
        ]
        row[f"seconds_to_{level:g}"] = float(np.median(clock)) if clock else math.nan
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
