"""The Triton programs of the CUDA kernel; see cuda.py, which imports this file on first use and only then.

Offsets into arrays of n x d or b x n entries are 64-bit.
"""
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false
# (Triton types its reductions as tensors or pairs, its loops not at all.)

from __future__ import annotations

import triton
import triton.language as tl

from otgrad.kernels.cuda_parts import atom_tile, expm1, halves, log1p, products, quarters, scores_of

LOWEST = tl.constexpr(-3.0e38)
HALF_SCALE = tl.constexpr(8192.0)  # largest entries of a split array are brought to 8192..16384, in float16's range
WEIGHT_SCALE = tl.constexpr(16384.0)  # the same for weights, whose largest possible entry is 1


@triton.jit
def split_points(x, row_stride, column_stride, x_hi, x_lo, x_scale, x_sq, d, BLOCK: tl.constexpr):
    """Write x_i = x_scale_i (hi_i + lo_i) and ||x_i||^2, one point per program."""
    i, k = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    squares, largest = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, d, BLOCK):
        part = tl.load(x + i * row_stride + (start + k) * column_stride, mask=start + k < d, other=0.0)
        squares += part * part
        largest = tl.maximum(largest, tl.abs(part))
    exponent = tl.max(largest, 0).to(tl.int32, bitcast=True) & 0x7F800000
    power = tl.maximum(exponent, 0x0D800000).to(tl.float32, bitcast=True)  # at least 2^-100, so that 1 / power exists
    for start in range(0, d, BLOCK):
        part = tl.load(x + i * row_stride + (start + k) * column_stride, mask=start + k < d, other=0.0)
        hi, lo = halves(part / power * HALF_SCALE)
        tl.store(x_hi + i * d + start + k, hi, mask=start + k < d)
        tl.store(x_lo + i * d + start + k, lo, mask=start + k < d)
    tl.store(x_scale + i, power * (1 / 8192))
    tl.store(x_sq + i, tl.sum(squares, 0))


@triton.jit
def tile_sums(
    x_hi, x_lo, x_scale, y, psi, y_sq, nu, scores, top, z, excess, cell, b, n, d, ld, tiles, y_scale, factor, inv_scale,
    inv_t, HARD: tl.constexpr, STORED: tl.constexpr, KIND: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Form BLOCK_N columns of scores and reduce them by quarters, whose sums fit in registers (cuda_blocks)."""
    pid, blocks = tl.program_id(0), tl.cdiv(b, BLOCK_B)
    rows = (pid % blocks) * BLOCK_B + tl.arange(0, BLOCK_B)
    tile = pid // blocks  # points of one tile of atoms follow each other, while its atoms are in the cache
    atoms = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    parts = quarters(
        products(x_hi, x_lo, y, rows, atoms, b, n, d, y_scale, KIND, BLOCK_B, BLOCK_N, BLOCK_D), BLOCK_B, BLOCK_N
    )
    for k in tl.static_range(4):
        reduce_scores(
            parts[k], x_scale, psi, y_sq, nu, scores, top, z, excess, cell, rows,
            tile * BLOCK_N + k * (BLOCK_N // 4) + tl.arange(0, BLOCK_N // 4), 4 * tile + k,
            b, n, ld, tiles, factor, inv_scale, inv_t, HARD, STORED,
        )  # fmt: skip


@triton.jit
def reduce_scores(
    acc, x_scale, psi, y_sq, nu, scores, top, z, excess, cell, rows, atoms, tile, b, n, ld, tiles, factor, inv_scale,
    inv_t, HARD: tl.constexpr, STORED: tl.constexpr,
):  # fmt: skip
    """Write each point's maximum in one tile and sums of nu exp(t), nu expm1(t), t = s - maximum (b, tiles).

    If HARD, instead of the sums the first atom that attains the maximum.
    """
    s = scores_of(acc, x_scale, psi, y_sq, rows, atoms, b, n, factor, inv_scale, inv_t)
    if STORED:
        inside = (rows < b)[:, None] & (atoms < n)[None, :]
        tl.store(scores + rows.to(tl.int64)[:, None] * ld + atoms[None, :], s, mask=inside)
    highest = tl.maximum(tl.max(s, 1), LOWEST)
    at = rows.to(tl.int64) * tiles + tile
    tl.store(top + at, highest, mask=rows < b)
    if HARD:
        first = tl.min(tl.where(s == highest[:, None], atoms[None, :], n - 1), 1)
        tl.store(cell + at, first, mask=rows < b)
    else:
        mass, t = tl.load(nu + atoms, mask=atoms < n, other=0.0), s - highest[:, None]
        e = tl.exp(t)
        part, whole = tl.sum(mass[None, :] * e, 1), tl.sum(mass, 0)
        rest = part - whole
        if tl.max(part, 0) > 0.5 * whole:  # only then does the difference lose digits
            rest = tl.sum(mass[None, :] * expm1(t, e), 1)
        tl.store(z + at, part, mask=rows < b)
        tl.store(excess + at, rest, mask=rows < b)


@triton.jit
def combine(
    top, z, excess, cell, x_sq, row_top, row_z, row_cell, values, tiles, lam, inv_scale,
    HARD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Combine the tiles of one point per program: its maximum, z = sum_j nu_j exp(s_j - maximum) or cell, its value.

    z near 1 is taken from sum nu expm1, which keeps the digits that log(1 - small) would lose (nu sums to 1).
    """
    i, k = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), LOWEST, tl.float32)
    for start in range(0, tiles, BLOCK):
        best = tl.maximum(best, tl.load(top + i * tiles + start + k, mask=start + k < tiles, other=LOWEST))
    highest = tl.max(best, 0)
    value = tl.load(x_sq + i) * inv_scale
    if HARD:
        first = tl.full((BLOCK,), 2**31 - 1, tl.int32)
        for start in range(0, tiles, BLOCK):
            inside = start + k < tiles
            attained = tl.load(top + i * tiles + start + k, mask=inside, other=float("-inf")) == highest
            found = tl.load(cell + i * tiles + start + k, mask=inside, other=0)
            first = tl.minimum(first, tl.where(attained, found, 2**31 - 1))
        least = tl.min(first, 0)
        tl.store(row_cell + i, tl.where(least == 2**31 - 1, 0, least))  # no maximum if all is nan; the value tells
        value -= highest
    else:
        z_sum, excess_sum = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
        for start in range(0, tiles, BLOCK):
            inside = start + k < tiles
            t = tl.where(inside, tl.load(top + i * tiles + start + k, mask=inside, other=0.0) - highest, 0.0)
            part = tl.load(z + i * tiles + start + k, mask=inside, other=0.0)
            rest = tl.load(excess + i * tiles + start + k, mask=inside, other=0.0)
            e = tl.exp(t)
            z_sum += e * part
            excess_sum += e * rest + (part - rest) * expm1(t, e)
        z_all, excess_all = tl.sum(z_sum, 0), tl.sum(excess_sum, 0)
        near = z_all > 0.5
        value -= lam * (highest + tl.where(near, log1p(excess_all), tl.log(z_all)))
        tl.store(row_top + i, highest)
        tl.store(row_z + i, tl.where(near, 1 + excess_all, z_all))
    tl.store(values + i, value)


@triton.jit
def soft_marginal(
    x_hi, x_lo, x_scale, y, psi, y_sq, nu, scores, row_top, row_z, w, out, b, n, d, ld, y_scale, factor, inv_scale,
    inv_t, ADD: tl.constexpr, STORED: tl.constexpr, KIND: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Write (or add) nu_j sum_i w_i exp(s_ij - top_i) / z_i, from stored scores or by forming them again."""
    atoms = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_N,), tl.float32)
    for start in range(0, b, BLOCK_B):
        rows = start + tl.arange(0, BLOCK_B)
        kept = tl.minimum(rows, b - 1)
        if STORED:
            at = kept.to(tl.int64)[:, None] * ld + atoms[None, :]
            s = tl.load(scores + at, mask=(atoms < n)[None, :], other=float("-inf"))
        else:
            acc = products(x_hi, x_lo, y, rows, atoms, b, n, d, y_scale, KIND, BLOCK_B, BLOCK_N, BLOCK_D)
            s = scores_of(acc, x_scale, psi, y_sq, rows, atoms, b, n, factor, inv_scale, inv_t)
        share = tl.load(w + rows, mask=rows < b, other=0.0) / tl.load(row_z + kept)
        total += tl.sum(tl.exp(s - tl.load(row_top + kept)[:, None]) * share[:, None], 0)
    total *= tl.load(nu + atoms, mask=atoms < n, other=0.0)
    if ADD:
        total += tl.load(out + atoms, mask=atoms < n, other=0.0)
    tl.store(out + atoms, total, mask=atoms < n)


@triton.jit
def hard_marginal(row_cell, w, out, b, n, ADD: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_B: tl.constexpr):
    """Write (or add) the sum of w_i over the points of cell j, by comparisons, since atomic sums have no order."""
    atoms = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_N,), tl.float32)
    for start in range(0, b, BLOCK_B):
        rows = start + tl.arange(0, BLOCK_B)
        cells = tl.load(row_cell + rows, mask=rows < b, other=-1)
        mass = tl.load(w + rows, mask=rows < b, other=0.0)
        total += tl.sum(tl.where(cells[:, None] == atoms[None, :], mass[:, None], 0.0), 0)
    if ADD:
        total += tl.load(out + atoms, mask=atoms < n, other=0.0)
    tl.store(out + atoms, total, mask=atoms < n)


@triton.jit
def weighted_sums(
    scores, row_top, row_z, nu, y, out, b, n, d, ld, y_scale, share,
    KIND: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Write y_scale sum_j pi_ij y_j over the atoms of one share: out (shares, b, d), to be summed over shares."""
    pid, blocks, columns_blocks = tl.program_id(0), tl.cdiv(b, BLOCK_B), tl.cdiv(d, BLOCK_D)
    rows = (pid % blocks) * BLOCK_B + tl.arange(0, BLOCK_B)
    columns = (pid // blocks % columns_blocks) * BLOCK_D + tl.arange(0, BLOCK_D)
    part = pid // blocks // columns_blocks
    kept = tl.minimum(rows, b - 1)
    highest, scale = tl.load(row_top + kept), 1 / tl.load(row_z + kept) * WEIGHT_SCALE
    acc = tl.zeros((BLOCK_B, BLOCK_D), tl.float32)
    for start in range(part * share, min((part + 1) * share, n), BLOCK_N):
        atoms = start + tl.arange(0, BLOCK_N)
        inside = atoms < n
        s = tl.load(scores + kept.to(tl.int64)[:, None] * ld + atoms[None, :], mask=inside[None, :], other=LOWEST)
        mass = tl.load(nu + atoms, mask=inside, other=0.0)
        hi, lo = halves(tl.exp(s - highest[:, None]) * mass[None, :] * scale[:, None])
        at = atoms.to(tl.int64)[:, None] * d + columns[None, :]
        head, rest = atom_tile(y, at, inside[:, None] & (columns < d)[None, :], n, d, y_scale, KIND)
        acc = tl.dot(lo, head, acc)
        if KIND == "split" or KIND == "halves":
            acc = tl.dot(hi, rest, acc)
        acc = tl.dot(hi, head, acc)
    at = (part * b + rows).to(tl.int64)[:, None] * d + columns[None, :]
    tl.store(out + at, acc / WEIGHT_SCALE, mask=(rows < b)[:, None] & (columns < d)[None, :])
