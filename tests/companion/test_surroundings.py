"""Neither autocast nor torch's default dtype around a call changes what it gives."""

import contextlib

import pytest
import torch

from companion.scores.distances import exact_w1
from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, barycentric_map, c_transform, c_transform_fixed_psi, heights, psi_step, x_grad
from otgrad.scale.streams import StreamedMeasure
from otgrad.solvers.stochastic import cost_spread

RNG = 5


@contextlib.contextmanager
def double_by_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SURROUNDINGS = {
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "default float64": double_by_default,
}
surroundings = pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS)


def atoms(kind, n, d):
    rng = torch.Generator().manual_seed(RNG)
    whole = torch.randint(0, 256, (n, d), generator=rng, dtype=torch.uint8)
    whole *= (torch.rand(n, d, generator=rng, dtype=torch.float32) < 0.5).to(torch.uint8)
    reals = torch.randn(n, d, generator=rng, dtype=torch.float32)
    return {"bytes": whole, "integers": whole.to(torch.float32), "reals": reals, "double": reals.double()}[kind]


def entries(law, x, lam, cost):
    """Call every entry and return what it gives, all tensors."""
    psi = 0.1 * torch.sin(torch.arange(law.n, dtype=torch.float64)).to(law.nu.dtype)
    found = [*psi_step(x, law, psi, lam, cost), *x_grad(x, law, psi, lam, cost)]
    found.extend(SemiDual(law, lam, cost).value(x, psi))
    found.append(barycentric_map(x, law, psi, lam, cost))
    found.append(assignment(x, law, psi, lam, cost))
    points = x.clone().requires_grad_()
    for function in (c_transform_fixed_psi, c_transform):
        if function is c_transform and isinstance(law, StreamedMeasure):
            continue
        values = function(points, law, psi, lam, cost)
        (slopes,) = torch.autograd.grad(values.sum(), points)
        found += [values.detach(), slopes]
    if not isinstance(law, StreamedMeasure):
        found += [torch.cat([tile.clone() for tile, _ in heights(x, law, psi, cost)])]
        found += [cost.matrix(x, law.points), cost.distances(x, law.points)]
        found += [torch.tensor(cost_spread(x, law, cost), dtype=torch.float64)]
    return found


def assert_same(first, second):
    """Up to the last digits, which depend on where in memory a matrix product finds its inputs."""
    for one, other in zip(first, second, strict=True):
        assert one.dtype == other.dtype
        last = 20 * torch.finfo(one.dtype).eps
        torch.testing.assert_close(one, other, rtol=last, atol=10 * last)


@surroundings
@pytest.mark.parametrize("kind", ["bytes", "integers", "reals", "double"])
@pytest.mark.parametrize("n", [40, 512])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_every_entry_gives_the_same(around, kind, n, lam):
    for p, d in ((2.0, 5), (2.0, 20), (1.0, 5), (1.5, 20)):
        y = atoms(kind, n, d)
        unit = 1 / 255 if kind in ("bytes", "integers") else 1.0
        dtype = torch.float64 if kind == "double" else torch.float32
        x = torch.rand(7, d, generator=torch.Generator().manual_seed(1), dtype=torch.float32).to(dtype)
        cost = Cost(p, scale=2.0)
        outside = entries(DiscreteMeasure.from_atoms(y, unit=unit), x, lam, cost)
        with around():
            inside = entries(DiscreteMeasure.from_atoms(y, unit=unit), x, lam, cost)
        assert_same(outside, inside)


@surroundings
def test_atoms_in_a_file_give_the_same(around, tmp_path):
    import numpy as np

    np.save(tmp_path / "y.npy", atoms("reals", 300, 20).numpy())
    x = torch.rand(7, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    outside = entries(StreamedMeasure.open(tmp_path / "y.npy"), x, 0.1, Cost())
    with around():
        assert_same(outside, entries(StreamedMeasure.open(tmp_path / "y.npy"), x, 0.1, Cost()))


@surroundings
@pytest.mark.parametrize("kind", ["bytes", "integers", "reals"])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_solvers_give_the_same(around, kind, cost):
    y, unit = atoms(kind, 600, 20), 1.0 if kind == "reals" else 1 / 255
    x = torch.rand(300, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float32)

    def solve():
        ot = SemiDiscreteOT(y, lam=0.05, cost=cost, unit=unit, normalize=True)
        ot.fit(lambda b, rng: x[torch.randperm(300, generator=rng)[:b]], 64, 20, progress=False, tol=1e-9,
               generator=torch.Generator().manual_seed(2))  # fmt: skip
        points = x[:5].clone().requires_grad_()
        loss = ot.loss(points)
        loss.backward()
        law = DiscreteMeasure.from_atoms(y[:60], unit=unit)
        fixed = solve_certified(x, None, SemiDual(law, 0.2, Cost.from_name(cost)), tol=0.05)
        pool = solve_exact(x[:30], None, SemiDual.of(law.points, None, 0.2, cost))
        numbers = [fixed.value, fixed.gap, pool.value, pool.gap, exact_w1(x[:20], x[20:40])[0], ot.value()]
        tensors = [ot.psi, ot.barycentric_map(x), ot.c_transform(x), loss.detach(), points.grad, fixed.psi, pool.psi]
        return [*tensors, torch.tensor(numbers, dtype=torch.float32)]

    with pytest.warns(UserWarning, match="marginal error"):
        outside = solve()
    with around(), pytest.warns(UserWarning, match="marginal error"):
        assert_same(outside, solve())


def test_the_backward_pass_inside_autocast_is_that_outside():
    x = torch.tensor([[0.3]], requires_grad=True)
    ot = SemiDiscreteOT([[0.0], [1.0]], lam=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = ot.loss(x)
        loss.backward()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # the surroundings are as before
    assert float(loss) == pytest.approx(0.27013, abs=1e-5)
    assert float(x.grad) == pytest.approx(-0.20262, abs=1e-5)


@surroundings
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", 1.5])
@pytest.mark.parametrize("d", [5, 20])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_derivatives_of_both_orders_in_points_atoms_and_masses_are_the_same(around, cost, d, lam):
    """Taken inside: where the products of a backward pass are torch's own, it would round their inputs."""
    rng, first = torch.Generator().manual_seed(3), atoms("reals", 40, d)
    masses = torch.rand(40, generator=rng, dtype=torch.float32) + 0.1
    points = torch.randn(7, d, generator=rng, dtype=torch.float32)

    def derivatives():
        found = []
        for entry in ("loss", "c_transform", "assign", "barycentric_map", "definition", "distances"):
            x, y, nu = (t.clone().requires_grad_() for t in (points, first, masses))
            ot = SemiDiscreteOT(y, nu, lam=lam, cost=cost)
            called = {
                "definition": lambda x, ot=ot: c_transform(x, ot.target, ot.psi, lam, ot.cost),
                "distances": lambda x, ot=ot, y=y: ot.cost.matrix(x, y),
            }.get(entry) or getattr(ot, entry)
            if entry == "assign" and lam == 0:
                continue  # constant
            options = {"create_graph": True, "materialize_grads": True, "allow_unused": True}
            slopes = torch.autograd.grad(called(x).square().sum(), (x, y, nu), **options)
            whole = sum(slope.square().sum() for slope in slopes if slope.requires_grad)
            options["create_graph"] = False
            second = torch.autograd.grad(whole, (x, y, nu), **options) if isinstance(whole, torch.Tensor) else ()
            found += [t.detach() for t in (*slopes, *second)]
        return found

    outside = derivatives()
    with around():
        assert_same(outside, derivatives())


@surroundings
def test_maps_to_atoms_in_a_file_have_the_same_slopes(around, tmp_path):
    import numpy as np

    np.save(tmp_path / "y.npy", atoms("reals", 300, 20).numpy())
    ot = SemiDiscreteOT(StreamedMeasure.open(tmp_path / "y.npy"), lam=0.1)
    x = torch.rand(7, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float32).requires_grad_()

    def slopes():
        return [torch.autograd.grad(called(x).square().sum(), x)[0] for called in (ot.assign, ot.barycentric_map)]

    outside = slopes()
    with around():
        assert_same(outside, slopes())


def test_bytes_at_zero_under_a_default_of_float64():
    for n in (511, 512):
        with double_by_default():
            value = SemiDiscreteOT(torch.zeros(n, 1, dtype=torch.uint8), lam=0.0).value(
                torch.zeros(1, 1, dtype=torch.float32)
            )
        assert value == 0
