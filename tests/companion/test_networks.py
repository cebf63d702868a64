import math

import pytest
import torch
from torch import nn

from companion.algorithms.networks import LATENT_DIM, make_generator

SHAPES = [(28, 28), (8, 8), (16, 16), (5, 7), (1, 9), (9, 3), (2, 2)]


def latents(count=6):
    return 2 * torch.rand(count, LATENT_DIM, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_images_have_their_shape_and_range(kind, shape):
    generator = make_generator(kind, shape, seed=0)
    images = generator(latents())
    assert images.shape == (6, math.prod(shape))
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert bool((images.std(dim=0) > 0).any())  # the latent is seen
    images.sum().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_range_is_open_to_black_and_white(kind):
    with torch.no_grad():
        images = make_generator(kind, (8, 8), seed=0)(1e4 * latents(50))
    # the DCGAN's batch normalisation takes the factor away again
    assert kind == "dcgan" or images.min() < 1e-3 < 1 - 1e-3 < images.max()
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_weights_depend_on_the_seed_alone(kind):
    torch.manual_seed(1)
    first = make_generator(kind, (8, 8), seed=3).state_dict()
    torch.manual_seed(2)
    again, other = (make_generator(kind, (8, 8), seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_global_generator_is_left_as_it_was(kind):
    before = torch.random.get_rng_state()
    make_generator(kind, (8, 8), seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_papers_mlp():
    layers = make_generator("mlp", (28, 28), seed=0)
    widths = [layer.in_features for layer in layers if isinstance(layer, nn.Linear)]
    assert widths == [100, 256, 512, 1024]
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2] * 3
    assert isinstance(layers[-1], nn.Sigmoid)


def test_the_papers_dcgan():
    layers = make_generator("dcgan", (28, 28), seed=0).layers
    convolutions = [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
    assert [c.in_channels for c in convolutions] == [100, 256, 128, 64]
    assert all(c.kernel_size == (3, 3) and c.stride == (2, 2) for c in convolutions)
    sides, image = [], latents()[:, :, None, None]
    for layer in layers:
        image = layer(image)
        if isinstance(layer, nn.ConvTranspose2d):
            sides.append(tuple(image.shape[2:]))
    assert sides == [(3, 3), (7, 7), (14, 14), (28, 28)]


@pytest.mark.parametrize("kind", ["", "MLP", "vae"])
def test_unknown_kind(kind):
    with pytest.raises(ValueError, match="generator = .*: give 'mlp' or 'dcgan'"):
        make_generator(kind, (8, 8), seed=0)
