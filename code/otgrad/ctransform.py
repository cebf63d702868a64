"""The soft and hard c-transform, and the two products through which all work of size b x n passes.

`c_transform` and `assignment` are the definitions, in plain differentiable torch. `psi_step` and `x_grad` compute
the same values with their derivatives in one pass over a single b x n buffer; every solver and every training
loop calls only those two. Notation: s_ij = (psi_j - c(x_i, y_j)) / t with t = lam, or t = 1 if lam == 0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure

TILE_ELEMENTS = 2**25  # entries of the b x n buffer formed at once: 128 MiB in float32
PRODUCT_BLOCK = 1024  # atoms per matrix product on a CPU, so that a block of y stays in cache: a fifth faster
_kept = threading.local()  # this thread's CPU buffer, see _buffer


def c_transform(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute psi^{c,lam}(x) = -lam log sum_j nu_j exp((psi_j - c(x, y_j)) / lam).

    At lam == 0 it is the hard transform psi^c(x) = min_j c(x, y_j) - psi_j. Definition, differentiable in x and psi.

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
    gaps = cost.matrix(x, law.y) - psi
    if lam == 0:
        return gaps.min(dim=1).values
    return -lam * torch.logsumexp(law.nu.log() - gaps / lam, dim=1)


def assignment(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute pi_j(x) = nu_j exp((psi_j - c(x, y_j)) / lam) / sum_k (same for k), rows summing to 1.

    At lam == 0 it is one-hot on the Laguerre cell of x (the first of several at a tie). Definition, differentiable.

    Returns:
        (b, n); columns of atoms without mass are 0.
    """
    law, psi = _on_support(target, psi)
    gaps = cost.matrix(x, law.y) - psi
    if lam == 0:
        pi = torch.zeros_like(gaps).scatter_(1, gaps.argmin(dim=1, keepdim=True), 1.0)
    else:
        pi = torch.softmax(law.nu.log() - gaps / lam, dim=1)
    if target.support is None:
        return pi
    return pi.new_zeros(len(x), target.n).index_copy(1, target.support, pi)


@torch.no_grad()
def psi_step(
    x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) and the psi-gradient dF/dpsi_j = nu_j - sum_i w_i pi_j(x_i).

    Args:
        x: points (b, d).
        target: the data law, n atoms.
        psi: potential (n,).
        lam: regularisation >= 0, in units of the cost.
        cost: ground cost.
        weights: masses w of the points (b,), summing to 1 (None: uniform).

    Returns:
        values (b,), in units of the cost, and gradient (n,), summing to 0 and 0 on atoms without mass.
    """
    if target.support is not None:
        values, grad = psi_step(x, target.positive, psi[target.support], lam, cost, weights)
        return values, torch.zeros_like(psi).index_copy_(0, target.support, grad)
    w = x.new_full((len(x),), 1 / len(x)) if weights is None else weights
    values, marginal = torch.empty_like(w), torch.zeros_like(psi)
    for rows in _row_tiles(len(x), target.n):
        scores, offset = _scores(x[rows], target, psi, lam, cost)
        if lam == 0:
            cell = scores.argmax(dim=1)
            values[rows] = -(scores.gather(1, cell[:, None]).squeeze(1) + offset)
            marginal.index_add_(0, cell, w[rows])
        else:
            log_z, e, z = _shifted_exp(scores, target.nu)
            values[rows] = -lam * (log_z + offset)
            marginal.addmv_(e.T, w[rows] / z)
    if lam > 0:
        marginal.mul_(target.nu)
    return values, target.nu - marginal


@torch.no_grad()
def x_grad(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) and grad psi^{c,lam}(x_i) = sum_j pi_j(x_i) grad_x c(x_i, y_j).

    For the squared Euclidean cost the gradient is 2 (x - sum_j pi_j(x) y_j) / scale, twice the displacement from
    the barycentric projection. At lam == 0 the sum has one term, that of the Laguerre cell (at a tie: of the first
    atom in order, one of several one-sided derivatives). Where x_i = y_j and p <= 1 that term counts as 0.

    Returns:
        values (b,), in units of the cost, and gradients (b, d), in units of the cost per unit of x.
    """
    law, psi = _on_support(target, psi)
    values, grads = x.new_empty(len(x)), torch.empty_like(x)
    for rows in _row_tiles(len(x), law.n):
        scores, offset = _scores(x[rows], law, psi, lam, cost)
        if lam == 0:
            cell = scores.argmax(dim=1)
            values[rows] = -(scores.gather(1, cell[:, None]).squeeze(1) + offset)
            grads[rows] = _pair_grad(x[rows], law.y[cell], cost)
        else:
            log_z, e, z = _shifted_exp(scores, law.nu)
            values[rows] = -lam * (log_z + offset)
            grads[rows] = _mean_grad(x[rows], law.y, e.mul_(law.nu).div_(z[:, None]), cost)
    return values, grads


def barycentric_map(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute the barycentric projection sum_j pi_j(x) y_j (b, d) of the plan, for any cost."""
    law, psi = _on_support(target, psi)
    tiles = [assignment(x[rows], law, psi, lam, cost) @ law.y for rows in _row_tiles(len(x), law.n)]
    return torch.cat(tiles)


class _TransformWithGrad(torch.autograd.Function):
    """psi^{c,lam}(x) whose derivative in x is x_grad's, with psi held fixed (the formula of Algorithm 1)."""

    @staticmethod
    def forward(ctx, x, target, psi, lam, cost):
        values, grads = x_grad(x, target, psi, lam, cost)
        ctx.save_for_backward(grads)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *upstream):  # type: ignore[override]
        (grads,) = ctx.saved_tensors
        return upstream[0][:, None] * grads, None, None, None, None


def c_transform_fixed_psi(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> Tensor:
    """Compute psi^{c,lam}(x) (b,), differentiable once in x alone, through `x_grad`: no b x n tensor is kept."""
    return _TransformWithGrad.apply(x, target, psi, lam, cost)  # type: ignore[no-any-return]


def _on_support(target: DiscreteMeasure, psi: Tensor) -> tuple[DiscreteMeasure, Tensor]:
    return (target, psi) if target.support is None else (target.positive, psi[target.support])


def _row_tiles(b: int, n: int) -> Iterator[slice]:
    step = max(1, TILE_ELEMENTS // n)
    return (slice(start, min(start + step, b)) for start in range(0, b, step))


def _buffer(x: Tensor, n: int) -> Tensor:
    """Return an uninitialised (b, n) like x, valid until the next call; it must not leave this module.

    On a CPU each thread keeps its largest so far, TILE_ELEMENTS entries or one row: pages fresh from the system cost
    10% to 40% of a psi-step. On CUDA torch's own allocator does the same.
    """
    if x.device.type != "cpu":
        return x.new_empty(len(x), n)
    size = len(x) * n * x.element_size()
    if getattr(_kept, "bytes", None) is None or len(_kept.bytes) < size:
        _kept.bytes = None  # free the old one first
        with torch.inference_mode(False):  # else the buffer could not be written to outside of that mode
            _kept.bytes = torch.empty(size, dtype=torch.uint8)
    return _kept.bytes[:size].view(x.dtype).view(len(x), n)


def _scores(x: Tensor, target: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Return s (b, n) up to a term (b,) that is constant along rows: s_ij = scores_ij + offset_i."""
    t = lam if lam > 0 else 1.0
    if cost.p == 2:  # one matrix product: the term ||x_i||^2 goes to the offset, ||y_j||^2 to the bias
        bias = (psi - target.y_sq / cost.scale) / t
        scores = _buffer(x, target.n)
        block = PRODUCT_BLOCK if x.device.type == "cpu" else target.n
        for atoms in (slice(start, start + block) for start in range(0, target.n, block)):
            torch.addmm(bias[atoms], x, target.y[atoms].T, alpha=2 / (cost.scale * t), out=scores[:, atoms])
        return scores, x.square().sum(1) / (-cost.scale * t)
    scores = cost.distances(x, target.y)
    if cost.p != 1:
        scores.pow_(cost.p)
    scores.mul_(-1 / (cost.scale * t)).add_(psi / t)
    return scores, x.new_zeros(len(x))


def _shifted_exp(scores: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Overwrite scores by e = exp(s - max s); return log sum_j nu_j exp(s_j), e, and z = sum_j nu_j e_j.

    nu stays outside the exponent, so that at large lam (all of s within 1 of its maximum) expm1 and log1p keep the
    digits that -lam log(1 - small) would lose.
    """
    top = scores.amax(dim=1, keepdim=True)
    narrow = bool((top.squeeze(1) - scores.amin(dim=1)).amax() <= 1)
    scores.sub_(top)
    if narrow:
        excess = scores.expm1_() @ nu
        e = scores.add_(1)
        return top.squeeze(1) + excess.log1p(), e, 1 + excess
    # Clamped at 70% of the way to underflow: subnormals make exp thirty times slower on some CPUs, and 1e-27
    # (float32) of the largest term is far below rounding.
    e = scores.clamp_(min=0.7 * math.log(torch.finfo(scores.dtype).tiny)).exp_()
    z = e @ nu
    return top.squeeze(1) + z.log(), e, z


def _pair_grad(x: Tensor, y: Tensor, cost: Cost) -> Tensor:
    """Gradient of c(x_i, y_i) in x_i, for paired rows (b, d): p ||x - y||^(p-2) (x - y) / scale."""
    difference = x - y
    if cost.p == 2:
        return 2 / cost.scale * difference
    slope = _norm_power(torch.linalg.vector_norm(difference, dim=1, keepdim=True), cost)
    return slope * difference


def _mean_grad(x: Tensor, y: Tensor, pi: Tensor, cost: Cost) -> Tensor:
    """sum_j pi_ij grad_x c(x_i, y_j) (b, d); pi (b, n) is overwritten."""
    if cost.p == 2:
        return 2 / cost.scale * (x - pi @ y)
    pi.mul_(_norm_power(cost.distances(x, y), cost))
    return x * pi.sum(1, keepdim=True) - pi @ y


def _norm_power(distances: Tensor, cost: Cost) -> Tensor:
    """P r^(p-2) / scale, and 0 at r = 0 where the cost has no gradient (p < 2: its factor x - y is 0 anyway)."""
    slope = cost.p / cost.scale * distances.pow(cost.p - 2)
    return torch.where(distances > 0, slope, 0.0)
