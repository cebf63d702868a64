"""The result of one point does not depend on the other points of its batch, whatever those are."""

import math

import pytest
import torch
from instances import in_float64, pixels

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT
from otgrad.ctransform import heights, psi_step, x_grad
from otgrad.kernels import build, cpu, reference

needs_cpu = pytest.mark.skipif(build.unavailable() is not None, reason=f"compiled kernel: {build.unavailable()}")
KERNELS = [pytest.param(reference, id="reference"), pytest.param(cpu, id="cpu", marks=needs_cpu)]
FAR = [1.0, 30.0, 1e2, 1e3, 1e4, 1e6, 1e12, 3e38, math.inf, math.nan]


def bytes_law(n=512, d=2):
    problem = pixels(1, n, d, density=1.0)
    return problem.law, problem.psi


@pytest.mark.parametrize("lam", [0.0, 1e-3, 0.01, 0.1])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_far_point_changes_no_other(kernel, far, lam):
    law, psi = bytes_law()
    x = torch.tensor([[0.5, 0.4], [far, 0.3], [0.2, -0.1], [-far, far]])
    near = torch.tensor([0, 2])
    assert kernel.covers(x, law, lam, Cost())
    values, _, slopes = in_float64(x[near], law, psi, lam, Cost())
    w = torch.full((4,), 0.25)
    stepped, grads = kernel.psi_step(x, law, psi, lam, Cost(), w)[0], kernel.x_grad(x, law, psi, lam, Cost())
    torch.testing.assert_close(stepped[near].double(), values, rtol=0, atol=2e-6)
    torch.testing.assert_close(grads[0][near].double(), values, rtol=0, atol=2e-6)
    torch.testing.assert_close(grads[1][near].double(), slopes, rtol=0, atol=1e-4)


@needs_cpu
def test_the_case_as_it_was_found():
    rng = torch.Generator().manual_seed(3)
    ot = SemiDiscreteOT(torch.randint(0, 256, (512, 2), generator=rng, dtype=torch.uint8), lam=0.01, unit=1 / 255)
    alone = torch.tensor([[0.5, 0.4]], requires_grad=True)
    (expected,) = torch.autograd.grad(ot.c_transform(alone).sum(), alone)
    for far in (1e2, 1e3, 1e4, 1e6):
        both = torch.tensor([[0.5, 0.4], [far, 0.0]], requires_grad=True)
        (found,) = torch.autograd.grad(ot.c_transform(both).sum(), both)
        assert torch.equal(found[0], expected[0])


@needs_cpu
@pytest.mark.parametrize("lam", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("far", [10.0, 1e2, 1e3, 1e4])
def test_the_far_point_itself_is_as_right_as_float32_allows(far, lam):
    law, psi = bytes_law(n=700, d=19)
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(9, 19, generator=rng)
    x[::2, 3] = far
    x[1, :] = far + 0.1 * x[1]  # far from the origin, and narrow
    w = torch.rand(9, generator=rng)
    values, marginal, slopes = in_float64(x, law, psi, lam, Cost(), w)
    found, p = cpu.psi_step(x, law, psi, lam, Cost(), w)
    size = far**2 * torch.ones(9, dtype=torch.float64)
    assert bool(((found - values).abs() <= 4e-6 * 19 * size).all())
    # float32 rounds <x, y> to 1e-7 of it, and the exponent is that over lam; bare 16 bits would leave 100 times as much
    rounding = 2e-6 * far * 19 / max(lam, 0.01)
    if rounding < 0.3:
        assert float((p - marginal).abs().sum() / w.sum()) <= rounding + 1e-5
        torch.testing.assert_close(cpu.x_grad(x, law, psi, lam, Cost())[1].double(), slopes, rtol=1e-6, atol=rounding)


@needs_cpu
def test_heights_of_a_point_are_its_own():
    law, psi = bytes_law()
    x = torch.tensor([[0.5, 0.4], [1e5, 0.0], [math.nan, 0.0]])
    ((found, order),) = [(tile.clone(), order) for tile, order in heights(x, law, psi, Cost())]
    ((alone, _),) = [(tile.clone(), order) for tile, order in heights(x[:1], law, psi, Cost())]
    assert torch.equal(found[0], alone[0])
    exact = psi.double() - Cost().matrix(x[:1].double(), law.points.double())[0]
    off = found[0].double() - exact[order]
    assert float((off - off.mean()).abs().max()) < 2e-6
    assert bool(found[2].isnan().all())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.0, 0.02])
def test_a_batch_split_in_two_gives_the_same(kernel, lam):
    law, psi = bytes_law(n=3000, d=11)
    x = torch.rand(60, 11, generator=torch.Generator().manual_seed(2)) * torch.logspace(-6, 6, 60)[:, None]
    whole, parts = kernel.x_grad(x, law, psi, lam, Cost()), [x[:17], x[17:]]
    halves = [kernel.x_grad(part, law, psi, lam, Cost()) for part in parts]
    for one, two in zip(whole, zip(*halves, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(two), one, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("lam", [1e3, 1e6])
def test_a_far_point_leaves_the_others_the_digits_of_a_large_lam(lam, p, dtype):
    rng = torch.Generator().manual_seed(4)
    y, x = torch.randn(40, 3, generator=rng).to(dtype), torch.randn(5, 3, generator=rng).to(dtype)
    law, psi, cost = DiscreteMeasure.from_atoms(y), torch.zeros(40, dtype=dtype), Cost(p)
    x[2] = 1e8 * lam
    others = torch.tensor([0, 1, 3, 4])
    alone, both = (x_grad(points, law, psi, lam, cost) for points in (x[others], x))
    rounding = {"rtol": 20 * torch.finfo(dtype).eps, "atol": 20 * torch.finfo(dtype).eps}
    torch.testing.assert_close(both[0][others], alone[0], **rounding)
    torch.testing.assert_close(both[1][others], alone[1], **rounding)
    torch.testing.assert_close(psi_step(x, law, psi, lam, cost)[0][others], alone[0], **rounding)


@needs_cpu
def test_a_point_that_is_not_finite_stays_one():
    law, psi = bytes_law()
    x = torch.tensor([[0.5, 0.4], [math.nan, 0.0], [math.inf, 0.0]])
    values, slopes = cpu.x_grad(x, law, psi, 0.05, Cost())
    assert values.isfinite().tolist() == [True, False, False]
    assert bool(slopes[1:].isnan().all())
    assert bool(psi_step(x, law, psi, 0.05, Cost())[1].isnan().any())  # no sum over points hides it


@needs_cpu
@pytest.mark.parametrize("large", [1e6, 1e10])
def test_scores_so_large_that_the_cut_is_lost_in_them(large):
    law, psi = bytes_law()
    x = torch.tensor([[large, 0.3]])
    values, p = cpu.psi_step(x, law, psi, 1e-3, Cost(), torch.ones(1))
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert float(values) == pytest.approx(large**2, rel=1e-5)
