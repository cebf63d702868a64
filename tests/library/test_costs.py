import math

import numpy as np
import pytest
import torch
from refusals import refused

from otgrad.costs import Cost


def points(rows, d, seed, dtype=torch.float64):
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("d", [1, 3, 16, 17, 40])  # both sides of the switch between differences and matrix products
@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_matrix_is_the_definition(p, d):
    x, y = points(4, d, 1), points(6, d, 2)
    expected = [[math.dist(a, b) ** p / 3.0 for b in y.tolist()] for a in x.tolist()]
    np.testing.assert_allclose(Cost(p, scale=3.0).matrix(x, y).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_float32_cost_of_a_point_to_itself_is_small_and_never_negative(p, d):
    x = points(50, d, 3, torch.float32) + 3
    diagonal = Cost(p).matrix(x, x).diagonal()
    # ||x||^2 is about 10 d; a matrix product leaves a few roundings of it, and the distance is their root.
    rounding = 10 * torch.finfo(torch.float32).eps * 10 * d
    assert (diagonal >= 0).all()
    assert (diagonal <= rounding ** (p / 2)).all()


def test_low_dimension_has_no_cancellation_far_from_the_origin():
    x, y = torch.tensor([[4096.0, 1.0]]), torch.tensor([[4096.0, 1.5]])
    assert float(Cost(2.0).matrix(x, y)) == 0.25
    assert float(Cost(1.0).matrix(x, y)) == 0.5


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_derivative_where_points_coincide_is_zero(p):
    x = points(3, 2, 4).requires_grad_()
    (slope,) = torch.autograd.grad(Cost(p).matrix(x, x.detach()).diagonal().sum(), x)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_names():
    assert Cost.from_name("sqeuclidean") == Cost(2.0)
    assert Cost.from_name("euclidean") == Cost(1.0)
    assert Cost.from_name(1.5) == Cost(1.5)
    assert Cost.from_name(Cost(3.0, 2.0)) == Cost(3.0, 2.0)


@pytest.mark.parametrize("cost", ["manhattan", "", -1.0, 0, math.nan, math.inf])
def test_refused_costs(cost):
    assert ": give " in refused(Cost.from_name, cost)


@pytest.mark.parametrize("scale", [0.0, -2.0, math.nan, math.inf])
def test_refused_scales(scale):
    with pytest.raises(ValueError, match=r"cost scale = .*: give "):
        Cost(2.0, scale)


def test_normalized_replaces_the_scale_by_the_mean_power_of_the_norm():
    y, nu = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert Cost(2.0, scale=7.0).normalized(y, nu) == Cost(2.0, scale=0.25 * 25 + 0.75)
    assert Cost(1.0).normalized(y, nu) == Cost(1.0, scale=0.25 * 5 + 0.75)
    assert "normalize = False" in refused(Cost().normalized, torch.zeros(2, 2), torch.tensor([0.5, 0.5]))
