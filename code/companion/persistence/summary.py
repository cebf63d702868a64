"""What the logs of paper B's experiments say: how fast W1 fell and where it ended, and what that means for its claims.

The rules are fixed here, before any run is looked at: speed is the first measured outer step from which three measures
in a row have a mean W1 of at most a level (0.25, 0.2; never: one measure past the end), the end value is the mean of
the last ten measures. Paper B's claims are judged at K = 5 on 8 Gaussians with the one-sided penalty, naive persistence
as in its authors' code (one gradient applied K times).
"""

import math

import numpy as np

from companion.common.paired import holm, sign_flip_p
from companion.common.readers import read_table
from companion.persistence.arms import AdaptationConfig, GenerationConfig, PlanarConfig

LEVELS = (0.25, 0.2)
IN_A_ROW, TAIL = 3, 10
FLAT = 0.01  # an arm whose W1 falls by less over its last measures has come to rest
SIGNIFICANCE = 0.05
PERSISTENCE = 5


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


def claims(logs, preset):
    """Paper B's three claims, and three controls: would K = 5 be ahead if K = 1 were given as much?

    Each family: exact one-sided sign-flip test over paired seeds, Holm over its three, level 0.05. confirmed: adjusted
    p at most 0.05; refuted: the same for the opposite; else, and in the smoke preset, undecided.

    Args:
        logs: arm's name, as its run.json tells it -> path of its log.csv, of all experiments.
        preset: its name.

    Returns:
        id in paper/claims.yaml -> (True, False or None, evidence); what compares arms that were not run is left out.
    """
    plain, persistent, naive = arm("w1fe", 1), arm("w1fe", PERSISTENCE), arm("wgan-stale", PERSISTENCE)
    wgan = arm("wgan", 1) if arm("wgan", 1) in logs else plain  # the same path, by the identity at dt = 1, d = 2
    faster = arm("w1fe", 1, lr_factor=PERSISTENCE)
    papers = {
        "B-faster": (plain, persistent, speeds),
        "B-better": (plain, persistent, end_values),
        "B-naive": (naive, wgan, end_values),
    }
    controls = {
        "B-equal-updates": (plain, persistent, at_equal_updates),
        "B-equal-gradients": (plain, persistent, at_equal_gradients),
        "B-equal-rate": (faster, persistent, end_values),
    }
    adapted = [AdaptationConfig(persistence=k).name() for k in (PERSISTENCE, 1)]
    generated = [GenerationConfig(persistence=k).name() for k in (1, PERSISTENCE)]
    images = {
        "B-adaptation": (*adapted, last_accuracies),
        "B-generation": (*generated, last_w1s),
    }
    return {key: entry for family in (papers, controls, images) for key, entry in _verdicts(family, logs, preset)}


def _verdicts(questions, logs, preset):
    differences = {
        key: measure(curves(logs[a]), curves(logs[b]))
        for key, (a, b, measure) in questions.items()
        if a in logs and b in logs
    }
    differences = {key: values for key, values in differences.items() if values}  # none: the experiment was not run
    for_it = holm({key: sign_flip_p(values) for key, values in differences.items()})
    against = holm({key: sign_flip_p([-value for value in values]) for key, values in differences.items()})
    for key, values in differences.items():
        a, b, _ = questions[key]
        holds = True if for_it[key] <= SIGNIFICANCE else False if against[key] <= SIGNIFICANCE else None
        evidence = (
            f"{a} minus {b}: mean {np.mean(values):.3g}, {min(values):.3g} to {max(values):.3g} over {len(values)} "
            f"paired seeds; adjusted p {for_it[key]:.2g}, of the opposite {against[key]:.2g}"
        )
        yield key, (None if preset == "smoke" else holds, evidence)


def speeds(first, second):
    """Outer steps to the first level: first arm's minus second's, per paired seed."""
    return _paired(first, second, lambda curve, _: reached(curve["step"], curve["w1"], LEVELS[0]))


def end_values(first, second):
    """W1 at the end: first arm's minus second's, per paired seed."""
    return _paired(first, second, lambda curve, _: end_value(curve))


def last_accuracies(first, second):
    """Accuracy in the last row: first arm's minus second's, per paired seed."""
    return _paired(first, second, lambda curve, _: float(curve["accuracy"][-1]))


def last_w1s(first, second):
    """W1 in the last row: first arm's minus second's, per paired seed."""
    return _paired(first, second, lambda curve, _: float(curve["w1"][-1]))


def at_equal_updates(first, second):
    """W1 at the largest number of generator updates that both arms made: first minus second, per paired seed."""
    return _paired(first, second, lambda curve, other: _at_equal(curve, other, "generator_updates"))


def at_equal_gradients(first, second):
    """The same at the largest number of gradients that both arms took."""
    return _paired(first, second, lambda curve, other: _at_equal(curve, other, "gradients"))


def _paired(first, second, number):
    """Difference per seed of number(curve, the other arm's curve)."""
    seeds = sorted(first.keys() & second.keys())
    return [number(first[seed], second[seed]) - number(second[seed], first[seed]) for seed in seeds]


def _at_equal(curve, other, column):
    """Mean W1 of the last IN_A_ROW measures up to the count that both curves reach."""
    within = curve[column] <= min(curve[column][-1], other[column][-1])
    return float(curve["w1"][within][-IN_A_ROW:].mean())


def arm(method, persistence, **changes):
    """Name of an arm with otherwise default settings."""
    return PlanarConfig(method=method, persistence=persistence, **changes).name()
