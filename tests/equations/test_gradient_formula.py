"""grad W_c^lam(theta) = E[(d_theta g_theta(z))^T grad psi*^{c,lam}(g_theta(z))], with psi* the optimum at theta.

The left side is a finite difference of the transport cost, solved anew at every theta; the right side is the
formula with psi* held fixed. The latent law is a fixed pool of equal masses, so that both are exact.
Claims: A-gradient.
"""

import pytest
import torch
from torch import nn

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.gradient import theta_gradient_explicit

STEP = 1e-4


def draw(pool, atoms, d, seed=3):
    rng = torch.Generator().manual_seed(seed)
    z, y = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((pool, 2), (atoms, d)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, d)).double()
    return generator, z, y


def directional_difference(generator, direction, value):
    """Central difference of value() along a direction in theta."""
    values = []
    for sign in (1, -2, 1):  # to + STEP, to - STEP, and back
        for parameter, slope in zip(generator.parameters(), direction, strict=True):
            parameter.data += sign * STEP * slope
        values.append(value())
    return (values[0] - values[1]) / (2 * STEP)


def directions(generator, count):
    rng = torch.Generator().manual_seed(8)
    for _ in range(count):
        yield [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in generator.parameters()]


@pytest.mark.parametrize("lam", [0.05, 1.0, 100.0])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_entropic_cost_has_the_formulas_gradient(p, lam):
    generator, z, y = draw(11, 5, 2)
    nu, cost = torch.tensor([1.0, 2.0, 0.0, 3.0, 4.0], dtype=torch.float64) / 10, Cost(p, scale=1.7)

    @torch.no_grad()
    def transport_cost():
        return solve_exact(generator(z), None, SemiDual.of(y, nu, lam, cost)).value

    with torch.no_grad():
        psi = solve_exact(generator(z), None, SemiDual.of(y, nu, lam, cost)).psi
    gradient = theta_gradient_explicit(generator, z, SemiDual(DiscreteMeasure(y, nu), lam, cost), psi)
    for direction in directions(generator, 3):
        formula = sum(float((g * v).sum()) for g, v in zip(gradient, direction, strict=True))
        # STEP^2 = 1e-8 times a third derivative of order 1 / lam^2 = 400 at the smallest lam
        assert directional_difference(generator, direction, transport_cost) == pytest.approx(formula, abs=2e-5)
        assert abs(formula) > 1e-4


def test_psi_that_is_not_optimal_gives_another_gradient():
    generator, z, y = draw(11, 5, 2)
    target = DiscreteMeasure.from_atoms(y)
    with torch.no_grad():
        psi = solve_exact(generator(z), None, SemiDual.of(y, None, 0.05)).psi
    optimal, other = (theta_gradient_explicit(generator, z, SemiDual(target, 0.05), v) for v in (psi, 0 * psi))
    assert max(float((a - b).abs().max()) for a, b in zip(optimal, other, strict=True)) > 1e-2


def test_theorem_1_where_its_hypothesis_holds():
    # On a line, with as many points as atoms, W is the cost of the sorted matching: differentiable at a theta where
    # no two points coincide. F(psi*, .) is differentiable there too if every point lies inside one cell, and then
    # the formula at lam = 0 gives the gradient of W.
    """Claims: A-envelope."""
    generator, z, y = draw(7, 7, 1)
    y = 1.5 * y.sort(0).values

    @torch.no_grad()
    def transport_cost():
        return float((generator(z).sort(0).values - y).square().mean())

    with torch.no_grad():
        x = generator(z)
        psi = solve_exact(x, None, SemiDual.of(y, None, 0.0)).psi
        gaps = (Cost().matrix(x, y) - psi).sort(dim=1)
        assert float((gaps.values[:, 1] - gaps.values[:, 0]).min()) > 100 * STEP
        assert gaps.indices[:, 0].argsort().tolist() == x[:, 0].argsort().tolist()
    gradient = theta_gradient_explicit(generator, z, SemiDual(DiscreteMeasure.from_atoms(y), 0.0), psi)
    for direction in directions(generator, 3):
        formula = sum(float((g * v).sum()) for g, v in zip(gradient, direction, strict=True))
        assert directional_difference(generator, direction, transport_cost) == pytest.approx(formula, abs=1e-6)


def test_entropic_gradient_tends_to_the_unregularised_one_where_that_exists():
    generator, z, y = draw(7, 7, 1)
    y, target = 1.5 * y, DiscreteMeasure.from_atoms(1.5 * y)
    with torch.no_grad():
        x = generator(z)
    gradients = [
        torch.cat([g.flatten() for g in theta_gradient_explicit(generator, z, f, solve_exact(x, None, f).psi)])
        for f in (SemiDual(target, lam) for lam in (0.0, 1e-4, 0.1, 1.0))
    ]
    distances = [float((g - gradients[0]).norm()) for g in gradients[1:]]
    assert distances[0] < 1e-6
    assert distances == sorted(distances)
