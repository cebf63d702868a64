"""Compare two sets as a classifier sees them: Frechet distance; precision, recall, density and coverage; classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from companion.scores.points import check_sets

NEIGHBOURS = 5  # ASSUME: k of Naeem et al.'s tables; Kynkaanniemi et al. take 3
LEAST_SHARE = 0.1  # ASSUME: of a class's share in real images, from which on it counts as generated


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared W2 of the normal laws with the sets' means and covariances (Heusel et al. 2017, "FID").

    ||m_x - m_y||^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)); S = R^T R / (n - 1) for the QR factor R of the centred set, so
    that tr (S_x S_y)^(1/2) is the nuclear norm of R_x R_y^T / (...): nothing is inverted and no root is taken of
    rounding, whatever the rank. In float64.

    Biased: two sets of one law are at a positive distance, of the order of d tr S / n. Compare only at equal sizes and
    print the distance of real to real images beside. In another feature space than Inception's the numbers are not
    comparable to published ones.

    Args:
        x: set (n, d), n >= 2.
        y: set (m, d), m >= 2.

    Returns:
        the distance >= 0, in squared units of the features.

    Raises:
        ValueError: on a wrong shape or fewer than two points.
        FloatingPointError: if an entry is not finite.
    """
    check_sets(2, x=x, y=y)
    (mean_x, root_x), (mean_y, root_y) = _moments(x), _moments(y)
    traces = root_x.square().sum() + root_y.square().sum()
    cross = torch.linalg.svdvals(root_x @ root_y.T).sum()
    return max(0.0, float((mean_x - mean_y).square().sum() + traces - 2 * cross))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and a factor R (min(n, d), d) with R^T R the covariance, float64."""
    x = x.double()
    mean = x.mean(dim=0)
    return mean, torch.linalg.qr((x - mean) / (len(x) - 1) ** 0.5, mode="r").R


@dataclass(frozen=True)
class NeighbourScores:
    """How two sets lie in each other's k-nearest-neighbour balls (closed; a point's radius leaves itself out).

    Attributes:
        precision: share of samples in at least one ball of a real point (Kynkaanniemi et al. 2019). Fidelity; but
            what hugs the mean may be inside too: on MNIST the mean image has a precision of 1.
        recall: share of real points in at least one ball of a sample (same). Diversity.
        density: balls of real points that a sample lies in, on average, over k (Naeem et al. 2020): precision that one
            outlying real point does not raise. May exceed 1.
        coverage: share of real points with a sample in their ball (same): recall that outlying samples do not raise.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(real: Tensor, samples: Tensor, k: int = NEIGHBOURS) -> NeighbourScores:
    """Compute precision, recall, density and coverage; memory of the order of n m.

    All four depend on the sizes: compare at equal ones. Two sets of one law have a precision and recall below 1, a
    density of about 1 and a coverage of about 1 - 2^-k.

    Args:
        real: points of the data (n, d), n > k.
        samples: points of the model (m, d), m > k.
        k: neighbours >= 1.

    Raises:
        ValueError: on a wrong shape, or no more points than k.
        FloatingPointError: if an entry is not finite.
    """
    if k < 1:
        raise ValueError(f"k = {k}: give an integer >= 1")
    check_sets(k + 1, real=real, samples=samples)
    between = _distances(real, samples)
    in_real_ball = between <= _radii(real, k)[:, None]
    in_sample_ball = between <= _radii(samples, k)[None, :]
    return NeighbourScores(
        precision=float(in_real_ball.any(dim=0).double().mean()),
        recall=float(in_sample_ball.any(dim=1).double().mean()),
        density=float(in_real_ball.double().sum(dim=0).mean()) / k,
        coverage=float(in_real_ball.any(dim=1).double().mean()),
    )


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of every point to its k-th nearest other (n,)."""
    distances = _distances(x, x).fill_diagonal_(torch.inf)
    return distances.topk(k, dim=1, largest=False).values.amax(dim=1)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (n, m), differences formed one by one: copies are at 0, and ties stay ties."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class ClassScores:
    """The classes that a classifier finds in samples.

    Attributes:
        imbalance: total variation distance of their shares to those found in real images, 0 to 1.
        classes: number of classes with at least a tenth of the share that they have in real images.
        confidence: mean of the largest probability.
    """

    imbalance: float
    classes: int
    confidence: float


def class_scores(real: Tensor, samples: Tensor) -> ClassScores:
    """Count the predicted classes of samples beside those of real images.

    Args:
        real: probabilities of the classes (n, C) for real images.
        samples: the same (m, C) for samples.

    Raises:
        ValueError: on a wrong shape.
        FloatingPointError: if an entry is not finite.
    """
    check_sets(1, real=real, samples=samples)
    expected, found = (torch.bincount(p.argmax(dim=1), minlength=p.shape[1]) / len(p) for p in (real, samples))
    return ClassScores(
        imbalance=float((found - expected).abs().sum()) / 2,
        classes=int(((found > 0) & (found >= LEAST_SHARE * expected)).sum()),
        confidence=float(samples.amax(dim=1).mean()),
    )
