import math

import pytest
import torch
from instances import normal

from otgrad.costs import Cost
from otgrad.ctransform import assignment, c_transform
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import effective_atoms, marginal_error, objective
from otgrad.solvers.exact import solve_pool


@pytest.fixture
def problem():
    """A weighted pool of 9 points, 5 atoms of unequal mass (one 0) and a potential."""
    x, w, target, _, psi, _ = normal(9, 5, massless=[2])
    return x, w, target, psi


@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_objective_is_its_definition(problem, lam, weighted):
    x, w, target, psi = problem
    value, grad = objective(x, target, psi, lam, Cost(), w if weighted else None)
    w = w if weighted else torch.full_like(w, 1 / 9)
    expected = w @ c_transform(x, target, psi, lam, Cost()) + target.nu @ psi
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    marginal = w @ assignment(x, target, psi, lam, Cost())
    torch.testing.assert_close(grad, target.nu - marginal, rtol=0, atol=1e-12)
    assert marginal_error(grad) == pytest.approx(float((target.nu - marginal).abs().sum()), abs=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
def test_objective_is_at_most_the_transport_cost_and_reaches_it(problem, lam):
    x, w, target, psi = problem
    best = solve_pool(x, w, target.y, target.nu, lam)
    assert float(objective(x, target, psi, lam, Cost(), w)[0]) < best.value + best.gap - 1e-3
    assert float(objective(x, target, best.psi, lam, Cost(), w)[0]) == pytest.approx(best.value, abs=1e-10)


def test_effective_atoms(problem):
    x, _, target, psi = problem
    assert effective_atoms(x, target, psi, 0.0, Cost()) == 1
    # at large lam the assignment is nu itself: its perplexity, where the atom without mass has no part
    nu = target.positive.nu
    entropy = float(-(nu * nu.log()).sum())
    assert effective_atoms(x, target, psi, 1e9, Cost()) == pytest.approx(math.exp(entropy), rel=1e-6)
    uniform = DiscreteMeasure.from_atoms(target.y)
    assert effective_atoms(x, uniform, torch.zeros_like(psi), 1e9, Cost()) == pytest.approx(5, rel=1e-6)
