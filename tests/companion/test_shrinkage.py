"""The blur that lam brings, in closed form, against the exact solver and other models. Claims: A-bound."""

import pytest
import torch

from companion.counterexample import theory
from companion.shrinkage import spectrum as shrinkage
from otgrad import SemiDual, solve_exact


def points(n=400, d=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=rng, dtype=torch.float64) * torch.tensor(
        [3.0, 2, 1, 0.5, 0], dtype=torch.float64
    )


def test_the_spectrum_is_the_covariances():
    y = points()
    values, axes = shrinkage.spectrum(y, 2.0)
    torch.testing.assert_close(axes @ torch.diag(values) @ axes.T, torch.cov(y.T, correction=0) / 2)
    assert bool((values.diff() <= 0).all())
    assert float(values.min()) == 0
    torch.testing.assert_close(shrinkage.variances_along(y, axes, 2.0), values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variance", [0.3, 1.7])
@pytest.mark.parametrize("lam", [0.01, 0.5, 0.6, 2.0, 5.0])
def test_in_one_dimension_it_is_the_cost_of_the_best_gaussian(variance, lam):
    best = max(theory.gaussian_minimiser(variance, lam), 1e-9)
    expected = theory.gaussian_cost(best, variance, lam)
    assert shrinkage.cost_bound(torch.tensor([variance]).double(), lam) == pytest.approx(expected, abs=1e-6)


def test_directions_add_up_and_vanish_one_by_one():
    e = torch.tensor([2.0, 1.0, 0.25]).double()
    for lam in (0.2, 0.8, 3.0, 9.0):
        parts = sum(shrinkage.cost_bound(e[k : k + 1], lam) for k in range(3))
        assert shrinkage.cost_bound(e, lam) == pytest.approx(parts)
    assert shrinkage.shrunk(e, 1.0).tolist() == [1.5, 0.5, 0.0]
    assert shrinkage.critical_lam(e) == 4.0
    assert float(shrinkage.shrunk(e, 4.0).sum()) == 0
    assert shrinkage.cost_bound(e, 4.0) == pytest.approx(3.25)
    assert shrinkage.cost_bound(e, 0.0) == 0


@pytest.mark.parametrize("lam", [0.05, 0.5, 2.0, 8.0])
def test_it_bounds_the_least_cost_of_data_that_are_not_gaussian(lam):
    # Two atoms: the best of many models on a grid of supports and weights costs no more, and from the critical lam on
    # the mean alone costs as much.
    y = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    bound = shrinkage.cost_bound(shrinkage.spectrum(y, 1.0)[0], lam)
    at = torch.linspace(0, 1.2, 25, dtype=torch.float64)
    costs = [solve_exact(torch.stack([-a, a])[:, None], None, SemiDual.of(y, None, lam)).value for a in at]
    assert min(costs) <= bound + 1e-9
    if lam >= 2.0:
        assert min(costs) == pytest.approx(bound, abs=1e-8)
        assert costs[0] == pytest.approx(bound, abs=1e-8)
    else:
        assert min(costs) < bound - 1e-3


def test_lams_reach_from_no_loss_to_the_collapse():
    e = torch.tensor([0.05, 0.01]).double()
    lams = shrinkage.lams_to_draw(e)
    assert lams[0] == pytest.approx(1e-4 * shrinkage.critical_lam(e))
    assert lams[-1] == pytest.approx(10 * shrinkage.critical_lam(e))
    assert shrinkage.lams_to_draw(torch.zeros(3)) == []
