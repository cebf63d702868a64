"""The semi-dual F(psi) = E[psi^{c,lam}(x)] + <nu, psi>: gauge, concavity, gradient, optimum. Claims: A-concavity."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import normal, powers_of_ten, problems

from otgrad import Cost, DiscreteMeasure, SemiDual
from otgrad.ctransform import c_transform

PROPERTY = settings(deadline=None, derandomize=True, max_examples=30)
LAMS = powers_of_ten(-3, 3) | st.just(0.0)


PROBLEMS = problems(massless=(1, 1), least=2, most=(8, 6, 3))


@PROPERTY
@given(PROBLEMS, LAMS)
def test_psi_gradient_sums_to_zero(problem, lam):
    x, w, target, cost, psi, _ = problem
    grad = SemiDual(target, lam, cost).value(x, psi, w)[1]
    assert abs(float(grad.sum())) <= 1e-14
    assert not grad[target.nu == 0].any()


@PROPERTY
@given(PROBLEMS, LAMS, st.floats(-50, 50))
def test_a_shift_of_psi_changes_nothing(problem, lam, t):
    x, w, target, cost, psi, _ = problem
    (value, grad), (shifted, shifted_grad) = (SemiDual(target, lam, cost).value(x, v, w) for v in (psi, psi + t))
    assert abs(float(value - shifted)) <= 1e-10
    # at small lam the assignment sees the rounding of psi + t, 50 * 1e-16 / lam
    torch.testing.assert_close(grad, shifted_grad, rtol=0, atol=1e-10)


@PROPERTY
@given(PROBLEMS, LAMS, st.floats(0, 1))
def test_concavity_and_the_tangent_above(problem, lam, t):
    x, w, target, cost, psi, other = problem
    (value, grad), (value_2, grad_2) = (SemiDual(target, lam, cost).value(x, v, w) for v in (psi, other))
    between = SemiDual(target, lam, cost).value(x, t * psi + (1 - t) * other, w)[0]
    assert between >= t * value + (1 - t) * value_2 - 1e-10
    assert value_2 <= value + grad @ (other - psi) + 1e-10
    assert (grad - grad_2) @ (psi - other) <= 1e-10


@pytest.mark.parametrize("lam", [0.0, 0.02, 0.3, 50.0])
@pytest.mark.parametrize("cost", [Cost(1.0), Cost(1.5), Cost(2.0, scale=3.0)], ids=str)
def test_psi_gradient_is_the_finite_difference_and_autograds(cost, lam):
    x, w, law, _, psi, _ = normal(25, 6, seed=6)
    target, h = DiscreteMeasure.from_atoms(law.y, torch.arange(6)), 1e-5
    psi.requires_grad_()
    grad = SemiDual(target, lam, cost).value(x, psi, w)[1]
    (autograd,) = torch.autograd.grad(w @ c_transform(x, target, psi, lam, cost) + target.nu @ psi, psi)
    torch.testing.assert_close(grad, autograd, rtol=0, atol=1e-12)
    psi = psi.detach()
    for j in range(6):
        step = torch.zeros(6).double()
        step[j] = h
        above, below = (float(SemiDual(target, lam, cost).value(x, psi + sign * step, w)[0]) for sign in (1, -1))
        # h^2 = 1e-10 times a third derivative of at most 1 / lam^2 = 2500
        assert float(grad[j]) == pytest.approx((above - below) / (2 * h), abs=1e-6)


@PROPERTY
@given(PROBLEMS, powers_of_ten(-2, 2))
def test_the_maximiser_is_unique_up_to_the_gauge(problem, lam):
    # Two starting points of a strictly concave problem: solving it from either side ends on one psi.
    x, w, target, cost, psi, _ = problem
    best = problem.solve(lam)
    value, grad = SemiDual(target, lam, cost).value(x, best.psi, w)
    assert float(grad.abs().sum()) <= 1e-9
    direction = target.center(psi)
    if float(direction.abs().max()) > 0.1:
        moved = SemiDual(target, lam, cost).value(x, best.psi + direction, w)[0]
        assert moved < value


@PROPERTY
@given(PROBLEMS, powers_of_ten(-2, 2))
def test_the_optimum_is_the_primal_cost_of_its_plan(problem, lam):
    x, w, target, cost, *_ = problem
    best = problem.solve(lam)
    (matrix, _, nu), psi = problem.matrix_and_masses(), best.psi[target.nu > 0]
    plan = w[:, None] * torch.softmax((psi - matrix) / lam + nu.log(), dim=1)
    reference = torch.outer(w, nu)
    primal = (plan * matrix).sum() + lam * torch.special.xlogy(plan, plan / reference).sum()
    assert best.value == pytest.approx(float(primal), abs=1e-8)
    assert best.value <= float((reference * matrix).sum()) + 1e-12  # the product plan is a candidate
