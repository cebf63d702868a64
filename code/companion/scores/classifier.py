"""A small convolutional classifier, trained on labelled images, whose last hidden layer serves as feature space.

Standard scores take the features of Inception, a network for photographs; these are of the data's own kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = 64
CHANNELS = (8, 24)
BATCH = 128
RATE = 4e-3  # largest; of AdamW, which warms up over a fifth of the steps and then decreases to 0
DECAY = 1e-2
TILE = 500  # images embedded at once


class Classifier(nn.Module):
    """LeNet's layout: twice convolution 5 x 5, ReLU and pooling 2 x 2; then 64 features (ReLU) and one logit per class.

    Attributes:
        shape: (h, w) of the images, of any size.
        classes: the labels (C,) int64 that the logits stand for, increasing.
    """

    classes: Tensor

    def __init__(self, shape: tuple[int, int], classes: Tensor, seed: int = 0) -> None:
        """Build for images of `shape` and these labels; weights are drawn from `seed` alone."""
        super().__init__()
        self.shape = (int(shape[0]), int(shape[1]))
        self.register_buffer("classes", classes)
        wide = CHANNELS[1] * math.prod(math.ceil(side / 4) for side in self.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                *_convolution(1, CHANNELS[0]),
                *_convolution(*CHANNELS),
                nn.Flatten(),
                nn.Linear(wide, FEATURES),
                nn.ReLU(),
            )
            self.head = nn.Linear(FEATURES, len(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, h w) in [0, 1] to logits (b, C)."""
        return self.head(self.features(images.reshape(-1, 1, *self.shape)))


def _convolution(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=5, padding=2)
    return [convolution, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]


def train_classifier(
    images: Tensor,
    labels: Tensor,
    shape: tuple[int, int],
    steps: int,
    seed: int,
    watch: Callable[[int, Classifier], object] = lambda step, network: None,
) -> Classifier:
    """Minimise the cross-entropy by AdamW with a one-cycle rate, through shuffled epochs of batches of 128.

    On the same CPU with the same number of threads the same seed gives the same weights.
    `# ASSUME:` layout, width and rates are ours; the papers judge their samples by eye.

    Args:
        images: (n, h w) in [0, 1], float32.
        labels: (n,) integers, any, of at least two kinds.
        shape: (h, w).
        steps: batches in all, whatever n is.
        seed: of the weights and the order.
        watch: called after every step with its number and the network.

    Returns:
        the classifier, in evaluation mode.

    Raises:
        ValueError: on wrong shapes, or labels of one kind.
        FloatingPointError: if the loss is not finite.
    """
    if images.shape != (len(labels), math.prod(shape)) or labels.ndim != 1 or steps < 1:
        raise ValueError(
            f"{steps} steps, images {tuple(images.shape)}, labels {tuple(labels.shape)}, shape {tuple(shape)}: "
            "give steps >= 1, images (n, h w), labels (n,) and (h, w)"
        )
    classes, truth = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"all labels are {int(classes[0])}: give labels of at least two kinds")
    network = Classifier(shape, classes, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(steps, 2), pct_start=0.2)
    batches = _batches(len(images), torch.Generator().manual_seed(seed + 8_000_009))
    for step in range(1, steps + 1):
        rows = next(batches)
        loss = nn.functional.cross_entropy(network(images[rows]), truth[rows])
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"the classifier's loss is not finite at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        watch(step, network)
    return network.eval()


def _batches(n: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Rows of a new permutation for each epoch, without what does not fill a batch."""
    while True:
        rows = torch.randperm(n, generator=rng).split(BATCH)
        yield from rows if len(rows[-1]) == BATCH or len(rows) == 1 else rows[:-1]


@dataclass(frozen=True)
class Embedding:
    """Images as a classifier sees them.

    Attributes:
        features: (n, 64) >= 0, float32.
        probabilities: of the classes, (n, C), float32.
    """

    features: Tensor
    probabilities: Tensor


@torch.no_grad()
def embed(network: Classifier, images: Tensor) -> Embedding:
    """Compute features and class probabilities of images (n, h w) in [0, 1].

    Raises:
        ValueError: if the images are not of the size that the classifier was trained on.
    """
    if images.ndim != 2 or images.shape[1] != math.prod(network.shape):
        h, w = network.shape
        raise ValueError(f"images have shape {tuple(images.shape)}: give (n, {h * w}), the classifier's {h} x {w}")
    features = torch.cat([network.features(tile.reshape(-1, 1, *network.shape)) for tile in images.split(TILE)])
    return Embedding(features, network.head(features).softmax(dim=1))


def hits(network: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Whether the most probable class of images (n, h w) is their label (n,), as 0.0 or 1.0; one never seen is not."""
    return (network.classes[embed(network, images).probabilities.argmax(dim=1)] == labels).double()


def to_state(network: Classifier) -> dict[str, Any]:
    """Return what torch.save keeps and torch.load reads with weights_only=True."""
    return {"shape": list(network.shape), "weights": network.state_dict()}


def from_state(state: dict[str, Any]) -> Classifier:
    """Rebuild the classifier of `to_state`, in evaluation mode."""
    h, w = state["shape"]
    network = Classifier((h, w), state["weights"]["classes"])
    network.load_state_dict(state["weights"])
    return network.eval()
