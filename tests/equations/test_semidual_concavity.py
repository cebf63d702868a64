"""The semi-dual F(psi) = E[psi^{c,lam}(x)] + <nu, psi>: gauge, concavity, gradient, optimum. Claims: A-concavity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otgrad.costs import Cost
from otgrad.ctransform import c_transform
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import objective
from otgrad.solvers.exact import solve_pool

PROPERTY = settings(deadline=None, derandomize=True, max_examples=30)
LAMS = st.floats(-3, 3).map(lambda exponent: 10.0**exponent) | st.just(0.0)


@st.composite
def problems(draw):
    """A weighted pool, a law with one atom of no mass, and two potentials."""
    b, n, d = draw(st.integers(1, 8)), draw(st.integers(2, 6)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    w, nu = rng.random(b) + 0.1, rng.random(n) + 0.1
    nu[-1] = 0
    x, y, psi, other = (torch.tensor(rng.normal(size=shape)) for shape in ((b, d), (n, d), n, n))
    return x, torch.tensor(w / w.sum()), DiscreteMeasure.from_atoms(y, torch.tensor(nu)), psi, other


COSTS = st.sampled_from([Cost(1.0), Cost(1.5), Cost(2.0)])


@PROPERTY
@given(problems(), LAMS, COSTS)
def test_psi_gradient_sums_to_zero(problem, lam, cost):
    x, w, target, psi, _ = problem
    grad = objective(x, target, psi, lam, cost, w)[1]
    assert abs(float(grad.sum())) <= 1e-14
    assert grad[-1] == 0


@PROPERTY
@given(problems(), LAMS, COSTS, st.floats(-50, 50))
def test_a_shift_of_psi_changes_nothing(problem, lam, cost, t):
    x, w, target, psi, _ = problem
    (value, grad), (shifted, shifted_grad) = (objective(x, target, v, lam, cost, w) for v in (psi, psi + t))
    assert abs(float(value - shifted)) <= 1e-10
    # at small lam the assignment sees the rounding of psi + t, 50 * 1e-16 / lam
    torch.testing.assert_close(grad, shifted_grad, rtol=0, atol=1e-10)


@PROPERTY
@given(problems(), LAMS, COSTS, st.floats(0, 1))
def test_concavity_and_the_tangent_above(problem, lam, cost, t):
    x, w, target, psi, other = problem
    (value, grad), (value_2, grad_2) = (objective(x, target, v, lam, cost, w) for v in (psi, other))
    between = objective(x, target, t * psi + (1 - t) * other, lam, cost, w)[0]
    assert between >= t * value + (1 - t) * value_2 - 1e-10
    assert value_2 <= value + grad @ (other - psi) + 1e-10
    assert (grad - grad_2) @ (psi - other) <= 1e-10


@pytest.mark.parametrize("lam", [0.0, 0.02, 0.3, 50.0])
@pytest.mark.parametrize("cost", [Cost(1.0), Cost(1.5), Cost(2.0, scale=3.0)], ids=str)
def test_psi_gradient_is_the_finite_difference_and_autograds(cost, lam):
    rng = torch.Generator().manual_seed(6)
    x, y = (torch.randn(rows, 2, generator=rng, dtype=torch.float64) for rows in (25, 6))
    w = torch.rand(25, generator=rng, dtype=torch.float64)
    w, target = w / w.sum(), DiscreteMeasure.from_atoms(y, torch.arange(6))
    psi, h = torch.randn(6, generator=rng, dtype=torch.float64, requires_grad=True), 1e-5
    grad = objective(x, target, psi, lam, cost, w)[1]
    (autograd,) = torch.autograd.grad(w @ c_transform(x, target, psi, lam, cost) + target.nu @ psi, psi)
    torch.testing.assert_close(grad, autograd, rtol=0, atol=1e-12)
    psi = psi.detach()
    for j in range(6):
        step = torch.zeros(6).double()
        step[j] = h
        above, below = (float(objective(x, target, psi + sign * step, lam, cost, w)[0]) for sign in (1, -1))
        # h^2 = 1e-10 times a third derivative of at most 1 / lam^2 = 2500
        assert float(grad[j]) == pytest.approx((above - below) / (2 * h), abs=1e-6)


@PROPERTY
@given(problems(), st.floats(-2, 2).map(lambda exponent: 10.0**exponent))
def test_the_maximiser_is_unique_up_to_the_gauge(problem, lam):
    # Two starting points of a strictly concave problem: solving it from either side ends on one psi.
    x, w, target, psi, _ = problem
    best = solve_pool(x, w, target.y, target.nu, lam)
    value, grad = objective(x, target, best.psi, lam, Cost(), w)
    assert float(grad.abs().sum()) <= 1e-9
    direction = target.center(psi)
    if float(direction.abs().max()) > 0.1:
        moved = objective(x, target, best.psi + direction, lam, Cost(), w)[0]
        assert moved < value


@PROPERTY
@given(problems(), st.floats(-2, 2).map(lambda exponent: 10.0**exponent))
def test_the_optimum_is_the_primal_cost_of_its_plan(problem, lam):
    x, w, target, _, _ = problem
    best = solve_pool(x, w, target.y, target.nu, lam)
    y, nu, psi = (t[:-1] for t in (target.y, target.nu, best.psi))  # the last atom has no mass
    matrix = Cost().matrix(x, y)
    plan = w[:, None] * torch.softmax((psi - matrix) / lam + nu.log(), dim=1)
    reference = torch.outer(w, nu)
    primal = (plan * matrix).sum() + lam * torch.special.xlogy(plan, plan / reference).sum()
    assert best.value == pytest.approx(float(primal), abs=1e-8)
    assert best.value <= float((reference * matrix).sum()) + 1e-12  # the product plan is a candidate
