"""Which images the samples are compared with, and sets that anyone can judge the scores by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from companion.data.images import LEAST_SCORED


@dataclass(frozen=True, eq=False)
class Sets:
    """Rows of the training and of the held-out images, chosen by the seed alone.

    Attributes:
        size: images in each set, and samples compared with them.
        held_out: rows of the held-out images that set k is compared with; disjoint where there are enough.
        real: rows of the training images that stand for perfect samples in set k; none of them in `memory`.
        memory: rows of training images that were trained on.
        fresh: rows of as many held-out images.
    """

    size: int
    held_out: list[Tensor]
    real: list[Tensor]
    memory: Tensor
    fresh: Tensor


def choose_sets(n_images: int, n_train: int, n_test: int, size: int, count: int, seed: int) -> Sets:
    """Choose `count` sets of `size` images, or of as many as there are.

    Args:
        n_images: number of training images there are.
        n_train: number of those that were trained on, the first ones.
        n_test: number of held-out images.
        size: images wanted in a set.
        count: of sets.
        seed: of the choice.

    Raises:
        ValueError: if that leaves fewer than ten images in a set.
    """
    size = min(size, n_test, n_images // 2)
    if size < LEAST_SCORED:
        raise ValueError(
            f"{n_images} training and {n_test} held-out images: give at least {2 * LEAST_SCORED} and {LEAST_SCORED}"
        )
    rng = torch.Generator().manual_seed(seed + 9_000_011)
    compared = min(n_train, n_test, n_images // 2)
    memory = torch.randperm(n_train, generator=rng)[:compared]
    others = torch.ones(n_images, dtype=torch.bool).index_fill_(0, memory, False).nonzero().squeeze(1)
    return Sets(
        size=size,
        held_out=draw_rows(torch.arange(n_test), size, count, rng),
        real=draw_rows(others, size, count, rng),
        memory=memory,
        fresh=torch.randperm(n_test, generator=rng)[:compared],
    )


def draw_rows(rows: Tensor, size: int, count: int, rng: torch.Generator) -> list[Tensor]:
    """Draw `count` sets of `size` rows: disjoint if there are enough, else each shuffled by itself, and repeated."""
    if count * size <= len(rows):
        return list(rows[torch.randperm(len(rows), generator=rng)[: count * size]].split(size))
    wrapped = torch.arange(size) % len(rows)
    return [rows[torch.randperm(len(rows), generator=rng)][wrapped] for _ in range(count)]


def controls(
    images: Tensor, labels: Tensor | None, shape: tuple[int, int], sets: Sets, seed: int
) -> dict[str, list[Tensor]]:
    """Make sets with a known fault from training images; each a list of (size, h w) like the sets of a run.

    "real" has none; "blurred": real, each pixel the mean of its 3 x 3 neighbourhood; "mean image", repeated;
    "half of the classes": real, of the first half of the labels alone (left out without labels); "copies": of images
    that were trained on.

    Args:
        images: training images (n, h w) in [0, 1].
        labels: theirs (n,), or None.
        shape: (h, w).
        sets: as chosen for the runs.
        seed: of the draws.
    """
    rng, count = torch.Generator().manual_seed(seed + 10_000_019), len(sets.real)
    real = [images[rows] for rows in sets.real]
    made = {
        "real": real,
        "blurred": [blur(part, shape) for part in real],
        "mean image": [images.mean(dim=0).repeat(sets.size, 1)] * count,
    }
    if labels is not None:
        rows = torch.cat(sets.real).unique()
        kinds = labels[rows].unique()
        rows = rows[torch.isin(labels[rows], kinds[: max(1, len(kinds) // 2)])]
        made["half of the classes"] = [images[chosen] for chosen in draw_rows(rows, sets.size, count, rng)]
    return made | {"copies": [images[chosen] for chosen in draw_rows(sets.memory, sets.size, count, rng)]}


def blur(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Replace each pixel of images (n, h w) by the mean of its 3 x 3 neighbourhood, the border continued outwards."""
    pictures = images.reshape(-1, 1, *shape)
    padded = torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1).flatten(1)
