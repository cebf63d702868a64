import math

import numpy as np
import pytest
import torch
from refusals import refused

from otgrad.measures import Dirac, DiscreteMeasure, Normal, Segment, Uniform

Y = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
HALVES = torch.tensor([0.5, 0.5, 0.0])


def test_from_atoms_divides_by_the_total_in_float64():
    measure = DiscreteMeasure.from_atoms(Y, [1, 2, 5])
    assert measure.nu.dtype == Y.dtype
    assert measure.nu.tolist() == [0.125, 0.25, 0.625]
    assert DiscreteMeasure.from_atoms(Y.double()).nu.tolist() == [1 / 3] * 3
    many = DiscreteMeasure.from_atoms(torch.zeros(100_000, 1))
    assert abs(float(many.nu.double().sum()) - 1) < 1e-7  # relative rounding of one float32 mass, not of their sum


def test_integer_and_array_masses_are_read():
    for nu in (np.array([1, 1, 2]), (1, 1, 2), torch.tensor([1, 1, 2])):
        assert DiscreteMeasure.from_atoms(Y, nu).nu.tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(("y", "nu", "message"), [
    (torch.zeros(3), None, "y has shape (3,)"), (torch.tensor(1.0), None, "y has shape ()"),
    (torch.zeros(2, 2, 2), None, "y has shape (2, 2, 2)"), (torch.zeros(2, 0), None, "y has shape (2, 0)"),
    (torch.zeros(3, 2, dtype=torch.int64), None, "y has dtype torch.int64"),
    (torch.zeros(3, 2, dtype=torch.complex64), None, "y has dtype torch.complex64"),
    (torch.tensor([[math.nan], [0.0]]), None, "y has entries that are not finite"),
    (torch.tensor([[math.inf], [0.0]]), None, "y has entries that are not finite"),
    (Y, [1.0, 1.0], "nu has shape (2,)"), (Y, [[1.0, 1.0, 1.0]], "nu has shape (1, 3)"),
    (Y, [1.0, -0.5, 1.0], "nu has a negative or non-finite mass"), (Y, [0.0, 0.0, 0.0], "nu sums to 0.0"),
    (Y, [1.0, math.nan, 1.0], "nu sums to nan"), (Y, [1.0, math.inf, 1.0], "nu sums to inf"),
    (Y, [1.0, 1e-40, 1.0], "nu has a positive mass below"),
])  # fmt: skip
def test_refusals(y, nu, message):
    said = refused(DiscreteMeasure.from_atoms, y, nu)
    assert said.startswith(message)
    assert ":" in said


def test_masses_must_sum_to_one_when_given_directly():
    assert "nu sums to 0.9: divide it by its sum" in refused(DiscreteMeasure, Y, torch.tensor([0.3, 0.3, 0.3]))


def test_support_and_positive_part():
    assert DiscreteMeasure.from_atoms(Y).support is None
    measure = DiscreteMeasure(Y, HALVES)
    assert measure.support.tolist() == [0, 1]
    assert torch.equal(measure.positive.y, Y[:2])
    assert measure.positive.support is None
    assert (measure.n, measure.positive.n) == (3, 2)
    assert measure.y_sq.tolist() == [0, 1, 4]


def test_center_fixes_the_gauge_and_clears_atoms_without_mass():
    centered = DiscreteMeasure(Y, HALVES).center(torch.tensor([1.0, 2.0, 50.0]))
    assert centered.tolist() == [-0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    "law",
    [Uniform(3), Normal(3), Segment((0.0, 1.0, 2.0), (1.0, 1.0, 0.0)), Dirac((1.0, 2.0, 3.0))],
    ids=lambda law: type(law).__name__,
)
def test_samplers_draw_rows_from_their_generator_alone(law):
    before = torch.random.get_rng_state()
    first, again = (law(5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (5, 3)
    assert first.dtype == law.dtype
    assert torch.equal(first, again)
    assert torch.equal(before, torch.random.get_rng_state())


def test_successive_draws_differ():
    rng = torch.Generator().manual_seed(1)
    assert not torch.equal(Uniform(3)(5, rng), Uniform(3)(5, rng))


def moments_agree(draws, mean, std, fourth):
    """Both moments within four standard errors; that of the variance is std^2 sqrt((kurtosis - 1) / count)."""
    count = draws.numel()
    assert abs(float(draws.mean()) - mean) < 4 * std / math.sqrt(count)
    assert abs(float(draws.var()) - std**2) < 4 * std**2 * math.sqrt((fourth - 1) / count)


def test_moments():
    rng = torch.Generator().manual_seed(0)
    uniform = Uniform(4, -2.0, 3.0, torch.float64)(5000, rng)
    assert uniform.min() >= -2
    assert uniform.max() <= 3
    moments_agree(uniform, 0.5, 5 / math.sqrt(12), 9 / 5)
    moments_agree(Normal(4, 1.5, 0.1, torch.float64)(5000, rng), 1.5, 0.1, 3)
    segment = Segment((1.0, 0.0), (3.0, 4.0))(20000, rng)
    moments_agree(segment[:, 0], 2, 2 / math.sqrt(12), 9 / 5)
    torch.testing.assert_close(segment[:, 1], 2 * (segment[:, 0] - 1), rtol=0, atol=1e-12)


def test_dirac_repeats_its_point():
    assert Dirac((0.0, 1.0))(3).tolist() == [[0.0, 1.0]] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no usable CUDA GPU")
@pytest.mark.parametrize("law", [Uniform(3), Normal(3)], ids=["uniform", "normal"])
def test_network_latents_are_drawn_on_the_generators_device(law):
    assert law(5, torch.Generator("cuda").manual_seed(1)).device.type == "cuda"
