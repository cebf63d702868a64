"""The soft and hard c-transform, and the two products through which all work of size b x n passes.

`c_transform` and `assignment` are the definitions, in plain differentiable torch. `psi_step` and `x_grad` compute
the same values with their derivatives in one pass over a buffer of at most b x n, by the kernel of the device
(otgrad.kernels.dispatch); every solver and every training loop calls only those two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.derivatives import Task, differentiable
from otgrad.kernels import dispatch, reference
from otgrad.kernels.memory import in_tiles
from otgrad.measures import DiscreteMeasure
from otgrad.pairs import product, without_autocast

NARROW = 0.01  # of lam: a row of costs within it keeps its digits by expm1


@without_autocast
def c_transform(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute psi^{c,lam}(x) = -lam log sum_j nu_j exp((psi_j - c(x, y_j)) / lam).

    At lam == 0 it is the hard transform psi^c(x) = min_j c(x, y_j) - psi_j. Definition, differentiable in x and psi.
    Claims: A-transform.

    Args:
        x: points (b, d).
        target: the data law, n atoms.
        psi: potential (n,), in units of the cost, any gauge.
        lam: regularisation >= 0, in units of the cost.
        cost: ground cost.

    Returns:
        (b,), in units of the cost.
    """
    law, psi = _on_support(target, psi)
    if not law.in_memory:
        raise TypeError("c_transform is the definition, for atoms in memory: use psi_step or x_grad")
    gaps, lam = cost.matrix(x, law.points) - psi, _usable(lam, psi)
    if lam == 0:
        return gaps.min(dim=1).values
    values = -lam * torch.logsumexp(law.nu.log() - gaps / lam, dim=1)
    least, most = gaps.detach().aminmax(dim=1, keepdim=True)
    narrow = (most - least).squeeze(1) <= NARROW * lam
    if not bool(narrow.any()):
        return values
    excess = ((least - gaps) / lam).expm1() @ law.nu  # else lam times the rounding of 1 would be lost
    return torch.where(narrow, least.squeeze(1) - lam * excess.log1p(), values)


@without_autocast
def assignment(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute pi_j(x) = nu_j exp((psi_j - c(x, y_j)) / lam) / sum_k (same for k), rows summing to 1.

    At lam == 0 it is one-hot on the Laguerre cell of x (the first of several at a tie). Definition, differentiable.

    Returns:
        (b, n); columns of atoms without mass are 0. Of a law in several processes: this one's atoms.
    """
    law, psi = _on_support(target, psi)
    if (own := dispatch.brought(law)) is not None:
        return _on_all(target, own.assignment(x, law, psi, lam, cost))
    gaps, lam = cost.matrix(x, law.points) - psi, _usable(lam, psi)
    if lam == 0:
        pi = torch.zeros_like(gaps).scatter_(1, gaps.argmin(dim=1, keepdim=True), 1.0)
    else:
        pi = torch.softmax(law.nu.log() - gaps / lam, dim=1)
    return _on_all(target, pi)


@without_autocast
@torch.no_grad()
def psi_step(
    x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) and the psi-gradient dF/dpsi_j = nu_j - sum_i w_i pi_j(x_i). Claims: A-concavity.

    Arguments as `c_transform`, and weights, the masses w of the points (b,), summing to 1 (None: uniform).

    Returns:
        values (b,), in units of the cost, and gradient (n,), summing to 0 and 0 on atoms without mass.
    """
    target = target.now
    if len(x) == 0:
        raise ValueError(f"points have shape {tuple(x.shape)}: a psi-step needs at least one")
    if target.support is not None:
        values, grad = psi_step(x, target.positive, psi[target.support], lam, cost, weights)
        return values, torch.zeros_like(psi).index_copy_(0, target.support, grad)
    lam, w = _usable(lam, psi), x.new_full((len(x),), 1 / len(x)) if weights is None else weights
    kernel = dispatch.choose(x, target, lam, cost)
    cut = getattr(kernel, "in_tiles", in_tiles)
    tiles = cut(lambda rows: kernel.psi_step(x[rows], target, psi, lam, cost, w[rows]), len(x), target)
    values, marginals = zip(*tiles, strict=True)
    return _joined(values), target.nu - sum(marginals[1:], marginals[0])


@without_autocast
@torch.no_grad()
def x_grad(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) and grad psi^{c,lam}(x_i) = sum_j pi_j(x_i) grad_x c(x_i, y_j).

    For the squared Euclidean cost the gradient is 2 (x - sum_j pi_j(x) y_j) / scale, twice the displacement from
    the barycentric projection. At lam == 0 the sum has one term, that of the Laguerre cell (at a tie: of the first
    atom in order, one of several one-sided derivatives). Where x_i = y_j and p <= 1 that term counts as 0.
    Claims: A-assumptions.

    Returns:
        values (b,), in units of the cost, and gradients (b, d), in units of the cost per unit of x.
    """
    (law, psi), lam = _on_support(target, psi), _usable(lam, psi)
    if len(x) == 0:
        return x.new_zeros(0), torch.zeros_like(x)
    kernel = dispatch.choose(x, law, lam, cost)
    cut = getattr(kernel, "in_tiles", in_tiles)
    tiles = cut(lambda rows: kernel.x_grad(x[rows], law, psi, lam, cost), len(x), law)
    values, grads = zip(*tiles, strict=True)
    return _joined(values), _joined(grads)


def heights(x: Tensor, law: DiscreteMeasure, psi: Tensor, cost: Cost) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield psi_j - c(x_i, y_j) up to a term per row, by tiles of rows (b', n), with the atom of each column.

    Args:
        x: points (b, d).
        law: the data law, all masses positive.
        psi: potential (n,).
        cost: ground cost.

    Yields:
        a tile, which the next one overwrites, and the atoms of its columns (n,), None where they are in order.
    """
    law = law.now
    if not law.in_memory:
        raise TypeError("heights are for atoms in memory: the solvers of a fixed source need all of them")
    kernel = dispatch.choose(x, law, 0.0, cost)
    yield from getattr(kernel, "heights", reference.heights)(x, law, psi, cost)


@without_autocast
def barycentric_map(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute the barycentric projection sum_j pi_j(x) y_j (b, d) of the plan, for any cost."""
    law, psi = _on_support(target, psi)
    own = getattr(dispatch.brought(law), "barycentric_map", None)
    if own is not None:
        return own(x, law, psi, lam, cost)
    tiles = reference.row_tiles(len(x), law.n)
    return torch.cat([product(assignment(x[rows], law, psi, lam, cost), law.points) for rows in tiles])


def c_transform_fixed_psi(
    x: Tensor,
    target: DiscreteMeasure,
    psi: Tensor,
    lam: float,
    cost: Cost,
    y: Tensor | None = None,
    nu: Tensor | None = None,
) -> Tensor:
    """Compute psi^{c,lam}(x) (b,) through `x_grad`, psi held fixed; differentiable in x, and in y and nu if given.

    The gradient in x costs nothing more and keeps no b x n tensor. Gradients in y and nu, and second derivatives, work
    by tiles in plain torch, for atoms in memory. Derivatives of second order keep nothing of size b x n; those of third
    order, and of second order in y and nu, do. Works under torch.func (grad, vjp, jvp, vmap over points).

    Args:
        x: points (b, d).
        target: the data law, n atoms.
        psi: potential (n,), in units of the cost; what it depends on gets no gradient.
        lam: regularisation >= 0, in units of the cost.
        cost: ground cost.
        y: the law's atoms as points (n, d), with a graph; None: no gradient in them.
        nu: the law's masses (n,), with a graph; None: no gradient in them. Atoms without mass get 0.
    """
    law, psi = _on_support(target, psi)
    if target.support is not None:
        y, nu = (None if live is None else live[target.support] for live in (y, nu))
    task = Task(lambda x, psi: x_grad(x, law, psi, lam, cost), lambda: _in_memory(law), lam, cost)
    return differentiable(x, y, nu, psi, task)


def _in_memory(law: DiscreteMeasure) -> tuple[Tensor, Tensor]:
    if not law.in_memory:
        raise NotImplementedError("second derivatives are for atoms in memory: give them as a DiscreteMeasure")
    if law.now is not law:
        raise RuntimeError("y was changed in place after the forward pass: take derivatives before")
    return law.points, law.nu


def _usable(lam: float, psi: Tensor) -> float:
    """Lam within what psi's dtype holds; 0 where psi / lam would overflow: the hard transform is then the same."""
    info = torch.finfo(psi.dtype)
    return min(lam, info.max**0.8) if lam > info.tiny**0.8 else 0.0


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _on_all(target: DiscreteMeasure, pi: Tensor) -> Tensor:
    return pi if target.support is None else pi.new_zeros(len(pi), target.n).index_copy(1, target.support, pi)


def _on_support(target: DiscreteMeasure, psi: Tensor) -> tuple[DiscreteMeasure, Tensor]:
    law = target.now
    return (law, psi) if law.support is None else (law.positive, psi[law.support])
