"""W_c^lam is C^1, with a gradient whose Lipschitz constant grows like 1 / lam; the plain gradient jumps.

The modulus of continuity is measured on gradients that the formula gives along lines in theta which cross the
interface, with psi* solved at every point, and held against the closed forms of `companion.counterexample.theory`.
Claims: A-regularity.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from companion.counterexample import theory
from companion.counterexample.descent import INSTANCES, Translation, optimal_psi
from otgrad import DiscreteMeasure, SemiDual, solve_exact
from otgrad.gradient import theta_gradient_explicit

PROPERTY = settings(deadline=None, derandomize=True, max_examples=15)
LAMS = [0.01, 0.03, 0.1, 0.3, 1.0]
JUMPS = {"dirac": 2.0, "segment": 4.0}
COORDINATES = st.floats(-1, 1)


@pytest.fixture(params=JUMPS)
def instance(request):
    return INSTANCES[request.param]()


def crossing(instance, reach, points):
    """theta (points, 2) on a line across the interface, `reach` on both sides of a theta_0 that is not theta*."""
    theta_0 = torch.tensor([0.4, -0.3], dtype=torch.float64)
    axis = theory.axis_between_atoms(instance)
    t = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return theta_0, theta_0 + t[:, None] * axis / axis.norm()


def formula(instance, theta, psi, lam):
    z = theory.quadrature(instance)
    return theta_gradient_explicit(Translation(theta), z, SemiDual(instance.target, lam), psi)[0]


def frozen_gradients(instance, reach, points, lam):
    """Gradient of F^lam(psi*(theta_0), .) (points, 2) along the crossing, by the formula."""
    theta_0, line = crossing(instance, reach, points)
    psi = optimal_psi(instance, theta_0)
    return torch.stack([formula(instance, theta, psi, lam) for theta in line])


def dilation_gradients(reach, points, lam):
    """dW_c^lam (points, 1) of the dilation around its interface theta = 0, psi* solved at every point."""
    t = torch.linspace(-reach, reach, points, dtype=torch.float64).tolist()
    return torch.tensor([[theory.solved_dilation(theta, lam)[1]] for theta in t], dtype=torch.float64)


# --- Without regularisation the gradient jumps ------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-6, 1e-9])
def test_the_plain_gradients_jump_does_not_vanish_with_the_step(instance, step):
    gradients = frozen_gradients(instance, step / 2, 2, 0.0)
    # Beside the jump the parabola's gradient turns by 2 step, against it.
    measured = theory.modulus_of_continuity(gradients, step, step)
    assert measured == pytest.approx(JUMPS[instance.name] - 2 * step, abs=1e-12)


@pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-6])
def test_the_dilations_plain_cost_itself_has_the_jump(step):
    measured = theory.modulus_of_continuity(dilation_gradients(step / 2, 2, 0.0), step, step)
    assert measured == pytest.approx(4 - 2 * step, abs=1e-12)


# --- With it, the gradient is Lipschitz, at a constant of order 1 / lam -----------------------------------------------


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("step", [1e-1, 1e-2, 1e-4])
def test_the_frozen_duals_modulus_has_its_closed_form(instance, lam, step):
    points = 16
    gradients = frozen_gradients(instance, 2 * step, 4 * points + 1, lam)
    measured = theory.modulus_of_continuity(gradients, step / points, step)
    closed_form = theory.kink_modulus(instance.jump, lam, step)
    assert measured <= closed_form * (1 + 1e-9) + 1e-12
    # The grid misses the best width by half its spacing at most, near its maximum; where lam is so large that the
    # gradient turns fastest far from the interface, the line is too short to see it.
    if lam < instance.jump**2 / 16:
        assert measured == pytest.approx(closed_form, rel=0.02)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("step", [1e-2, 1e-4])
def test_the_dilations_modulus_has_its_closed_form(lam, step):
    measured = theory.modulus_of_continuity(dilation_gradients(2 * step, 33, lam), step / 8, step)
    assert measured == pytest.approx(theory.kink_modulus(4.0, lam, step), rel=0.02)


def test_the_lipschitz_constant_is_of_order_one_over_lam(instance):
    step = 1e-5  # far below every lam
    constants = [theory.modulus_of_continuity(frozen_gradients(instance, step, 3, lam), step, step) / step
                 for lam in LAMS[:-1]]  # fmt: skip
    squared = (instance.jump / 2) ** 2
    for lam, constant in zip(LAMS[:-1], constants, strict=True):
        assert constant == pytest.approx(abs(squared / lam - 2), rel=1e-5)
        assert constant * lam <= squared
    slope = math.log(constants[0] / constants[1]) / math.log(LAMS[1] / LAMS[0])
    assert slope == pytest.approx(1, abs=0.05)


def test_the_change_over_a_step_vanishes_with_it_for_every_lam(instance):
    for lam in LAMS:
        changes = [theory.modulus_of_continuity(frozen_gradients(instance, h, 3, lam), h, h) for h in (1e-5, 1e-6)]
        assert changes[1] < 1e-6 * ((instance.jump / 2) ** 2 / lam + 2)
        assert changes[0] / changes[1] == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("lam", LAMS)
def test_the_cost_of_both_counterexamples_has_a_gradient_of_constant_two_whatever_lam(instance, lam):
    # psi* solved anew at every theta: W_c^lam = W_c is a parabola, only its frozen dual depends on lam.
    _, line = crossing(instance, 0.2, 9)
    z, target = theory.quadrature(instance), instance.target
    gradients = torch.stack(
        [formula(instance, t, solve_exact(z - t, None, SemiDual(target, lam)).psi, lam) for t in line]
    )
    measured = theory.modulus_of_continuity(gradients, 0.05, 0.05)
    assert measured == pytest.approx(0.1, abs=1e-8)  # the solver's marginal error 1e-10, over its derivative


# --- Bounds for generators linear in theta ----------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.1, 1.0])
def test_the_lower_curvature_bound_is_attained_by_all_three_instances(instance, lam):
    theta_0, axis = crossing(instance, 1, 2)[0], theory.axis_between_atoms(instance)
    direction, radius = axis / axis.norm(), float(axis.norm()) / 2

    def slope(t):
        return theory.frozen_dual_gradient(instance, theta_0, (theta_0 + t * direction)[None], lam)[0] @ direction

    zero = torch.tensor(0.0, dtype=torch.float64)
    curvature = torch.autograd.functional.jacobian(slope, zero)
    assert float(curvature) == pytest.approx(theory.curvature_bounds(1.0, radius, lam)[0], abs=1e-12)
    curvature = torch.autograd.functional.jacobian(lambda t: theory.dilation_derivative(t, lam), zero)
    assert float(curvature) == pytest.approx(theory.curvature_bounds(1.0, 1.0, lam)[0], abs=1e-12)


def affine_line(seed, points, reach):
    """Latents, atoms and a line of affine maps (weight, bias) through 0, where all points coincide and tie."""
    rng = torch.Generator().manual_seed(seed)
    z, y, weight, bias = (
        torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((7, 2), (4, 2), (2, 2), (2,))
    )
    speed = float((z @ weight.T + bias).square().sum(1).mean().sqrt())
    t = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return z, y - y.mean(0), weight, bias, speed, t


def slope_along(z, y, weight, bias, t, lam):
    """<grad W_c^lam(theta), v> at theta = t v, v = (weight, bias)."""
    generator = nn.Linear(2, 2).double()
    generator.load_state_dict({"weight": t * weight, "bias": t * bias})
    psi = solve_exact(generator(z).detach(), None, SemiDual.of(y, None, lam)).psi
    gradient = theta_gradient_explicit(generator, z, SemiDual(DiscreteMeasure.from_atoms(y), lam), psi)
    return float((gradient[0] * weight).sum() + gradient[1] @ bias)


@PROPERTY
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 1.0, 10.0]))
def test_the_costs_curvature_keeps_within_its_bounds(seed, lam):
    z, y, weight, bias, speed, t = affine_line(seed, 13, 0.3)
    radius = float(y.norm(dim=1).max())
    slopes = torch.tensor([slope_along(z, y, weight, bias, float(s), lam) for s in t], dtype=torch.float64)
    quotients = slopes.diff() / t.diff()
    lower, upper = theory.curvature_bounds(speed, radius, lam)
    rounding = 1e-7 / 0.05  # the solver's, over the grid's spacing
    assert lower - rounding <= float(quotients.min())
    assert float(quotients.max()) <= upper + rounding


def test_a_generic_affine_line_has_a_lipschitz_constant_of_order_one_over_lam_too():
    # At t = 0 every point sits at the origin: W'' = 2 speed^2 - (4 / lam) x what of the spread both marginals miss.
    z, y, weight, bias, speed, t = affine_line(3, 3, 1e-4)
    scaled = []
    for lam in (0.1, 0.2, 0.4):
        slopes = [slope_along(z, y, weight, bias, float(s), lam) for s in t]
        scaled.append(lam * (2 * speed**2 - (slopes[2] - slopes[0]) / 2e-4))
    assert scaled[0] > 0.1
    # (t ||z|| ||y|| / lam)^2 = 1e-5 is neglected, and the solver's 1e-10 / 1e-4.
    assert scaled[1:] == pytest.approx([scaled[0]] * 2, rel=1e-3)
