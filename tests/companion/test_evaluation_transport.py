"""Exact W2, OT_c^lam with its certificate and the Sinkhorn divergence, against known answers."""

import math
from itertools import permutations

import pytest
import torch

from companion.scores.transport import exact_w2, sinkhorn_divergence, transport_cost
from otgrad import Cost, SemiDual, solve_exact


def cloud(n, seed, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_w2_is_the_best_of_all_permutations():
    x, y = cloud(6, 0), cloud(6, 1)
    best = min(float((x[list(s)] - y).square().sum(dim=1).mean()) for s in permutations(range(6)))
    assert exact_w2(x, y) == pytest.approx(math.sqrt(best), rel=1e-6)


def test_w2_of_identical_sets_and_of_a_translate():
    x = cloud(50, 0)
    assert exact_w2(x, x.flip(0)) == 0
    assert exact_w2(x, x + torch.tensor([3.0, 0.0, 4.0])) == pytest.approx(5, rel=1e-5)


def test_w2_between_finite_sets_rewards_shrinking_to_the_mean():
    x, y = cloud(200, 0, d=50), cloud(200, 1, d=50)
    assert exact_w2(0.6 * x, y) < 0.9 * exact_w2(x, y)  # though the law of x, not of 0.6 x, is that of y


@pytest.mark.parametrize("lam", [0.05, 1.0])
def test_transport_cost_is_that_of_the_exact_solver(lam):
    x, y, cost = cloud(40, 0), cloud(30, 1), Cost(scale=3.0)
    found = transport_cost(x, y, lam, cost)
    exact = solve_exact(x, None, SemiDual.of(y, None, lam, cost)).value
    assert 0 <= found.error <= 0.01 * exact
    assert found.value - 1e-5 <= exact <= found.value + found.error + 1e-5  # float32


@pytest.mark.parametrize("lam", [0.2, 5.0])
def test_divergence_of_identical_sets_is_0_and_of_others_positive(lam):
    x, y, cost = cloud(60, 0), cloud(60, 1) + 1, Cost(scale=3.0)
    assert sinkhorn_divergence(x, x.flip(0), lam, cost).value == pytest.approx(0, abs=1e-3)
    apart = sinkhorn_divergence(x, y, lam, cost)
    assert apart.value > 0.1
    assert 0 <= apart.error < 0.01
    exact = [solve_exact(a, None, SemiDual.of(b, None, lam, cost)).value for a, b in ((x, y), (x, x), (y, y))]
    assert abs(apart.value - (exact[0] - exact[1] / 2 - exact[2] / 2)) <= apart.error + 1e-5


def test_divergence_at_a_large_lam_is_the_distance_of_the_means():
    x, y = cloud(60, 0), 0.5 * cloud(60, 1) + 1
    expected = float((x.mean(dim=0) - y.mean(dim=0)).square().sum())
    assert sinkhorn_divergence(x, y, 1e4, Cost()).value == pytest.approx(expected, rel=1e-2)


def test_divergence_does_not_reward_shrinking_where_the_cost_does():
    x, y, cost = cloud(300, 0), cloud(300, 1), Cost(scale=3.0)
    shrunk, lam = 0.6 * x, 0.5
    assert transport_cost(shrunk, y, lam, cost).value < transport_cost(x, y, lam, cost).value
    assert sinkhorn_divergence(shrunk, y, lam, cost).value > 2 * sinkhorn_divergence(x, y, lam, cost).value


@pytest.mark.parametrize(
    "metric",
    [exact_w2, *(lambda x, y, f=f: f(x, y, 0.1, Cost()) for f in (transport_cost, sinkhorn_divergence))],
    ids=["w2", "cost", "divergence"],
)
def test_bad_sets_are_refused_in_one_line(metric):
    x = cloud(10, 0)
    for bad in (x[:, :2], x[0], x[:0]):
        with pytest.raises(ValueError, match=r"^[^\n]*(give points|differ in width)[^\n]*$"):
            metric(x, bad)
    with pytest.raises(FloatingPointError, match="^y has an entry that is not finite$"):
        metric(x, torch.where(x > 1, math.nan, x))


def test_w2_wants_sets_of_equal_size():
    with pytest.raises(ValueError, match="differ in size"):
        exact_w2(cloud(10, 0), cloud(9, 0))
