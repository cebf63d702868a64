import math
import re

import pytest
import torch
from refusals import refused

from otgrad import Cost, DiscreteMeasure, solve_exact
from otgrad.ctransform import psi_step
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step, cost_spread


class Pool:
    """A pool of 60 points drawn from with replacement, 6 atoms of unequal mass, one without any."""

    def __init__(self, masses=(1.0, 2.0, 0.0, 3.0, 4.0, 0.5)):
        rng = torch.Generator().manual_seed(0)
        self.x = torch.rand(60, 2, generator=rng, dtype=torch.float64)
        y = torch.rand(6, 2, generator=rng, dtype=torch.float64)
        self.target = DiscreteMeasure.from_atoms(y, list(masses))

    def batch(self, size, rng):
        return self.x[torch.randint(len(self.x), (size,), generator=rng)]

    def ascend(self, rule, lam, steps, batch_size=32, seed=1):
        state, rng = AsgdState.zeros(self.target), torch.Generator().manual_seed(seed)
        for _ in range(steps):
            asgd_step(self.batch(batch_size, rng), SemiDual(self.target, lam), state=state, rule=rule)
        return state

    def value(self, psi, lam):
        return float(SemiDual(self.target, lam).value(self.x, psi)[0])

    def best(self, lam):
        return solve_exact(self.x, None, SemiDual(self.target, lam))


@pytest.fixture(scope="module")
def pool():
    return Pool()


@pytest.mark.parametrize(("rule", "lam"), [
    (StepRule("scaled"), 0.0), (StepRule("scaled"), 0.01), (StepRule("scaled"), 1.0), (StepRule("sinkhorn"), 0.01),
    (StepRule("sinkhorn"), 1.0), (StepRule("plain", c=0.5), 0.0), (StepRule("plain", c=0.5), 0.01),
    (StepRule("plain", c=1.0, averaging=0.0), 0.05),
])  # fmt: skip
def test_each_rule_reaches_the_exact_value(pool, rule, lam):
    start, best = pool.value(torch.zeros(6, dtype=torch.float64), lam), pool.best(lam)
    reached = pool.value(pool.ascend(rule, lam, steps=600).average, lam)
    assert reached <= best.value + best.gap + 1e-12
    # 600 steps of 32 points leave the noise of about 600 x 32 draws, 1 / sqrt(19200) = 0.7% of the way, and less in
    # the value, where it counts squared; 2% leaves room for the first steps, which a plain mean forgets slowly.
    assert best.value - reached <= 0.02 * (best.value - start)


@pytest.mark.parametrize("kind", ["scaled", "sinkhorn"])
def test_marginal_at_a_large_lam(pool, kind):
    # At lam = 100 the cost spreads over 1% of lam: the assignment is nu to about 1%, and stays so near psi*.
    state = pool.ascend(StepRule(kind), 100.0, steps=200)
    assert marginal_error(SemiDual(pool.target, 100.0).value(pool.x, state.average)[1]) < 1e-3


def test_scaled_rule_keeps_the_gauge_of_atoms_of_equal_mass():
    # sum_j nu_j (lam / nu_j) g_j = lam sum_j g_j = 0
    pool = Pool([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    state = pool.ascend(StepRule("scaled"), 1e3, steps=100)
    assert abs(float(pool.target.nu @ state.psi)) < 1e-9
    assert float(state.psi.abs().max()) > 1e-2


@pytest.mark.parametrize("kind", ["scaled", "sinkhorn", "plain"])
def test_an_atom_without_mass_never_moves(pool, kind):
    state = pool.ascend(StepRule(kind), 0.1, steps=5)
    assert state.psi[2] == state.average[2] == 0


def one_step(pool, rule, lam, k=0):
    """Iterate before and after step k + 1 from a state off the origin, and the batch's psi-gradient."""
    psi = torch.linspace(-0.1, 0.1, 6, dtype=torch.float64)
    psi[2] = 0
    state = AsgdState(psi.clone(), psi.clone(), k)
    x = pool.x[:8]
    grad = asgd_step(x, SemiDual(pool.target, lam), state=state, rule=rule)
    assert state.k == k + 1
    torch.testing.assert_close(grad, psi_step(x, pool.target, psi, lam, Cost())[1], rtol=0, atol=0)
    return state.psi - psi, grad


@pytest.mark.parametrize("k", [0, 3])
def test_plain_step(pool, k):
    move, grad = one_step(pool, StepRule("plain", c=0.7, power=0.5), 0.1, k)
    torch.testing.assert_close(move, 0.7 / math.sqrt(k + 1) * grad, rtol=0, atol=1e-15)
    move, grad = one_step(pool, StepRule("plain", c=0.7, power=0.0), 0.1, k)
    torch.testing.assert_close(move, 0.7 * grad, rtol=0, atol=1e-15)


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("lam", [0.0, 1e-3, 0.5, 100.0])
def test_scaled_step(pool, lam, k):
    move, grad = one_step(pool, StepRule("scaled", c=2.0), lam, k)
    spread = cost_spread(pool.x[:8], pool.target, Cost())
    for j in (0, 1, 3, 4, 5):
        mass = max(float(pool.target.nu[j]), 1 / 5)  # five atoms have mass: none moves more than their mean would
        length = max(lam / mass, 0.3 * spread * math.sqrt(min(8, 1 / mass) / mass))
        assert float(move[j]) == pytest.approx(2 * length * float(grad[j]) / math.sqrt(k + 1), abs=1e-14)


@pytest.mark.parametrize(("c", "k", "eta"), [(1.0, 0, 1 / math.sqrt(2)), (1.0, 3, 1 / math.sqrt(5)), (50.0, 0, 0.99)])
def test_sinkhorn_step(pool, c, k, eta):
    move, grad = one_step(pool, StepRule("sinkhorn", c=c), 0.2, k)
    for j in (0, 1, 3, 4, 5):
        nu = float(pool.target.nu[j])
        ratio = (nu - float(grad[j])) / nu
        assert float(move[j]) == pytest.approx(-0.2 * math.log(1 + eta * (ratio - 1)), abs=1e-14)


def test_full_sinkhorn_step_is_sinkhorns_iteration(pool):
    # eta = .99 of the whole way from psi to psi - lam log(p / nu), after which a fixed batch's marginal is nearly nu
    state = AsgdState.zeros(pool.target)
    for _ in range(60):
        grad = asgd_step(pool.x, SemiDual(pool.target, 0.1), state=state, rule=StepRule("sinkhorn", c=50.0))
    assert marginal_error(grad) < 1e-6
    best = pool.best(0.1).psi
    torch.testing.assert_close(pool.target.center(state.psi), best, rtol=0, atol=1e-6)


def iterates(pool, averaging, steps):
    rule, rng = StepRule("plain", c=0.5, averaging=averaging), torch.Generator().manual_seed(2)
    state, path = AsgdState.zeros(pool.target), []
    for _ in range(steps):
        asgd_step(pool.batch(4, rng), SemiDual(pool.target, 0.05), state=state, rule=rule)
        path.append(state.psi.clone())
    return torch.stack(path), state.average


@pytest.mark.parametrize(
    ("averaging", "weights"),
    [
        (0.0, [1, 1, 1, 1, 1]),
        (1.0, [1, 2, 3, 4, 5]),
        (3.0, [1 * 2 * 3, 2 * 3 * 4, 3 * 4 * 5, 4 * 5 * 6, 5 * 6 * 7]),  # about k^3
        (None, [0, 0, 0, 0, 1]),
    ],
)
def test_average_has_its_weights(pool, averaging, weights):
    path, average = iterates(pool, averaging, 5)
    weights = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(average, weights @ path / weights.sum(), rtol=0, atol=1e-15)


def test_restart_goes_on_from_the_average(pool):
    state = pool.ascend(StepRule(), 0.1, steps=5)
    fresh = state.restarted()
    assert fresh.k == 0
    assert (fresh.spread, state.spread > 0) == (0, True)  # it is measured again: the generator has moved
    assert torch.equal(fresh.psi, state.average)
    assert torch.equal(fresh.average, state.average)
    asgd_step(pool.x[:8], SemiDual(pool.target, 0.1), state=fresh, rule=StepRule())
    assert not torch.equal(fresh.psi, state.average)  # and the old state is left alone
    assert state.k == 5


def test_spread_is_the_costs_standard_deviation_over_atoms():
    y, nu = torch.tensor([[0.0], [1.0], [9.0]]).double(), [1.0, 3.0, 0.0]
    target = DiscreteMeasure.from_atoms(y, nu)
    # c(0, .) is 0 with mass 1/4 and 1 with mass 3/4; c(0.5, .) is constant; the third atom does not count
    assert cost_spread(torch.tensor([[0.0], [0.5]]).double(), target, Cost()) == pytest.approx(math.sqrt(3) / 8)
    state = AsgdState.zeros(target)
    asgd_step(torch.tensor([[0.0]]).double(), SemiDual(target, 0.1), state=state, rule=StepRule())
    first = state.spread
    asgd_step(torch.tensor([[0.5]]).double(), SemiDual(target, 0.1), state=state, rule=StepRule())
    assert state.spread == first == pytest.approx(math.sqrt(3) / 4)


def test_sinkhorn_rule_needs_lam(pool):
    assert "lam > 0: use 'scaled'" in refused(one_step, pool, StepRule("sinkhorn"), 0.0)


@pytest.mark.parametrize("kind", ["scaled", "sinkhorn", "plain"])
def test_points_that_are_not_finite_stop_the_ascent(pool, kind):
    x = pool.x[:8].clone()
    x[3, 1] = math.nan
    with pytest.raises(FloatingPointError, match="psi is not finite after inner step 1:"):
        asgd_step(x, SemiDual(pool.target, 0.1), state=AsgdState.zeros(pool.target), rule=StepRule(kind))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [0.6, 0.9])
def test_points_too_far_for_their_dtype_are_named(dtype, power):
    law = DiscreteMeasure.from_atoms(torch.rand(5, 2, dtype=dtype))
    x = torch.ones(4, 2, dtype=dtype)
    x[1] = torch.finfo(dtype).max ** power
    with pytest.raises(FloatingPointError, match=f"{dtype} does not hold their squared norms: make the points smaller"):
        asgd_step(x, SemiDual(law, 0.1), state=AsgdState.zeros(law), rule=StepRule())


def test_a_step_that_overflows_stops_the_ascent(pool):
    with pytest.raises(FloatingPointError, match="lower the step c = 1e\\+308"):
        pool.ascend(StepRule("plain", c=1e308, power=0.0), 0.1, steps=50)


@pytest.mark.parametrize("values", [
    {"kind": "adam"}, {"c": 0.0}, {"c": -1.0}, {"c": math.nan}, {"c": math.inf}, {"power": -0.1}, {"power": 1.5},
    {"power": math.nan}, {"averaging": -1.0}, {"averaging": math.nan},
])  # fmt: skip
def test_refused_rules(values):
    assert re.search("step rule .*: give ", refused(lambda: StepRule(**values)))
