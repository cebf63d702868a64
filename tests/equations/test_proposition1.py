"""Proposition 1: F(psi*(theta_0), .) has no gradient at theta_0, although W_c is smooth. Claims: A-no-gradient."""

import pytest
import torch

from companion.counterexample.descent import INSTANCES, Translation, one_sided_derivatives, optimal_psi, transport_cost
from otgrad import SemiDual, solve_exact
from otgrad.gradient import theta_gradient_autograd

JUMPS = {"dirac": 2.0, "segment": 4.0}
H = 1e-6


@pytest.fixture(params=JUMPS)
def instance(request):
    return INSTANCES[request.param]()


@pytest.fixture(params=range(5))
def theta_0(request):
    rng = torch.Generator().manual_seed(request.param)
    return 2 * torch.rand(2, generator=rng, dtype=torch.float64) - 1


def latents(instance):
    return instance.latent(32, torch.Generator().manual_seed(0))


def frozen_dual(instance, theta_0, lam):
    """F(psi*(theta_0), .) as a function of theta."""
    problem, psi, z = instance.problem(lam), optimal_psi(instance, theta_0), latents(instance)
    return lambda theta: float(problem.semidual.value(z - theta, psi)[0])


def one_sided(function, theta_0, axis, h=H):
    """Left and right difference quotient."""
    e = torch.zeros(2, dtype=torch.float64)
    e[axis] = h
    here = function(theta_0)
    return (here - function(theta_0 - e)) / h, (function(theta_0 + e) - here) / h


def test_one_sided_derivatives_differ_along_the_kink_axis(instance, theta_0):
    left, right = one_sided(frozen_dual(instance, theta_0, 0.0), theta_0, instance.kink_axis)
    # F is piecewise quadratic with second derivative 2: the quotients are off by H, and by rounding, 1e-16 / H.
    assert left - right == pytest.approx(JUMPS[instance.name], abs=1e-5)
    assert instance.jump == JUMPS[instance.name]


def test_one_sided_derivatives_have_their_closed_form(instance, theta_0):
    for axis in (0, 1):
        if instance.name == "segment" and axis == 1:
            continue  # the draws' mean stands for zeta's there: not an identity
        left, right = one_sided(frozen_dual(instance, theta_0, 0.0), theta_0, axis)
        assert one_sided_derivatives(instance, theta_0, axis) == pytest.approx((left, right), abs=1e-5)


def test_there_is_no_kink_along_the_other_axis(instance, theta_0):
    left, right = one_sided(frozen_dual(instance, theta_0, 0.0), theta_0, 1 - instance.kink_axis)
    assert left - right == pytest.approx(0, abs=1e-5)


def test_the_potential_is_optimal_so_that_the_theorem_has_only_one_hypothesis_to_fail(instance, theta_0):
    z = latents(instance)
    value = solve_exact(z - theta_0, None, SemiDual(instance.target, 0.1)).value
    for lam in (0.0, 0.1):
        assert frozen_dual(instance, theta_0, lam)(theta_0) == pytest.approx(value, abs=1e-8)


def test_the_cost_is_smooth_and_its_slope_lies_between_the_two(instance, theta_0):
    theta = theta_0.clone().requires_grad_()
    (grad,) = torch.autograd.grad(transport_cost(instance, theta), theta)
    for axis in (0, 1):
        left, right = one_sided(lambda t: float(transport_cost(instance, t)), theta_0, axis)
        assert left == pytest.approx(right, abs=1e-5)
        assert (left + right) / 2 == pytest.approx(float(grad[axis]), abs=1e-8)
        larger, smaller = one_sided_derivatives(instance, theta_0, axis)
        assert (larger + smaller) / 2 == pytest.approx(float(grad[axis]), abs=1e-12)


def test_the_exact_cost_has_the_closed_form_gradient(instance, theta_0):
    # Central differences of the solver's own value, on draws z: gradient 2 (theta - (mean z - mean y)).
    z, y, h = latents(instance), instance.target.y, 1e-4
    expected = 2 * (theta_0 - (z.mean(0) - y.mean(0)))
    for axis in (0, 1):
        e = torch.zeros(2, dtype=torch.float64)
        e[axis] = h
        above, below = (solve_exact(z - t, None, SemiDual.of(y, None, 0.1)).value for t in (theta_0 + e, theta_0 - e))
        assert (above - below) / (2 * h) == pytest.approx(float(expected[axis]), abs=1e-6)


@pytest.mark.parametrize("lam", [1e-3, 0.1, 1.0, 10.0])
def test_the_entropic_cost_is_the_same_for_every_lam(instance, theta_0, lam):
    z, y = latents(instance), instance.target.y
    entropic = solve_exact(z - theta_0, None, SemiDual.of(y, None, lam))
    reference = solve_exact(z - theta_0, None, SemiDual.of(y, None, 1.0))
    assert entropic.value == pytest.approx(reference.value, abs=1e-9)
    torch.testing.assert_close(entropic.psi, optimal_psi(instance, theta_0), rtol=0, atol=1e-7)
    if instance.name == "dirac":
        assert entropic.value == pytest.approx(float(transport_cost(instance, theta_0)), abs=1e-9)


@pytest.mark.parametrize("lam", [0.01, 0.1, 1.0])
def test_the_entropic_dual_is_differentiable_and_its_gradient_is_the_costs(instance, theta_0, lam):
    problem, psi, z = instance.problem(lam), optimal_psi(instance, theta_0), latents(instance)
    (grad,) = theta_gradient_autograd(Translation(theta_0), z, problem.semidual, psi)
    torch.testing.assert_close(grad, 2 * (theta_0 - (z.mean(0) - problem.semidual.law.y.mean(0))), rtol=0, atol=1e-10)
    for axis in (0, 1):
        # Second derivatives are of order jump^2 / lam: the quotients differ by H 16 / lam.
        left, right = one_sided(frozen_dual(instance, theta_0, lam), theta_0, axis)
        assert left == pytest.approx(right, abs=20 * H / lam + 1e-8)
