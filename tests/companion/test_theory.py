"""The closed forms behind the figure "why the gradient fails" against the solver, quadrature and autograd."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.common.readers import read_table
from companion.counterexample import run_theory, theory
from companion.counterexample.descent import INSTANCES, Translation, optimal_psi, transport_cost
from otgrad import SemiDual, solve_exact
from otgrad.gradient import theta_gradient_explicit

ROOT = Path(__file__).resolve().parents[2]
PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
LAMS = (0.0, 0.01, 0.3, 5.0)
COORDINATES = st.floats(-2, 2)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(params=INSTANCES)
def instance(request):
    return INSTANCES[request.param]()


@pytest.fixture
def plane():
    return torch.randn(40, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


# --- The softened absolute value --------------------------------------------------------------------------------------


@PROPERTY
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
def test_the_soft_absolute_value_lies_within_lam_log_2_of_the_hard_one(a, lam):
    soft, hard = theory.soft_abs(tensor(a), lam), abs(a)
    rounding = 1e-15 * max(hard, lam)
    assert hard - lam * math.log(2) - rounding <= float(soft) <= hard + rounding


@pytest.mark.parametrize("lam", LAMS)
def test_the_soft_sign_is_the_soft_absolute_values_derivative(lam):
    a = tensor(-300.0, -1.0, -0.1, 0.2, 3.0).requires_grad_()
    (slope,) = torch.autograd.grad(theory.soft_abs(a, lam).sum(), a)
    torch.testing.assert_close(slope, theory.soft_sign(a.detach(), lam), rtol=0, atol=1e-12)


# --- Dirac and segment ------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.sampled_from(sorted(INSTANCES)), st.sampled_from(LAMS), *[COORDINATES] * 4)
def test_the_frozen_dual_is_what_solver_and_semidual_give(name, lam, a, b, c, d):
    instance, theta_0, theta = INSTANCES[name](), tensor(a, b), tensor(c, d)[None]
    solved = theory.solved_frozen_dual(instance, theta_0, theta, lam)
    # psi* from the solver has a marginal error of 1e-10, that is an error of lam 1e-10 in psi
    torch.testing.assert_close(solved, theory.frozen_dual(instance, theta_0, theta, lam), rtol=0, atol=1e-9)


def test_two_gauss_nodes_stand_for_the_segment(instance, plane):
    nodes = theory.quadrature(instance)
    torch.testing.assert_close(nodes.mean(0), tensor(*instance.latent_mean))
    assert float(nodes.var(0, correction=0).sum()) == pytest.approx(instance.latent_variance)
    t = (torch.arange(500, dtype=torch.float64) + 0.5) / 500
    fine = nodes if instance.name == "dirac" else torch.stack([torch.zeros_like(t), t], dim=1)
    for lam in (0.0, 0.3):
        psi = optimal_psi(instance, plane[0])
        values = [SemiDual(instance.target, lam).value(z - plane[1], psi)[0] for z in (nodes, fine)]
        error = 1 / (12 * 500**2)  # of the midpoint rule
        assert float(values[0]) == pytest.approx(float(values[1]), abs=error + 1e-12)


@pytest.mark.parametrize("lam", LAMS)
def test_the_frozen_duals_gradient_is_the_formulas(instance, plane, lam):
    theta_0, z = plane[0], theory.quadrature(instance)
    gradients = theory.frozen_dual_gradient(instance, theta_0, plane[1:], lam)
    psi = optimal_psi(instance, theta_0)
    for theta, gradient in zip(plane[1:], gradients, strict=True):
        (formula,) = theta_gradient_explicit(Translation(theta), z, SemiDual(instance.target, lam), psi)
        torch.testing.assert_close(gradient, formula, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lam", LAMS)
def test_the_frozen_dual_touches_the_cost_from_below(instance, plane, lam):
    theta_0 = plane[0]
    costs = torch.stack([transport_cost(instance, theta) for theta in plane])
    duals = theory.frozen_dual(instance, theta_0, plane, lam)
    assert float(duals[0]) == pytest.approx(float(costs[0]), abs=1e-12)
    assert bool((duals <= costs + 1e-12).all())


@pytest.mark.parametrize(("lam", "attracts"), [(0.4, False), (0.6, True)])
def test_a_fixed_potential_attracts_to_theta_star_above_half_the_squared_distance_only(lam, attracts):
    instance = INSTANCES["dirac"]()
    near = instance.theta_star + tensor(0.0, 1e-3)
    gradient = theory.frozen_dual_gradient(instance, instance.theta_star, near[None], lam)
    assert bool(gradient[0, 1] > 0) is attracts


# --- The dilation and the Gaussian ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.05, 0.5, 1.9, 2.0, 10.0])
def test_the_dilations_cost_and_slope_are_the_solvers(lam):
    for theta in (-1.3, -0.4, 0.0, 0.02, 0.9):
        value, slope = theory.solved_dilation(theta, lam)
        assert value == pytest.approx(float(theory.dilation_cost(tensor(theta), lam)), abs=1e-10)
        assert slope == pytest.approx(float(theory.dilation_derivative(tensor(theta), lam)), abs=1e-8)


def test_the_dilations_plain_cost_is_the_solvers():
    for theta in (-1.3, -0.4, 0.9):
        value, slope = theory.solved_dilation(theta, 0.0)
        assert value == pytest.approx((abs(theta) - 1) ** 2, abs=1e-4)  # the solver's duality gap at lam = 0
        assert slope == pytest.approx(float(theory.dilation_derivative(tensor(theta), 0.0)), abs=1e-12)


@PROPERTY
@given(st.floats(1e-3, 3))
def test_the_dilations_minimiser_is_stationary_and_least(lam):
    best = tensor(theory.dilation_minimiser(lam))
    assert abs(float(theory.dilation_derivative(best, lam))) < 1e-12
    others = theory.dilation_cost(torch.linspace(-2, 2, 401, dtype=torch.float64), lam)
    assert float(theory.dilation_cost(best, lam)) <= float(others.min()) + 1e-12


def test_shrinkage_begins_at_one_and_ends_at_lam_two():
    lams = [0.0, 0.5, 1.0, 1.5, 1.9, 1.999, 2.0, 2.5]
    minimisers = [theory.dilation_minimiser(lam) for lam in lams]
    assert minimisers == sorted(minimisers, reverse=True)
    assert minimisers[0] == 1
    assert minimisers[-2:] == [0, 0]
    for lam, theta in zip(lams[1:5], minimisers[1:5], strict=True):
        assert 2 * theta / math.atanh(theta) == pytest.approx(lam, rel=1e-9)


def test_the_gaussian_cost_is_the_solvers():
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    w = torch.tensor(weights / weights.sum())
    x, y = (scale * torch.tensor(nodes)[:, None] for scale in (0.7, 1.2))
    # The integrands are smooth on the scale sqrt(lam) = 1.4: 40 Gauss-Hermite nodes leave less than 1e-6.
    solution = solve_exact(x, w, SemiDual.of(y, w, 2.0))
    assert solution.value == pytest.approx(theory.gaussian_cost(0.7, 1.44, 2.0), abs=1e-6)


@PROPERTY
@given(st.floats(0.1, 4), st.floats(0.01, 10))
def test_the_gaussians_scale_shrinks_to_the_data_less_half_of_lam(variance, lam):
    best = theory.gaussian_minimiser(variance, lam)
    assert best**2 == pytest.approx(max(variance - lam / 2, 0))
    least = theory.gaussian_cost(max(best, 1e-6), variance, lam)
    assert all(least <= theory.gaussian_cost(s, variance, lam) + 1e-9 for s in np.linspace(0.01, 3, 100))


# --- Continuity, bias and variance ------------------------------------------------------------------------------------


def test_the_modulus_of_a_line_grows_and_that_of_a_jump_does_not():
    t = torch.linspace(-1, 1, 201, dtype=torch.float64)
    line, jump = 3 * t[:, None], torch.sign(t - 0.003)[:, None]
    for step in (0.01, 0.1):
        assert theory.modulus_of_continuity(line, 0.01, step) == pytest.approx(3 * step)
        assert theory.modulus_of_continuity(jump, 0.01, step) == 2


@pytest.mark.parametrize("step", [0.001, 3.0])
def test_a_modulus_off_the_grid_is_refused(step):
    with pytest.raises(ValueError, match="give between"):
        theory.modulus_of_continuity(torch.zeros(11, 1), 0.1, step)


@PROPERTY
@given(st.sampled_from([2.0, 4.0]), st.floats(-2, 1).map(lambda e: 10.0**e), st.sampled_from([0.05, 0.2, 1.0]))
def test_the_kinks_modulus_has_its_closed_form(jump, lam, step):
    a, t = jump / 2, torch.linspace(-40, 40, 160001, dtype=torch.float64)  # spacing 0.0005; far out the slope is 2
    gradient = (2 * t - a * torch.tanh(a * t / lam))[:, None]
    spacing = 80 / 160000
    measured = max(theory.modulus_of_continuity(gradient[::50], 50 * spacing, max(step, 50 * spacing)), 2 * step)
    near = gradient[79000:81001]
    lags = range(10, min(round(step / spacing), 1999) + 1, 10)
    measured = max(measured, *(float((near[lag:] - near[:-lag]).abs().max()) for lag in lags))
    # The best pair is off the grid by half a lag at most, where the difference is flat or 2 + a^2 / lam steep.
    assert theory.kink_modulus(jump, lam, step) == pytest.approx(measured, abs=0.02)
    assert measured <= theory.kink_modulus(jump, lam, step) + 1e-9


def test_the_kinks_modulus_tends_to_the_jump():
    assert theory.kink_modulus(4.0, 0.0, 1e-9) == 4
    assert theory.kink_modulus(4.0, 1e-7, 1e-3) == pytest.approx(4, abs=1e-5)
    assert theory.kink_modulus(4.0, 0.1, 1e-6) == pytest.approx((4 / 0.1 - 2) * 1e-6, rel=1e-6)


def test_bias_and_variance_of_a_known_law():
    def latent(b, rng):
        return torch.randn(b, 2, generator=rng, dtype=torch.float64)

    rng = torch.Generator().manual_seed(1)
    found = theory.bias_and_variance(lambda z: 3 * z.mean(0) + 1, latent, tensor(0.5, 1.0), 9, 4000, rng)
    # means of 9 with variance 9 have variance 1: four standard errors of 4,000 of them, 4 / 63, and 4 sqrt(2) / 63
    torch.testing.assert_close(found[0], tensor(0.5, 0.0), rtol=0, atol=0.064)
    torch.testing.assert_close(found[1], tensor(1.0, 1.0), rtol=0, atol=0.09)


# --- The script -------------------------------------------------------------------------------------------------------


def test_every_table_holds_the_computed_beside_the_closed_form(tmp_path):
    arguments = {
        "profiles": {"lams": [0, 0.5], "reach": 1.0, "points": 5},
        "dilation": {"lams": [0, 0.5], "reach": 1.0, "points": 5, "solved_every": 2},
        "shrinkage": {"high": 3, "points": 4},
        "field": {"lams": [0, 1], "reach": 1.0, "points": 3},
        "convergence": {"iterations": 5, "runs": [["exact", 0, 0.1, 0.3, "constant"]]},
        "modulus": {"lams": [0.1], "steps": [0.01], "points": 4},
    }
    paths = {part.__name__: tmp_path / f"{part.__name__}.csv" for part in run_theory.PARTS}
    run_theory.theory_tables(arguments, paths)
    tables = {name: read_table(path) for name, path in paths.items()}
    lengths = {"profiles": 20, "slopes": 2, "dilation": 10, "shrinkage": 4, "field": 18, "convergence": 6, "modulus": 1}
    assert {name: len(rows) for name, rows in tables.items()} == lengths
    pairs = [("profiles", "dual", "solved"), ("convergence", "distance", "contraction")]
    for name, left, right in [*pairs, ("modulus", "measured", "closed_form")]:
        for row in tables[name]:
            assert float(row[left]) == pytest.approx(float(row[right]), abs=1e-8)
    assert [float(row["left"]) - float(row["right"]) for row in tables["slopes"]] == [2, 4]
