"""Steps of stochastic ascent with a lam that decreases to its target."""

import math

import pytest
import torch

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.ctransform import psi_step
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_round, asgd_step, cost_spread


def draw(m, n):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(m, 2, generator=rng), torch.randn(n, 2, generator=rng) / 2
    return x, DiscreteMeasure.from_atoms(y, torch.rand(n, generator=rng) + 0.1)


@pytest.mark.parametrize("kind", ["scaled", "sinkhorn"])
def test_a_step_is_one_at_the_larger_lam(kind):
    x, target = draw(40, 10)
    larger = 0.5 * cost_spread(x, target, Cost()) / math.sqrt(40 / 10)
    state, plain = AsgdState.zeros(target), AsgdState.zeros(target)
    grad = asgd_step(x, SemiDual(target, 1e-3), state=state, rule=StepRule(kind, anneal=0.5))
    asgd_step(x, SemiDual(target, larger), state=plain, rule=StepRule(kind))
    torch.testing.assert_close(state.psi, plain.psi)
    torch.testing.assert_close(grad, psi_step(x, target, torch.zeros(10), larger, Cost())[1])


def test_no_step_is_changed_where_lam_is_the_larger():
    x, target = draw(400, 10)
    state, plain = AsgdState.zeros(target), AsgdState.zeros(target)
    for _ in range(3):
        asgd_step(x, SemiDual(target, 0.2), state=state, rule=StepRule(anneal=0.1))
        asgd_step(x, SemiDual(target, 0.2), state=plain, rule=StepRule())
    assert torch.equal(state.psi, plain.psi)


@pytest.mark.parametrize("kind", ["scaled", "sinkhorn"])
def test_it_gains_at_small_lam(kind):
    x, target = draw(2000, 100)
    semidual = SemiDual(target, 0.002)
    optimum = solve_exact(x, None, semidual).value

    def gap(rule):
        rng = torch.Generator().manual_seed(0)
        batches = (x[torch.randint(2000, (100,), generator=rng)] for _ in range(20))
        state = asgd_round(lambda: next(batches), semidual, state=AsgdState.zeros(target), steps=20, rule=rule)
        return optimum - float(semidual.value(x, state.average)[0])

    assert gap(StepRule(kind, anneal=0.13)) < 0.8 * gap(StepRule(kind))


def test_refusals():
    for anneal in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="anneal"):
            StepRule(anneal=anneal)
