"""Theorem 1 where its hypothesis holds, and Proposition 1 where it does not.

If W_c(theta_0) = F(psi*, theta_0) and both are differentiable at theta_0, their gradients agree. F(psi*, .) is
differentiable when almost no point of the model ties between two Laguerre cells, and has a kink when all of them do.
Claims: A-envelope.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import nn

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.gradient import theta_gradient_explicit

PROPERTY = settings(deadline=None, derandomize=True, max_examples=20)
COSTS = [Cost(1.0), Cost(1.5), Cost(2.0), Cost(3.0), Cost(2.0, scale=7.5)]
H = 1e-6
COORDINATES = st.floats(-1, 1)
POINTS = st.tuples(COORDINATES, COORDINATES)
ANGLES = st.floats(0, 2 * math.pi)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def unit(angle):
    return tensor(math.cos(angle), math.sin(angle))


def one_sided(function, theta_0, direction, h=H):
    """Left and right difference quotient along a direction."""
    here = function(theta_0)
    return (here - function(theta_0 - h * direction)) / h, (function(theta_0 + h * direction) - here) / h


# --- The hypothesis holds: points in generic position -----------------------------------------------------------------


def assignment_cost(x, y, cost):
    """W_c of two clouds with as many points, exactly, by the assignment problem."""
    matrix = cost.matrix(x, y).numpy()
    return float(matrix[linear_sum_assignment(matrix)].mean())


@pytest.mark.parametrize("cost", COSTS, ids=str)
@settings(PROPERTY, max_examples=8)
@given(st.integers(0, 10**6))
def test_the_gradients_agree_where_no_point_ties(cost, seed):
    rng = torch.Generator().manual_seed(seed)
    z, y, matrix, shift = (
        torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((6, 2), (6, 2), (2, 2), (2,))
    )
    generator = nn.Linear(2, 2).double()
    generator.load_state_dict({"weight": matrix, "bias": shift})
    with torch.no_grad():
        x = generator(z)
        psi = solve_exact(x, None, SemiDual.of(y, None, 0.0, cost)).psi
        gaps = (cost.matrix(x, y) - psi).sort(dim=1)
    assume(float((gaps.values[:, 1] - gaps.values[:, 0]).min()) > 1e-3)  # generic: every point inside its cell
    assert sorted(gaps.indices[:, 0].tolist()) == list(range(6))  # and psi optimal: every cell has its mass

    formula = theta_gradient_explicit(generator, z, SemiDual(DiscreteMeasure.from_atoms(y), 0.0, cost), psi)
    exact = []
    for parameter in (matrix, shift):
        for entry in parameter.view(-1).split(1):
            values = []
            for sign in (1, -2, 1):  # to + H, to - H, and back
                entry += sign * H
                values.append(assignment_cost(z @ matrix.T + shift, y, cost))
            exact.append((values[0] - values[1]) / (2 * H))
    # Central differences with H = 1e-6: rounding 1e-15 / H = 1e-9 times costs of order 10 to 100.
    torch.testing.assert_close(torch.cat([g.flatten() for g in formula]), tensor(*exact), rtol=1e-6, atol=1e-6)


@PROPERTY
@given(st.floats(0.2, 3), st.floats(-2, 0), st.floats(0.1, 2))
def test_the_gradients_agree_where_the_model_has_a_density(theta_0, y_1, gap):
    # zeta uniform on [0, 1], g = theta z, two atoms: each takes one half of [0, 1], the interface is theta_0 / 2.
    y_2 = y_1 + gap

    def piece(theta, low, high, y):  # integral of (theta z - y)^2
        return ((theta * high - y) ** 3 - (theta * low - y) ** 3) / (3 * theta)

    def cost(theta):
        return piece(theta, 0, 0.5, y_1) + piece(theta, 0.5, 1, y_2)

    def frozen_dual(theta):
        edge = min(theta_0 / (2 * theta), 1)  # the z that lands on the frozen interface
        psi = (y_1 - y_2) * (y_1 + y_2 - theta_0)  # c(x, y_1) - c(x, y_2) at the interface: psi_1 - psi_2
        values = piece(theta, 0, edge, y_1) - psi * edge + piece(theta, edge, 1, y_2)
        return values + psi / 2

    true = -(y_1 / 4 + 3 * y_2 / 4) + 2 * theta_0 / 3  # 2 E z (theta_0 z - y(z))
    left, right = one_sided(frozen_dual, theta_0, 1.0)
    assert frozen_dual(theta_0) == pytest.approx(cost(theta_0), abs=1e-12)
    # Second derivatives are at most 2 E z^2 + gap / theta_0 = 11 at theta_0 = 0.2; rounding 1e-14 / H.
    assert (left, right) == pytest.approx((true, true), abs=1e-4)
    assert one_sided(cost, theta_0, 1.0) == pytest.approx((true, true), abs=1e-4)


# --- It fails: every point ties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", COSTS, ids=str)
@PROPERTY
@given(st.lists(POINTS, min_size=2, max_size=5), POINTS, POINTS, ANGLES, st.integers(0, 10**6))
def test_a_dirac_ties_between_all_atoms_and_every_direction_that_tells_them_apart_has_a_kink(
    cost, atoms, z_0, theta_0, angle, seed
):
    y, z, theta, e = tensor(*atoms), tensor(*z_0)[None], tensor(*theta_0), unit(angle)
    x = z - theta
    assume(float(cost.distances(x, y).min()) > 0.05)  # the cost itself is smooth at x
    target = DiscreteMeasure.from_atoms(y, torch.tensor(np.random.default_rng(seed).dirichlet(np.ones(len(y)))))
    psi = target.center(cost.matrix(x, y)[0])  # all atoms tie; optimal, because the only plan costs the mean
    slopes = -torch.autograd.functional.jacobian(lambda v: cost.matrix(v[None], y)[0], x[0]) @ e

    def frozen_dual(t):
        return float(SemiDual(target, 0.0, cost).value(z - t, psi)[0])

    def transport_cost(t):
        return float(cost.matrix(z - t, y)[0] @ target.nu)

    left, right = one_sided(frozen_dual, theta, e)
    assert frozen_dual(theta) == pytest.approx(transport_cost(theta), abs=1e-12)
    # H times second derivatives, at most p / 0.05 = 20 for p = 1, and rounding 1e-15 / H.
    assert (left, right) == pytest.approx((float(slopes.max()), float(slopes.min())), abs=5e-5)
    assert one_sided(transport_cost, theta, e) == pytest.approx((float(target.nu @ slopes),) * 2, abs=5e-5)
    if float(slopes.max() - slopes.min()) > 1e-3:
        assert left - right > 9e-4


def mean_abs(a, b):
    """Integral of |a + b t| over [-1, 1], halved."""
    if abs(b) < 1e-12:
        return abs(a)
    return ((a + b) * abs(a + b) - (a - b) * abs(a - b)) / (4 * b)


def segment_dual(centre, half, y, theta_0, theta):
    """F(psi*(theta_0), theta) of zeta uniform on centre +- half, two atoms, ||x - y||^2, by its exact integral.

    psi* makes the two cells meet at the segment's centre, where each atom gets one half of it.
    """
    axis = y[0] - y[1]
    mean_cost = ((centre - theta - y.mean(0)).square().sum() + half.square().sum() / 3 + axis.square().sum() / 4).item()
    across, along = float((theta - theta_0) @ axis), -float(half @ axis)
    return mean_cost - mean_abs(across, along)


SEGMENTS = (POINTS, ANGLES, st.floats(0.1, 1), st.floats(0.2, 2), POINTS, ANGLES)


@PROPERTY
@given(*SEGMENTS)
def test_a_segment_on_the_interface_has_a_kink_wherever_it_lies(centre, angle, length, distance, theta_0, turn):
    # y_1 - y_2 is normal to the segment, whatever its place and angle and the place of theta_0.
    centre, theta, e = tensor(*centre), tensor(*theta_0), unit(turn)
    half, normal = length * unit(angle), unit(angle + math.pi / 2)
    y = torch.stack([distance / 2 * normal, -distance / 2 * normal])
    left, right = one_sided(lambda t: segment_dual(centre, half, y, theta, t), theta, e)
    jump = 2 * distance * abs(float(normal @ e))
    assert left - right == pytest.approx(jump, abs=1e-5)  # H times the second derivative 2, and rounding
    slope = 2 * float((theta - (centre - y.mean(0))) @ e)  # of W_c
    assert (left + right) / 2 == pytest.approx(slope, abs=1e-5)


@PROPERTY
@given(*SEGMENTS, st.floats(0.1, math.pi / 2))
def test_a_tilted_segment_has_none(centre, angle, length, distance, theta_0, turn, tilt):
    # Tilted against the interface, only its middle point ties: a null set, and Theorem 1 applies.
    centre, theta, e = tensor(*centre), tensor(*theta_0), unit(turn)
    half, normal = length * unit(angle + tilt), unit(angle + math.pi / 2)
    y = torch.stack([distance / 2 * normal, -distance / 2 * normal])
    left, right = one_sided(lambda t: segment_dual(centre, half, y, theta, t), theta, e)
    # The kink is smeared over along = length distance sin(tilt) >= 0.002: curvature distance^2 / along <= 2 / 0.01.
    assert left - right == pytest.approx(0, abs=5e-4)


def test_the_exact_integral_is_the_semiduals_mean():
    # On midpoints of the segment, with psi* the closed form's: c(centre - theta_0, .).
    centre, half, theta_0, theta = tensor(0.3, -0.2), tensor(0.4, 0.1), tensor(0.5, 0.5), tensor(0.1, 0.7)
    y = tensor((0.0, 0.6), (0.1, -0.5))
    t = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1
    z, target = centre + t[:, None] * half, DiscreteMeasure.from_atoms(y)
    psi = target.center(Cost().matrix((centre - theta_0)[None], y)[0])
    for point in (theta_0, theta):
        value = float(SemiDual(target, 0.0).value(z - point, psi)[0])
        assert segment_dual(centre, half, y, theta_0, point) == pytest.approx(value, abs=1e-6)  # midpoint rule
    x = z - theta_0
    assert segment_dual(centre, half, y, theta_0, theta_0) == pytest.approx(
        solve_exact(x, None, SemiDual.of(y, None, 0.0)).value, rel=1e-4
    )
