"""What the theorems assume, tried where it does not hold; and what they do not assume, tried where one might fear it.

Violated: a generator that is not Lipschitz in theta, a cost that is not differentiable on the diagonal (p <= 1).
Allowed: atoms without mass, an atom given in several pieces. Predicted: the variance that lam takes from a Gaussian.
Claims: A-assumptions.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import gaussian_cost, on_line, powers_of_ten, problems
from torch import nn

from companion.algorithms.algorithm1 import algorithm1
from companion.algorithms.problem import Problem
from otgrad import Cost, SemiDual, solve_exact
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad
from otgrad.gradient import theta_gradient_autograd, theta_gradient_explicit
from otgrad.measures import DiscreteMeasure, Normal
from otgrad.solvers.stochastic import AsgdState, StepRule

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
LAMS = powers_of_ten(-1, 2)
PROBLEMS = problems(massless=(0, 0), most=(6, 5, 3))
ROUNDING = 1e-12  # values of order 10, a few roundings of 1e-15 each, over lam >= 0.1


class SquareRoot(nn.Module):
    """g_theta(z) = z + sign(theta) |theta|^(1/2): continuous in theta, with an infinite slope at 0."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, z):
        return z + self.theta.sign() * self.theta.abs().sqrt()


LAW = DiscreteMeasure.from_atoms(on_line(0, 1), torch.tensor([1.0, 2.0]))
LATENTS = on_line(1.3, 2, 2.4)


def square_root_gradient(theta, lam, form=theta_gradient_explicit):
    with torch.no_grad():
        psi = solve_exact(SquareRoot(theta)(LATENTS), None, SemiDual(LAW, lam)).psi
    return float(form(SquareRoot(theta), LATENTS, SemiDual(LAW, lam), psi)[0])


@pytest.mark.parametrize("lam", [0.1, 1.0])
def test_a_generator_that_is_not_lipschitz_has_a_gradient_without_bound(lam):
    # dW/dtheta = (slope of W in the translation) / (2 |theta|^(1/2)): times |theta|^(1/2) it has a limit, not 0.
    scaled = [square_root_gradient(theta, lam) * theta**0.5 for theta in (1e-4, 1e-6, 1e-8)]
    mean_gap = float(LATENTS.mean() - LAW.nu @ LAW.y[:, 0])  # a translation t costs (t + mean_gap)^2 + constant
    # off by theta^(1/2), what the translation itself adds to the gap
    assert scaled == pytest.approx([mean_gap] * 3, abs=0.02)
    assert abs(scaled[-1] - mean_gap) < 2e-4
    with torch.no_grad():
        here, above = (solve_exact(SquareRoot(t)(LATENTS), None, SemiDual(LAW, lam)).value for t in (0.0, 1e-8))
    assert (above - here) / 1e-8 > 1e4  # the cost itself, not only the formula
    assert above - here < 1e-3  # though it is continuous


@pytest.mark.parametrize("form", [theta_gradient_explicit, theta_gradient_autograd])
@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_where_the_slope_is_infinite_the_gradient_is_nan(lam, form):
    # sign(0) times 1 / 0. No value is made up, and none is caught here: the gradient functions only differentiate.
    assert math.isnan(square_root_gradient(0.0, lam, form))


def test_algorithm_1_stops_at_the_first_psi_step_after_a_gradient_that_is_nan():
    generator, target = SquareRoot(0.0), DiscreteMeasure.from_atoms(on_line(0, 1))
    problem = Problem(Normal(1, dtype=torch.float64), SemiDual(target, 0.5))
    optimizer, rng = torch.optim.SGD(generator.parameters(), lr=0.1), torch.Generator().manual_seed(0)
    steps = algorithm1(generator, problem, AsgdState.zeros(target), optimizer, StepRule(), 3, 8, rng)
    _, value = next(steps)
    assert math.isfinite(value)  # taken before the step
    assert math.isnan(generator.theta.detach())
    with pytest.raises(FloatingPointError, match="the points are not finite"):
        next(steps)


def one_sided_slopes(function, x, h):
    here = function(x)
    return (here - function(x - h)) / h, (function(x + h) - here) / h


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_for_p_1_a_point_on_an_atom_has_two_slopes_and_we_return_their_mean(lam):
    target, psi, x = DiscreteMeasure.from_atoms(on_line(0, 1, 3)), torch.tensor([0.0, 0.2, 0.1]).double(), on_line(1)
    cost, share = Cost(1.0), float(assignment(x, target, psi, lam, Cost(1.0))[0, 1])
    below, above = one_sided_slopes(lambda v: float(c_transform(v, target, psi, lam, cost)), x, 1e-7)
    # second derivatives of order 1 / lam: off by 1e-7 / lam, and by 1e-16 / h of rounding
    assert above - below == pytest.approx(2 * share, abs=1e-6)
    assert share > 0.3
    slope = float(x_grad(x, target, psi, lam, cost)[1])
    assert slope == pytest.approx((above + below) / 2, abs=1e-6)
    variable = x.clone().requires_grad_()
    (autograd,) = torch.autograd.grad(c_transform(variable, target, psi, lam, cost).sum(), variable)
    assert float(autograd) == pytest.approx(slope, abs=ROUNDING)


def test_for_p_1_the_cost_of_transport_itself_has_a_kink_there_at_every_lam():
    # One point: W^lam(x) = sum_j nu_j |x - y_j|. Entropy does not smooth what the cost itself has not.
    y, nu = on_line(0, 1, 3), torch.tensor([0.2, 0.5, 0.3]).double()
    for lam in (0.1, 1.0, 10.0):
        semidual = SemiDual.of(y, nu, lam, 1.0)
        below, above = one_sided_slopes(lambda v, f=semidual: solve_exact(v, None, f).value, on_line(1), 1e-5)
        # solve_exact's 1e-10 times potentials of order 1, over h
        assert (below, above) == pytest.approx((0.2 - 0.5 - 0.3, 0.2 + 0.5 - 0.3), abs=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_for_p_below_1_the_slope_at_an_atom_is_infinite_and_counts_as_0(lam):
    target, psi, x = DiscreteMeasure.from_atoms(on_line(0, 1, 3)), torch.zeros(3).double(), on_line(1)
    cost = Cost(0.5)
    steepness = [one_sided_slopes(lambda v: float(c_transform(v, target, psi, lam, cost)), x, h) for h in (1e-4, 1e-8)]
    for coarse, fine in zip(*steepness, strict=True):
        assert fine / coarse == pytest.approx(100, rel=0.05)  # like h^(-1/2)
    slope = float(x_grad(x, target, psi, lam, cost)[1])
    pi = assignment(x, target, psi, lam, cost)[0]
    others = 0.5 * (
        pi[0] - pi[2] / math.sqrt(2)
    )  # d/dx (x - 0)^(1/2) = 1/2 and d/dx (3 - x)^(1/2) = -2^(-1/2) / 2 at 1
    assert slope == pytest.approx(float(others), abs=ROUNDING)
    variable = x.clone().requires_grad_()
    (autograd,) = torch.autograd.grad(c_transform(variable, target, psi, lam, cost).sum(), variable)
    assert float(autograd) == pytest.approx(slope, abs=ROUNDING)


@pytest.mark.parametrize("lam", [0.0, 0.3])
@pytest.mark.parametrize("p", [1.2, 2.0, 3.0])
def test_for_p_above_1_an_atom_is_a_point_like_any_other(p, lam):
    target, psi, x = DiscreteMeasure.from_atoms(on_line(0, 1, 3)), torch.zeros(3).double(), on_line(1)
    below, above = one_sided_slopes(lambda v: float(c_transform(v, target, psi, lam, Cost(p))), x, 1e-10)
    # |h|^p / h = 1e-2 at p = 1.2; rounding 1e-16 / h = 1e-6
    atol = 0.03 if p < 2 else 1e-5
    assert below == pytest.approx(above, abs=atol)
    assert float(x_grad(x, target, psi, lam, Cost(p))[1]) == pytest.approx(above, abs=atol)


@pytest.mark.parametrize("p", [0.0, -1.0, math.inf, math.nan])
def test_exponents_that_define_no_cost_are_refused(p):
    with pytest.raises(ValueError, match="positive finite"):
        Cost(p)


def inserted(tensor, k, row):
    return torch.cat([tensor[:k], torch.as_tensor(row, dtype=tensor.dtype).expand(1, *tensor.shape[1:]), tensor[k:]])


def everything(x, target, psi, lam, cost):
    """What there is per point, and what there is per atom (atoms last)."""
    values, psi_gradient = psi_step(x, target, psi, lam, cost)
    per_point = c_transform(x, target, psi, lam, cost), values, *x_grad(x, target, psi, lam, cost)
    return per_point, (psi_gradient, assignment(x, target, psi, lam, cost))


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0), st.integers(0, 5), st.floats(-100, 100))
def test_an_atom_without_mass_is_seen_by_nothing(problem, lam, k, its_psi):
    x, _, plain, cost, psi, _ = problem
    k = min(k, plain.n)
    more = DiscreteMeasure.from_atoms(
        inserted(plain.y, k, x[0]), inserted(plain.nu, k, 0.0)
    )  # on top of a point, where it hurts
    points, atoms = everything(x, plain, psi, lam, cost)
    points_more, atoms_more = everything(x, more, inserted(psi, k, its_psi), lam, cost)
    for one, two in zip(points, points_more, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=ROUNDING)
    for one, two in zip(atoms, atoms_more, strict=True):
        assert not two[..., k].any()
        others = [j for j in range(more.n) if j != k]
        torch.testing.assert_close(two[..., others], one, rtol=0, atol=ROUNDING)


@PROPERTY
@given(PROBLEMS, LAMS, st.integers(0, 5))
def test_an_atom_without_mass_leaves_the_optimum_alone(problem, lam, k):
    x, _, law, cost, *_ = problem
    k = min(k, law.n)
    before = solve_exact(x, None, SemiDual(law, lam, cost))
    after = solve_exact(x, None, SemiDual.of(inserted(law.y, k, x[0]), inserted(law.nu, k, 0.0), lam, cost))
    # the same matrix of costs goes in, but for the rounding of nu's sum
    assert after.value == pytest.approx(before.value, abs=1e-10)
    torch.testing.assert_close(after.psi, inserted(before.psi, k, 0.0), rtol=0, atol=1e-8 * max(1, lam))


def split(law, j, share):
    """Give atom j in two pieces, the second one last."""
    pieces = torch.cat([law.nu, share * law.nu[j : j + 1]])
    pieces[j] *= 1 - share
    return torch.cat([law.y, law.y[j : j + 1]]), pieces


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0), st.integers(0, 4), st.floats(0.1, 0.9))
def test_an_atom_in_two_pieces_gives_the_same_transform_and_its_shares_add_up(problem, lam, j, share):
    x, _, whole, cost, psi, _ = problem
    j %= whole.n
    pieces = DiscreteMeasure.from_atoms(*split(whole, j, share))
    psi_pieces = torch.cat([psi, psi[j : j + 1]])
    for function in (c_transform, lambda *a: x_grad(*a)[0], lambda *a: x_grad(*a)[1]):
        one, two = function(x, whole, psi, lam, cost), function(x, pieces, psi_pieces, lam, cost)
        torch.testing.assert_close(one, two, rtol=0, atol=ROUNDING)
    pi, pi_pieces = assignment(x, whole, psi, lam, cost), assignment(x, pieces, psi_pieces, lam, cost)
    # in proportion to the masses; at lam = 0, where twins tie, all to the first
    given_away = 0.0 if lam == 0 else share
    torch.testing.assert_close(pi_pieces[:, -1], given_away * pi[:, j], rtol=0, atol=ROUNDING)
    torch.testing.assert_close(pi_pieces[:, j], (1 - given_away) * pi[:, j], rtol=0, atol=ROUNDING)


@PROPERTY
@given(PROBLEMS, LAMS, st.integers(0, 4), st.floats(0.1, 0.9))
def test_an_atom_in_two_pieces_has_one_potential_and_the_same_optimum(problem, lam, j, share):
    x, _, law, cost, *_ = problem
    j %= law.n
    laws = (law.y, law.nu), split(law, j, share)
    whole, pieces = (solve_exact(x, None, SemiDual.of(*atoms, lam, cost)) for atoms in laws)
    assert pieces.value == pytest.approx(whole.value, abs=1e-9)
    # each solution is within its marginal error 1e-10, over a curvature of min nu / lam, of the optimum
    atol = 1e-7 * max(1, lam)
    torch.testing.assert_close(pieces.psi, torch.cat([whole.psi, whole.psi[j : j + 1]]), rtol=0, atol=atol)


@PROPERTY
@given(PROBLEMS, LAMS, st.integers(0, 4), st.floats(0.1, 0.9), st.floats(-2, 2))
def test_twins_of_unequal_potential_act_as_one_atom_of_the_soft_maximum(problem, lam, j, share, excess):
    x, _, whole, cost, psi, _ = problem
    j %= whole.n
    pieces = DiscreteMeasure.from_atoms(*split(whole, j, share))
    for value in (lam, 0.0):
        merged = psi.clone()
        soft = value * math.log(1 - share + share * math.exp(excess / value)) if value else max(excess, 0)
        merged[j] += soft
        one = c_transform(x, whole, merged, value, cost)
        two = c_transform(x, pieces, torch.cat([psi, psi[j : j + 1] + excess]), value, cost)
        torch.testing.assert_close(one, two, rtol=0, atol=10 * ROUNDING)  # lam log(1 + small) at lam = 100


# Janati, Muzellec, Peyre, Cuturi 2020, with lam = 2 q: entropic transport between Gaussians has quadratic potentials,
# which Gauss-Hermite quadrature integrates well if lam is of the order of the variances: 40 nodes, to 1e-9.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
Z, MASS = torch.tensor(NODES)[:, None], torch.tensor(WEIGHTS / WEIGHTS.sum())


def slope_in_s(s, e, lam):
    """Derivative of W^lam(N(0, s^2), N(0, e)) by the gradient formula, for the generator g_s(z) = s z."""
    target = DiscreteMeasure(math.sqrt(e) * Z, MASS)
    psi = solve_exact(s * Z, MASS, SemiDual.of(target.y, MASS, lam)).psi
    return float((MASS * Z[:, 0]) @ x_grad(s * Z, target, psi, lam, Cost())[1][:, 0])


@pytest.mark.parametrize(("e", "lam"), [(1.0, 1.0), (1.0, 3.0), (0.3, 1.0), (2.0, 5.0)])
@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 1.5])
def test_gaussians_cost_their_closed_form(s, e, lam):
    ours = solve_exact(s * Z, MASS, SemiDual.of(math.sqrt(e) * Z, MASS, lam)).value
    assert ours == pytest.approx(gaussian_cost(s**2, e, lam), abs=1e-8)
    if s > 0:
        h = 1e-5
        slope = (gaussian_cost((s + h) ** 2, e, lam) - gaussian_cost((s - h) ** 2, e, lam)) / (2 * h)
        assert slope_in_s(s, e, lam) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(("e", "lam"), [(1.0, 1.0), (1.0, 1.5), (0.6, 0.8), (2.0, 3.5)])
def test_the_best_gaussian_has_lost_half_of_lam_in_variance(e, lam):
    """Claims: A-shrinkage."""
    best = math.sqrt(e - lam / 2)
    assert slope_in_s(best, e, lam) == pytest.approx(0, abs=1e-7)
    assert slope_in_s(0.95 * best, e, lam) < -1e-3
    assert slope_in_s(1.05 * best, e, lam) > 1e-3
    assert slope_in_s(math.sqrt(e), e, lam) > 0.1  # the data's own law is not the minimiser


@pytest.mark.parametrize(("e", "lam"), [(1.0, 2.0), (1.0, 3.0), (0.3, 1.0)])
def test_from_lam_twice_the_variance_on_the_best_gaussian_is_a_point(e, lam):
    """Claims: A-shrinkage."""
    assert all(slope_in_s(s, e, lam) > 0 for s in (0.05, 0.2, 0.5, 1.0))
    point = torch.zeros(1, 1).double()
    assert solve_exact(point, None, SemiDual.of(math.sqrt(e) * Z, MASS, lam)).value == pytest.approx(e, abs=1e-10)


def test_a_linear_generator_on_quantiles_shrinks_alike():
    # Equal masses, as Algorithm 1 has them: 100 midpoint quantiles of the normal law miss 1% of its variance.
    """Claims: A-shrinkage."""
    levels = (torch.arange(100).double() + 0.5) / 100
    z = math.sqrt(2) * torch.special.erfinv(2 * levels - 1)[:, None]
    target, lam = DiscreteMeasure.from_atoms(z), 1.0
    best = math.sqrt(float(z.square().mean()) - lam / 2)
    signs = []
    for s in (0.98 * best, 1.02 * best):
        generator = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(generator.weight, s)
        psi = solve_exact(s * z, None, SemiDual.of(z, None, lam)).psi
        signs.append(float(theta_gradient_explicit(generator, z, SemiDual(target, lam), psi)[0]))
    assert signs[0] < 0 < signs[1]
