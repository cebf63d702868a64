"""Exact W1 and its partners, the cosine of slopes, nearest neighbours."""

from itertools import permutations

import pytest
import torch
from refusals import refused

from companion.scores.distances import exact_w1, nearest_neighbour_accuracy, slope_cosine


def cloud(b, seed, d=2):
    return torch.randn(b, d, generator=torch.Generator().manual_seed(seed))


def test_w1_is_the_best_of_all_permutations():
    x, y = cloud(6, 0), cloud(6, 1)
    best = min(float((x[list(s)] - y).norm(dim=1).mean()) for s in permutations(range(6)))
    w1, partners = exact_w1(x, y)
    assert w1 == pytest.approx(best, rel=1e-6)
    assert float((partners - y).norm(dim=1).mean()) == pytest.approx(w1, rel=1e-6)
    assert sorted(map(tuple, partners.tolist())) == sorted(map(tuple, x.tolist()))


def test_w1_of_a_translate_is_the_translation():
    x, shift = cloud(200, 0), torch.tensor([3.0, 4.0])
    w1, partners = exact_w1(x + shift, x)
    assert w1 == pytest.approx(5.0, rel=1e-5)
    assert slope_cosine(shift.expand(200, 2), x, partners) > 0.8  # many plans are optimal; all go mostly along it
    assert slope_cosine(partners - x, x, partners) == pytest.approx(1.0, abs=1e-5)
    assert slope_cosine(x - partners, x, partners) == pytest.approx(-1.0, abs=1e-5)


def test_bad_clouds_are_refused():
    assert "equal size" in refused(exact_w1, cloud(3, 0), cloud(4, 0))
    assert "not finite" in refused(exact_w1, cloud(3, 0), cloud(3, 0) * float("nan"), kind=FloatingPointError)


def test_nearest_neighbour_accuracy_by_hand():
    points, labels = torch.tensor([[0.0], [10.0]]), torch.tensor([3, 7])
    queries = torch.tensor([[1.0], [9.0], [4.0], [6.0]])
    assert nearest_neighbour_accuracy(points, labels, queries, torch.tensor([3, 7, 7, 7])) == 0.75
