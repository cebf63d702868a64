"""OT_c^lam(mu, nu) = max_psi F(psi): the maximum that we find is the minimum over plans, found by other means.

The other means are a linear programme (lam = 0) and Sinkhorn's iterations (lam > 0), both set up here and neither
calling the package, and problems that carry their own answer: a Dirac, a translation, measures on a line, two points
and two atoms, products. Claims: A-duality.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SCALED, SEEDS, Problem, linear_programme, monotone_cost, powers_of_ten, primal_value, problems

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.ctransform import assignment

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
# In units of the largest cost: from where Sinkhorn needs some thousand iterations to where the plan is the product.
RELATIVE_LAMS = powers_of_ten(-1.3, 3)
PROBLEMS = problems(SCALED)
SQUARED = problems(st.just(Cost()))
CLOSED_FORM = 1e-10  # values of order 1 to 100, rounded a few hundred times at 1e-16
SOLVER = 1e-9  # solve_exact stops at a marginal error of 1e-10: first order in it times potentials of order 10


def upper(solution):
    """Bound on OT from above that the solver reports."""
    return solution.value + max(solution.gap, 0.0)


def masses(rng, count):
    weights = rng.random(count) + 0.1
    return torch.tensor(weights / weights.sum())


def measure(y, nu=None):
    y = torch.as_tensor(y, dtype=torch.float64)
    return DiscreteMeasure.from_atoms(y if y.ndim == 2 else y[:, None], nu)


def sinkhorn_plan(matrix, w, nu, lam):
    """Minimiser of <c, P> + lam KL(P | w x nu): rows and columns normalised in turn, in the log domain."""
    log_plan = np.log(np.outer(w, nu)) - matrix / lam
    for _ in range(100_000):
        log_plan += (np.log(w) - np.logaddexp.reduce(log_plan, axis=1))[:, None]
        excess = np.logaddexp.reduce(log_plan, axis=0) - np.log(nu)
        if np.abs(np.expm1(excess)) @ nu <= 1e-12:
            return np.exp(log_plan)
        log_plan -= excess
    raise AssertionError("Sinkhorn's iterations do not converge")


def any_plan(rng, w, nu):
    """Some plan of marginals w and nu, all entries positive: that of a random cost."""
    return sinkhorn_plan(rng.random((len(w), len(nu))), w, nu, lam=0.3)


@PROPERTY
@given(PROBLEMS)
def test_the_hard_maximum_is_the_linear_programmes_minimum(problem):
    minimum, multipliers = linear_programme(*problem.arrays())
    psi = torch.zeros_like(problem.law.nu)
    psi[problem.law.nu > 0] = torch.tensor(multipliers)
    # HiGHS accepts reduced costs of -1e-10
    assert problem.value(psi, 0.0) == pytest.approx(minimum, abs=1e-9)
    ours = problem.solve(0.0)
    assert ours.value - 1e-9 <= minimum <= upper(ours) + 1e-9
    # what the docstring promises: 1e-4 of the value, or 1e-8 of the cost's spread
    assert ours.gap <= 1e-4 * abs(ours.value) + 1e-8 * np.ptp(problem.arrays()[0])


@PROPERTY
@given(PROBLEMS, RELATIVE_LAMS)
def test_the_entropic_maximum_is_sinkhorns_minimum(problem, relative):
    matrix, w, nu = problem.arrays()
    lam = relative * matrix.max()
    minimum = primal_value(sinkhorn_plan(matrix, w, nu, lam), matrix, w, nu, lam)
    ours = problem.solve(lam)
    # Sinkhorn's plan misses nu by 1e-12, at a price of order max c; lam log(P / w nu) rounds to lam 1e-16
    assert ours.value == pytest.approx(minimum, abs=1e-10 * matrix.max())
    assert problem.value(ours.psi, lam) == pytest.approx(ours.value, abs=CLOSED_FORM)


@PROPERTY
@given(PROBLEMS, RELATIVE_LAMS | st.just(0.0), SEEDS)
def test_every_potential_stays_below_every_plan(problem, relative, seed):
    matrix, w, nu = problem.arrays()
    lam, rng = relative * matrix.max(), np.random.default_rng(seed)
    psi = torch.tensor(rng.normal(size=problem.law.n))
    plan = any_plan(rng, w, nu)
    assert problem.value(psi, lam) <= primal_value(plan, matrix, w, nu, lam) + CLOSED_FORM
    assert problem.value(psi, lam) <= upper(problem.solve(lam)) + SOLVER * (1 + lam)


@PROPERTY
@given(PROBLEMS, RELATIVE_LAMS)
def test_at_the_optimum_the_plan_has_both_marginals_and_is_sinkhorns(problem, relative):
    matrix, w, nu = problem.arrays()
    lam = relative * matrix.max()
    psi = problem.solve(lam).psi
    plan = problem.w[:, None] * assignment(problem.x, problem.law, psi, lam, problem.cost)
    torch.testing.assert_close(plan.sum(1), problem.w, rtol=0, atol=1e-14)
    torch.testing.assert_close(plan.sum(0), problem.law.nu, rtol=0, atol=SOLVER)
    ours = plan[:, problem.law.nu > 0].numpy()
    # the plan moves by (change of psi) / lam, and psi by (marginal error 1e-10) x (inverse curvature, up to 1e3 lam)
    np.testing.assert_allclose(ours, sinkhorn_plan(matrix, w, nu, lam), rtol=0, atol=1e-7)


@PROPERTY
@given(PROBLEMS, powers_of_ten(-2, 2) | st.just(0.0))
def test_a_dirac_pays_the_mean_cost_whatever_lam(problem, lam):
    # One coupling only, the product: value sum_j nu_j c(x, y_j), and psi*_j = c(x, y_j) up to a constant.
    dirac = Problem(problem.x[:1], torch.ones(1).double(), problem.law, problem.cost)
    costs = problem.cost.matrix(dirac.x, problem.law.y)[0]
    expected, ours = float(costs @ problem.law.nu), dirac.solve(lam)
    assert dirac.value(costs, lam) == pytest.approx(expected, abs=CLOSED_FORM)
    assert ours.value <= expected + CLOSED_FORM
    assert expected <= upper(ours) + SOLVER
    if lam > 0:  # F bends by nu / lam at least: a marginal error of 1e-10 moves psi by lam 1e-10 / min nu
        torch.testing.assert_close(ours.psi, problem.law.center(costs), rtol=0, atol=1e-8 * max(1, lam))


@PROPERTY
@given(SQUARED, SEEDS)
def test_a_translated_measure_costs_the_squared_length(problem, seed):
    # Monge's map is y -> y + t; psi_j = -2 <t, y_j> attains the bound at once: all gaps are |y_i - y_j|^2 >= 0.
    t = torch.tensor(np.random.default_rng(seed).normal(size=problem.x.shape[1]))
    translated = Problem(problem.x + t, problem.w, DiscreteMeasure(problem.x, problem.w), Cost())
    length, ours = float(t.square().sum()), translated.solve(0.0)
    assert translated.value(-2 * problem.x @ t, 0.0) == pytest.approx(length, abs=CLOSED_FORM)
    assert ours.value <= length + CLOSED_FORM
    assert length <= upper(ours) + CLOSED_FORM


@PROPERTY
@given(SQUARED, RELATIVE_LAMS, SEEDS)
def test_a_translation_adds_its_length_and_tilts_the_potential(problem, relative, seed):
    # |x + t - y|^2 = |x - y|^2 + |t|^2 + 2 <t, x> - 2 <t, y>: sums of functions of x and of y leave the plan alone.
    t = torch.tensor(np.random.default_rng(seed).normal(size=problem.x.shape[1]))
    lam, y, nu = relative * problem.arrays()[0].max(), problem.law.y, problem.law.nu
    before, after = (solve_exact(x, problem.w, SemiDual.of(y, nu, lam)) for x in (problem.x, problem.x + t))
    shift = float(t @ (t + 2 * problem.w @ problem.x - 2 * nu @ y))
    assert after.value == pytest.approx(before.value + shift, abs=SOLVER * (1 + lam))
    tilted = problem.law.center(before.psi - 2 * y @ t)
    # psi is known to lam times the marginal error 1e-10 over the least curvature
    torch.testing.assert_close(after.psi, tilted, rtol=0, atol=1e-6 * max(1, lam))


@PROPERTY
@given(st.integers(1, 12), st.integers(1, 9), st.sampled_from([1.0, 1.3, 2.0, 4.0]), SEEDS)
def test_on_a_line_the_sorted_coupling_is_the_maximum(b, n, p, seed):
    rng = np.random.default_rng(seed)
    x, y, w, nu = rng.normal(size=b), 2 * rng.normal(size=n), masses(rng, b), masses(rng, n)
    problem = Problem(torch.tensor(x)[:, None], w, measure(y, nu), Cost(p))
    expected, ours = monotone_cost(x, w.numpy(), y, nu.numpy(), p), problem.solve(0.0)
    assert ours.value <= expected + SOLVER
    assert expected <= upper(ours) + SOLVER


@PROPERTY
@given(st.integers(1, 12), st.sampled_from([1.0, 1.3, 2.0, 4.0]), SEEDS)
def test_equal_masses_on_a_line_are_matched_in_order(n, p, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), 2 * rng.normal(size=n)
    expected = float((np.abs(np.sort(x) - np.sort(y)) ** p).mean())
    uniform = np.full(n, 1 / n)
    assert monotone_cost(x, uniform, y, uniform, p) == pytest.approx(expected, abs=CLOSED_FORM)
    ours = solve_exact(torch.tensor(x)[:, None], None, SemiDual.of(torch.tensor(y)[:, None], None, 0.0, p))
    assert ours.value - SOLVER <= expected <= upper(ours) + SOLVER


@PROPERTY
@given(st.floats(-3, 3), powers_of_ten(-2, 2))
def test_two_points_about_two_atoms_pay_the_logarithm_of_a_cosh(t, lam):
    # Points -+t, atoms -+1, equal masses: by symmetry psi* = 0, and psi*^{c,lam}(+-t) = t^2 + 1 - lam log cosh(2t/lam).
    x, target = torch.tensor([[-t], [t]], dtype=torch.float64), measure([-1.0, 1.0])
    u = 2 * abs(t) / lam
    expected = t**2 + 1 - lam * (u + math.log1p(math.exp(-2 * u)) - math.log(2))
    ours = solve_exact(x, None, SemiDual.of(target.y, None, lam))
    assert float(SemiDual(target, lam).value(x, torch.zeros(2).double())[0]) == pytest.approx(expected, abs=1e-10)
    assert ours.value == pytest.approx(expected, abs=SOLVER)
    # where the two points choose different atoms F is flat to exp(-u): psi is then known to lam e^u 1e-10 only
    if u < 5:
        torch.testing.assert_close(ours.psi, torch.zeros(2).double(), rtol=0, atol=1e-7 * max(1, lam))


def two_by_two(matrix, a, b, lam):
    """Optimal plan of masses (a, 1 - a) and (b, 1 - b): P_11 P_22 / (P_12 P_21) = k fixes its one free entry.

    That is (1 - k) p^2 + (1 - a - b + k (a + b)) p - k a b = 0 for p = P_11, of which one root has all P >= 0.
    """
    k = math.exp((matrix[0, 1] + matrix[1, 0] - matrix[0, 0] - matrix[1, 1]) / lam)
    linear = 1 - a - b + k * (a + b)
    p = 2 * k * a * b / (linear + math.sqrt(linear**2 + 4 * (1 - k) * k * a * b))
    return np.array([[p, a - p], [b - p, 1 - a - b + p]])


@PROPERTY
@given(SEEDS, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(-0.3, 2), st.sampled_from([1.0, 2.0]))
def test_two_points_and_two_atoms_of_any_mass_solve_a_quadratic(seed, a, b, exponent, p):
    rng, lam = np.random.default_rng(seed), 10.0**exponent
    x, y = torch.tensor(rng.uniform(-1, 1, size=(2, 2, 2)))
    w, nu = torch.tensor([[a, 1 - a], [b, 1 - b]], dtype=torch.float64)
    problem = Problem(x, w, measure(y, nu), Cost(p))
    matrix = problem.arrays()[0]
    plan, ours = two_by_two(matrix, a, b, lam), problem.solve(lam)
    # p's cancellation in a - p costs 1e-16 over the smallest entry, about 0.05 exp(-8 / 0.5)
    assert ours.value == pytest.approx(primal_value(plan, matrix, w.numpy(), nu.numpy(), lam), abs=SOLVER)
    own = w[:, None] * assignment(x, problem.law, ours.psi, lam, problem.cost)
    np.testing.assert_allclose(own, plan, rtol=0, atol=1e-8)


def product(first, second):
    """Points and masses of the product of two weighted sets on lines."""
    (x, w), (y, v) = first, second
    return torch.cartesian_prod(x, y), torch.outer(w, v).flatten()


@PROPERTY
@given(st.integers(1, 4), st.integers(1, 3), SEEDS, powers_of_ten(-1, 2))
def test_products_add_up_under_the_squared_cost(b, n, seed, lam):
    rng = np.random.default_rng(seed)
    models, laws = ([(torch.tensor(rng.normal(size=k)), masses(rng, k)) for k in (k0, 3)] for k0 in (b, n))
    pairs = zip(models, laws, strict=True)
    parts = [solve_exact(x[:, None], w, SemiDual.of(y[:, None], nu, lam)) for (x, w), (y, nu) in pairs]
    (x, w), (y, nu) = product(*models), product(*laws)
    whole = solve_exact(x, w, SemiDual.of(y, nu, lam))
    assert whole.value == pytest.approx(parts[0].value + parts[1].value, abs=SOLVER * (1 + lam))
    expected = (parts[0].psi[:, None] + parts[1].psi).flatten()
    torch.testing.assert_close(whole.psi, expected, rtol=0, atol=1e-6 * max(1, lam))


@PROPERTY
@given(st.integers(1, 4), st.integers(1, 3), SEEDS)
def test_products_add_up_without_regularisation(b, n, seed):
    rng = np.random.default_rng(seed)
    models, laws = ([(torch.tensor(rng.normal(size=k)), masses(rng, k)) for k in (k0, 3)] for k0 in (b, n))
    expected = sum(
        monotone_cost(*(t.numpy() for t in (*model, *law)), p=2) for model, law in zip(models, laws, strict=True)
    )
    (x, w), (y, nu) = product(*models), product(*laws)
    ours = solve_exact(x, w, SemiDual.of(y, nu, 0.0))
    assert ours.value - SOLVER <= expected <= upper(ours) + SOLVER


@PROPERTY
@given(PROBLEMS, RELATIVE_LAMS | st.just(0.0))
def test_exchanging_the_two_measures_changes_nothing(problem, relative):
    # The semi-dual treats them differently; the primal does not.
    x, w, target, cost, *_ = problem
    lam = relative * problem.arrays()[0].max()
    there, back = problem.solve(lam), solve_exact(target.y, target.nu, SemiDual.of(x, w, lam, cost))
    assert there.value == pytest.approx(back.value, abs=max(there.gap, back.gap, 0) + SOLVER * (1 + lam))


def test_a_small_value_without_regularisation_is_found_as_well():
    x, y = (torch.tensor(points, dtype=torch.float64)[:, None] for points in ([-2, 1], [0, -2]))
    ours = solve_exact(x, torch.tensor([3.0, 2.0]), SemiDual.of(y, None, 0.0))
    assert ours.value - SOLVER <= 0.1 * 4 + 0.4 * 1 <= upper(ours) + SOLVER


def test_the_gap_is_a_gap_even_where_the_plan_is_exact():
    def gap(seed):
        rng = np.random.default_rng(seed)
        y, nu = rng.normal(size=(4, 1)), rng.random(4)
        return solve_exact(torch.zeros(1, 1), None, SemiDual.of(torch.tensor(y), torch.tensor(nu), 0.0)).gap

    assert all(abs(gap(seed)) <= CLOSED_FORM for seed in (577, 639, 789, 942, 1114))
