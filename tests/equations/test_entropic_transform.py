"""Identities of psi^{c,lam}(x) = -lam log sum_j nu_j exp((psi_j - c(x, y_j)) / lam). Claims: A-transform."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SCALED, normal, powers_of_ten, problems

from otgrad import Cost, DiscreteMeasure
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad

PROPERTY = settings(deadline=None, derandomize=True, max_examples=30)
LAMS = powers_of_ten(-4, 4)
PROBLEMS = problems(SCALED, massless=(0, 7), most=(6, 8, 4))
# Numbers are of order 1 to 10 and an exponent (psi - c) / lam carries 1e-16 times that over lam: times lam again,
# values keep 1e-13; at lam = 1e4 the logarithm of 1 + (small) loses lam 1e-16 = 1e-12.
ROUNDING = 1e-10


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0), st.floats(-50, 50))
def test_a_shift_of_psi_comes_out_with_the_other_sign(problem, lam, t):
    x, _, target, cost, psi, _ = problem
    for values in (c_transform, lambda *a: psi_step(*a)[0], lambda *a: x_grad(*a)[0]):
        shifted = values(x, target, psi + t, lam, cost)
        torch.testing.assert_close(shifted, values(x, target, psi, lam, cost) - t, rtol=0, atol=ROUNDING)


@PROPERTY
@given(PROBLEMS, LAMS)
def test_the_hard_and_the_soft_transform_enclose_each_other(problem, lam):
    x, _, target, cost, psi, _ = problem
    hard, soft = (psi_step(x, target, psi, value, cost)[0] for value in (0.0, lam))
    least = float(target.positive.nu.min())
    assert bool((hard <= soft + ROUNDING).all())
    assert bool((soft <= hard + lam * math.log(1 / least) + ROUNDING).all())


@PROPERTY
@given(PROBLEMS, LAMS, LAMS)
def test_the_transform_grows_with_lam(problem, lam, other):
    x, _, target, cost, psi, _ = problem
    low, high = (psi_step(x, target, psi, value, cost)[0] for value in sorted((lam, other)))
    assert bool((low <= high + ROUNDING).all())


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0))
def test_assignments_sum_to_one(problem, lam):
    x, _, target, cost, psi, _ = problem
    pi = assignment(x, target, psi, lam, cost)
    assert bool((pi >= 0).all())
    torch.testing.assert_close(pi.sum(1), torch.ones(len(x)).double(), rtol=0, atol=1e-14)
    assert not pi[:, target.nu == 0].any()


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0))
def test_the_soft_value_is_the_assignments_free_energy(problem, lam):
    # psi^{c,lam}(x) = min_q sum_j q_j (c_j - psi_j) + lam KL(q | nu), reached at q = pi.
    x, _, target, cost, psi, _ = problem
    pi, gaps = assignment(x, target, psi, lam, cost), cost.matrix(x, target.y) - psi
    divergence = torch.special.xlogy(pi, pi / torch.where(target.nu > 0, target.nu, 1)).sum(1)
    values = psi_step(x, target, psi, lam, cost)[0]
    torch.testing.assert_close((pi * gaps).sum(1) + lam * divergence, values, rtol=0, atol=ROUNDING)
    product = (target.nu * gaps).sum(1)  # q = nu is another candidate
    assert bool((values <= product + ROUNDING).all())


def example():
    x, _, law, _, psi, _ = normal(30, 6, seed=4)
    return x, DiscreteMeasure.from_atoms(law.y, torch.arange(1, 7)), psi


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_the_transform_tends_to_the_hard_one(p):
    x, target, psi = example()
    hard_values, hard_grad = psi_step(x, target, psi, 0.0, Cost(p))
    hard_slopes = x_grad(x, target, psi, 0.0, Cost(p))[1]
    gaps = (Cost(p).matrix(x, target.y) - psi).sort(dim=1).values
    nearest = float((gaps[:, 1] - gaps[:, 0]).min())
    assert nearest > 1e-3  # no ties, so that the derivatives have a limit too
    errors = []
    for lam in (1e-1, 1e-2, 1e-3, 1e-5):
        values, grad = psi_step(x, target, psi, lam, Cost(p))
        errors.append(float((values - hard_values).abs().max()))
        assert errors[-1] <= lam * math.log(21) + 1e-12  # min nu = 1 / 21
    assert errors == sorted(errors, reverse=True)
    slopes = x_grad(x, target, psi, 1e-5, Cost(p))[1]
    # the second atom's share is below 21 exp(-nearest / lam), which is 0 to rounding
    torch.testing.assert_close(grad, hard_grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(slopes, hard_slopes, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0, 100.0])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_x_gradient_is_the_finite_difference(p, lam):
    x, target, psi = example()
    slopes, h = x_grad(x, target, psi, lam, Cost(p, scale=0.7))[1], 1e-5
    for axis in range(2):
        step = torch.zeros(2).double()
        step[axis] = h
        above, below = (c_transform(x + sign * step, target, psi, lam, Cost(p, scale=0.7)) for sign in (1, -1))
        # h^2 = 1e-10 times a third derivative of at most about 1 / lam^2 = 400, and 1e-15 / h of rounding
        torch.testing.assert_close(slopes[:, axis], (above - below) / (2 * h), rtol=0, atol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 87.8])
def test_squared_cost_pulls_towards_the_barycentric_projection(lam, scale):
    x, target, psi = example()
    barycentres = assignment(x, target, psi, lam, Cost(2.0, scale)) @ target.y
    expected = 2 * (x - barycentres) / scale
    torch.testing.assert_close(x_grad(x, target, psi, lam, Cost(2.0, scale))[1], expected, rtol=0, atol=1e-12)
