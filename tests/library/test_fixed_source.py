"""The fixed-source solver, judged by the exact one; its certificate, by plans with the right marginals."""

import math

import pytest
import torch
from refusals import refused

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, psi_step
from otgrad.solvers.active_set import ActiveSet
from otgrad.solvers.block_ascent import BlockAscent, BlockRule, Pool
from otgrad.solvers.certificate import certify


def draw(m, n, d=2, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    x, y = torch.rand(m, d, generator=rng).to(dtype), torch.randn(n, d, generator=rng).to(dtype) / 2
    w, nu = torch.rand(m, generator=rng).double() + 0.1, torch.rand(n, generator=rng).double() ** 3 + 0.01
    return x, w / w.sum(), DiscreteMeasure.from_atoms(y, nu)


@pytest.mark.parametrize("lam", [0.005, 0.05, 0.3, 5.0])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bound_holds_and_is_reached(lam, p, dtype):
    x, w, target = draw(400, 50, dtype=dtype)
    solution = solve_certified(x, w, SemiDual(target, lam, Cost(p)), tol=0.01)
    optimum = solve_exact(x, w, SemiDual(target, lam, Cost(p))).value
    rounding = 1e-12 if dtype == torch.float64 else 3e-6
    assert solution.converged
    assert -rounding <= (optimum - solution.value) / optimum <= solution.relative_gap + rounding
    assert solution.gap <= 0.01 * optimum
    assert solution.psi.dtype == dtype
    value, grad = SemiDual(target, lam, Cost(p)).value(x, solution.psi, w.to(dtype))
    assert float(value) == pytest.approx(solution.value, rel=1e-5)
    assert float(grad.abs().sum()) == pytest.approx(solution.marginal_error, rel=1e-2, abs=1e-5)
    assert abs(float(target.nu @ solution.psi)) <= 1e-6


@pytest.mark.parametrize("lam", [0.05, 0.3])
def test_it_agrees_with_newtons_method_in_float64(lam):
    # blocks of 32 points on 50 atoms: it converges only because noisy blocks are joined
    x, w, target = draw(400, 50)
    solution = solve_certified(x, w, SemiDual(target, lam), tol=1e-8, max_passes=1000)
    reference = solve_exact(x, w, SemiDual(target, lam))
    assert solution.converged
    assert solution.value == pytest.approx(reference.value, rel=1e-8)
    torch.testing.assert_close(solution.psi, reference.psi, rtol=0, atol=1e-5)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("distance", [0.0, 0.01, 1.0, 30.0])
def test_the_certificate_bounds_the_optimum_on_both_sides(p, distance):
    x, w, target = draw(60, 20)
    for lam in (0.01, 0.1, 10.0):
        best = solve_exact(x, w, SemiDual(target, lam, Cost(p)))
        psi = best.psi + distance * torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = certify(x, w, SemiDual(target, lam, Cost(p)), psi)
        assert float(SemiDual(target, lam, Cost(p)).value(x, psi, w)[0]) - 1e-12 <= found.value <= best.value + 1e-12
        assert found.upper >= best.value - 1e-12
        if distance == 0:
            assert found.upper - found.value <= 1e-8 * max(1.0, lam)


def test_the_certificate_is_not_below_the_plan_that_it_stands_for():
    x, w, target = draw(40, 15)
    nu, lam = target.nu, 0.1
    psi = 0.2 * torch.randn(15, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plan = w[:, None] * assignment(x, target, psi, lam, Cost())
    kept = plan * (nu / plan.sum(0)).clamp(max=1)
    r, s = w - kept.sum(1), nu - kept.sum(0)
    plan = kept + torch.outer(r, s) / s.sum()
    torch.testing.assert_close(plan.sum(0), nu)
    torch.testing.assert_close(plan.sum(1), w)
    entropy = torch.special.xlogy(plan, plan / torch.outer(w, nu)).sum()
    primal = float((plan * Cost().matrix(x, target.y)).sum() + lam * entropy)
    upper = certify(x, w, SemiDual(target, lam), psi).upper
    assert primal - 1e-12 <= upper <= primal + lam  # convexity of t log t costs less than lam log 2


def test_repeated_points_are_weights_and_repeated_atoms_are_masses():
    x, _, target = draw(100, 20)
    counts = torch.arange(100) % 3 + 1
    weighted = solve_certified(x, counts, SemiDual(target, 0.1), tol=1e-6)
    repeated = solve_certified(x.repeat_interleave(counts, 0), None, SemiDual(target, 0.1), tol=1e-6)
    assert weighted.value == pytest.approx(repeated.value, rel=2e-6)
    twice = DiscreteMeasure.from_atoms(target.y.repeat(2, 1), target.nu.repeat(2))
    doubled = solve_certified(x, counts, SemiDual(twice, 0.1), tol=1e-6)
    assert doubled.value == pytest.approx(weighted.value, rel=2e-6)
    torch.testing.assert_close(doubled.psi[:20], doubled.psi[20:], rtol=0, atol=1e-3)


def test_atoms_and_points_without_mass_leave():
    x, w, target = draw(100, 20)
    far = torch.full((1, 2), 1e3, dtype=torch.float64)
    wider = DiscreteMeasure.from_atoms(torch.cat([far, target.y]), torch.cat([torch.zeros(1), target.nu]))
    plain = solve_certified(x, w, SemiDual(target, 0.1), tol=1e-6)
    solution = solve_certified(torch.cat([x, far]), torch.cat([w, torch.zeros(1)]), SemiDual(wider, 0.1), tol=1e-6)
    assert solution.psi[0] == 0
    assert solution.value == pytest.approx(plain.value, rel=2e-6)
    again = solve_certified(x, w, SemiDual(wider, 0.1), tol=1e-6, psi=solution.psi)
    assert again.value == pytest.approx(plain.value, rel=2e-6)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 30), (30, 1), (2, 2), (33, 500)])
@pytest.mark.parametrize("lam", [1e-3, 0.1, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_and_extreme_problems_stay_finite(m, n, lam, dtype):
    x, w, target = draw(m, n, dtype=dtype)
    solution = solve_certified(x, w, SemiDual(target, lam), tol=0.01, max_passes=30)
    assert bool(torch.isfinite(solution.psi).all())
    optimum = solve_exact(x, w, SemiDual(target, lam)).value
    rounding = 1e-9 if dtype == torch.float64 else 1e-5 + 1e-6 * lam
    assert solution.value <= optimum + rounding
    assert optimum <= solution.value + solution.gap + rounding
    assert min(m, n) > 1 or solution.converged


def test_one_atom_and_identical_points_are_solved_at_once():
    same = torch.ones(10, 3, dtype=torch.float64)
    solution = solve_certified(same, None, SemiDual(DiscreteMeasure.from_atoms(same[:4]), 0.1))
    assert (solution.value, solution.gap, solution.converged) == (pytest.approx(0, abs=1e-15), 0.0, True)


def test_a_pool_with_one_heavy_point_is_solved():
    x, w, target = draw(400, 50)
    w[7] = 5.0
    solution = solve_certified(x, w, SemiDual(target, 0.05), tol=0.01)
    assert solution.converged
    assert solution.value == pytest.approx(solve_exact(x, w, SemiDual(target, 0.05)).value, rel=0.01)


def test_a_warm_start_is_not_left_for_something_worse():
    x, w, target = draw(400, 50)
    reference = solve_exact(x, w, SemiDual(target, 0.05))
    solution = solve_certified(x, w, SemiDual(target, 0.05), tol=1e-4, psi=reference.psi)
    assert solution.work == pytest.approx(3)  # one look at the blocks and a certificate
    assert solution.value == pytest.approx(reference.value, abs=1e-9)


def test_certified_values_never_fall():
    x, w, target = draw(400, 50)
    values = [solve_certified(x, w, SemiDual(target, 0.02), tol=tol).value for tol in (0.1, 0.03, 0.01, 1e-3)]
    assert values == sorted(values)


def test_passes_are_counted_and_limited():
    x, w, target = draw(960, 50)
    semidual, taken = SemiDual(target, 0.02), []
    solution = solve_certified(x, w, semidual, tol=None, max_passes=0.5, watch=lambda _, p: taken.append(p))
    assert taken[-1] == pytest.approx(0.5, abs=1 / 30)
    assert solution.work == pytest.approx(taken[-1] + 1)
    assert math.isnan(solution.gap + solution.relative_gap)
    assert not solution.converged
    assert solution.value == pytest.approx(float(semidual.value(x, solution.psi, w)[0]), rel=1e-12)
    late = solve_certified(x, w, semidual, tol=1e-12, max_passes=2)
    assert (late.work, late.converged) == (pytest.approx(4), False)
    assert late.relative_gap > 1e-12


def test_the_same_seed_gives_the_same_numbers():
    x, w, target = draw(400, 50)
    runs = [solve_certified(x, w, SemiDual(target, 0.05), tol=0.01).psi for _ in range(2)]
    other = solve_certified(x, w, SemiDual(target, 0.05), tol=0.01, generator=torch.Generator().manual_seed(5)).psi
    assert torch.equal(*runs)
    assert not torch.equal(runs[0], other)


def test_joining_blocks_keeps_their_sums():
    x, w, target = draw(400, 50)
    ascent = BlockAscent(Pool(x, w, SemiDual(target, 0.05)), None, BlockRule(), torch.Generator().manual_seed(0), None)
    ascent.first_pass()
    seen, means, count = ascent.seen.sum(0), ascent.means.sum(), len(ascent.blocks)
    assert float(seen.sum()) == pytest.approx(1)
    ascent.join()
    assert len(ascent.blocks) == math.ceil(count / 2)
    assert torch.cat(ascent.blocks).sort().values.tolist() == list(range(400))
    torch.testing.assert_close(ascent.seen.sum(0), seen)
    torch.testing.assert_close(ascent.means.sum(), means)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_an_active_set_of_all_pairs_is_the_problem(p):
    x, w, target = draw(60, 20)
    pool = Pool(x, w, SemiDual(target, 0.1, Cost(p)))
    psi = 0.2 * torch.randn(20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    active = ActiveSet.collect(pool, psi, 50.0, 60 * 20)
    other = psi.roll(1)
    values, marginals = [], []
    for potential in (psi, other):
        value, marginal, mass = active.plan(potential, 0.1)
        assert float(mass.sum()) == pytest.approx(1)
        values.append(value)
        marginals.append(marginal)
        torch.testing.assert_close(target.nu - marginal, psi_step(x, target, potential, 0.1, Cost(p), w)[1])
    exact_values = [float(SemiDual(target, 0.1, Cost(p)).value(x, potential, w)[0]) for potential in (psi, other)]
    assert values[1] - values[0] == pytest.approx(exact_values[1] - exact_values[0])  # up to a constant
    best = active.maximise(psi, 1e-9)
    assert float(psi_step(x, target, best, 0.1, Cost(p), w)[1].abs().sum()) < 1e-4
    assert ActiveSet.collect(pool, psi, 50.0, 60 * 20 - 1) is None


def test_an_active_set_keeps_the_pairs_near_the_top_of_their_row():
    x, w, target = draw(60, 20)
    psi = torch.zeros(20, dtype=torch.float64)
    active = ActiveSet.collect(Pool(x, w, SemiDual(target, 0.01)), psi, 0.3, 10**6)
    height = -Cost().matrix(x, target.y)
    keep = height > height.amax(1, keepdim=True) - 0.3
    assert torch.equal(torch.stack([active.points, active.atoms]).long(), keep.nonzero().T)
    assert torch.equal(active.offsets[1:], keep.sum(1).cumsum(0))


def test_atoms_without_pairs_do_not_run_away():
    x, w, target = draw(60, 20)
    y = target.y.clone()
    y[3] = 100.0
    lonely = DiscreteMeasure.from_atoms(y)
    active = ActiveSet.collect(Pool(x, w, SemiDual(lonely, 0.01)), torch.zeros(20, dtype=torch.float64), 0.3, 10**6)
    psi = active.maximise(torch.zeros(20, dtype=torch.float64), 1e-6)
    assert not bool((active.atoms == 3).any())
    assert float(psi.max()) <= 0.3


@pytest.mark.parametrize("lam", [0.001, 0.01])
def test_at_small_lam_a_few_passes_are_enough(lam):
    x, w, target = draw(1000, 200)
    solution = solve_certified(x, w, SemiDual(target, lam), tol=0.01)
    assert solution.converged
    assert solution.work <= 10  # 300 passes of the first order do not reach it at lam = 0.001


X, Y = torch.rand(40, 2), DiscreteMeasure.from_atoms(torch.rand(7, 2))


@pytest.mark.parametrize(
    ("x", "lam", "changed"),
    [
        (X, 0.0, {}),
        (X, -1.0, {}),
        (X, math.nan, {}),
        (X, math.inf, {}),
        (X[:, :1], 0.1, {}),
        (X[0], 0.1, {}),
        (X[:0], 0.1, {}),
        (X.double(), 0.1, {}),
        (X / 0, 0.1, {}),
        (X, 0.1, {"tol": 0.0}),
        (X, 0.1, {"tol": math.nan}),
        (X, 0.1, {"max_passes": 0}),
        (X, 0.1, {"weights": torch.ones(3)}),
        (X, 0.1, {"weights": -torch.ones(40)}),
        (X, 0.1, {"weights": torch.zeros(40)}),
        (X, 0.1, {"psi": torch.zeros(6)}),
        (X, 0.1, {"psi": torch.full((7,), math.nan)}),
    ],
)
def test_refusals(x, lam, changed):
    assert ":" in refused(lambda: solve_certified(x, changed.pop("weights", None), SemiDual(Y, lam), **changed))


def test_a_cost_that_overflows_is_named():
    with pytest.raises(FloatingPointError, match="rescale"):
        solve_certified(torch.full((40, 2), 1e25), None, SemiDual(Y, 0.1))
