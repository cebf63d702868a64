"""Frechet distance, precision and recall, density and coverage, on sets whose scores are known. Claims: A-fidelity."""

import math

import numpy as np
import pytest
import torch
from refusals import refused
from scipy.linalg import sqrtm

from companion.scores.features import class_scores, frechet_distance, neighbour_scores

LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # radii for k = 1: 1, 1, 2, 4


def cloud(n, seed, d=5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def standardised(n, seed, d):
    """Points with mean 0 and covariance exactly the identity."""
    x = cloud(n, seed, d).double()
    x -= x.mean(dim=0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T


def test_frechet_is_that_of_normal_laws_with_commuting_covariances():
    scales, others, shift = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, -2.0])
    x, y = standardised(50, 0, 3) * scales, standardised(70, 1, 3) * others + shift
    expected = float(shift.square().sum() + (scales - others).square().sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_agrees_with_the_matrix_square_root():
    x, y = cloud(40, 0).double() @ cloud(5, 2).double(), cloud(60, 1).double() @ cloud(5, 3).double() + 0.3
    s_x, s_y = np.cov(x.numpy().T), np.cov(y.numpy().T)
    cross = np.trace(sqrtm(s_x @ s_y)).real
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(s_x) + np.trace(s_y) - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_covariances_without_full_rank():
    x = cloud(4, 0, 30)  # rank 3 of 30
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x + 0.1) == pytest.approx(30 * 0.01, rel=1e-4)
    line, point = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.zeros(3, 2)
    assert frechet_distance(line, point) == pytest.approx(2.0)  # the variance, of n - 1 = 1


def test_frechet_has_a_bias_that_falls_with_the_size():
    bias = {n: np.mean([frechet_distance(cloud(n, 2 * s), cloud(n, 2 * s + 1)) for s in range(20)]) for n in (50, 500)}
    assert 0 < bias[500] < 0.2 * bias[50]


def test_scores_by_hand():
    found = neighbour_scores(LINE, torch.tensor([[0.5], [2.0], [20.0]]), k=1)  # radii of the samples: 1.5, 1.5, 18
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1  # 3 and 7 lie in the wide ball of the sample at 20
    assert found.density == pytest.approx((2 + 2 + 0) / 3)  # 2.0 is at the edge of the ball of 1, and in that of 3
    assert found.coverage == pytest.approx(3 / 4)


def test_scores_of_identical_sets():
    x = cloud(100, 0)
    found = neighbour_scores(x, x.clone(), k=5)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(6 / 5)  # a ball holds its centre and k more


def test_scores_of_sets_far_apart():
    found = neighbour_scores(cloud(100, 0), cloud(100, 1) + 100)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_scores_of_two_sets_of_one_law():
    found = neighbour_scores(cloud(2000, 0), cloud(2000, 1), k=5)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)  # four standard errors of 2,000 draws
    assert found.density == pytest.approx(1, abs=0.1)
    assert min(found.precision, found.recall) > 0.9


def test_half_of_the_modes_missing_lowers_recall_and_coverage_alone():
    offsets = 50 * torch.eye(4, 5)[torch.arange(200) % 4]
    real, samples = cloud(200, 0) + offsets, (cloud(400, 1) + offsets.repeat(2, 1)).unflatten(0, (-1, 4))
    found = neighbour_scores(real, samples[:, :2].flatten(0, 1))
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5
    assert 0.4 < found.coverage <= 0.5


def test_a_collapsed_set_has_precision_without_recall():
    real = cloud(200, 0)
    found = neighbour_scores(real, real.mean(dim=0).expand(200, -1))
    assert found.precision == 1
    assert found.recall == 0
    assert found.coverage < 0.5


@pytest.mark.parametrize("metric", [frechet_distance, neighbour_scores])
def test_bad_sets_are_refused_in_one_line(metric):
    good = cloud(20, 0)
    for bad, message in (
        (good[:1], "holds 1 points: give at least"),
        (good[0], r"shape \(5,\): give points as \(n, d\)"),
        (good[:, :3], "differ in width"),
    ):
        with pytest.raises(ValueError, match=rf"^[^\n]*{message}[^\n]*$"):
            metric(good, bad)
    assert "not finite" in refused(metric, good, torch.where(good > 1, math.nan, good), kind=FloatingPointError)


def test_k_must_leave_a_neighbour():
    assert "at least 5" in refused(neighbour_scores, LINE, LINE, k=4)
    assert "k = 0" in refused(neighbour_scores, LINE, LINE, k=0)


def test_class_scores_by_hand():
    real = torch.eye(4)[torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])]
    samples = torch.tensor([[0.7, 0.3, 0, 0], [0.6, 0.4, 0, 0], [0.2, 0.8, 0, 0], [0.1, 0.9, 0, 0]])
    found = class_scores(real, samples)
    assert (found.imbalance, found.classes) == (0.5, 2)
    assert found.confidence == pytest.approx((0.7 + 0.6 + 0.8 + 0.9) / 4)
    same = class_scores(real, real)
    assert (same.imbalance, same.classes, same.confidence) == (0, 4, 1)
    assert "differ in width" in refused(class_scores, real, samples[:, :3])
