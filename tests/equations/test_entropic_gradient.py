"""grad W_c^lam(theta), for linear, affine and neural generators: formula, autograd and re-solved differences agree.

test_gradient_formula.py holds the formula against the transport cost along random directions for one small network.
Here every coordinate of theta is moved, psi* is solved anew at each perturbation, and the frozen dual is held beside.
Claims: A-gradient.
"""

import pytest
import torch
from torch import nn

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.gradient import theta_gradient_autograd, theta_gradient_explicit

STEP = 2e-5
POOL, ATOMS = 9, 4
LAMS = (0.05, 1.0, 20.0)
COSTS = {"p=1.5": Cost(1.5), "p=2": Cost(2.0), "p=3": Cost(3.0), "normalised": None}


class Scale(nn.Module):
    """g_theta(z) = theta z with one number theta."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.8], dtype=torch.float64))

    def forward(self, z):
        return self.theta * z


GENERATORS = {
    "scale": Scale,
    "linear": lambda: nn.Linear(2, 2, bias=False),
    "affine": lambda: nn.Linear(2, 2),
    "neural": lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)),
}


@pytest.fixture(params=GENERATORS)
def generator(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return GENERATORS[request.param]().double()


@pytest.fixture(scope="module")
def latents():
    return torch.randn(POOL, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture(scope="module")
def target():
    y = torch.randn(ATOMS, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return DiscreteMeasure(y, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))


@pytest.fixture(params=COSTS)
def cost(request, target):
    return COSTS[request.param] or Cost().normalized(target.y, target.nu)


def solve(generator, z, target, lam, cost):
    with torch.no_grad():
        return solve_exact(generator(z), None, SemiDual(target, lam, cost), tol=1e-12)


@torch.no_grad()
def differences(generator, value, step=STEP):
    """Central difference of value() in every coordinate of theta (p,)."""
    slopes = []
    for parameter in generator.parameters():
        for entry in parameter.view(-1).split(1):
            start, values = entry.clone(), []
            for sign in (1, -1):
                entry.copy_(start + sign * step)
                values.append(value())
            entry.copy_(start)
            slopes.append((values[0] - values[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


def flat(gradient):
    return torch.cat([g.flatten() for g in gradient])


@pytest.mark.parametrize("lam", LAMS)
def test_formula_autograd_and_the_resolved_costs_differences_agree(generator, latents, target, lam, cost):
    psi = solve(generator, latents, target, lam, cost).psi
    explicit = flat(theta_gradient_explicit(generator, latents, SemiDual(target, lam, cost), psi))
    autograd = flat(theta_gradient_autograd(generator, latents, SemiDual(target, lam, cost), psi))
    torch.testing.assert_close(explicit, autograd, rtol=1e-11, atol=1e-12)

    resolved = differences(generator, lambda: solve(generator, latents, target, lam, cost).value)
    # STEP^2 = 4e-10 times third derivatives of order 1 / lam^2 = 400 times cubes of ||z||, and rounding 1e-15 / STEP.
    torch.testing.assert_close(explicit, resolved, rtol=0, atol=2e-6)
    assert float(explicit.norm()) > 1e-2


@pytest.mark.parametrize("lam", LAMS)
def test_the_frozen_dual_has_the_same_gradient(generator, latents, target, lam, cost):
    psi = solve(generator, latents, target, lam, cost).psi
    explicit = flat(theta_gradient_explicit(generator, latents, SemiDual(target, lam, cost), psi))
    frozen = differences(generator, lambda: float(SemiDual(target, lam, cost).value(generator(latents), psi)[0]))
    torch.testing.assert_close(explicit, frozen, rtol=0, atol=2e-6)


@pytest.mark.parametrize("lam", LAMS)
def test_the_frozen_dual_falls_below_the_cost_by_the_square_of_the_distance(generator, latents, target, lam):
    # Both have the value and the slope of W at theta_0: W - F is of second order, and not negative.
    psi = solve(generator, latents, target, lam, Cost()).psi
    with torch.no_grad():
        start = [p.clone() for p in generator.parameters()]
        gaps = []
        for t in (0.0, 0.005, 0.01):
            for parameter, value in zip(generator.parameters(), start, strict=True):
                parameter.copy_((1 + t) * value + t)
            dual = float(SemiDual(target, lam).value(generator(latents), psi)[0])
            gaps.append(solve(generator, latents, target, lam, Cost()).value - dual)
    assert abs(gaps[0]) < 1e-12
    assert gaps[1] > 0
    assert gaps[2] / gaps[1] == pytest.approx(4, rel=0.15)  # third order: t / lam = 0.2 of the width at the smallest


@pytest.mark.parametrize("lam", LAMS)
def test_the_gauge_of_psi_does_not_enter(generator, latents, target, lam, cost):
    psi = solve(generator, latents, target, lam, cost).psi
    gradients = [
        flat(theta_gradient_explicit(generator, latents, SemiDual(target, lam, cost), psi + t))
        for t in (0.0, 3.7, -120.0)
    ]
    for other in gradients[1:]:  # psi + t loses 1e-14 of itself, over lam
        torch.testing.assert_close(gradients[0], other, rtol=0, atol=1e-13 / lam + 1e-12)


def test_scaling_the_cost_and_lam_scales_the_gradient(generator, latents, target):
    # (c / s, lam / s, psi / s) is the same problem in another unit.
    psi, s = solve(generator, latents, target, 0.3, Cost()).psi, 7.0
    small = solve(generator, latents, target, 0.3 / s, Cost(scale=s)).psi
    torch.testing.assert_close(psi / s, small, rtol=0, atol=1e-10)
    gradients = [
        flat(theta_gradient_explicit(generator, latents, *problem))
        for problem in ((SemiDual(target, 0.3), psi), (SemiDual(target, 0.3 / s, Cost(scale=s)), small))
    ]
    torch.testing.assert_close(gradients[0] / s, gradients[1], rtol=0, atol=1e-9)


def test_a_large_lam_leaves_the_gradient_of_the_product_plans_cost(generator, latents, target, cost):
    # W^lam -> E c(x, y) under independence as lam -> inf, by a term of order var(c) / lam.
    product = flat(torch.autograd.grad((cost.matrix(generator(latents), target.y) @ target.nu).mean(),
                                       list(generator.parameters())))  # fmt: skip
    distances = []
    for lam in (1e2, 1e3, 1e4):
        psi = solve(generator, latents, target, lam, cost).psi
        gradient = flat(theta_gradient_explicit(generator, latents, SemiDual(target, lam, cost), psi))
        distances.append(float((gradient - product).norm()))
    assert distances[2] < 0.02
    assert distances[1] / distances[2] == pytest.approx(10, rel=0.2)
