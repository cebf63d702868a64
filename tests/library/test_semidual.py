import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from instances import normal

from otgrad import Cost, DiscreteMeasure, solve_certified, solve_exact, solve_fixed_source, solve_pool
from otgrad.ctransform import assignment, c_transform
from otgrad.semidual import SemiDual, marginal_error


@pytest.fixture
def problem():
    """A weighted pool of 9 points, 5 atoms of unequal mass (one 0) and a potential."""
    x, w, target, _, psi, _ = normal(9, 5, massless=[2])
    return x, w, target, psi


@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_objective_is_its_definition(problem, lam, weighted):
    x, w, target, psi = problem
    value, grad = SemiDual(target, lam).value(x, psi, w if weighted else None)
    w = w if weighted else torch.full_like(w, 1 / 9)
    expected = w @ c_transform(x, target, psi, lam, Cost()) + target.nu @ psi
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    marginal = w @ assignment(x, target, psi, lam, Cost())
    torch.testing.assert_close(grad, target.nu - marginal, rtol=0, atol=1e-12)
    assert marginal_error(grad) == pytest.approx(float((target.nu - marginal).abs().sum()), abs=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
def test_objective_is_at_most_the_transport_cost_and_reaches_it(problem, lam):
    x, w, target, psi = problem
    best = solve_exact(x, w, SemiDual(target, lam))
    assert float(SemiDual(target, lam).value(x, psi, w)[0]) < best.value + best.gap - 1e-3
    assert float(SemiDual(target, lam).value(x, best.psi, w)[0]) == pytest.approx(best.value, abs=1e-10)


def test_effective_atoms(problem):
    x, _, target, psi = problem
    assert SemiDual(target, 0.0).effective_atoms(x, psi) == 1
    # at large lam the assignment is nu itself: its perplexity, where the atom without mass has no part
    nu = target.positive.nu
    entropy = float(-(nu * nu.log()).sum())
    assert SemiDual(target, 1e9).effective_atoms(x, psi) == pytest.approx(math.exp(entropy), rel=1e-6)
    uniform = DiscreteMeasure.from_atoms(target.y)
    assert SemiDual(uniform, 1e9).effective_atoms(x, torch.zeros_like(psi)) == pytest.approx(5, rel=1e-6)


def test_it_is_made_of_tensors_arrays_or_a_law_and_stays_as_it_is(problem):
    _, _, target, _ = problem
    made = SemiDual.of(target, None, 1, "euclidean")
    assert made == SemiDual(target, 1.0, Cost(1.0)) != made.at(0.5) == SemiDual(target, 0.5, Cost(1.0))
    nu = 3 * target.nu
    for y, masses in ((target.y.numpy(), nu.numpy()), (target.y.clone().requires_grad_(), nu.requires_grad_())):
        law = SemiDual.of(y, masses, 0.1).law
        assert torch.equal(law.y, target.y)
        torch.testing.assert_close(law.nu, target.nu, rtol=1e-15, atol=0)
    with pytest.raises(FrozenInstanceError):
        made.lam = 0.1


@pytest.mark.parametrize("make", [SemiDual, lambda *given: SemiDual.of(given[0], None, *given[1:])])
def test_what_is_no_semidual_is_refused(problem, make):
    for lam in (-1.0, math.nan, math.inf, "0.1", None):
        with pytest.raises(ValueError, match="^lam = .*: give a finite number >= 0"):
            make(problem[2], lam)
    with pytest.raises(ValueError, match="^(law|y) is of type list: give "):
        make([[0.0]], 0.1)
    with pytest.raises(ValueError, match="^nu is that of the measure"):
        SemiDual.of(problem[2], [1.0] * 5, 0.1)


def test_the_former_names_of_the_solvers_give_the_same(problem):
    x, w, target, _ = problem
    for new, old in (
        (solve_exact(x, w, SemiDual(target, 0.1)), solve_pool(x, w, target.y, target.nu, 0.1)),
        (solve_certified(x, w, SemiDual(target, 0.1)), solve_fixed_source(x, target, 0.1, "sqeuclidean", 0.01, w)),
    ):
        assert replace(new, psi=0) == replace(old, psi=0)
        assert torch.equal(new.psi, old.psi)
