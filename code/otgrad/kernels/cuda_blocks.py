"""Block sizes of the CUDA kernel's programs, and the count behind them. Imports nothing, so that any tool can read it.

A step of b points, n atoms and d coordinates, atoms exact in float16 ("half"), on an H200 (matrix products 790 TFLOP/s,
memory 4.3 TB/s, cache to processors about 6 TB/s; 132 processors of 64 K registers and 227 KiB of shared memory):

    operations       2 products of 2 b n d, rows rounded up to BLOCK_B
    from the cache   each program reads BLOCK_B points as two halves and BLOCK_N atoms: 2 d (2 BLOCK_B + BLOCK_N) bytes
    memory           2 n d bytes of atoms, 4 b n of scores written and read again

For n = 60,000 and d = 784, in microseconds (floor: two products without rounding):

    b      floor  products  cache, 128 x 256  cache, 128 x 128  atoms  scores there and back
    200      48        61                63                94     22                     22
    1024    244       244               251               376     22                    114

So the cache, not the products, decides between tiles that fit: 128 x 256 moves two thirds of what 128 x 128 does. Its
255 registers do not hold the sums of a whole tile (404 bytes spilled); by quarters of 64 columns they do. Half of the
points of b = 200's second block are none: nothing to be done with powers of two.
"""

LARGE = 227 * 1024  # bytes of shared memory of a program on architectures 9 and 10
SMALL = 99 * 1024  # the same on 8.6 and 8.9, the least of those that are served; 8.0 has 163 KiB
BLOCKS = {  # points, atoms, coordinates of a program
    "sums": {"BLOCK_B": 128, "BLOCK_N": 256, "BLOCK_D": 64, "num_warps": 8, "num_stages": 3},
    "again": {"BLOCK_B": 64, "BLOCK_N": 128, "BLOCK_D": 32, "num_warps": 4, "num_stages": 2},
    "marginal": {"BLOCK_B": 32, "BLOCK_N": 128, "BLOCK_D": 64, "num_warps": 4},
    "means": {"BLOCK_B": 128, "BLOCK_N": 64, "BLOCK_D": 128, "num_warps": 8, "num_stages": 3},
}
SMALLER = {  # where a program has less than LARGE
    "sums": {"BLOCK_N": 128, "BLOCK_D": 32, "num_stages": 2},
    "means": {"BLOCK_B": 64, "BLOCK_N": 32, "num_stages": 2},
}
BY_KIND = {  # of atoms (cuda_parts): converted on the way they need registers, as two halves shared memory
    "half": {},
    "bytes": {"sums": {"BLOCK_N": 128}},
    "halves": {"sums": {"num_stages": 2}, "means": {"num_stages": 2}},
    "split": {"sums": {"BLOCK_N": 128, "num_stages": 2}, "means": {"num_stages": 2}},
}
FUSED = {"enable_fp_fusion": True}  # a b + c in one instruction: the default of Triton up to 3.9, not from 3.10 on


def blocks(name: str, kind: str, large: bool = True) -> dict[str, int | bool]:
    """Choose a program's blocks and options for atoms of a kind, with LARGE shared memory or less."""
    return BLOCKS[name] | BY_KIND[kind].get(name, {}) | ({} if large else SMALLER.get(name, {})) | FUSED
