"""Sharpness, diversity and memorisation, on images whose scores are known."""

import pytest
import torch

from companion.scores.pixels import gradient_energy, memorisation, total_variance
from companion.scores.sets import blur


def noise(n, seed, d=30):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed))


def test_gradient_energy_by_hand():
    images = torch.tensor([[0.0, 1.0, 0.0, 0.5, 0.5, 0.5], [0.0] * 6])  # 2 x 3; the second is flat
    expected = (1 + 1 + 0 + 0 + 0.25 + 0.25 + 0.25) / 2
    assert gradient_energy(images, (2, 3)) == pytest.approx(expected)
    assert gradient_energy(images[:, :1], (1, 1)) == 0


def test_a_blur_takes_gradient_energy_and_diversity_away():
    images = noise(50, 0)
    blurred = blur(images, (5, 6))
    assert gradient_energy(blurred, (5, 6)) < 0.3 * gradient_energy(images, (5, 6))
    assert total_variance(blurred) < 0.5 * total_variance(images)


def test_total_variance():
    assert total_variance(torch.tensor([[0.0, 1.0], [2.0, 1.0]])) == 1
    assert total_variance(noise(1, 0).repeat(9, 1)) == pytest.approx(0)


def test_copies_are_found():
    train, held_out = noise(200, 0), noise(200, 1)
    found = memorisation(train[:80], train, held_out)
    assert (found.share, found.ratio) == (1, 0)
    found = memorisation(held_out[:80], train, held_out)
    assert found.share == 0
    assert found.ratio == torch.inf
    near = memorisation(train[:80] + 0.01 * noise(80, 2), train, held_out)
    assert near.share == 1
    assert near.ratio < 0.05


def test_samples_of_the_law_are_as_near_to_either():
    found = memorisation(noise(400, 2), noise(200, 0), noise(200, 1))
    assert found.share == pytest.approx(0.5, abs=0.2)  # four standard errors: samples share their neighbours
    assert found.ratio == pytest.approx(1, abs=0.05)


def test_ties_count_half():
    both = noise(50, 0)
    found = memorisation(both[:10], both, both.clone())
    assert (found.share, found.ratio) == (0.5, 1)


def test_bad_images_are_refused_in_one_line():
    images = noise(9, 0)
    with pytest.raises(ValueError, match=r"^images have shape \(9, 30\): give \(n, 25\), as \(5, 5\) says$"):
        gradient_energy(images, (5, 5))
    with pytest.raises(ValueError, match="differ in size"):
        memorisation(images, images, images[:5])
    with pytest.raises(FloatingPointError, match="samples has an entry that is not finite"):
        memorisation(images * torch.nan, images, images)
