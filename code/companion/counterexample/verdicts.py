"""Is the counterexample the paper's? Figure 1 beside what was digitised from it; and what lam and steps lead to."""

import math
from pathlib import Path

import numpy as np

from companion.common.checks import Against, all_or_some, row
from companion.common.readers import read_table

TAIL = 50  # iterates at the end of a trajectory that count as its limit
REACHED = 1e-3  # distance to theta* that counts as convergence with a constant step
NEAR = 0.02  # the same with decreasing steps, which close in slowly, and along the kink axis; the least 2-cycle: 0.0376
TURNS = 5  # of Figure 1's 2-cycle that are compared


def claims(inputs, preset):
    """Read off the table of step sizes which sentence holds in it, for the Dirac instance."""
    rows = [line for line in read_table(inputs["steps"]) if line["instance"] == "dirac"]
    default = _chosen(rows, "constant", True, "default")
    met = [r for r in default if float(r["max_distance"]) <= REACHED]
    missed = [r for r in default if r not in met]
    plain, falling, exact = (
        [float(r["max_distance"]) for r in _chosen(rows, *choice)]
        for choice in (("constant", False), ("decreasing", False), ("constant", True, "exact"))
    )
    far = f"distance to θ*, largest of the last {TAIL}"
    found = {
        "A-no-convergence": plain
        and (min(plain) > REACHED, f"{far}, smallest over solvers and steps: {min(plain):.3g}"),
        "A-decreasing-steps": falling
        and (min(falling) <= NEAR, f"the same distance, best and worst: {min(falling):.2g}, {max(falling):.2g}"),
        "A-convergence": exact and (max(exact) <= REACHED, f"{far}, worst λ and step: {max(exact):.1e}"),
        "A-convergence-algorithm1": default
        and (
            all_or_some(len(met), len(default)),
            f"{default[0]['inner_steps']} inner steps of the default rule; converged for λ / step {_pairs(met)}; "
            f"not for {_pairs(missed) or 'none'}",
        ),
    }
    return {key: entry or (None, "no run with such a λ is there") for key, entry in found.items()}


def _chosen(rows, schedule, entropic, solver=None):
    chosen = [r for r in rows if r["schedule"] == schedule and solver in (None, r["solver"])]
    return [r for r in chosen if (float(r["lam"]) > 0) == entropic]


def _pairs(rows):
    return ", ".join(f"{float(r['lam']):g} / {float(r['step']):g}" for r in rows)


def checks(inputs, preset, references):
    """Compare both panels of Figure 1 with what was digitised from the paper's, and with closed forms."""
    kept = read_table(Path(references) / "figure1.csv")
    reference = {line["quantity"]: (float(line["value"]), float(line["tolerance"])) for line in kept}
    panels = _panels(inputs["figure1"], "theta_x", "theta_y")
    digitised = _panels(Path(references) / "figure1_points.csv", "x", "y")
    yield _check_recursion(digitised["plain"], reference)
    for name, run, how in (
        ("plain", "plain_ties", "left: Algorithm 1 with ties broken as theirs"),
        ("entropic", "entropic", "right: Algorithm 1"),
    ):
        yield _check_points(panels[run], digitised[name], reference, how)
    yield from _check_two_cycle(panels["plain"], reference)
    yield _check_right(panels["entropic"], "Algorithm 1", reference, "right_closed_form")
    yield _check_right(panels["entropic_exact"], "exact ψ", reference, "right_closed_form_exact_psi")
    yield _check_limit(panels["entropic"], reference)


def _panels(path, *columns):
    panels = {}
    for line in read_table(path):
        panels.setdefault(line["panel"], []).append([float(line[column]) for column in columns])
    return {name: np.array(points) for name, points in panels.items()}


def _check_recursion(points, reference):
    """Whether every point digitised on the left is a step from the one before it, up or down, the first from 0."""
    (factor, _), (_, pixel) = (reference[key] for key in ("contraction_per_step", "digitised"))
    before = factor * np.concatenate([[0], points[:-1, 1]])
    missed = np.minimum(*(np.abs(points[:, 1] - before - pull) for pull in (0, 1 - factor)))
    tolerance = (1 + factor) * pixel
    return row(
        Against.FIGURE,
        f"Figure 1, left: each of the authors' {len(points)} points a step up or down from the one before",
        f"{factor:g} y, or {factor:g} y + {1 - factor:g}",
        f"at most {missed.max():.2g} beside it",
        f"{tolerance:.2g}, a pixel in both",
        missed.max() <= tolerance,
    )


def _check_points(points, digitised, reference, how):
    """Whether a run goes through the digitised points; their axes fix no horizontal scale: as wide as the run's."""
    wide = np.array([-points[0, 0], 1])
    away = np.abs(points[: len(digitised)] - wide * digitised).max()
    return row(
        Against.FIGURE,
        f"Figure 1, {how}, at each of the authors' {len(digitised)} points",
        "their points",
        f"at most {away:.2g} beside one",
        f"{reference['digitised'][1]:g}, a pixel",
        away <= reference["digitised"][1],
    )


def _check_two_cycle(points, reference):
    tail = np.sort(points[-2 * TURNS :, 1]).reshape(2, TURNS)
    for name, end, values in (("two_cycle_low", "lower", tail[0]), ("two_cycle_high", "upper", tail[1])):
        expected, tolerance = reference[name]
        worst = values[np.argmax(np.abs(values - expected))]
        yield row(
            Against.FIGURE,
            f"Figure 1, left: {end} end of the 2-cycle",
            f"{expected:.3f}",
            f"{worst:.3f}",
            f"{tolerance:g}, a pixel",
            abs(worst - expected) <= tolerance,
        )


def _check_right(points, how, reference, name):
    (contraction, _), (limit, _), (_, tolerance) = (reference[key] for key in ("contraction_per_step", "limit_y", name))
    closed_form = limit * (1 - contraction ** np.arange(1, len(points) + 1))
    worst = float(np.abs(points[:, 1] - closed_form).max())
    return row(
        Against.CLOSED_FORM,
        f"Figure 1, right ({how}): every step on {limit:g} (1 - {contraction:g}^(k+1))",
        "0 difference",
        f"{worst:.1e}",
        f"{tolerance:g}",
        worst <= tolerance,
    )


def _check_limit(points, reference):
    expected, tolerance = reference["limit_y"]
    error = math.hypot(points[-1, 0], points[-1, 1] - expected)
    return row(
        Against.CLOSED_FORM,
        f"Figure 1, right: last point at θ* = (0, {expected})",
        f"(0, {expected})",
        f"{error:.1e} away",
        f"{tolerance:g}",
        error <= tolerance,
    )
