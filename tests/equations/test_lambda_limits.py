"""What lam does to OT_c^lam = min <c, P> + lam KL(P | mu x nu), at both ends and in between, with rates.

As lam -> 0 the cost tends to OT_c, at most lam times an entropy away; as lam -> infinity it tends to the mean cost of
the product plan, from below, at the rate 1 / lam. `doubly_centred` stands for c minus its means along rows and columns.
Claims: A-limits.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import linear_programme, normal, powers_of_ten, problems

from otgrad import SemiDual, solve_exact
from otgrad.ctransform import assignment, psi_step

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
LAMS = powers_of_ten(-2, 3)
LARGE = [1e2, 1e3, 1e4]
# solve_exact's marginal error of 1e-10 times potentials of order 10, and the rounding 1e-16 lam of large lam
SOLVER = 1e-9


def example(n_massless=0):
    return normal(6, 4, seed=5, massless=range(n_massless))


def hard_cost(problem):
    return linear_programme(*problem.arrays())[0]


def product_cost(problem):
    matrix, w, nu = problem.matrix_and_masses()
    return float(w @ matrix @ nu)


def doubly_centred(matrix, w, nu):
    rows, columns = (matrix @ nu)[:, None], w @ matrix
    return matrix - rows - columns + w @ matrix @ nu


def entropy(masses):
    return float(torch.special.entr(masses).sum())


@PROPERTY
@given(problems(), LAMS)
def test_the_entropic_cost_is_above_the_hard_one_by_at_most_lam_entropies(problem, lam):
    # KL(P | mu x nu) is the mutual information of P, at most the entropy of either marginal.
    _, w, nu = problem.matrix_and_masses()
    hard, soft = hard_cost(problem), problem.solve(lam).value
    bound = min(entropy(w), entropy(nu))
    assert bound <= np.log(1 / float(nu.min())) + 1e-12  # the bound that the transform alone would give
    # HiGHS' linear programme is exact to 1e-7
    assert hard - 1e-7 <= soft <= hard + lam * bound + 1e-7


@PROPERTY
@given(problems(), LAMS)
def test_the_entropic_potential_nearly_maximises_the_hard_dual(problem, lam):
    value, least = problem.value(problem.solve(lam).psi, 0.0), float(problem.law.positive.nu.min())
    hard = hard_cost(problem)
    assert hard - lam * np.log(1 / least) - 1e-7 <= value <= hard + 1e-7


@PROPERTY
@given(problems(), LAMS, LAMS, st.floats(0, 1))
def test_the_cost_grows_with_lam_and_is_concave_in_it(problem, one, other, t):
    # A minimum of functions affine in lam, of slopes KL >= 0; divided by lam, of functions that decrease.
    low, high = sorted((one, other))
    at_low, at_high, between = (problem.solve(lam).value for lam in (low, high, (1 - t) * low + t * high))
    slack = SOLVER * (1 + high)
    assert at_low <= at_high + slack
    assert at_high / high <= at_low / low + SOLVER * (1 + 1 / low)
    assert between >= (1 - t) * at_low + t * at_high - slack


@pytest.mark.parametrize("lam", [0.1, 1.0, 10.0])
def test_the_slope_in_lam_is_the_divergence_of_the_plan(lam):
    problem, h = example(n_massless=1), 1e-4 * lam
    x, w, target, cost, *_ = problem
    pi = assignment(x, target, problem.solve(lam).psi, lam, cost)[:, 1:]
    divergence = float(w @ torch.special.xlogy(pi, pi / target.nu[1:]).sum(1))
    above, below = (problem.solve(lam + sign * h).value for sign in (1, -1))
    # h^2 = 1e-8 lam^2 times a third derivative of order 1 / lam^2, and 1e-12 / h of rounding
    assert (above - below) / (2 * h) == pytest.approx(divergence, abs=1e-6)


@pytest.mark.parametrize("lam", [0.5, 0.2, 0.1, 0.05, 0.02])
def test_a_small_lam_costs_exactly_the_entropy_of_the_hard_plan(lam):
    # Points 0 to 4, atoms 0.3 to the right, equal masses: the hard plan is the translation, of cost 0.09 and divergence
    # log 5. To exchange two neighbours costs 2 more, so that each leaks exp(-2 / (2 lam)) of its mass: W^lam is
    # W + lam log 5 up to about lam exp(-1 / lam), which is smaller than any power of lam.
    x = torch.arange(5.0, dtype=torch.float64)[:, None]
    missing = 0.09 + lam * np.log(5) - solve_exact(x, None, SemiDual.of(x + 0.3, None, lam)).value
    leak = lam * np.exp(-1 / lam)
    assert 0.5 * leak - 1e-12 <= missing <= 3 * leak + 1e-12


@PROPERTY
@given(problems(), LAMS)
def test_the_cost_is_below_the_product_plans_by_at_most_a_constant_over_lam(problem, lam):
    # F at the additive part of c: Hoeffding's lemma bounds each row's transform, E - psi^{c,lam} <= range^2 / (8 lam).
    matrix, w, nu = problem.matrix_and_masses()
    rest = doubly_centred(matrix, w, nu)
    ranges = rest.amax(1) - rest.amin(1)
    missing = product_cost(problem) - problem.solve(lam).value
    assert -SOLVER * (1 + lam) <= missing <= float(w @ ranges.square()) / (8 * lam) + SOLVER * (1 + lam)


def test_a_large_lam_leaves_half_the_variance_of_the_interaction_over_lam():
    matrix, w, nu = example().matrix_and_masses()
    variance = float(w @ doubly_centred(matrix, w, nu).square() @ nu)
    errors = [lam * (product_cost(example()) - example().solve(lam).value) - variance / 2 for lam in LARGE]
    # the next term is a third moment over lam^2; lam times a rounding of 1e-16 lam stays below 1e-7
    assert all(abs(error) <= 10 * variance / lam for error, lam in zip(errors, LARGE, strict=True))
    assert variance > 0.1


def test_a_large_lam_gives_the_potential_of_the_additive_part():
    matrix, w, nu = example().matrix_and_masses()
    limit = w @ matrix - w @ matrix @ nu
    errors = [float((example().solve(lam).psi - limit).abs().max()) for lam in LARGE]
    assert all(1e-3 <= error * lam <= 10 for error, lam in zip(errors, LARGE, strict=True))  # the rate is 1 / lam


@PROPERTY
@given(problems(), LAMS)
def test_the_plan_tends_to_the_product(problem, lam):
    # |log(pi_j / nu_j)| is at most the range of psi - c over lam, for any psi; here the optimal one.
    x, w, target, cost, *_ = problem
    matrix, _, nu = problem.matrix_and_masses()
    psi = problem.solve(lam).psi
    pi = assignment(x, target, psi, lam, cost)[:, target.nu > 0]
    gaps = matrix - psi[target.nu > 0]
    ranges = (gaps.amax(1) - gaps.amin(1))[:, None] / lam
    assert bool((pi <= nu * ranges.exp() + 1e-12).all())
    assert bool((pi >= nu * (-ranges).exp() - 1e-12).all())


def test_the_plan_leaves_the_product_by_the_interaction_over_lam():
    x, w, target, cost, *_ = example()
    rest = doubly_centred(*example().matrix_and_masses())
    for lam in LARGE:
        pi = assignment(x, target, example().solve(lam).psi, lam, cost)
        # second order in range / lam, the range of the interaction being about 10
        torch.testing.assert_close(lam * (pi / target.nu - 1), -rest, rtol=0, atol=200 / lam)


@PROPERTY
@given(problems(), LAMS, st.integers(0, 10**6))
def test_the_transform_is_below_the_mean_gap_by_at_most_a_constant_over_lam(problem, lam, seed):
    x, _, target, cost, *_ = problem
    psi = torch.tensor(np.random.default_rng(seed).normal(size=target.n))
    gaps, nu = (cost.matrix(x, target.y) - psi)[:, target.nu > 0], target.positive.nu
    missing = gaps @ nu - psi_step(x, target, psi, lam, cost)[0]
    ranges = gaps.amax(1) - gaps.amin(1)
    # values of order 10 to 100 over a few sums: 1e-12; lam log z rounds to 1e-16 lam where s is narrow
    assert bool((missing >= -1e-11).all())
    assert bool((missing <= ranges.square() / (8 * lam) + 1e-11).all())


@pytest.mark.parametrize("n_massless", [0, 1])
def test_the_transform_leaves_the_mean_gap_by_half_its_variance_over_lam(n_massless):
    x, _, target, cost, *_ = example(n_massless)
    psi = torch.tensor([0.3, -1.0, 0.5, 0.1]).double()
    gaps = cost.matrix(x, target.y) - psi
    mean = gaps @ target.nu
    variance = (gaps - mean[:, None]).square() @ target.nu
    for lam in LARGE:
        missing = lam * (mean - psi_step(x, target, psi, lam, cost)[0])
        # a third central moment, of order 100, over 6 lam; and lam times rounding, 1e-14 lam
        torch.testing.assert_close(missing, variance / 2, rtol=0, atol=100 / lam)


@pytest.mark.parametrize("lam", [1e5, 1e7])
def test_half_the_variance_survives_rounding_at_an_enormous_lam(lam):
    # -lam log(1 - small) in the plain form has an error of lam 1e-16, here as large as lam^2 1e-16 = 1 to 1e4 of it.
    x, _, target, cost, *_ = example()
    psi = torch.zeros(4).double()
    gaps = cost.matrix(x, target.y)
    mean = gaps @ target.nu
    missing = mean - psi_step(x, target, psi, lam, cost)[0]
    variance = (gaps - mean[:, None]).square() @ target.nu
    # ||x||^2 and the mean gap, of order 10, are rounded at 1e-15
    torch.testing.assert_close(missing, variance / (2 * lam), rtol=0, atol=2e-14 + 100 / lam**2)


def test_between_the_limits_every_fifth_of_the_way_is_taken_by_some_lam():
    # No jump: lam -> W^lam is continuous, from W to the product's cost.
    hard, product = hard_cost(example()), product_cost(example())
    values = [example().solve(lam).value for lam in np.logspace(-3, 4, 40)]
    shares = (np.array(values) - hard) / (product - hard)
    assert 0 <= shares[0] <= 0.02
    assert 0.998 <= shares[-1] <= 1
    assert np.diff(shares).max() <= 0.2
