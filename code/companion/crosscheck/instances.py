"""The problems on which potentials are compared: two atoms, random atoms, a massless atom, and images."""

from __future__ import annotations

import numpy as np
import torch

from companion.crosscheck.comparison import Instance
from otgrad.costs import Cost


def small_instances(seed: int, cost: Cost | None = None) -> list[Instance]:
    """Build one point against two atoms, 40 points against 25 atoms, and the same with one atom massless.

    Masses are unequal on both sides. In the first, psi* = c(x, .) for every lam; the others lie in the unit square.
    """
    cost = cost or Cost()
    rng = np.random.default_rng(seed)
    x, y = rng.random((40, 2)), rng.random((25, 2))
    w, nu = rng.dirichlet(np.full(40, 2.0)), rng.dirichlet(np.full(25, 2.0))
    without = np.where(np.arange(25) == 7, 0, nu)
    return [
        _instance("two atoms", [[0, 0.7]], [1], [[0, 1], [0, 0]], [0.2, 0.8], cost),
        _instance("random atoms", x, w, y, nu, cost),
        _instance("massless atom", x, w, y, without / without.sum(), cost),
    ]


def image_instance(samples: np.ndarray, images: np.ndarray) -> Instance:
    """Pair samples (b, d) of a generator with images (n, d), uniformly; cost ||x - y||^2 / mean ||y||^2."""
    w, nu = (np.full(len(rows), 1 / len(rows)) for rows in (samples, images))
    mean_square = float(np.square(images, dtype=np.float64).sum(1).mean())
    return _instance("images", samples, w, images, nu, Cost(scale=mean_square))


def _instance(name, x, w, y, nu, cost) -> Instance:
    x, w, y, nu = (torch.as_tensor(array, dtype=torch.float64) for array in (x, w, y, nu))
    return Instance(name, x, w, y, nu, cost)
