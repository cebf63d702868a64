"""The exact solver, judged by its optimality conditions and by closed forms."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from instances import normal, primal_value
from refusals import refused

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, c_transform
from otgrad.solvers import certified, exact
from otgrad.solvers.solution import Solution


def draw(b, n, d=2, seed=0):
    x, w, law, *_ = normal(b, n, d, seed)
    return x, w, law.y + 0.5, law.nu


@pytest.mark.parametrize(("b", "n"), [(12, 5), (5, 12), (8, 8), (1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("lam", [0.01, 0.1, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_both_marginals_hold(b, n, lam, p):
    x, w, y, nu = draw(b, n)
    solution = solve_exact(x, w, SemiDual.of(y, nu, lam, p))
    pi = assignment(x, DiscreteMeasure(y, nu), solution.psi, lam, Cost(p))
    error = float((w @ pi - nu).abs().sum())
    # the rows hold by construction; 1e-14 of the spread over lam is the rounding that the solver allows itself
    assert error <= max(1e-10, 1e-13 * 30 / lam)
    assert solution.marginal_error == pytest.approx(error, abs=1e-12)
    assert solution.psi.dtype == torch.float64
    assert abs(float(nu @ solution.psi)) <= 1e-12 * max(1.0, float(solution.psi.abs().max()))
    primal = primal_value(*(t.numpy() for t in (w[:, None] * pi, Cost(p).matrix(x, y), w, nu)), lam)
    assert solution.value == pytest.approx(primal, abs=1e-8 * max(1, lam))


@pytest.mark.parametrize("lam", [0.02, 1.0, 100.0])
@pytest.mark.parametrize(("b", "n"), [(12, 5), (5, 12)])
def test_the_two_sides_agree(b, n, lam):
    # Solving with the roles exchanged gives the c,lam-transform of psi and the same value.
    x, w, y, nu = draw(b, n)
    solution, exchanged = solve_exact(x, w, SemiDual.of(y, nu, lam)), solve_exact(y, nu, SemiDual.of(x, w, lam))
    phi = c_transform(x, DiscreteMeasure(y, nu), solution.psi, lam, Cost())
    torch.testing.assert_close(phi - w @ phi, exchanged.psi, rtol=0, atol=1e-8 * max(1, lam))
    assert solution.value == pytest.approx(exchanged.value, abs=1e-9)


@pytest.mark.parametrize(("b", "n"), [(12, 5), (5, 12)])
def test_repeated_points_are_weights(b, n):
    x, _, y, nu = draw(b, n)
    counts = torch.arange(1, b + 1)
    repeated = solve_exact(x.repeat_interleave(counts, 0), None, SemiDual.of(y, nu, 0.1))
    weighted = solve_exact(x, counts, SemiDual.of(y, nu, 0.1))
    torch.testing.assert_close(repeated.psi, weighted.psi, rtol=0, atol=1e-7)
    assert repeated.value == pytest.approx(weighted.value, abs=1e-9)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_atoms_and_points_without_mass_leave(lam):
    x, w, y, nu = draw(6, 5)
    w[1] = nu[3] = 0
    w, nu = w / w.sum(), nu / nu.sum()
    kept_x, kept_y = torch.nonzero(w).squeeze(1), torch.nonzero(nu).squeeze(1)
    y[3], x[1] = 1e4, -1e4
    solution = solve_exact(x, w, SemiDual.of(y, nu, lam))
    reduced = solve_exact(x[kept_x], w[kept_x], SemiDual.of(y[kept_y], nu[kept_y], lam))
    assert solution.psi[3] == 0
    torch.testing.assert_close(solution.psi[kept_y], reduced.psi, rtol=0, atol=1e-9)
    assert solution.value == pytest.approx(reduced.value, abs=1e-9)


@pytest.mark.parametrize("lam", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_no_perturbation_increases_the_semidual(lam, p):
    x, w, y, nu = draw(10, 6)
    target = DiscreteMeasure(y, nu)
    solution = solve_exact(x, w, SemiDual.of(y, nu, lam, p))
    rng = torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            psi = solution.psi + size * torch.randn(6, generator=rng, dtype=torch.float64)
            assert float(SemiDual(target, lam, Cost(p)).value(x, psi, w)[0]) <= solution.value + solution.gap + 1e-12


@pytest.mark.parametrize("lam", [0.0, 0.1, 1e3])
def test_a_measure_against_itself_costs_less_than_the_product_and_one_point_exactly_its_cost(lam):
    same = draw(6, 6)[0]
    assert 0 <= solve_exact(same, None, SemiDual.of(same, None, lam)).value <= float(Cost().matrix(same, same).mean())
    single = solve_exact(torch.zeros(1, 2), None, SemiDual.of(torch.tensor([[3.0, 4.0]]), None, lam))
    assert (single.value, single.psi.tolist()) == (25.0, [0.0])


def test_the_value_falls_with_lam_to_the_unregularised_cost():
    x, w, y, nu = draw(10, 8)
    solutions = [solve_exact(x, w, SemiDual.of(y, nu, lam)) for lam in (0.0, 1e-3, 0.01, 0.1, 1.0, 10.0, 1e3)]
    values = [s.value for s in solutions]
    assert values[0] <= values[1] + 1e-12
    assert values[1] - values[0] <= solutions[0].gap + 1e-3 * math.log(10 / 0.03)  # lam times the largest entropy
    assert values[1:] == sorted(values[1:])
    product = float(w @ Cost().matrix(x, y) @ nu)
    assert product - values[-1] < float(Cost().matrix(x, y).max()) ** 2 / 4 / 1e3


X, YS = torch.zeros(3, 2), torch.ones(4, 2)


@pytest.mark.parametrize(
    ("x", "weights", "y", "nu", "lam", "cost"),
    [
        (X, None, YS, None, -1.0, 2),
        (X, None, YS, None, math.nan, 2),
        (X, None, YS, None, math.inf, 2),
        (X[:, :1], None, YS, None, 0.1, 2),
        (X[0], None, YS, None, 0.1, 2),
        (X[0, 0], None, YS, None, 0.1, 2),
        (X[:0], None, YS, None, 0.1, 2),
        (X, None, YS[0], None, 0.1, 2),
        (X, [1.0, 1.0], YS, None, 0.1, 2),
        (X, None, YS, [1.0, 1.0], 0.1, 2),
        (X, [1.0, 1.0, -1.0], YS, None, 0.1, 2),
        (X, None, YS, [0.0] * 4, 0.1, 2),
        (X + math.nan, None, YS, None, 0.1, 2),
        (X, None, YS / 0, None, 0.1, 2),
        (X, None, YS, None, 0.1, "taxicab"),
        (X, None, YS, None, 0.1, -2),
    ],
)
def test_refusals(x, weights, y, nu, lam, cost):
    assert ":" in refused(lambda: solve_exact(x, weights, SemiDual.of(y, nu, lam, cost)))


def test_both_solvers_of_a_pool_return_one_kind_of_solution():
    x, w, y, nu = draw(40, 5)
    exactly, nearly = (solve(x, w, SemiDual.of(y, nu, 0.1)) for solve in (solve_exact, solve_certified))
    assert type(exactly) is type(nearly) is Solution is exact.PoolSolution is certified.FixedSourceSolution
    assert [field.name for field in fields(Solution)] == [
        "psi", "value", "gap", "relative_gap", "marginal_error", "work", "converged",
    ]  # fmt: skip
    assert (exactly.converged, nearly.converged) == (True, True)
    assert (exactly.gap, exactly.marginal_error <= 1e-10) == (0.0, True)
    assert 0 <= nearly.gap == pytest.approx(nearly.relative_gap * nearly.value)
    assert (exactly.relative_gap, nearly.relative_gap <= 0.01) == (0.0, True)
    assert exactly.newton_steps == exactly.work > 0
    assert isinstance(exactly.newton_steps, int)
    assert nearly.passes == nearly.work >= 3
    with pytest.raises(FrozenInstanceError):
        exactly.value = 0.0
    unregularised = solve_exact(x, w, SemiDual.of(y, nu, 0.0))
    assert unregularised.converged
    assert math.isnan(unregularised.marginal_error)
    assert 0 <= unregularised.gap <= 1e-4 * unregularised.value
