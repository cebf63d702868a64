"""How good samples are: exact W1 between point clouds, and nearest-neighbour accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from otgrad.costs import Cost


def exact_w1(x: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """Compute W1 between two clouds of equal size by network simplex (POT), Euclidean cost. Claims: B-strictly-convex.

    W1 = min over permutations s of mean_i ||x_s(i) - y_i||. Two clouds of the same law are not at 0: print that beside.
    Each solve starts anew: potentials of the look before save POT 0.9.7 no time (findings/pot-warm-start-near.sh).

    Args:
        x: data (b, d).
        y: model samples (b, d).

    Returns:
        W1 in units of x, and the partners x_s(i) (b, d) of the samples: an exact potential increases at slope 1 from
        y_i to x_s(i), so that its gradient at y_i is the unit vector between them.

    Raises:
        ValueError: if the clouds differ in shape.
        FloatingPointError: if a sample is not finite.
    """
    import ot

    if x.shape != y.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}: give clouds of equal size")
    if not bool(torch.isfinite(y).all()):
        raise FloatingPointError("W1: a sample is not finite")
    distances = Cost(1).distances(y, x).double().cpu().numpy()
    partners = ot.emd([], [], distances, numItermax=10**7).argmax(axis=1)
    return float(distances[range(len(y)), partners].mean()), x[torch.from_numpy(partners).to(x.device)]


def slope_cosine(velocity: Tensor, y: Tensor, partners: Tensor) -> float:
    """Mean cosine between velocities (b, d) at samples y and the exact W1 potential's gradients there."""
    return float(torch.nn.functional.cosine_similarity(velocity, partners - y, dim=1).mean())


def nearest_neighbour_accuracy(points: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> float:
    """Share of queries (m, d) whose nearest point of points (n, d), Euclidean, has their true label."""
    return float(nearest_neighbour_hits(points, labels, queries, truth).mean())


def nearest_neighbour_hits(points: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> Tensor:
    """Whether it has, for each query (m,), as 0.0 or 1.0 in float64."""
    distances = Cost(1).distances
    nearest = torch.cat([distances(tile, points).argmin(dim=1) for tile in queries.split(512)])
    return (labels[nearest] == truth).double()
