"""Lam far beyond the cost on either side, problems a little beyond the solver, and refusals in the right words."""

import math

import pytest
import torch
from instances import normal

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad
from otgrad.solvers import block_ascent
from otgrad.solvers.certificate import certify

TWO = torch.tensor([[0.0], [1.0]])


def draw(dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(12, 2, generator=rng).to(dtype), torch.randn(9, 2, generator=rng).to(dtype) + 0.5


@pytest.mark.parametrize("lam", [1e3, 1e5, 1e9, 1e12, 1e14, 1e15, 1e16, 1e100, 1e300, 1.7e308])
@pytest.mark.parametrize("swap", [False, True])
def test_at_very_large_lam_the_pool_solver_gives_the_product_plan(lam, swap):
    closed_form = -lam * math.log1p(math.expm1(-1 / lam) / 2) if lam < 1e300 else 0.5
    rounding = 1e-15 + 3e-16 * min(lam, 1e3)  # below 1e3 of the spread, lam times that of 1 is left
    assert solve_exact(TWO, None, SemiDual.of(TWO, None, lam)).value == pytest.approx(closed_form, abs=rounding)
    x, y = draw()[::-1] if swap else draw()
    solution, matrix = solve_exact(x, None, SemiDual.of(y, None, lam)), Cost().matrix(x, y)
    product, spread = float(matrix.mean()), float(matrix.max())
    assert product - spread**2 / (8 * lam) * 4 - 1e-12 <= solution.value <= product + 1e-12
    assert solution.marginal_error <= 1e-10
    assert solution.gap == 0


@pytest.mark.parametrize("lam", [1e-8, 1e-9, 1e-12, 1e-100, 1e-320, 5e-324])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_at_very_small_lam_the_pool_solver_gives_the_unregularised_cost(lam, p):
    x, y = draw()
    zero, small = solve_exact(x, None, SemiDual.of(y, None, 0.0, p)), solve_exact(x, None, SemiDual.of(y, None, lam, p))
    assert small.value <= zero.value + zero.gap + 12 * lam
    assert zero.value <= small.value + small.gap + 1e-12
    assert 0 <= small.gap <= 1e-5 * small.value
    assert solve_exact(TWO, None, SemiDual.of(TWO, None, lam)).gap <= 1e-8 + lam


@pytest.mark.parametrize("lam", [1e9, 1e14, 1e16, 1e100, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_at_very_large_lam_all_entries_give_the_mean_cost(lam, dtype, p):
    x, y = draw(dtype)
    target, cost = DiscreteMeasure.from_atoms(y), Cost(p)
    psi, mean = torch.zeros_like(target.nu), cost.matrix(x, y).mean(dim=1)
    near = {"rtol": 1e-6, "atol": 0} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 0}
    torch.testing.assert_close(c_transform(x, target, psi, lam, cost), mean, **near)
    torch.testing.assert_close(psi_step(x, target, psi, lam, cost)[0], mean, **near)
    torch.testing.assert_close(x_grad(x, target, psi, lam, cost)[0], mean, **near)
    assert SemiDiscreteOT(y, lam=lam, cost=p).value(x) == pytest.approx(float(mean.mean()), rel=1e-6)
    found = solve_certified(x, None, SemiDual(target, lam, cost))
    assert found.converged
    assert found.value == pytest.approx(float(mean.mean()), rel=1e-6)


def test_the_definition_keeps_its_digits_and_its_slopes_at_large_lam():
    x, y = draw()
    target, psi = DiscreteMeasure.from_atoms(y), torch.linspace(-1, 1, 9, dtype=torch.float64)
    x.requires_grad_()
    for lam in (1e6, 1e12):
        values = c_transform(x, target, psi, lam, Cost())
        (slopes,) = torch.autograd.grad(values.sum(), x)
        gaps = (Cost().matrix(x, y) - psi).detach()
        exact = gaps.mean(1) - gaps.var(1, correction=0) / (2 * lam)
        torch.testing.assert_close(values.detach(), exact, rtol=0, atol=1e-12 + 1e3 / lam**2)
        torch.testing.assert_close(slopes, x_grad(x.detach(), target, psi, lam, Cost())[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("lam", [1e-30, 1e-50, 1e-320])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_very_small_lam_all_entries_give_the_hard_transform(lam, dtype):
    x, y = draw(dtype)
    target, psi = DiscreteMeasure.from_atoms(y), torch.linspace(-1, 1, 9, dtype=dtype)
    for entry in (c_transform, assignment, lambda *a: psi_step(*a)[0], lambda *a: x_grad(*a)[1]):
        torch.testing.assert_close(entry(x, target, psi, lam, Cost()), entry(x, target, psi, 0.0, Cost()))
    found = solve_certified(x, None, SemiDual(target, lam))
    exact = solve_exact(x, None, SemiDual.of(y, None, 0.0))
    assert found.value <= exact.value + exact.gap + 1e-6
    assert found.value + found.gap >= exact.value - 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_a_small_problem_that_passes_do_not_solve_is_handed_to_the_exact_solver(dtype, p):
    rng = torch.Generator().manual_seed(1)
    y, nu = torch.randn(5, 2, generator=rng).to(dtype), torch.rand(5, generator=rng) ** 4 + 0.01
    x, target = y[torch.randint(0, 5, (600,), generator=rng)], DiscreteMeasure.from_atoms(y, nu)
    slow = block_ascent.BlockRule(eta=1e-3, most_pairs=0, anneal=0.0)  # a schedule that does not arrive
    few = solve_certified(x, None, SemiDual(target, 0.01, Cost(p)), tol=1e-4, max_passes=50, rule=slow)
    many = solve_certified(x, None, SemiDual(target, 0.01, Cost(p)), tol=1e-4, max_passes=120, rule=slow)
    exact = solve_exact(x, None, SemiDual.of(y, target.nu, 0.01, p))
    assert not few.converged
    assert many.converged
    assert many.value == pytest.approx(exact.value, rel=1e-4)
    assert many.value <= exact.value + 1e-6


def test_large_entries_are_finite():
    y = torch.full((3000, 2), 3e35)
    law = DiscreteMeasure.from_atoms(y)
    assert law.n == 3000
    for bad in (math.nan, math.inf, -math.inf):
        y[17, 1] = bad
        with pytest.raises(ValueError, match="y has entries that are not finite"):
            DiscreteMeasure.from_atoms(y)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), ()])
def test_atoms_of_no_number_are_told_by_their_shape(shape):
    with pytest.raises(ValueError, match=r"y has shape .*: give n >= 1 atoms as \(n, d\)"):
        DiscreteMeasure.from_atoms(torch.zeros(shape))
    with pytest.raises(ValueError, match="y has shape"):
        solve_exact(torch.zeros(2, 3), None, SemiDual.of(torch.zeros(shape), None, 0.1))


@pytest.mark.parametrize("shape", [(0, 3), (3,), ()])
def test_points_of_no_number_are_told_as_x(shape):
    with pytest.raises(ValueError, match=r"x has shape .*: give points \(b, d\), b >= 1"):
        solve_exact(torch.zeros(shape), None, SemiDual.of(torch.zeros(2, 3), None, 0.1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_masses_of_another_dtype_are_told(dtype):
    with pytest.raises(ValueError, match="nu is torch.* on cpu: give float32 or float64 on cpu, like y"):
        DiscreteMeasure(torch.zeros(1, 2), torch.ones(1).to(dtype))


@pytest.mark.parametrize("lam", [1e-30, 1e-12, 1e-8, 1e-6, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
def test_no_certificate_is_false_where_lam_is_lost_in_rounding(seed, dtype, lam):
    problem = normal(12, 9, seed=seed, dtype=dtype)
    x, psi, semidual = problem.x, problem.psi, SemiDual(DiscreteMeasure.from_atoms(problem.law.y + 0.5), lam, Cost())
    exact = solve_exact(x, None, semidual)
    best, slack = exact.value + exact.gap, 1e-5 * exact.value  # float32's rounding of costs up to 30
    found = solve_certified(x, None, semidual, tol=1e-3)
    assert exact.value - slack <= found.value + found.gap
    assert found.converged
    assert found.value <= best + slack
    w = torch.full((12,), 1 / 12, dtype=dtype)
    for start in (torch.zeros_like(psi), psi, exact.psi.to(dtype)):
        bounds = certify(x, w, semidual, start)
        assert bounds.value <= best + slack
        assert exact.value - slack <= bounds.upper
