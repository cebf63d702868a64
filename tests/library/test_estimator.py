import doctest
import io
import math
import warnings

import numpy as np
import pytest
import torch
from refusals import refused

from otgrad import Cost, SemiDiscreteOT, SemiDual, StepRule, solve_exact
from otgrad.ctransform import x_grad
from otgrad.solvers import estimator

Y = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.5, 1.0]], dtype=torch.float64)
NU = [1.0, 2.0, 3.0, 2.0]


def square(batch_size, generator):
    return torch.rand(batch_size, 2, generator=generator, dtype=torch.float64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(max_iter=200, **options):
    return SemiDiscreteOT(Y, NU, **options).fit(square, 64, max_iter, progress=False, generator=rng())


def test_the_docstrings_example_runs():
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
    (example,) = finder.find(SemiDiscreteOT, "SemiDiscreteOT")
    result = runner.run(example)
    assert (result.failed, result.attempted) == (0, 5)


@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_fit_approaches_the_exact_solution(lam, cost):
    ot = fitted(1000, lam=lam, cost=cost)
    x = square(512, rng(5))
    best = solve_exact(x, None, SemiDual.of(Y, torch.tensor(NU), lam, cost))
    assert ot.value(x) <= best.value + best.gap + 1e-12
    # The optimum on 512 points exceeds that of the law by its marginal noise, about sqrt(4 / 512) of the cost's
    # spread squared, below 1%; the fit's own error is smaller.
    assert best.value - ot.value(x) < 0.02 * best.value


@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("power", [0, 1, 4])
def test_masses_however_uneven_are_fitted_alike(power, lam):
    # Measured over three seeds: 2e-5 to 4.8e-4 of the value; 4e-3 to 3e-2 while an atom's step grew with 1 / nu_j.
    g = rng(power)
    x, y = (torch.randn(size, 5, generator=g, dtype=torch.float64) for size in (1500, 60))
    nu = torch.rand(60, generator=g, dtype=torch.float64) ** power
    ot = SemiDiscreteOT(y, nu, lam=lam)
    ot.fit(lambda b, g: x[torch.randint(len(x), (b,), generator=g)], 500, 1000, progress=False, generator=g)
    best = solve_exact(x, None, SemiDual.of(y, nu / nu.sum(), lam, "sqeuclidean"))
    assert best.value - ot.value(x) < 1e-3 * best.value


def test_value_needs_a_fit_or_points():
    ot = SemiDiscreteOT(Y)
    assert "fit" in refused(ot.value, kind=RuntimeError)
    assert ot.value(Y[:1]) == pytest.approx(float(ot.c_transform(Y[:1])), abs=1e-12)  # psi = 0
    assert math.isfinite(fitted(5).value())


def test_restart_follows_a_law_that_has_moved():
    def moved(b, generator):
        return square(b, generator) + 3

    errors = {}
    for restart in (False, True):
        ot = fitted(2000, lam=0.05)
        ot.fit(moved, 64, 20, progress=False, generator=rng(5), restart=restart)
        _, gradient = SemiDual(ot.target, ot.lam, ot.cost).value(moved(4000, rng(6)), ot.psi)
        errors[restart] = float(gradient.abs().sum())
    assert errors[True] < 0.5 * errors[False]


def test_psi_has_its_gauge_and_clears_atoms_without_mass():
    ot = SemiDiscreteOT(Y, [1.0, 0.0, 2.0, 1.0]).fit(square, 32, 20, progress=False, generator=rng())
    assert abs(float(ot.target.nu @ ot.psi)) < 1e-14
    assert ot.psi[1] == 0
    assert not ot.assign(square(5, rng()))[:, 1].any()


@pytest.mark.parametrize("lam", [0.0, 0.2])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", 1.5])
def test_gradient_of_the_loss_is_the_explicit_one(lam, cost):
    ot = fitted(50, lam=lam, cost=cost)
    x = square(20, rng(3)).requires_grad_()
    (slopes,) = torch.autograd.grad(ot.loss(x), x)
    expected = x_grad(x.detach(), ot.target, ot.psi, lam, Cost.from_name(cost))[1] / 20
    torch.testing.assert_close(slopes, expected, rtol=0, atol=1e-14)
    assert float(ot.loss(x.detach())) == pytest.approx(ot.value(x.detach()), abs=1e-12)
    if cost == "sqeuclidean":
        barycentric = 2 * (x - ot.barycentric_map(x)) / 20
        torch.testing.assert_close(slopes, barycentric.detach(), rtol=0, atol=1e-14)


def test_assignments_sum_to_one():
    for lam in (0.0, 0.3):
        torch.testing.assert_close(fitted(10, lam=lam).assign(square(9, rng())).sum(1), torch.ones(9).double())


def test_state_survives_a_file():
    ot, stream = fitted(30), io.BytesIO()
    torch.save(ot.state_dict(), stream)
    stream.seek(0)
    other = SemiDiscreteOT(Y, NU)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(ot.psi, other.psi)
    assert ot.value() == other.value()
    for solver in (ot, other):
        solver.fit(square, 16, 7, progress=False, generator=rng(8))
    assert torch.equal(ot.psi, other.psi)


def test_state_is_a_copy():
    ot = fitted(10)
    state, psi = ot.state_dict(), ot.psi.clone()
    other = SemiDiscreteOT(Y, NU)
    other.load_state_dict(state)
    other.fit(square, 16, 3, progress=False)
    state["average"].zero_()
    assert torch.equal(ot.psi, psi)
    assert other.psi.any()


@pytest.mark.parametrize("options", [{"lam": 0.2}, {"cost": "euclidean"}, {"normalize": True}, {"y": Y[:3]}])
def test_state_of_another_problem_is_refused(options):
    other = SemiDiscreteOT(**({"y": Y} | options))
    with pytest.raises(ValueError, match="state has .*: build it alike"):
        other.load_state_dict(fitted(2).state_dict())


def test_normalize_only_changes_units():
    scale = float(torch.tensor(NU, dtype=torch.float64) / 8 @ Y.square().sum(1))
    unit, raw = fitted(50, lam=0.05, normalize=True), fitted(50, lam=0.05 * scale)
    assert unit.cost.scale == pytest.approx(scale, rel=1e-12)
    torch.testing.assert_close(unit.psi * scale, raw.psi, rtol=0, atol=1e-12)
    assert unit.value() * scale == pytest.approx(raw.value(), abs=1e-12)
    x = square(5, rng(4))
    torch.testing.assert_close(unit.assign(x), raw.assign(x), rtol=0, atol=1e-12)


def test_tol_stops_early():
    ot, steps = SemiDiscreteOT(Y, NU, lam=1.0), []

    def counting(batch_size, generator):
        steps.append(batch_size)
        return square(batch_size, generator)

    assert ot.converged is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ot.fit(counting, 64, 1000, tol=0.05, progress=False, generator=rng())
    assert ot.converged is True
    assert steps == [8 * 64] + [64] * estimator.CHECK_EVERY


def test_tol_that_is_not_met_warns():
    ot = SemiDiscreteOT(Y, NU, lam=0.01)
    with pytest.warns(UserWarning, match="marginal error .* > tol = 1e-09 after 60 steps: raise max_iter"):
        ot.fit(square, 16, 60, tol=1e-9, progress=False, generator=rng())
    assert ot.converged is False
    ot.fit(square, 16, 1, progress=False)
    assert ot.converged is None


def test_same_seed_same_potential():
    assert torch.equal(fitted(20).psi, fitted(20).psi)


def test_fit_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    fitted(3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_second_fit_goes_on():
    ot = fitted(20)
    first = ot.psi
    assert ot.fit(square, 64, 15, progress=False, generator=rng(1)) is ot
    assert ot.state_dict()["k"] == 35
    assert not torch.equal(ot.psi, first)


@pytest.mark.parametrize(("y", "dtype"), [
    (Y.numpy(), torch.float64), (Y.numpy().astype(np.float32), torch.float32),
    (np.array([[0, 1], [2, 3]]), torch.float32), ([[0, 1], [2, 3]], torch.float32),
    ([[0.0, 1.0], [2.0, 3.0]], torch.float32), (torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8), torch.float32),
])  # fmt: skip
def test_arrays_lists_and_integers_are_read(y, dtype):
    ot = SemiDiscreteOT(y, np.arange(1, len(y) + 1))
    ot.fit(lambda b, g: torch.rand(b, 2, generator=g, dtype=dtype), 8, 3, progress=False)
    assert ot.psi.dtype == dtype
    assert ot.assign(torch.zeros(1, 2, dtype=dtype)).shape == (1, len(y))


@pytest.mark.parametrize("options", [
    {"y": torch.zeros(3)}, {"y": torch.tensor(1.0)}, {"y": torch.zeros(0, 2)}, {"y": torch.zeros(3, 0)},
    {"y": Y.to(torch.complex64)}, {"unit": 0.0}, {"y": Y / 0}, {"nu": [1.0, 2.0]}, {"nu": [1.0, 2.0, -1.0, 1.0]},
    {"nu": [0.0] * 4}, {"nu": [math.nan] * 4}, {"lam": -0.1}, {"lam": math.nan}, {"lam": math.inf}, {"lam": True},
    {"cost": "cosine"}, {"cost": 0}, {"y": torch.zeros(3, 2), "normalize": True},
])  # fmt: skip
def test_refused_problems(options):
    assert ":" in refused(SemiDiscreteOT, **({"y": Y} | options))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5, 3).double(), "points have shape (5, 3): give a tensor (b, 2)"),
        (torch.zeros(2).double(), "points have shape (2,)"),
        (np.zeros((5, 3)), "points have shape (5, 3): give a tensor (b, 2)"),
        (np.zeros((5, 2), np.float32), "points are torch.float32 on cpu: give torch.float64 on cpu"),
        ([[0.0, 0.0]], "points are of type list: give a tensor or an array"),
        (torch.zeros(5, 2), "points are torch.float32 on cpu: give torch.float64 on cpu"),
    ],
)
def test_refused_points(x, message):
    ot = SemiDiscreteOT(Y)
    for call in (ot.value, ot.c_transform, ot.assign, ot.barycentric_map, ot.loss):
        said = refused(call, x)
        assert said.startswith(message)
        assert ": give " in said
    assert ": give " in refused(ot.fit, lambda batch_size, generator: x, progress=False)


@pytest.mark.parametrize("numbers", [{"batch_size": 0}, {"max_iter": 0}, {"max_iter": -3}])
def test_refused_numbers(numbers):
    assert "give an integer >= 1" in refused(SemiDiscreteOT(Y).fit, square, **numbers, progress=False)


def test_points_that_are_not_finite():
    with pytest.raises(FloatingPointError, match="sampler"):
        SemiDiscreteOT(Y).fit(lambda b, g: square(b, g) * math.nan, progress=False)


def test_another_rule_is_used():
    plain, scaled = fitted(5, rule=StepRule("plain", c=0.1)), fitted(5)
    assert not torch.equal(plain.psi, scaled.psi)
    assert "sinkhorn" in refused(fitted, 5, lam=0.0, rule=StepRule("sinkhorn"))


def test_data_far_from_the_origin_is_warned_about():
    y = torch.rand(50, 2, generator=rng()) - 0.5
    with pytest.warns(UserWarning, match="subtract its mean"):
        SemiDiscreteOT(y + 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SemiDiscreteOT(y + 1)
        SemiDiscreteOT(y.double() + 100)
