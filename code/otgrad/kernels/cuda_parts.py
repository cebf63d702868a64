"""What the Triton programs of the CUDA kernel share: tiles of scores, float16 halves, functions near 0.

Points and weights enter the matrix products as two float16 halves, v = scale (hi + lo) with scale a power of two: 22
bits. KIND says how atoms do: "half" is float16 already, "bytes" are converted, exactly; "halves" are stored as two,
(2, n, d), "split" are multiplied by y_scale and become two on the way, and of four products the smallest is left out.
Matrix products are summed in float32. Imported on first use, as cuda_programs.py is.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def products(
    x_hi, x_lo, y, rows, atoms, b, n, d, y_scale,
    KIND: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Form `<x_i, y_j>` of a tile up to the scales of x_i and y; repeated rows and columns beyond b and n."""
    kept, held = tl.minimum(rows, b - 1), tl.minimum(atoms, n - 1)
    k = tl.arange(0, BLOCK_D)
    acc = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
    points, places = kept.to(tl.int64)[:, None] * d, held.to(tl.int64)[None, :] * d
    for start in range(0, d, BLOCK_D):
        inside = start + k < d
        hi = tl.load(x_hi + points + (start + k)[None, :], mask=inside[None, :], other=0.0)
        lo = tl.load(x_lo + points + (start + k)[None, :], mask=inside[None, :], other=0.0)
        head, rest = atom_tile(y, places + (start + k)[:, None], inside[:, None], n, d, y_scale, KIND)
        acc = tl.dot(lo, head, acc)
        if KIND == "split" or KIND == "halves":
            acc = tl.dot(hi, rest, acc)
        acc = tl.dot(hi, head, acc)
    return acc


@triton.jit
def scores_of(acc, x_scale, psi, y_sq, rows, atoms, b, n, factor, inv_scale, inv_t):
    """Turn products into (psi_j - ||y_j||^2 / scale) / t + factor `<x_i, y_j>`; -inf beyond the last atom."""
    there = atoms < n
    gain, norm = tl.load(psi + atoms, mask=there, other=0.0), tl.load(y_sq + atoms, mask=there, other=0.0)
    bias = tl.where(there, (gain - norm * inv_scale) * inv_t, float("-inf"))
    return acc * (tl.load(x_scale + tl.minimum(rows, b - 1)) * factor)[:, None] + bias[None, :]


@triton.jit
def quarters(acc, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr):
    """Cut a tile into four by its columns, in order."""
    left, right = _halved(acc, BLOCK_B, BLOCK_N)
    first, second = _halved(left, BLOCK_B, BLOCK_N // 2)
    third, fourth = _halved(right, BLOCK_B, BLOCK_N // 2)
    return first, second, third, fourth


@triton.jit
def _halved(acc, BLOCK_B: tl.constexpr, BLOCK_N: tl.constexpr):
    return tl.split(tl.permute(tl.reshape(acc, (BLOCK_B, 2, BLOCK_N // 2)), (0, 2, 1)))


@triton.jit
def halves(v):
    """Split v = hi + lo in float16, up to 2^-22 of v."""
    hi = v.to(tl.float16)
    return hi, (v - hi.to(tl.float32)).to(tl.float16)


@triton.jit
def atom_tile(y, at, inside, n, d, y_scale, KIND: tl.constexpr):
    """Load entries of the atoms as one float16 or two (the second repeats the first where there is one)."""
    values = tl.load(y + at, mask=inside, other=0)
    if KIND == "split":
        head, rest = halves(values.to(tl.float32) * y_scale)
    elif KIND == "halves":
        head, rest = values, tl.load(y + tl.cast(n, tl.int64) * d + at, mask=inside, other=0)
    else:
        if KIND == "bytes":  # 0x6400 is 1024 in float16, its last bit is worth 1: no conversion
            values = (values.to(tl.uint16) | 0x6400).to(tl.float16, bitcast=True) - 1024.0
        head, rest = values, values
    return head, rest


@triton.jit
def expm1(t, e):
    """Compute exp(t) - 1 for t <= 0, given e = exp(t)."""
    v = tl.maximum(t, -0.5)
    tail = 1 / 24 + v * (1 / 120 + v * (1 / 720 + v * (1 / 5040 + v * (1 / 40320 + v * (1 / 362880)))))
    return tl.where(t > -0.5, v + v * v * (1 / 2 + v * (1 / 6 + v * tail)), e - 1)


@triton.jit
def log1p(v):
    """Compute log(1 + v) for -1/2 <= v <= 0, as 2 artanh(v / (2 + v)): tl.log loses digits near 1."""
    r = v / (2 + v)
    q = r * r
    tail = q * (1 / 11 + q * (1 / 13 + q * (1 / 15 + q * (1 / 17))))
    return 2 * r * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + tail)))))
