"""The theta-gradient with psi fixed: explicit form = autograd of the definition = finite differences."""

import pytest
import torch
from instances import normal
from torch import nn

from otgrad import Cost, DiscreteMeasure, SemiDual
from otgrad.ctransform import c_transform
from otgrad.gradient import theta_gradient_autograd, theta_gradient_explicit

STEP = 1e-5  # central differences: an error of STEP^2 times the third derivative, and 1e-16 / STEP = 1e-11 of rounding


def linear():
    return nn.Linear(3, 2)


def neural():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


@pytest.fixture(params=[linear, neural], ids=["linear", "neural"])
def problem(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = request.param().double()
    z, target = normal(13, 1, 3, seed=1).x, normal(1, 6, seed=1, massless=[2])
    return generator, z, target.law, 0.3 * target.psi


def finite_differences(generator, objective):
    """Central differences of a function of the generator, one tensor per parameter."""
    slopes = []
    for parameter in generator.parameters():
        slope, flat = torch.zeros_like(parameter), parameter.data.view(-1)
        for j in range(len(flat)):
            values = []
            for sign in (1, -1):
                flat[j] += sign * STEP
                values.append(objective())
                flat[j] -= sign * STEP
            slope.view(-1)[j] = (values[0] - values[1]) / (2 * STEP)
        slopes.append(slope.detach())
    return slopes


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_explicit_autograd_and_finite_differences_agree(problem, p, lam):
    generator, z, target, psi = problem
    cost = Cost(p)
    explicit = theta_gradient_explicit(generator, z, SemiDual(target, lam, cost), psi)
    autograd = theta_gradient_autograd(generator, z, SemiDual(target, lam, cost), psi)
    with torch.no_grad():
        if lam == 0:  # away from ties, where F(psi, .) is differentiable
            gaps = (cost.matrix(generator(z), target.positive.y) - psi[target.support]).sort(dim=1).values
            assert float((gaps[:, 1] - gaps[:, 0]).min()) > 100 * STEP
        numeric = finite_differences(generator, lambda: float(c_transform(generator(z), target, psi, lam, cost).mean()))
    for e, a, f, parameter in zip(explicit, autograd, numeric, generator.parameters(), strict=True):
        assert e.shape == parameter.shape
        torch.testing.assert_close(e, a, rtol=0, atol=1e-13)
        # the third derivative grows as 1 / lam^2: 1e-10 * 400 at lam = .05
        torch.testing.assert_close(e, f, rtol=0, atol=1e-7)
    assert max(float(e.abs().max()) for e in explicit) > 1e-2


def test_at_a_tie_the_two_forms_may_pick_different_cells_but_each_is_one_sided():
    # x = 0 between y = -1 and y = 1: min of two costs, slopes 2 and -2, of which each form returns a mixture.
    target = DiscreteMeasure.from_atoms(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    generator = nn.Linear(1, 1, bias=False).double()
    z, psi = torch.zeros(1, 1).double(), torch.zeros(2).double()
    shifted = nn.Sequential(generator, nn.Linear(1, 1).double())
    with torch.no_grad():
        shifted[1].weight.fill_(1.0)
        shifted[1].bias.fill_(0.0)
    for form in (theta_gradient_explicit, theta_gradient_autograd):
        (_, _, slope) = form(shifted, z, SemiDual(target, 0.0), psi)
        assert abs(float(slope)) == 2  # the derivative of the cost itself at the tie is 0


def test_generators_in_training_mode_keep_no_gradients(problem):
    generator, z, target, psi = problem
    theta_gradient_explicit(generator, z, SemiDual(target, 0.1), psi)
    assert all(parameter.grad is None for parameter in generator.parameters())
