"""The products of a law whose atoms stay in a file: plain torch on one chunk after the other, put together.

A psi-step reads the atoms twice, first for the values, then, backwards, for the marginal: what was read last is then
still in memory. A theta-step reads them once. Memory: two chunks, and the scores of one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from otgrad import ctransform
from otgrad.costs import Cost
from otgrad.kernels import dispatch, reference
from otgrad.kernels.mixture import combine
from otgrad.measures import DiscreteMeasure
from otgrad.pairs import product
from otgrad.scale.streams import StreamedMeasure


def psi_step(x: Tensor, law: StreamedMeasure, psi: Tensor, lam: float, cost: Cost, w: Tensor) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and the marginal p_j = sum_i w_i pi_j(x_i) (n,), for atoms of positive mass."""
    own = x.new_empty(len(law.chunks), len(x))
    for k, atoms, part in law.parts():
        own[k] = reference.psi_step(x, part, psi[atoms], lam, cost, w)[0]
    values, shares = combine(own, law.masses, lam)
    marginal = torch.empty_like(psi)
    for k, atoms, part in law.parts(range(len(law.chunks))[::-1]):
        marginal[atoms] = reference.psi_step(x, part, psi[atoms], lam, cost, w * shares[k])[1]
    return values, marginal


def x_grad(x: Tensor, law: StreamedMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and its gradient (b, d), chunk by chunk."""
    values, grads, mass = x.new_empty(len(x)), torch.zeros_like(x), 0.0
    for k, atoms, part in law.parts():
        own, slopes = reference.x_grad(x, part, psi[atoms], lam, cost)
        before, mass = mass, mass + float(law.masses[k])
        if k == 0:
            values, grads = own, slopes
            continue
        masses = torch.tensor([before / mass, 1 - before / mass], dtype=torch.float64)
        values, shares = combine(torch.stack([values, own]), masses, lam)
        grads = shares[0, :, None] * grads + shares[1, :, None] * slopes
    return values, grads


def assignment(x: Tensor, law: StreamedMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute pi_j(x_i) (b, n); differentiable."""
    return torch.cat([pi for pi, _ in _by_chunk(x, law, psi, lam, cost)], dim=1)


def barycentric_map(x: Tensor, law: StreamedMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute sum_j pi_j(x_i) y_j (b, d); differentiable."""
    return torch.stack([product(pi, part.points) for pi, part in _by_chunk(x, law, psi, lam, cost)]).sum(0)


def _by_chunk(
    x: Tensor, law: StreamedMeasure, psi: Tensor, lam: float, cost: Cost
) -> Iterator[tuple[Tensor, DiscreteMeasure]]:
    """Yield the columns of the assignment (b, chunk) with their atoms, chunk by chunk."""
    own = [ctransform.c_transform(x, part, psi[atoms], lam, cost) for _, atoms, part in law.parts()]
    shares = combine(torch.stack(own), law.masses, lam)[1]
    for k, atoms, part in law.parts():
        yield shares[k, :, None] * ctransform.assignment(x, part, psi[atoms], lam, cost), part


dispatch.register(StreamedMeasure, sys.modules[__name__])
