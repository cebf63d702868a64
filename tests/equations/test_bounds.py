"""Two bounds of the entropic cost without a potential: blurred likelihood from below, copying the data from above.

Claims: A-two-bounds.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.shrinkage.bounds import copying_bound, copying_threshold, likelihood_bound
from companion.shrinkage.spectrum import cost_bound, critical_lam, spectrum
from otgrad import DiscreteMeasure, solve_pool
from otgrad.costs import Cost
from otgrad.ctransform import assignment


def value(model, nu, lam, cost):
    return solve_pool(model.points, model.nu, nu.points, nu.nu, lam, cost).value


def law(rng, n, d):
    return DiscreteMeasure.from_atoms(torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.random(n) + 0.05))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 7), st.sampled_from([1.0, 1.5, 2.0]), st.floats(0.02, 5)
)
def test_likelihood_bounds_the_cost_from_below(seed, m, n, p, lam):
    rng = np.random.default_rng(seed)
    model, nu = law(rng, m, 2), law(rng, n, 2)
    assert likelihood_bound(model, nu, lam, Cost(p)) <= value(model, nu, lam, Cost(p)) + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.sampled_from([1.0, 1.5, 2.0]), st.floats(0.02, 5))
def test_copying_bounds_the_cost_of_the_data_itself_from_above(seed, n, p, lam):
    nu = law(np.random.default_rng(seed), n, 2)
    assert value(nu, nu, lam, Cost(p)) <= copying_bound(nu, lam) + 1e-9


@pytest.mark.parametrize("lam", [0.3, 1.0, 2.5])
def test_the_lower_bound_is_reached_at_the_best_law(lam):
    """The best law by expectation maximisation: points and masses of the mixture are moved."""
    y = torch.tensor([[-1.0], [-0.6], [0.2], [1.1]], dtype=torch.float64)
    nu, x = DiscreteMeasure.from_atoms(y), y + torch.tensor([[0.3], [-0.2], [0.1], [0.0]], dtype=torch.float64)
    model = DiscreteMeasure.from_atoms(x)
    for _ in range(20_000):
        shares = assignment(y, model, torch.zeros(4, dtype=torch.float64), lam, Cost())  # (data, points)
        masses = nu.nu @ shares
        model = DiscreteMeasure.from_atoms((shares * nu.nu[:, None]).T @ y / masses[:, None], masses)
    assert value(model, nu, lam, Cost()) == pytest.approx(likelihood_bound(model, nu, lam, Cost()), abs=1e-4)
    elsewhere = DiscreteMeasure.from_atoms(x)
    assert value(elsewhere, nu, lam, Cost()) > likelihood_bound(elsewhere, nu, lam, Cost()) + 1e-3


def test_at_the_collapse_both_are_the_variance():
    """From lam = 2 e_1 on the best model is the mean: no copy is as good there."""
    y = torch.tensor([[-1.0, 0.0], [1.0, 0.2], [0.1, -0.3]], dtype=torch.float64)
    nu, mean = DiscreteMeasure.from_atoms(y), DiscreteMeasure.from_atoms(y.mean(0, keepdim=True))
    eigenvalues, _ = spectrum(y, 1.0)
    lam, variance = 1.2 * critical_lam(eigenvalues), float(eigenvalues.sum())
    assert value(mean, nu, lam, Cost()) == pytest.approx(variance, abs=1e-9)
    assert likelihood_bound(mean, nu, lam, Cost()) == pytest.approx(variance, abs=1e-9)
    assert copying_bound(nu, lam) > variance


def test_where_copying_becomes_the_worse_bound():
    """Equal eigenvalues e < lam / 2 at the crossing: it is where lam log n is their sum."""
    eigenvalues = torch.full((3,), 0.1, dtype=torch.float64)
    found = copying_threshold(3, lambda lam: cost_bound(eigenvalues, lam))
    assert found == pytest.approx(0.3 / math.log(3), abs=1e-12)
    assert found > critical_lam(eigenvalues)
