"""Algorithm 1's stochastic theta-gradient against the exact one: bias and variance as functions of psi's error.

At psi* a minibatch is unbiased with a variance of 1 / b. An error delta of psi biases it by C |delta| / lam at most;
at lam = 0 the bias of the counterexample is half the jump, however small delta is. Claims: A-stochastic-gradient.
"""

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from companion.counterexample import theory
from companion.counterexample.descent import INSTANCES, Translation, dirac, optimal_psi, segment
from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.gradient import theta_gradient_explicit
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_round

PROPERTY = settings(deadline=None, derandomize=True, max_examples=20)
BATCHES = 1000
POOL, ATOMS = 30, 8
LAMS = (0.05, 0.5, 5.0)


class Generic:
    """A fixed pool of latents, an affine generator, weighted atoms in the plane, and psi* at lam."""

    def __init__(self, lam, seed=2):
        rng = torch.Generator().manual_seed(seed)
        draws = [torch.randn(s, generator=rng, dtype=torch.float64) for s in ((POOL, 2), (ATOMS, 2), (2, 2), (2,))]
        self.z, y, weight, bias = draws
        masses = torch.rand(ATOMS, generator=rng, dtype=torch.float64) + 0.1
        self.target, self.lam = DiscreteMeasure(y, masses / masses.sum()), lam
        self.generator = nn.Linear(2, 2).double()
        self.generator.load_state_dict({"weight": weight, "bias": bias})
        x = self.generator(self.z).detach()
        self.psi = solve_exact(x, None, SemiDual.of(y, self.target.nu, lam)).psi

    def latent(self, b, rng):
        return self.z[torch.randint(POOL, (b,), generator=rng)]

    def gradient(self, z, delta=0.0):
        parts = theta_gradient_explicit(self.generator, z, SemiDual(self.target, self.lam), self.psi + delta)
        return torch.cat([part.flatten() for part in parts])

    def bias(self, delta):
        """Exact bias of an error delta (n,) of psi: the pool's gradient there less that at psi*."""
        return self.gradient(self.z, delta) - self.gradient(self.z)

    def bound(self, error):
        """`bias_bound` for the norm of the whole gradient: the largest ||d_theta g v|| of ||v|| = 1 is ||(z, 1)||."""
        speed = float((1 + self.z.square().sum(1)).sqrt().mean())
        radius = float((self.target.y - self.target.y.mean(0)).norm(dim=1).max())
        return theory.bias_bound(speed, radius, error, self.lam)


def estimate(problem, batch_size, delta=0.0):
    rng = torch.Generator().manual_seed(7)
    exact = problem.gradient(problem.z)
    return theory.bias_and_variance(
        lambda z: problem.gradient(z, delta), problem.latent, exact, batch_size, BATCHES, rng
    )


@cache
def at_psi_star(lam, batch_size):
    return estimate(Generic(lam), batch_size)


# --- At psi* ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_minibatch_at_psi_star_is_unbiased(lam, batch_size):
    bias, variance = at_psi_star(lam, batch_size)
    assert bool((bias.abs() <= 4 * (variance / BATCHES).sqrt()).all())  # four standard errors


@pytest.mark.parametrize("lam", LAMS)
def test_its_variance_is_that_of_one_sample_over_the_batch_size(lam):
    problem = Generic(lam)
    one = torch.stack([problem.gradient(z[None]) for z in problem.z]).var(0, correction=0)
    for batch_size in (1, 16):
        _, variance = at_psi_star(lam, batch_size)
        # a variance estimated from 1,000 draws of kurtosis up to 6 is off by sqrt(5 / 1000) = 7%: three times that
        torch.testing.assert_close(variance * batch_size, one, rtol=0.2, atol=0)


def test_the_segments_variance_has_its_closed_form_for_every_psi_and_lam():
    instance, theta = segment(), torch.tensor([0.3, 0.1], dtype=torch.float64)
    for lam, delta in ((0.0, 0.2), (0.1, 0.0), (2.0, -0.7)):
        psi = optimal_psi(instance, theta) + torch.tensor([delta, 0.0], dtype=torch.float64)
        arguments = SemiDual(instance.target, lam), psi

        def gradient(z, arguments=arguments):
            return theta_gradient_explicit(Translation(theta), z, *arguments)[0]

        exact = gradient(theory.quadrature(instance))
        rng = torch.Generator().manual_seed(4)
        bias, variance = theory.bias_and_variance(gradient, instance.latent, exact, 8, BATCHES, rng)
        expected = theory.gradient_variance(instance, 8)
        assert bool((bias.abs() <= 4 * math.sqrt(expected / BATCHES)).all())
        assert float(variance.sum()) == pytest.approx(expected, rel=4 * math.sqrt(2 / BATCHES))  # four standard errors
        assert float(variance[0]) < 1e-25  # none across the interface


# --- Away from psi*, lam > 0 ------------------------------------------------------------------------------------------


@PROPERTY
@given(st.integers(0, 10**6), st.sampled_from(LAMS), st.floats(-4, 1).map(lambda e: 10.0**e))
def test_the_bias_is_at_most_a_constant_times_the_error_over_lam(seed, lam, size):
    problem = Generic(lam, seed)
    direction = torch.randn(ATOMS, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    delta = size * direction / direction.abs().max()
    assert float(problem.bias(delta).norm()) <= problem.bound(size) + 1e-12


@pytest.mark.parametrize("lam", LAMS)
def test_the_bias_is_linear_in_a_small_error(lam):
    problem = Generic(lam)
    direction = torch.randn(ATOMS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    biases = [problem.bias(size * lam * direction) for size in (1e-3, 1e-4, 1e-5)]
    for larger, smaller in zip(biases, biases[1:], strict=False):
        # the second order is |delta| / lam of the first: 1e-3 times the direction's size 3
        torch.testing.assert_close(larger, 10 * smaller, rtol=0, atol=0.01 * float(larger.norm()))
    assert float(biases[0].norm()) > 1e-6


def test_the_slope_of_the_bias_is_the_mixed_second_derivative():
    problem = Generic(0.5)
    direction = torch.randn(ATOMS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h = 1e-6
    measured = (problem.bias(h * direction) - problem.bias(-h * direction)) / (2 * h)
    weight, shift = problem.generator.weight, problem.generator.bias
    x = problem.z @ weight.T + shift
    gaps = (problem.psi - Cost().matrix(x, problem.target.y)) / problem.lam
    pi = torch.softmax(gaps + problem.target.nu.log(), dim=1)
    centred = direction - (pi @ direction)[:, None]
    pull = -2 / problem.lam * (pi * centred) @ problem.target.y  # d/ddelta of 2 (x - pi y)
    expected = torch.cat([(pull.T @ problem.z / POOL).flatten(), pull.mean(0)])
    torch.testing.assert_close(measured, expected.detach(), rtol=0, atol=1e-7)  # h^2, and rounding 1e-15 / h


def test_a_minibatch_away_from_psi_star_shows_that_bias():
    problem = Generic(0.5)
    delta = 0.4 * torch.randn(ATOMS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, variance = estimate(problem, 16, delta)
    standard_error = (variance / BATCHES).sqrt()
    assert bool(((found - problem.bias(delta)).abs() <= 4 * standard_error).all())
    assert bool((found.abs() > 4 * standard_error).any())  # not unbiased any more


# --- The counterexample -----------------------------------------------------------------------------------------------


def counterexample_bias(instance, theta, delta, lam):
    """Formula at psi* + (delta / 2, -delta / 2), less the gradient of the cost."""
    psi = optimal_psi(instance, theta) + torch.tensor([delta / 2, -delta / 2], dtype=torch.float64)
    z = theory.quadrature(instance)
    (formula,) = theta_gradient_explicit(Translation(theta), z, SemiDual(instance.target, lam), psi)
    return formula - 2 * (theta - instance.theta_star)


@pytest.mark.parametrize("name", INSTANCES)
@pytest.mark.parametrize("lam", [0.0, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("delta", [-0.5, 1e-3, 2.0])
def test_the_counterexamples_bias_has_its_closed_form(name, lam, delta):
    instance, theta = INSTANCES[name](), torch.tensor([-0.6, 0.2], dtype=torch.float64)
    bias = theory.gradient_bias(instance, delta, lam)
    torch.testing.assert_close(counterexample_bias(instance, theta, delta, lam), bias, rtol=0, atol=1e-11)
    radius = float(theory.axis_between_atoms(instance).norm()) / 2
    if lam > 0:
        assert float(bias.norm()) <= theory.bias_bound(1.0, radius, abs(delta) / 2, lam) + 1e-15
    assert float(bias.norm()) <= instance.jump / 2


@pytest.mark.parametrize("delta", [1.0, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("sign", [1, -1])
def test_without_regularisation_the_bias_is_half_the_jump_however_small_the_error(delta, sign):
    # theta = (0, 0) makes both costs exact in binary, so that even 1e-12 is no rounding.
    instance, theta = dirac(), torch.zeros(2, dtype=torch.float64)
    plain = counterexample_bias(instance, theta, sign * delta, 0.0)
    assert plain.tolist() == [0, sign * instance.jump / 2]
    entropic = counterexample_bias(instance, theta, sign * delta, 0.5)
    assert float(entropic.norm()) <= delta * (1 + 1e-3)  # |delta| / (2 lam), and rounding 1e-16 / 1e-12


def inner_bias(lam, steps):
    """Bias that so many steps of the package's ASGD leave, from psi = 0, at a fixed theta; and psi's error."""
    instance, theta = dirac(), torch.tensor([-1.0, 0.0], dtype=torch.float64)
    x, start = instance.latent(1) - theta, AsgdState.zeros(instance.target)
    state = asgd_round(lambda: x, SemiDual(instance.target, lam), state=start, steps=steps, rule=StepRule())
    psi, best = state.average, optimal_psi(instance, theta)
    error = float((psi[0] - psi[1]) - (best[0] - best[1]))
    return float(counterexample_bias(instance, theta, error, lam).norm()), abs(error)


def test_more_inner_steps_remove_the_bias_with_regularisation_only():
    for steps in (10, 100, 1000):
        bias, error = inner_bias(0.1, steps)
        assert bias <= error / 0.2 + 1e-12
        plain, plain_error = inner_bias(0.0, steps)
        assert plain_error < 1 / math.sqrt(steps)
        assert plain == pytest.approx(dirac().jump / 2, abs=1e-12)
    assert inner_bias(0.1, 1000)[0] < 1e-6
