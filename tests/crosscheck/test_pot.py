import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("ot")
from companion.common.readers import read_table
from companion.crosscheck import comparison as crosscheck
from companion.crosscheck.comparison import Check, compare, pot_sinkhorn
from companion.crosscheck.instances import image_instance, small_instances
from otgrad.costs import Cost

NAMES = ("two atoms", "random atoms", "massless atom")


def instance(name, p=2.0):
    return small_instances(seed=1, cost=Cost(p))[NAMES.index(name)]


def blobs(count, seed):
    """Images 8 x 8 of one Gaussian spot each."""
    centres = np.random.default_rng(seed).uniform(1, 7, (count, 2, 1, 1))
    rows, columns = np.mgrid[:8, :8]
    return np.exp(-((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) / 4)


@pytest.mark.parametrize("lam", [0.01, 0.05, 0.1, 1.0])
@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("name", NAMES)
def test_potential_plan_and_value_equal_pots(name, p, lam):
    problem = instance(name, p)
    checks, _ = crosscheck.entropic_checks(problem, lam, problem.solve(lam))
    assert [check.quantity for check in checks] == ["potential", "plan", "value"]
    assert max(check.difference for check in checks) <= 1e-6


@pytest.mark.parametrize("method", ["sinkhorn_log", "sinkhorn"])
def test_both_forms_of_pots_sinkhorn_give_our_potential(method):
    problem = instance("massless atom")
    psi, plan, _ = pot_sinkhorn(problem, 0.05, method)
    assert torch.allclose(psi, problem.solve(0.05).psi, rtol=0, atol=1e-6)
    assert plan[:, 7].max() == 0


def test_instances_are_asymmetric():
    problem = instance("massless atom")
    assert len(problem.w) != len(problem.nu)
    assert float(problem.w.std()) > 0.1 * float(problem.w.mean())
    assert int((problem.nu == 0).sum()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_leaving_out_the_masses_would_be_seen(name):
    """lam log v alone, without - log nu, is POT's potential in the wrong convention."""
    problem, lam = instance(name), 0.1
    psi, _, _ = pot_sinkhorn(problem, lam)
    log_nu = torch.where(problem.nu > 0, problem.nu, 1).log()
    wrong = problem.target.center(psi + lam * log_nu)
    assert float((wrong - problem.solve(lam).psi).abs().max()) > 0.01


def test_a_wrong_potential_fails_its_check():
    problem, lam = instance("random atoms"), 0.1
    ours = problem.solve(lam)
    checks, _ = crosscheck.entropic_checks(problem, lam, replace(ours, psi=ours.psi * 1.001, value=ours.value * 1.001))
    assert [check.verdict for check in checks] == ["fail"] * 3


@pytest.mark.parametrize(("difference", "verdict"), [(0.5, "pass"), (-0.1, "pass"), (1.5, "fail"), (-0.5, "fail")])
def test_verdict_is_two_sided(difference, verdict):
    assert Check("", 0.0, "", 1.0, 1.0, difference, tolerance=1.0, floor=-0.2).verdict == verdict


def test_a_nan_fails():
    assert Check("", 0.0, "", 1.0, 1.0, float("nan"), tolerance=1.0).verdict == "fail"


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("name", NAMES)
def test_without_regularisation(name, p):
    problem = instance(name, p)
    (dual, bound), cost = crosscheck.hard_checks(problem, problem.solve(0.0))
    assert dual.difference <= 1e-9
    assert bound.ours <= cost + 1e-9
    assert bound.ours >= cost * (1 - 1e-3)


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("name", NAMES[1:])
def test_stochastic_solver_reaches_pots_value(name, lam):
    problem = instance(name)
    _, cost = crosscheck.hard_checks(problem, problem.solve(0.0))
    optimum = problem.solve(lam).value if lam > 0 else cost
    trace = list(crosscheck.stochastic_trace(problem, lam, optimum, seed=1))
    # worst of 25 seeds: 3e-2 at lam == 0, where F is not smooth, and 2e-3 at lam = 0.05
    assert -1e-9 <= trace[-1][1] <= (5e-2 if lam == 0 else 5e-3)
    assert trace[-1][1] < 0.1 * trace[0][1]


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_pots_semidiscrete_solver_finds_our_value_within_one_percent(name, lam):
    problem = instance(name)
    assert crosscheck.semidiscrete_check(problem, lam, problem.solve(lam), seed=1).difference <= 0.01


def test_sinkhorn_trace_goes_on_where_it_stopped():
    problem, lam = instance("random atoms"), 0.05
    optimum = problem.solve(lam).value
    iteration, gap = list(crosscheck.sinkhorn_trace(problem, lam, optimum))[-1]
    at_once = problem.value(pot_sinkhorn(problem, lam, iterations=iteration, stop=0.0)[0], lam)
    assert gap == pytest.approx((optimum - at_once) / optimum, abs=1e-12)


def test_image_cost_is_in_units_of_the_mean_square():
    images = blobs(50, 0).reshape(50, -1)
    problem = image_instance(blobs(40, 1).reshape(40, -1), images)
    assert problem.cost.scale == pytest.approx((images**2).sum(1).mean())
    assert all(check.verdict == "pass" for check in compare(problem, 0.05, seed=0).checks)


def load(kind):
    return importlib.import_module(f"companion.crosscheck.{kind}_crosscheck")


def test_scripts_write_tables_and_figure(tmp_path, monkeypatch):
    run, plot = load("run"), load("draw")
    monkeypatch.setattr(run, "small_instances", lambda seed: small_instances(seed)[1:2])
    np.savez(tmp_path / "samples.npz", images=blobs(40, 1).astype(np.float32))
    np.savez(tmp_path / "train.npz", images=(255 * blobs(60, 2)).astype(np.uint8))
    paths = [tmp_path / "out" / f"{name}.csv" for name in ("table", "potentials", "trace")]
    run.crosscheck(tmp_path / "samples.npz", tmp_path / "train.npz", *paths, n_images=50, lams=(0, 0.05), seed=3)
    rows = read_table(paths[0])
    assert {row["verdict"] for row in rows} == {"pass"}
    quantities = {"potential", "plan", "value", "stochastic", "emd_dual", "lower_bound", "semidiscrete"}
    assert {row["quantity"] for row in rows} == quantities
    assert len(paths[1].read_text(encoding="utf-8").splitlines()) == 1 + 25 + 50
    figures = [tmp_path / f"crosscheck.{ending}" for ending in ("svg", "pdf", "png")]
    plot.draw(paths[1], paths[2], figures, "instance 4: blobs, preset test")
    assert all(figure.stat().st_size > 1000 for figure in figures)
