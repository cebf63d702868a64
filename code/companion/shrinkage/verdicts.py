"""Do trained generators reach the bound of the best Gaussian model, and what limits Algorithm 1 at lam = 0?"""

import numpy as np

from companion.common.checks import all_or_some, listed
from companion.common.readers import read_table

SLACK = 0.01  # share by which a run's value may exceed the bound
FEW_TIES = 0.01  # share of samples that may tie where a missing gradient limits nothing
COPYING, FREE = 0.9, 0.1  # shares of particles that copy an image, from which on all do, and up to which none does
NEAR = 1.25  # factor about the threshold within which either may be
COLUMNS = ("lam", "inner_steps", "ties", "w2", "marginal_error")


def claims(inputs, preset):
    """Judge A-bound and A-solver-error."""
    arms = [{key: float(r[key]) for key in COLUMNS} for r in read_table(inputs["stability"])]
    found = {"A-bound": bound(read_table(inputs["cost"])), "A-solver-error": solver_error(arms)}
    return {key: (None if preset == "smoke" else holds, evidence) for key, (holds, evidence) in found.items()}


def bound(rows):
    """Of the runs with lam > 0 on the bound's grid: is each value at most the bound, but for SLACK?"""
    bounds = np.array([(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "bound"]).reshape(-1, 2).T
    runs = [(float(r["lam"]), float(r["value"])) for r in rows if r["kind"] == "run" and float(r["lam"]) > 0]
    if not bounds.size:
        return None, "no bound was computed"
    kept = [run for run in runs if run[0] >= bounds[0, 0]]  # below the grid the bound is lower than at its end
    if not kept:
        return None, f"no run with λ >= {bounds[0, 0]:.1g}, the grid's least" if runs else "no λ > 0 was run"
    limits = [float(np.interp(np.log(lam), np.log(bounds[0]), bounds[1])) for lam, _ in kept]
    told = [f"{lam:g}: {value:.3f} / {limit:.3f}" for (lam, value), limit in zip(kept, limits, strict=True)]
    reached = sum(value <= (1 + SLACK) * limit for (_, value), limit in zip(kept, limits, strict=True))
    return all_or_some(reached, len(runs)), f"λ: value / bound: {', '.join(told)}"


def solver_error(arms):
    """At lam = 0: do more inner steps give a smaller W2, with next to no samples that tie?"""
    plain = [arm for arm in arms if arm["lam"] == 0]
    means = {
        steps: {key: np.mean([arm[key] for arm in plain if arm["inner_steps"] == steps]) for key in COLUMNS}
        for steps in sorted({arm["inner_steps"] for arm in plain})
    }
    if len(means) < 2:
        return None, "no two numbers of inner steps were run at λ = 0"
    (few, *_, many), ties = means.values(), max(arm["ties"] for arm in plain)
    return bool(many["w2"] < few["w2"] and ties < FEW_TIES), (
        f"λ = 0, {listed(means)} inner steps: W2 {listed(m['w2'] for m in means.values())}, marginal error"
        f" {listed(m['marginal_error'] for m in means.values())} of 2; samples that tie: {ties:.2%}"
    )


def memorised(rows, thresholds):
    """Judge A-memorise: at each number of images, do COPYING copy below the threshold and FREE beyond?

    The better of the two starts counts.

    Args:
        rows: of run_memorise.memorise, all n and lam.
        thresholds: n -> lam where the two bounds meet.

    Returns:
        {"A-memorise": (True, False or None, evidence)}.
    """
    best = {}
    for row in sorted(rows, key=lambda row: -float(row["value"])):
        best[int(row["n"]), float(row["lam"])] = float(row["copies"])
    below = {key: share for key, share in best.items() if key[1] * NEAR <= thresholds[key[0]]}
    beyond = {key: share for key, share in best.items() if key[1] >= NEAR * thresholds[key[0]]}
    if not below or not beyond:
        return {"A-memorise": (None, "no λ on both sides of the threshold was run")}
    holds = min(below.values()) >= COPYING and max(beyond.values()) <= FREE
    told = [
        f"n = {n}, threshold {threshold:.3f}: "
        + ", ".join(f"{lam:g} {share:.0%}" for (m, lam), share in sorted(best.items()) if m == n)
        for n, threshold in thresholds.items()
    ]
    return {"A-memorise": (holds, "share of copies by λ: " + "; ".join(told))}
