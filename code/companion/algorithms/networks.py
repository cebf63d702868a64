"""Generators and critics: the MLP and the DCGAN of paper A's sequel, the residual MLP and the critic of paper B."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

LATENT_DIM = 100


def make_generator(kind: str, shape: tuple[int, int], seed: int) -> nn.Module:
    """Build a generator z (b, 100) -> images (b, h w) in [0, 1], initialised from `seed` alone.

    Args:
        kind: "mlp" or "dcgan".
        shape: (h, w) of the images.
        seed: of torch's default initialisation; the global generator is left as it was.

    Raises:
        ValueError: if kind is unknown.
    """
    if kind not in ("mlp", "dcgan"):
        raise ValueError(f"generator = {kind!r}: give 'mlp' or 'dcgan'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mlp(math.prod(shape)) if kind == "mlp" else Dcgan(shape)


def mlp(dim: int) -> nn.Sequential:
    """MLP 100-256-512-1024-dim with LeakyReLU(0.2) and a sigmoid; hidden widths at most 4 dim.

    The sequel's for 784 pixels.
    """
    widths = [LATENT_DIM, *(min(width, 4 * dim) for width in (256, 512, 1024))]
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], dim), nn.Sigmoid())


class Dcgan(nn.Module):
    """Transposed convolutions (kernel 3, stride 2) with batch normalisation and ReLU, and a sigmoid.

    For 28 x 28 images: 1 -> 3 -> 7 -> 15 -> 28 with 256, 128, 64 and 1 channels and no bias, as the sequel's code.
    Other sizes by its rule: before an odd side half of it, rounded down, before an even one half and one, until 1.
    """

    def __init__(self, shape: tuple[int, int], width: int = 64) -> None:
        """Build for images of `shape` (h, w), with `width` channels before the last layer."""
        super().__init__()
        sizes = _halvings(shape)
        count = len(sizes) - 1
        channels = [LATENT_DIM, *(width * 2**k for k in range(count - 2, -1, -1)), 1]
        layers: list[nn.Module] = []
        for k in range(count):
            layers.append(_upsample(channels[k], channels[k + 1], sizes[k], sizes[k + 1]))
            if k < count - 1:
                layers += [nn.BatchNorm2d(channels[k + 1]), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (b, 100) to images (b, h w)."""
        return self.layers(z[:, :, None, None]).flatten(1)


class ResidualMlp(nn.Module):
    """G(z) = z + scale tanh(net(z)), or z + net(z) if scale is None; hidden layers with batch normalisation and ReLU.

    Weights, the scales of the normalisation among them, are drawn from N(0, 0.01^2), biases are 0: G is close to
    the identity at first. (Malik and Huang: 2-128-128-128-2, and 256-200-500-256 with scale 2.)
    `# ASSUME:` batch statistics at evaluation too.
    """

    def __init__(self, widths: Sequence[int], seed: int, scale: float | None = None) -> None:
        """Build for latents (b, widths[0]), with widths[-1] == widths[0], initialised from `seed` alone."""
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths[:-1]):
            norm = nn.BatchNorm1d(width_out, track_running_stats=False)
            layers += [nn.Linear(width_in, width_out), norm, nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
        self.scale = scale
        _draw_weights(self, 0.01, seed)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (b, d) to samples (b, d)."""
        shift = self.net(z)
        return z + (shift if self.scale is None else self.scale * shift.tanh())


class CriticMlp(nn.Sequential):
    """ReLU network (b, widths[0]) -> (b,), weights from N(0, 0.1^2) and biases 0, from `seed` alone."""

    def __init__(self, widths: Sequence[int], seed: int) -> None:
        """Build with hidden layers of widths[1:]."""
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        super().__init__(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))
        _draw_weights(self, 0.1, seed)

    def slopes(self, x: Tensor) -> Tensor:
        """Compute grad phi(x_i) (b, d), differentiable in the weights, as the product of weights and masks that it is.

        The same numbers, and derivatives, as differentiating twice (ReLU'' = 0), without the graph of the first pass.
        """
        *hidden, last = (layer for layer in self if isinstance(layer, nn.Linear))
        active = []
        with torch.no_grad():
            for layer in hidden:
                x = layer(x).relu_()
                active.append(x.sign())  # 0 or 1, since x >= 0
        slopes = last.weight
        for layer, mask in zip(reversed(hidden), reversed(active), strict=True):
            slopes = (slopes * mask) @ layer.weight
        return slopes


def make_potential(dim: int, seed: int) -> nn.Sequential:
    """MLP dim-512-256-128-1 with ReLU, (b, dim) -> (b,), in torch's default initialisation from `seed` alone.

    The sequel's psi, 566,273 parameters for 784 pixels; hidden widths at most 4 dim.
    """
    widths = [dim, *(min(width, 4 * dim) for width in (512, 256, 128))]
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))


def _draw_weights(network: nn.Module, std: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    for name, values in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(values)
        else:
            nn.init.normal_(values, std=std, generator=rng)


def _halvings(shape: tuple[int, int]) -> list[tuple[int, int]]:
    sizes = [shape]
    while sizes[0] != (1, 1):
        h, w = (side // 2 + (side % 2 == 0 and side > 2) if side > 1 else 1 for side in sizes[0])
        sizes.insert(0, (h, w))
    return sizes


def _upsample(
    channels_in: int, channels_out: int, size_in: tuple[int, int], size_out: tuple[int, int]
) -> nn.ConvTranspose2d:
    """Transposed convolution from size_in to size_out, each side becoming 2 side + 1, cut to fit, or staying 1."""
    grows = [before != after for before, after in zip(size_in, size_out, strict=True)]
    cut = [g * (2 * before + 1 - after) for g, before, after in zip(grows, size_in, size_out, strict=True)]
    (h, w), (above, beside) = grows, [(c + 1) // 2 for c in cut]
    return nn.ConvTranspose2d(
        channels_in,
        channels_out,
        kernel_size=(3 if h else 1, 3 if w else 1),
        stride=(2 if h else 1, 2 if w else 1),
        padding=(above, beside),
        output_padding=(2 * above - cut[0], 2 * beside - cut[1]),
        bias=False,
    )
