"""What lam alone makes of a model: free particles, without a network and without a budget, at the objective's optimum.

The objective of the generators, OT_c^lam(mu, nu), is minimised over mu = n equal masses anywhere. Two moves in turn, of
which neither can raise it: psi to the optimum, certified, and each particle to its barycentric projection, which is the
best place for it under that plan. Two starts, as the problem is not convex in the particles: the data themselves, and
samples of the best Gaussian model. `bounds` and `spectrum` say what to expect: below the lam at which lam n's logarithm
meets the covariance bound, copies; above it, blur; from twice the first eigenvalue on, one point.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from companion.scores.pixels import nearest
from companion.shrinkage.bounds import likelihood_bound
from companion.shrinkage.spectrum import shrunk, spectrum
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.certified import solve_certified

COPY = 1 / 3  # of an atom's distance to its own nearest other atom: a particle nearer than that is a copy of it


def gaussian_start(y: Tensor, lam: float, scale: float, rng: torch.Generator) -> Tensor:
    """Draw as many samples as y (n, d) has points from the best Gaussian model at lam, in units of y."""
    eigenvalues, axes = spectrum(y, scale)
    width = (scale * shrunk(eigenvalues, lam)).sqrt()
    noise = torch.randn(len(y), len(width), generator=rng, dtype=torch.float64)
    return (y.double().mean(0) + noise * width @ axes.T).to(y.dtype)


def minimise(
    x: Tensor,
    semidual: SemiDual,
    rounds: int,
    tol: float,
    gain: float,
    told: Callable[[int, float], None] = lambda k, value: None,
) -> tuple[Tensor, dict[str, float]]:
    """Move particles x (m, d) until a round lowers the cost by less than `gain` of it, or to the last round.

    Claims: A-memorise.

    Args:
        x: where they start, in units of the atoms.
        semidual: the data law, lam > 0 and ||x - y||^2 over a scale.
        rounds: at most so many.
        tol: of the certificate, relative.
        gain: the least that a round must lower the cost by, relative.
        told: called with each round's number and value.

    Returns:
        the particles, and at them: value and gap of OT_c^lam (units of the cost), the lower bound `likelihood`, rounds.
    """
    found, done = solve_certified(x, None, semidual, tol=tol), 0
    while True:
        told(done, found.value)
        if done == rounds:
            break
        moved, before = semidual.barycentric_map(x, found.psi), found
        found, done = solve_certified(moved, None, semidual, tol=tol, psi=before.psi), done + 1
        x = moved
        if before.value - found.value < gain * found.value:
            break
    bound = likelihood_bound(DiscreteMeasure.from_atoms(x), semidual.law, semidual.lam, semidual.cost)
    seen = {"value": found.value, "gap": found.gap, "likelihood": bound, "rounds": done}
    return x, seen | {"atoms": semidual.effective_atoms(x, found.psi)}


def copies(x: Tensor, y: Tensor, apart: Tensor, scale: float) -> dict[str, float]:
    """Share of particles (m, d) that copy an atom, their mean ||x - y_nearest||^2 / scale, and how many atoms are hit.

    apart: distance (n,) of each atom to its nearest other one.
    """
    rows, distances = nearest(x, y)
    return {
        "copies": float((distances < COPY * apart[rows]).double().mean()),
        "distance": float(distances.double().square().mean()) / scale,
        "hit": len(rows.unique()) / len(y),
    }


def apart(y: Tensor) -> Tensor:
    """Distance (n,) of each point of y (n, d) to its nearest other one."""
    found = []
    for start in range(0, len(y), 500):
        distances = Cost().matrix(y[start : start + 500], y)
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = float("inf")
        found.append(distances.min(dim=1).values)
    return torch.cat(found).clamp(min=0).sqrt()
