"""The kernels in plain torch, for every cost, dtype and device: what the others must agree with.

A step is one b x n buffer, tile of rows by tile of rows: scores s_ij = (psi_j - c(x_i, y_j)) / t by one matrix
product (p = 2), the row's maximum taken off, exp in place, and two products with vectors. t = lam, or 1 if lam == 0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels.mixture import Shares
from otgrad.measures import DiscreteMeasure

TILE_ELEMENTS = 2**25  # entries of the b x n buffer formed at once: 128 MiB in float32
HEIGHTS_ELEMENTS = 2**22  # of a tile of heights, which is read several times, from the cache
PRODUCT_BLOCK = 1024  # atoms per matrix product on a CPU, so that a block of y stays in cache: a fifth faster
_kept = threading.local()  # this thread's CPU buffer, see buffer


def covers(x: Tensor, law: DiscreteMeasure, lam: float, cost: Cost) -> bool:
    """Whether this kernel can serve the arguments: always."""
    return True


def rows_at_once(n: int) -> int:
    """Points that are one tile, for n atoms."""
    return max(1, TILE_ELEMENTS // n)


def psi_step(
    x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost, w: Tensor, shares: Shares | None = None
) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and the marginal p_j = sum_i w_i pi_j(x_i) (n,), for atoms of positive mass.

    shares: multiply w by them, tile of rows by tile of rows, where the law is one part of several.
    """
    values, marginal = torch.empty_like(w), torch.zeros_like(psi)
    for rows in row_tiles(len(x), law.n):
        scores, offset = _scores(x[rows], law, psi, lam, cost)
        if lam == 0:
            cell = scores.argmax(dim=1)
            values[rows] = -(scores.gather(1, cell[:, None]).squeeze(1) + offset)
            marginal.index_add_(0, cell, shared(w[rows], values[rows], shares))
        else:
            log_z, e, z = _shifted_exp(scores, law.nu)
            values[rows] = -lam * (log_z + offset)
            marginal.addmv_(e.T, shared(w[rows], values[rows], shares) / z)
    return values, marginal if lam == 0 else marginal.mul_(law.nu)


def shared(w: Tensor, values: Tensor, shares: Shares | None) -> Tensor:
    """Weights of some points (b,) times this law's shares of them."""
    return w if shares is None else w * shares(values)


def x_grad(x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Compute psi^{c,lam}(x_i) (b,) and its gradient sum_j pi_j(x_i) grad_x c(x_i, y_j) (b, d)."""
    values, grads = x.new_empty(len(x)), torch.empty_like(x)
    for rows in row_tiles(len(x), law.n):
        scores, offset = _scores(x[rows], law, psi, lam, cost)
        if lam == 0:
            cell = scores.argmax(dim=1)
            values[rows] = -(scores.gather(1, cell[:, None]).squeeze(1) + offset)
            grads[rows] = _pair_grad(x[rows], law.points_at(cell), cost)
        else:
            log_z, e, z = _shifted_exp(scores, law.nu)
            values[rows] = -lam * (log_z + offset)
            grads[rows] = _mean_grad(x[rows], law, e.mul_(law.nu).div_(z[:, None]), cost)
    return values, grads


def heights(x: Tensor, law: DiscreteMeasure, psi: Tensor, cost: Cost) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield psi_j - c(x_i, y_j) up to a term per row, tile of rows by tile of rows (b', n), each valid until the next.

    The second of a pair is the atom of each column, None for their own order.
    """
    for rows in row_tiles(len(x), law.n, HEIGHTS_ELEMENTS):
        yield _scores(x[rows], law, psi, 0.0, cost)[0], None


def row_tiles(b: int, n: int, elements: int | None = None) -> Iterator[slice]:
    """Cut b rows so that a tile has at most TILE_ELEMENTS entries, or as many as said, or one row."""
    step = max(1, (elements or TILE_ELEMENTS) // n)
    return (slice(start, min(start + step, b)) for start in range(0, b, step))


def buffer(x: Tensor, b: int, n: int) -> Tensor:
    """Return an uninitialised (b, n) of x's dtype and device, valid until the next call; not to leave this package.

    On a CPU each thread keeps its largest so far: pages fresh from the system cost 10% to 40% of a psi-step. On CUDA
    torch's own allocator does the same.
    """
    if x.device.type != "cpu":
        return x.new_empty(b, n)
    size = b * n * x.element_size()
    if getattr(_kept, "bytes", None) is None or len(_kept.bytes) < size:
        _kept.bytes = None  # free the old one first
        with torch.inference_mode(False):  # else the buffer could not be written to outside of that mode
            _kept.bytes = torch.empty(size, dtype=torch.uint8)
    return _kept.bytes[:size].view(x.dtype).view(b, n)


def _blocks(law: DiscreteMeasure, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, law.n, size))


def _scores(x: Tensor, law: DiscreteMeasure, psi: Tensor, lam: float, cost: Cost) -> tuple[Tensor, Tensor]:
    """Return s (b, n) up to a term (b,) that is constant along rows: s_ij = scores_ij + offset_i."""
    t = lam if lam > 0 else 1.0
    if cost.p == 2:  # one matrix product: the term ||x_i||^2 goes to the offset, ||y_j||^2 to the bias
        bias = (psi - law.y_sq / cost.scale) / t
        scores = buffer(x, len(x), law.n)
        for atoms in _blocks(law, PRODUCT_BLOCK if x.device.type == "cpu" else law.n):
            y = law.y[atoms].to(x.dtype)  # integers stay integers: their unit is in the factor
            torch.addmm(bias[atoms], x, y.T, alpha=2 * law.unit / (cost.scale * t), out=scores[:, atoms])
        return scores, x.square().sum(1) / (-cost.scale * t)
    scores = cost.distances(x, law.points)
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
    narrow = top.squeeze(1) - scores.amin(dim=1) <= 1
    scores.sub_(top)
    if bool(narrow.all()):
        return _narrow_exp(scores, top, nu)
    kept = scores[narrow] if bool(narrow.any()) else None  # else a point far away would cost the others those digits
    # Clamped at 70% of the way to underflow: subnormals make exp thirty times slower on some CPUs, and 1e-27
    # (float32) of the largest term is far below rounding.
    e = scores.clamp_(min=0.7 * math.log(torch.finfo(scores.dtype).tiny)).exp_()
    z = e @ nu
    log_z = top.squeeze(1) + z.log()
    if kept is not None:
        log_z[narrow], e[narrow], z[narrow] = _narrow_exp(kept, top[narrow], nu)
    return log_z, e, z


def _narrow_exp(scores: Tensor, top: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same for scores within 1 of their maximum, top (b, 1), which is already taken off."""
    excess = scores.expm1_() @ nu
    return top.squeeze(1) + excess.log1p(), scores.add_(1), 1 + excess


def _pair_grad(x: Tensor, y: Tensor, cost: Cost) -> Tensor:
    """Gradient of c(x_i, y_i) in x_i, for paired rows (b, d): p ||x - y||^(p-2) (x - y) / scale."""
    difference = x - y
    if cost.p == 2:
        return 2 / cost.scale * difference
    slope = _norm_power(torch.linalg.vector_norm(difference, dim=1, keepdim=True), cost)
    return slope * difference


def _mean_grad(x: Tensor, law: DiscreteMeasure, pi: Tensor, cost: Cost) -> Tensor:
    """sum_j pi_ij grad_x c(x_i, y_j) (b, d); pi (b, n) is overwritten."""
    if cost.p == 2:
        return 2 / cost.scale * (x - _weighted_sum(pi, law))
    distances = cost.distances(x, law.points)
    pulls = _close_pulls(x, law, pi, distances, cost)
    pi.mul_(_norm_power(distances, cost))
    if pulls is not None:
        pi.masked_fill_(_close(x, distances), 0)
    grads = x * pi.sum(1, keepdim=True) - _weighted_sum(pi, law)
    return grads if pulls is None else grads.add_(pulls)


def _close(x: Tensor, distances: Tensor) -> Tensor:
    """Where x_i - sum_j of a few y_j would keep less than half of the digits (b, n)."""
    return distances < math.sqrt(torch.finfo(x.dtype).eps) * torch.linalg.vector_norm(x, dim=1, keepdim=True)


def _close_pulls(x: Tensor, law: DiscreteMeasure, pi: Tensor, distances: Tensor, cost: Cost) -> Tensor | None:
    """The part of sum_j pi_ij grad_x c(x_i, y_j) (b, d) that is of close pairs, one by one; None without any."""
    total = None
    for rows in row_tiles(len(x), law.n, HEIGHTS_ELEMENTS):
        pairs = _close(x[rows], distances[rows]).nonzero()
        for part in pairs.split(max(1, HEIGHTS_ELEMENTS // x.shape[1])) if len(pairs) > 0 else ():
            i, j = (part + part.new_tensor([rows.start, 0])).unbind(1)
            total = torch.zeros_like(x) if total is None else total
            total.index_add_(0, i, pi[i, j, None] * _pair_grad(x[i], law.points_at(j), cost))
    return total


def _weighted_sum(pi: Tensor, law: DiscreteMeasure) -> Tensor:
    """sum_j pi_ij y_j (b, d), without a copy of y in another dtype."""
    if law.y.dtype == pi.dtype:
        return law.unit * (pi @ law.y)
    total = pi.new_zeros(len(pi), law.y.shape[1])
    for atoms in _blocks(law, 16 * PRODUCT_BLOCK):
        total.addmm_(pi[:, atoms], law.y[atoms].to(pi.dtype))
    return law.unit * total


def _norm_power(distances: Tensor, cost: Cost) -> Tensor:
    """P r^(p-2) / scale, and 0 at r = 0 where the cost has no gradient (p < 2: its factor x - y is 0 anyway)."""
    slope = cost.p / cost.scale * distances.pow(cost.p - 2)
    return torch.where(distances > 0, slope, 0.0)
