"""Distances near and at zero in any dimension, and the memory that they take."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from companion.scores.distances import exact_w1, nearest_neighbour_accuracy
from otgrad import Cost, DiscreteMeasure, costs
from otgrad.ctransform import assignment, barycentric_map, c_transform, psi_step, x_grad
from otgrad.kernels import reference

DIMENSIONS = [1, 2, 16, 17, 30, 64, 784]


def cloud(n, d, dtype=torch.float32, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_diagonal_is_zero_and_close_pairs_are_right(d, p, dtype, offset):
    y = cloud(30, d, dtype) + offset
    x = torch.cat([y, y * (1 + 1e-5), y * (1 + 1e-3)])
    found = Cost(p).matrix(x, y)
    assert torch.equal(found[:30].diagonal(), torch.zeros(30, dtype=dtype))
    exact = (x.double()[:, None] - y.double()).norm(dim=2) ** p
    torch.testing.assert_close(found.double(), exact, rtol=2e-5 if dtype == torch.float32 else 1e-12, atol=0)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("d", [2, 17, 40])
@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_gradients_at_and_near_atoms_are_finite_and_right(d, p, lam):
    y = cloud(20, d)
    x = torch.cat([y[:5], y[5:10] * (1 + 1e-6), y[10:15] + 1e-3, cloud(5, d, seed=1)])
    law, psi, cost = DiscreteMeasure.from_atoms(y), torch.zeros(20), Cost(p)
    law64, x64 = DiscreteMeasure.from_atoms(y.double()), x.double()
    values, slopes = x_grad(x, law, psi, lam, cost)
    exact_values, exact = x_grad(x64, law64, psi.double(), lam, cost)
    torch.testing.assert_close(values.double(), exact_values, rtol=1e-4, atol=2e-5)
    assert bool(slopes.isfinite().all())
    error = (slopes.double() - exact).norm(dim=1) / (1 + exact.norm(dim=1))
    assert float(error.max()) < 2e-3
    x64.requires_grad_()
    (defined,) = torch.autograd.grad(c_transform(x64, law64, psi.double(), lam, cost).sum(), x64)
    torch.testing.assert_close(defined, exact, rtol=1e-6, atol=1e-6)


def test_the_slope_of_a_close_pair_has_its_direction():
    y = torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    x = torch.tensor([[1.0 + 2**-22, 1.0]])
    law = DiscreteMeasure.from_atoms(y)
    slope = x_grad(x, law, torch.zeros(2), 0.1, Cost(1.0))[1]
    torch.testing.assert_close(slope, torch.tensor([[1.0, 0.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_cloud_is_at_no_distance_from_itself(d):
    x = torch.rand(8, d, generator=torch.Generator().manual_seed(0))
    w1, partners = exact_w1(x, x.clone())
    assert w1 == 0
    assert torch.equal(partners, x)
    assert nearest_neighbour_accuracy(x, torch.arange(8), x, torch.arange(8)) == 1


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5])
def test_points_on_atoms_are_assigned_to_them_at_no_cost(p):
    y = cloud(30, 30)
    law, psi = DiscreteMeasure.from_atoms(y), torch.zeros(30)
    assert psi_step(y, law, psi, 0.0, Cost(p))[0].tolist() == [0.0] * 30
    assert c_transform(y, law, psi, 0.0, Cost(p)).tolist() == [0.0] * 30


@pytest.mark.parametrize("elements", [1, 50, 2**22])
def test_squared_distances_in_tiles_are_the_same_with_both_derivatives(elements, monkeypatch):
    x, y = cloud(5, 3, torch.float64).requires_grad_(), cloud(7, 3, torch.float64, seed=1).requires_grad_()
    weights = cloud(5, 7, torch.float64, seed=2)
    expected = costs._squares(x, y)
    slopes = torch.autograd.grad((expected * weights).sum(), (x, y))
    monkeypatch.setattr(costs, "_DIFFERENCES", elements)
    found = Cost().matrix(x, y)
    assert torch.equal(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), (x, y), retain_graph=True), slopes)
    assert torch.autograd.gradcheck(Cost().matrix, (x, y))
    assert torch.autograd.gradgradcheck(Cost().matrix, (x, y))


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("d", [3, 20])
def test_costs_have_derivatives_of_both_orders_and_both_modes(p, d):
    x, y = cloud(5, d, torch.float64).requires_grad_(), cloud(7, d, torch.float64, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(Cost(p).matrix, (x, y), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(Cost(p).matrix, (x, y))


@pytest.mark.parametrize("d", [2, 16])
def test_the_slope_of_a_close_pair_does_not_lose_digits_to_a_graph(d):
    y = cloud(30, d) + 10
    x = (y + 1e-4 * cloud(30, d, seed=1)).requires_grad_()
    away = torch.eye(30)
    (expected,) = torch.autograd.grad((Cost(1.0).matrix(x, y) * away).sum(), x)
    (found,) = torch.autograd.grad((Cost(1.0).matrix(x, y) * away).sum(), x, create_graph=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(expected, torch.nn.functional.normalize(x.detach() - y), rtol=0, atol=1e-6)


class Largest(TorchDispatchMode):
    """Keeps the number of bytes of the largest tensor that is made: its own, of what the kernels keep for the next."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor) and t.dtype != torch.uint8]
        stored = [min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors]
        self.size = max([self.size, *stored])
        return out


@pytest.mark.parametrize("d", [10, 16, 17])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_no_entry_holds_an_array_of_points_by_atoms_by_coordinates(d, p, offset, monkeypatch):
    monkeypatch.setattr(costs, "_DIFFERENCES", 2**12)
    monkeypatch.setattr(reference, "HEIGHTS_ELEMENTS", 2**12)
    x, law = (cloud(60, d, seed=1) + offset).requires_grad_(), DiscreteMeasure.from_atoms(cloud(500, d) + offset)
    psi, cost, lam = torch.zeros(500), Cost(p), 1.0
    entries = {
        "matrix": lambda: cost.matrix(x, law.points),
        "slope of the definition": lambda: c_transform(x, law, psi, lam, cost).sum().backward(),
        "assignment": lambda: assignment(x, law, psi, lam, cost),
        "map": lambda: barycentric_map(x, law, psi, lam, cost),
        "psi": lambda: psi_step(x.detach(), law, psi, lam, cost),
        "x": lambda: x_grad(x.detach(), law, psi, lam, cost),
    }
    for name, entry in entries.items():
        with Largest() as largest:
            entry()
        assert largest.size <= 2 * 8 * 60 * 500, name  # two numbers of 8 bytes per pair: the places of close ones


def test_points_far_apart_are_still_infinite_or_nan():
    x, y = torch.full((1, 20), 1e30), torch.zeros(2, 20)
    assert not bool(Cost(1.0).matrix(x, y).isfinite().any())
    assert math.isnan(float(Cost(1.0).matrix(x * math.nan, y)[0, 0]))
