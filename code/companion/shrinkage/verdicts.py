"""Do trained generators reach the bound of the best Gaussian model, and what limits Algorithm 1 at lam = 0?"""

import numpy as np

from companion.common.checks import TOO_FEW, all_or_some
from companion.common.readers import read_table

SLACK = 0.01  # share by which a run's value may exceed the bound
FEW_TIES = 0.01  # share of samples that may tie where a missing gradient limits nothing
COPYING, FREE = 0.9, 0.1  # shares of particles that copy an image, from which on all do, and up to which none does
NEAR = 1.25  # factor about the threshold within which either may be
COLUMNS = ("lam", "inner_steps", "ties", "w2")


def claims(inputs, preset):
    """Judge A-bound and A-solver-error."""
    arms = [{key: float(r[key]) for key in COLUMNS} for r in read_table(inputs["stability"])]
    found = {"A-bound": bound(read_table(inputs["cost"])), "A-solver-error": solver_error(arms)}
    return {key: (TOO_FEW if preset == "smoke" else holds, evidence) for key, (holds, evidence) in found.items()}


def bound(rows):
    """Of the runs with lam > 0 on the bound's grid: is each value at most the bound, but for SLACK?"""
    bounds = np.array([(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "bound"]).reshape(-1, 2).T
    runs = [(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "run" and float(r["lam"]) > 0]
    if not bounds.size:
        return TOO_FEW, "no bound was computed"
    kept = [run for run in runs if run[0] >= bounds[0, 0]]  # below the grid the bound is lower than at its end
    if not kept:
        return TOO_FEW, f"no run with λ >= {bounds[0, 0]:.1g}, the grid's least" if runs else "no λ > 0 was run"
    limits = [float(np.interp(np.log(lam), np.log(bounds[0]), bounds[1])) for lam, _ in kept]
    told = [f"{lam:g}: {value:.3f} / {limit:.3f}" for (lam, value), limit in zip(kept, limits, strict=True)]
    reached = sum(value <= (1 + SLACK) * limit for (_, value), limit in zip(kept, limits, strict=True))
    return all_or_some(reached, len(runs)), f"λ: value / bound: {', '.join(told)}"


def solver_error(arms):
    """At λ = 0: do few samples tie, does one inner step do worst, and does the gradient at λ > 0 not do better?

    True if all three hold, beyond the noise; False if samples tie, or one of the other two lies as far on the other
    side.
    """
    found = solver_numbers(arms)
    if not found:
        return TOO_FEW, "no two numbers of inner steps were run at λ = 0, or no λ > 0"
    contrary = found["ties"] >= FEW_TIES or max(found["worse"], found["helps"]) > found["noise"]
    evidence = (
        f"λ = 0: W2 {found['few']:.3g} with the fewest inner steps, {found['many']:.3g} with the most, at least "
        f"{-found['worse']:.2g} less with any more than the fewest; λ > 0, where there is a gradient: at most "
        f"{found['helps']:.2g} less; averaging changes W2 by up to {found['noise']:.2g}; samples that tie: "
        f"{found['ties']:.2%}"
    )
    return False if contrary else True if -found["worse"] > found["noise"] else None, evidence


def solver_numbers(arms):
    """The W2 of arms of `stability`, each a mean over those with and without averaging; none of too few arms.

    few and many: at lam = 0 with the fewest and the most inner steps. worse: by how much at most a larger number of
    steps is worse than the fewest. helps: by how much at most lam > 0 is better than lam = 0 with as many steps. noise:
    the largest difference that averaging makes. ties: the largest share of samples that tie at lam = 0.
    """
    grouped = {}
    for arm in arms:
        grouped.setdefault((float(arm["lam"]), int(arm["inner_steps"])), []).append(float(arm["w2"]))
    plain = {steps: float(np.mean(values)) for (lam, steps), values in sorted(grouped.items()) if lam == 0}
    smooth = {key: float(np.mean(values)) for key, values in grouped.items() if key[0] > 0 and key[1] in plain}
    if len(plain) < 2 or not smooth:
        return {}
    few, *more = plain.values()
    return {
        "few": few,
        "many": more[-1],
        "worse": max(more) - few,
        "helps": max(plain[steps] - w2 for (_, steps), w2 in smooth.items()),
        "noise": max(max(values) - min(values) for values in grouped.values()),
        "ties": max(float(arm["ties"]) for arm in arms if float(arm["lam"]) == 0),
    }


def memorised(rows, thresholds):
    """Judge A-memorise: at each number of images, do COPYING copy below the threshold and FREE beyond?

    The better of the two starts counts.

    Args:
        rows: of run_memorise.memorise, all n and lam.
        thresholds: n -> lam where the two bounds meet.

    Returns:
        {"A-memorise": (True, False or TOO_FEW, evidence)}.
    """
    best = {}
    for row in sorted(rows, key=lambda row: -float(row["value"])):
        best[int(row["n"]), float(row["lam"])] = float(row["copies"])
    below = {key: share for key, share in best.items() if key[1] * NEAR <= thresholds[key[0]]}
    beyond = {key: share for key, share in best.items() if key[1] >= NEAR * thresholds[key[0]]}
    if not below or not beyond:
        return {"A-memorise": (TOO_FEW, "no λ on both sides of the threshold was run")}
    holds = min(below.values()) >= COPYING and max(beyond.values()) <= FREE
    told = [
        f"n = {n}, threshold {threshold:.3f}: "
        + ", ".join(f"{lam:g} {share:.0%}" for (m, lam), share in sorted(best.items()) if m == n)
        for n, threshold in thresholds.items()
    ]
    return {"A-memorise": (holds, "share of copies by λ: " + "; ".join(told))}
