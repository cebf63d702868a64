"""Nothing confirms nothing: a claim or a check with no run to look at is undecided, skipped or failed, never passed."""

import numpy as np
import pytest

from companion.common.checks import TOO_FEW
from companion.common.files import write_csv
from companion.counterexample import verdicts as counterexample
from companion.crosscheck import verdicts as crosscheck
from companion.images.verdicts import collapse, smoothing
from companion.persistence import verdicts as paper_b_checks
from companion.persistence.summary import reached
from companion.reader import verification as verify
from companion.shrinkage import verdicts as shrinkage

COST = ("kind", "name", "lam", "value")
STABILITY = ("lam", "inner_steps", "ties", "w2", "marginal_error")
STEPS = ("instance", "schedule", "solver", "lam", "step", "inner_steps", "max_distance")
BOUNDS = [("bound", "", 0.001, 0.01), ("bound", "", 1, 1)]
ARMS = [(0, 1, 0, 2, 0.1), (0, 4, 0, 1, 0.1), (0.01, 4, 0, 1, 0.1)]


@pytest.fixture
def write(tmp_path):
    def table(name, header, rows):
        write_csv(tmp_path / name, header, rows)
        return tmp_path / name

    return table


@pytest.mark.parametrize(("rows", "verdict", "evidence"), [
    ([*BOUNDS, ("run", "a", 0, 0.5)], TOO_FEW, "no λ > 0 was run"), (BOUNDS, TOO_FEW, "no λ > 0 was run"),
    ([("run", "a", 0.1, 0.5)], TOO_FEW, "no bound was computed"),
    ([*BOUNDS, ("run", "a", 1e-5, 0.009)], TOO_FEW, "no run with λ >= 0.001"),
    ([*BOUNDS, ("run", "a", 1e-5, 0.009), ("run", "b", 1, 1)], None, "1: 1.000 / 1.000"),
    ([*BOUNDS, ("run", "a", 1, 1)], True, "1: 1.000 / 1.000"),
    ([*BOUNDS, ("run", "a", 1, 2)], False, "1: 2.000 / 1.000"),
    ([*BOUNDS, ("run", "a", 1, 1), ("run", "b", 0.001, 1)], None, "0.001: 1.000 / 0.010"),
])  # fmt: skip
def test_the_bound_needs_a_lam_above_0(write, rows, verdict, evidence):
    paths = {"cost": write("cost.csv", COST, rows), "stability": write("stability.csv", STABILITY, ARMS)}
    found = shrinkage.claims(paths, "laptop")
    assert found["A-bound"][0] is verdict
    assert evidence in found["A-bound"][1]
    assert found["A-solver-error"][0] is True
    assert {holds for holds, _ in shrinkage.claims(paths, "smoke").values()} == {TOO_FEW}


@pytest.mark.parametrize("arms", [[], ARMS[:1], ARMS[:2], [(0.1, *arm[1:]) for arm in ARMS]])
def test_the_solvers_error_needs_two_numbers_of_steps_at_lam_0(write, arms):
    paths = {"cost": write("cost.csv", COST, BOUNDS), "stability": write("stability.csv", STABILITY, arms)}
    found = shrinkage.claims(paths, "laptop")
    assert found["A-solver-error"][0] == TOO_FEW


@pytest.mark.parametrize(("arms", "holds"), [
    ([(0, 1, 0, 9), (0, 4, 0, 7), (0, 4, 0, 6), (0.01, 4, 0, 6)], True),  # 9 - 6.5 > 1, the noise
    ([(0, 1, 0, 7), (0, 4, 0, 7), (0, 4, 0, 6), (0.01, 4, 0, 6)], None),
    ([(0, 1, 0, 5), (0, 4, 0, 7), (0, 4, 0, 6), (0.01, 4, 0, 6)], False),  # one inner step does best
    ([(0, 1, 0, 9), (0, 4, 0, 7), (0, 4, 0, 6), (0.01, 4, 0, 5)], False),  # the gradient helps
    ([(0, 1, 0.02, 9), (0, 4, 0, 7), (0, 4, 0, 6), (0.01, 4, 0, 6)], False),  # samples tie
])  # fmt: skip
def test_the_solvers_error_can_be_refuted(arms, holds):
    named = [dict(zip(STABILITY, arm, strict=False)) for arm in arms]
    assert shrinkage.solver_error(named)[0] is holds


@pytest.mark.parametrize(
    ("lam", "undecided"),
    [(0, {"A-convergence", "A-convergence-algorithm1"}), (0.1, {"A-no-convergence", "A-decreasing-steps"})],
)
def test_the_counterexample_needs_runs_on_both_sides(write, lam, undecided):
    solvers = [(schedule, solver) for schedule in ("constant", "decreasing") for solver in ("exact", "default")]
    rows = [("dirac", *how, lam, 0.07, 5, 1e-4) for how in solvers]
    found = counterexample.claims({"steps": write("steps.csv", STEPS, rows)}, "laptop")
    assert {key for key, (holds, _) in found.items() if holds is None} == undecided
    nothing = counterexample.claims({"steps": write("none.csv", STEPS, [])}, "laptop")
    assert {holds for holds, _ in nothing.values()} == {None}


def runs_of(shares, seeds=3, generator="mlp"):
    """Image runs by lam, the variance of each seed 0.01 apart."""
    return [
        {
            "config": {"generator": generator, "lam": lam, "seed": k},
            "diversity": share + 0.01 * k,
            "effective_atoms": atoms,
        }
        for lam, share, atoms in shares
        for k in range(seeds)
    ]


@pytest.mark.parametrize(("shares", "holds"), [
    ([(0, 0.9, 1), (0.01, 0.6, 5), (0.1, 0.2, 99), (0.2, 0.9, 500)], True),  # beyond the critical lam nothing is asked
    ([(0, 0.9, 1), (0.01, 0.89, 5), (0.1, 0.2, 99)], None),  # within the intervals
    ([(0, 0.6, 1), (0.01, 0.9, 5), (0.1, 0.2, 99)], False),  # rises once, whatever the ends
    ([(0, 0.9, 9), (0.01, 0.6, 5), (0.1, 0.2, 99)], False),  # atoms fall
    ([(0, 0.9, 1), (0.1, 0.2, 99)], TOO_FEW),
])  # fmt: skip
def test_smoothing_is_judged_step_by_step(shares, holds):
    assert smoothing(runs_of(shares), 1.0, 0.15, "laptop")[0] is holds
    assert smoothing(runs_of(shares, seeds=1), 1.0, 0.15, "laptop")[0] is TOO_FEW


@pytest.mark.parametrize(("shares", "holds"), [
    ([(0.01, 0.5, 9), (0.2, 0.001, 99)], True),
    ([(0.01, 0.5, 9), (0.2, 0.2, 99)], False),  # variety beyond
    ([(0.01, 0.001, 9), (0.2, 0.001, 99)], False),  # none below
    ([(0.01, 0.5, 9)], TOO_FEW),
])  # fmt: skip
def test_a_collapse_needs_runs_on_both_sides(shares, holds):
    assert collapse(runs_of(shares, seeds=1), 1.0, 0.15, "laptop")[0] is holds


def test_no_image_run_shows_no_smoothing():
    assert smoothing([], 1.0, 0.1, "laptop") == (TOO_FEW, "no run")
    assert collapse([], 1.0, 0.1, "laptop")[0] == TOO_FEW


def test_too_few_measures_reach_no_level():
    assert reached(np.array([0, 25]), np.array([0.3, 0.3]), 0.25) == 50  # one past the end, not the mean of two thirds


def test_arms_without_a_common_seed_are_not_paired(tmp_path):
    start, record = {"w1": np.array([1.0])}, {"config": {"law": "ring"}}
    for arms in ([(record, {0: start})], [(record, {0: start}), (record, {1: start})]):
        (found,) = paper_b_checks._check_pairing(arms)
        assert found.verdict == "skipped: no two arms share a seed"
    (found,) = paper_b_checks._check_pairing([(record, {0: start})] * 2)
    assert found.verdict == "pass"


def test_a_comparison_of_nothing_fails(write, tmp_path):
    nothing = write("table.csv", ("instance", "lam", "quantity", "difference"), [])
    (empty,) = crosscheck.checks({"crosscheck": nothing}, "laptop", tmp_path)
    assert empty.verdict == "fail"
    figure = tmp_path / "a.svg"
    figure.write_text("tables-sha256:")
    for files, tables in (([str(figure)], []), ([], [str(figure)]), ([], [])):
        (found,) = verify.check_figures({"a": (files, tables)})
        assert found.verdict == "fail"
