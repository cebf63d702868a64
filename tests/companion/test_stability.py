"""Stability of Algorithm 1: what is measured, on cases with a known answer. Claims: A-solver-error."""

import pytest
import torch

from companion.algorithms.problem import Problem
from companion.shrinkage.stability import StabilityConfig, follow, judge_psi, swing
from otgrad.measures import DiscreteMeasure, Uniform
from otgrad.semidual import SemiDual


def test_swing_is_the_noise_and_not_the_trend():
    assert swing([10.0 - 1e-9 * k for k in range(50)]) == pytest.approx(0, abs=1e-8)
    noise = 0.5 * torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    trend = torch.linspace(101, 99, 20_000).double()
    assert swing((trend + noise).tolist()) == pytest.approx(0.005, rel=0.03)  # 1 / sqrt(20,000) is 1%


def test_points_between_two_atoms_tie():
    target = DiscreteMeasure.from_atoms(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    problem = Problem(Uniform(2), SemiDual(target, 0.0))
    x = torch.tensor([[3.0, 0.5], [0.0, 0.2], [1.0, 0.5 + 2e-4], [0.0, 0.9]])
    seen = judge_psi(x, problem, torch.zeros(2))
    assert (seen["ties"], seen["near_ties"]) == (0.25, 0.5)
    assert seen["marginal_error"] == pytest.approx(0, abs=1e-6)  # the tie goes to the first atom: two points each
    assert judge_psi(x, problem, torch.tensor([0.0, 9.0]))["marginal_error"] == pytest.approx(1)


@pytest.mark.parametrize("averaging", [False, True])
def test_a_small_training_is_judged(averaging, monkeypatch):
    monkeypatch.setattr("companion.shrinkage.stability.MARGINAL_POINTS", 600)
    images = torch.rand(80, 16, generator=torch.Generator().manual_seed(1))
    config = StabilityConfig(0.01, 2, averaging, n_train=60, outer_steps=8, batch_size=32, lr_theta=1e-3, seed=0)
    seen = follow(config, images, images[60:], (4, 4))
    assert seen == follow(config, images, images[60:], (4, 4))
    assert 0 < seen["marginal_error"] < 2
    assert 0 < seen["w2"] < 4
    assert config.rule().averaging == (3.0 if averaging else None)
