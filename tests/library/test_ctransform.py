"""The one-pass products psi_step and x_grad against the definitions and against extended precision."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from otgrad import Cost, DiscreteMeasure
from otgrad.ctransform import (
    assignment,
    barycentric_map,
    c_transform,
    c_transform_fixed_psi,
    psi_step,
    x_grad,
)
from otgrad.kernels import reference

LAMS = (0.0, 1e-6, 1e-3, 0.1, 1.0, 1e3, 1e6)
POWERS = (1.0, 1.5, 2.0, 3.0)
SHAPES = {"plain": (11, 7, 3), "one atom": (11, 1, 3), "one point": (1, 7, 3), "wide": (11, 7, 20)}


def draw(shape, dtype=torch.float64, device="cpu", *, seed=0, size=1.0, p=2.0):
    """Points, weights, atoms of unequal mass, one without any, and a potential as large as the cost."""
    b, n, d = shape
    rng = np.random.default_rng(seed)
    x, y = size * rng.normal(size=(b, d)), size * rng.normal(size=(n, d))
    nu, w = rng.random(n) + 0.1, rng.random(b) + 0.1
    psi = size**p * rng.normal(size=n)
    if n > 3:
        nu[2], y[2], psi[2] = 0, x[0], 1e3 * size**p  # would win every cell, did it count
    tensors = (torch.tensor(a, dtype=dtype, device=device) for a in (x, y, nu, psi, w / w.sum()))
    x, y, nu, psi, w = tensors
    return x, DiscreteMeasure.from_atoms(y, nu), psi, w


def extended(x, target, psi, lam, cost, w):
    """Values, psi-gradient and x-gradient by the definition in numpy's long double."""
    x, y, nu, psi, w = (np.asarray(t.cpu(), np.longdouble) for t in (x, target.y, target.nu, psi, w))
    nu, w = nu / nu.sum(), w / w.sum()
    r = np.linalg.norm((x[:, None] - y).reshape(-1, x.shape[1]), axis=1).reshape(len(x), len(y))
    p, scale = np.longdouble(cost.p), np.longdouble(cost.scale)
    gaps = np.where(nu > 0, r**p / scale - psi, np.inf)
    least = gaps.min(axis=1, keepdims=True)
    if lam == 0:
        values, pi = least[:, 0], np.eye(len(y))[gaps.argmin(axis=1)]
    else:
        excess = np.where(nu > 0, nu * np.expm1((least - gaps) / lam), 0).sum(axis=1)
        values = least[:, 0] - lam * np.log1p(excess)
        pi = nu * np.exp((least - gaps) / lam) / (1 + excess[:, None])
    slope = p / scale * np.where(r > 0, r, 1) ** (p - 2)
    return values, nu - w @ pi, np.einsum("bn,bnd->bd", pi * slope, x[:, None] - y)


def size_of(x, target, psi, cost):
    """Largest number that the cost is formed from: roundings are relative to it."""
    squares = float(x.square().sum(1).max() + target.y_sq.max())
    return 4 * squares ** (cost.p / 2) / cost.scale + float(psi[target.nu > 0].abs().max())


def assert_near(tensor, expected, atol):
    np.testing.assert_allclose(tensor.cpu().numpy(), np.asarray(expected, np.float64), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_products_match_extended_precision(shape, p, lam, dtype):
    check_against_extended(*draw(shape, dtype), lam, Cost(p, scale=2.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no usable CUDA GPU")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_products_match_extended_precision_on_a_gpu(dtype):
    for shape, p, lam in product(SHAPES.values(), POWERS, LAMS):
        check_against_extended(*draw(shape, dtype, "cuda"), lam, Cost(p, scale=2.0))


def check_against_extended(x, target, psi, w, lam, cost):
    values, grad, slopes = extended(x, target, psi, lam, cost, w)
    eps, size = torch.finfo(x.dtype).eps, size_of(x, target, psi, cost)
    step_values, step_grad = psi_step(x, target, psi, lam, cost, w)
    grad_values, grad_slopes = x_grad(x, target, psi, lam, cost)
    for found in (step_values, grad_values):
        assert_near(found, values, 8 * eps * size)  # a few roundings of the largest term, at every lam
    # An exponent s = (psi - c) / lam has 8 eps size / lam of rounding, and pi_j moves by that times pi_j (1 - pi_j):
    # at small lam the assignments of these points are one-hot and that factor vanishes.
    inner = 8 * eps * (1 + size / max(lam, 0.1))
    assert_near(step_grad, grad, inner)
    assert_near(grad_slopes, slopes, 4 * inner * max(1.0, size))
    assert abs(float(step_grad.double().sum())) <= 8 * eps


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_products_match_the_definitions(shape, p, lam):
    x, target, psi, w = draw(shape, seed=1)
    cost = Cost(p)
    # the definition's own rounding: -lam log(1 + ...) loses lam eps
    atol = 1e-10 + 10 * torch.finfo(torch.float64).eps * lam
    x.requires_grad_()
    values = c_transform(x, target, psi, lam, cost)
    (slopes,) = torch.autograd.grad(values.sum(), x)
    step_values, step_grad = psi_step(x.detach(), target, psi, lam, cost, w)
    grad_values, grad_slopes = x_grad(x.detach(), target, psi, lam, cost)
    marginal = w @ assignment(x.detach(), target, psi, lam, cost)
    torch.testing.assert_close(step_values, values.detach(), rtol=0, atol=atol)
    torch.testing.assert_close(grad_values, values.detach(), rtol=0, atol=atol)
    torch.testing.assert_close(step_grad, target.nu - marginal, rtol=0, atol=1e-10)
    torch.testing.assert_close(grad_slopes, slopes, rtol=0, atol=atol)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_no_weights_means_equal_weights(lam):
    x, target, psi, _ = draw(SHAPES["plain"])
    equal = torch.full((len(x),), 1 / len(x), dtype=x.dtype)
    results = (psi_step(x, target, psi, lam, Cost(), w) for w in (None, equal))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("tile", [1, 7 * 3, 7 * 10])  # one row at a time, several, all but one
@pytest.mark.parametrize("lam", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_row_tiles_change_nothing_but_rounding(p, lam, tile, monkeypatch):
    x, target, psi, w = draw(SHAPES["plain"])
    arguments = (x, target, psi, lam, Cost(p))
    whole = (*psi_step(*arguments, w), *x_grad(*arguments), barycentric_map(*arguments))
    monkeypatch.setattr(reference, "TILE_ELEMENTS", tile)
    tiled = (*psi_step(*arguments, w), *x_grad(*arguments), barycentric_map(*arguments))
    for found, expected in zip(tiled, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_points_need_not_be_contiguous(p, lam):
    x, target, psi, w = draw(SHAPES["plain"])
    strided = torch.stack([x, x + 1], dim=1).flatten(0, 1)[::2]
    for view in (x.T.contiguous().T, strided):
        assert not view.is_contiguous()
        for function in (psi_step, x_grad):
            results = (function(t, target, psi, lam, Cost(p)) for t in (view, x))
            for found, expected in zip(*results, strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_an_atom_without_mass_leaves_everything(p, lam):
    x, target, psi, w = draw(SHAPES["plain"])
    moved, psi_moved = target.y.clone(), psi.clone()
    moved[2], psi_moved[2] = 1e6, -1e9
    other = DiscreteMeasure(moved, target.nu)
    cost = Cost(p)
    for function in (c_transform, assignment, psi_step, x_grad, barycentric_map):
        before, after = (function(x, law, v, lam, cost) for law, v in ((target, psi), (other, psi_moved)))
        pairs = zip(before, after, strict=True) if isinstance(before, tuple) else [(before, after)]
        assert all(torch.equal(*pair) for pair in pairs), function.__name__
    assert float(psi_step(x, target, psi, lam, cost, w)[1][2]) == 0
    assert not assignment(x, target, psi, lam, cost)[:, 2].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e3, 1e9])
@pytest.mark.parametrize("p", POWERS)
def test_extreme_costs_and_lams_stay_finite(p, size, dtype):
    x, target, psi, w = draw(SHAPES["plain"], dtype, size=size, p=p)
    for lam in (0.0, 1e-6, 1.0, 1e6):
        values, grad = psi_step(x, target, psi, lam, Cost(p), w)
        _, slopes = x_grad(x, target, psi, lam, Cost(p))
        for found in (values, grad, slopes):
            assert torch.isfinite(found).all(), f"lam = {lam}"
        # pi sums to 1 and each of its entries lies in [0, 1]
        assert abs(float(grad.double().sum())) <= 20 * torch.finfo(dtype).eps
        assert float(grad.abs().sum()) <= 2 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_large_lam_keeps_its_digits(dtype):
    # psi^{c,lam} tends to sum_j nu_j (c(x, y_j) - psi_j) with an error below (spread / 2)^2 / lam, here 1e-4 of it.
    x, target, psi, _ = draw(SHAPES["plain"], dtype)
    gaps = (Cost().matrix(x.double(), target.y.double()) - psi.double())[:, target.nu > 0]
    nu = target.nu[target.nu > 0].double()
    mean, spread = gaps @ (nu / nu.sum()), gaps.amax() - gaps.amin()
    bound = float(spread / 2) ** 2 / 1e6 + 8 * torch.finfo(dtype).eps * size_of(x, target, psi, Cost())
    assert bound < 2e-3
    assert float((psi_step(x, target, psi, 1e6, Cost())[0] - mean).abs().max()) < bound


@pytest.mark.parametrize(("lam", "nearest"), [(0.1, 1e-12), (0.01, 1e-12), (0.1, 1e-300)])
def test_a_rare_atom_keeps_its_share(lam, nearest):
    # Two atoms at distances 0 and 1 of the only point, the near one with hardly any mass.
    y, nu = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([nearest, 1 - nearest], dtype=torch.float64)
    x, psi = torch.zeros(1, 1).double(), torch.zeros(2).double()
    mass = nearest + (1 - nearest) * math.exp(-1 / lam)
    values, grad = psi_step(x, DiscreteMeasure(y, nu), psi, lam, Cost())
    assert float(values) == pytest.approx(-lam * math.log(mass), rel=1e-12)
    assert float(grad[0]) == pytest.approx(nearest - nearest / mass, rel=1e-12, abs=0)


def test_ties_at_lam_zero_go_to_the_first_atom():
    y = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    target, x, psi = DiscreteMeasure.from_atoms(y), torch.zeros(1, 2, dtype=torch.float64), torch.zeros(3).double()
    assert assignment(x, target, psi, 0, Cost()).tolist() == [[1, 0, 0]]
    assert x_grad(x, target, psi, 0, Cost())[1].tolist() == [[-2, 0]]
    torch.testing.assert_close(psi_step(x, target, psi, 0, Cost())[1], target.nu - torch.tensor([1.0, 0, 0]).double())


@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("d", [2, 20])
def test_a_point_on_an_atom_has_a_finite_gradient(d, lam):
    y = torch.eye(3, d)
    target, psi = DiscreteMeasure.from_atoms(y), torch.zeros(3)
    for p in (0.5, 1.0, 1.5):
        _, slopes = x_grad(y.clone(), target, psi, lam, Cost(p))
        assert torch.isfinite(slopes).all()
        assert lam > 0 or not slopes.any()  # each point is in its own atom's cell, where the gradient counts as 0


def test_assignment_is_one_hot_at_lam_zero():
    x, target, psi, _ = draw(SHAPES["plain"])
    pi = assignment(x, target, psi, 0, Cost())
    assert set(pi.flatten().tolist()) == {0.0, 1.0}
    assert (pi.sum(1) == 1).all()


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_barycentric_map_is_the_mean_of_the_assignment(p):
    x, target, psi, _ = draw(SHAPES["plain"])
    expected = assignment(x, target, psi, 0.5, Cost(p)) @ target.y
    torch.testing.assert_close(barycentric_map(x, target, psi, 0.5, Cost(p)), expected, rtol=0, atol=1e-13)


def test_fixed_psi_transform_differentiates_in_x_alone():
    x, target, psi, w = draw(SHAPES["plain"])
    x.requires_grad_()
    psi.requires_grad_()
    transform = c_transform_fixed_psi(x, target, psi, 0.3, Cost())
    slopes, none = torch.autograd.grad(w @ transform, [x, psi], allow_unused=True)
    torch.testing.assert_close(slopes, w[:, None] * x_grad(x, target, psi, 0.3, Cost())[1], rtol=0, atol=1e-14)
    assert none is None
    squared = c_transform_fixed_psi(x, target, psi, 0.3, Cost()).square().sum()
    (slopes,) = torch.autograd.grad(squared, x, create_graph=True)
    found = torch.autograd.grad(slopes.square().sum(), x)[0]
    squared = c_transform(x, target, psi.detach(), 0.3, Cost()).square().sum()
    (slopes,) = torch.autograd.grad(squared, x, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(slopes.square().sum(), x)[0], rtol=0, atol=1e-11)


def test_products_build_no_graph_and_change_no_input():
    x, target, psi, w = draw(SHAPES["plain"])
    copies = [t.clone() for t in (x, target.y, target.nu, psi, w)]
    x.requires_grad_()
    for lam in (0.0, 0.1, 1e6):
        for p in POWERS:
            results = (*psi_step(x, target, psi, lam, Cost(p), w), *x_grad(x, target, psi, lam, Cost(p)))
            assert not any(t.requires_grad for t in results)
    for now, before in zip((x.detach(), target.y, target.nu, psi, w), copies, strict=True):
        assert torch.equal(now, before)


def test_the_kept_buffer_carries_nothing_from_call_to_call():
    """Results stay as they were while later calls, of other sizes, dtypes and modes, write to the same buffer."""
    first = draw(SHAPES["plain"])
    with torch.inference_mode():
        expected = [t.clone() for t in psi_step(*first[:3], 0.1, Cost(), first[3])]
    results = psi_step(*first[:3], 0.1, Cost(), first[3])
    gradients = x_grad(*first[:3], 0.1, Cost())
    kept = [t.clone() for t in gradients]
    for shape, dtype in product(((500, 90, 3), (2, 3, 1)), (torch.float32, torch.float64)):
        x, target, psi, w = draw(shape, dtype)
        psi_step(x, target, psi, 0.1, Cost(), w)
        x_grad(x, target, psi, 0.1, Cost())
    assert all(map(torch.equal, (*results, *gradients), (*expected, *kept)))


def test_a_constant_potential_on_one_atom_is_its_shifted_cost():
    x, target, _, _ = draw(SHAPES["one atom"])
    for lam in LAMS:
        values, grad = psi_step(x, target, torch.tensor([3.0]).double(), lam, Cost())
        expected = Cost().matrix(x, target.y)[:, 0] - 3
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-13 * max(1.0, math.sqrt(lam)))
        assert grad.tolist() == pytest.approx([0.0], abs=1e-15)
