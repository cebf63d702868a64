"""Time the CUDA kernel's programs with other blocks than its own, on a GPU: one psi-step, one x-gradient.

python code/benchmarks/gpu_tune.py [--b 200] [--data results/data/train.npz]

Each line is one change of otgrad.kernels.cuda_blocks.BLOCKS: median and quartiles of a captured step, its time divided
by that of the blocks as they are, and the largest difference of its result from theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from gpu import time_calls
from gpu_arms import graph_arm, kernel_arm
from gpu_cells import Cell, Step, make_cell
from otgrad.kernels import cuda_blocks


def shape(b: int, n: int, d: int, warps: int, stages: int) -> dict[str, int]:
    """Blocks of a program: points, atoms, coordinates, warps, stages of its pipeline."""
    return {"BLOCK_B": b, "BLOCK_N": n, "BLOCK_D": d, "num_warps": warps, "num_stages": stages}


TRIALS = {
    "sums": [
        (128, 256, 64, 8, 2),
        (128, 256, 32, 8, 4),
        (128, 128, 64, 8, 2),
        (128, 128, 64, 8, 3),
        (128, 128, 64, 8, 4),
    ]
    + [(64, 256, 64, 8, 3), (64, 256, 64, 4, 3), (64, 128, 64, 4, 3), (64, 128, 64, 4, 4), (128, 64, 64, 4, 4)]
    + [(256, 128, 64, 8, 3), (128, 128, 64, 8, 4), (64, 64, 64, 4, 4)],
    "marginal": [
        (16, 128, 64, 4, 1),
        (64, 128, 64, 4, 1),
        (32, 256, 64, 4, 1),
        (32, 64, 64, 2, 1),
        (16, 256, 64, 8, 1),
    ],
    "means": [(128, 64, 128, 8, 2), (128, 64, 128, 8, 4), (128, 32, 128, 8, 4), (128, 32, 256, 8, 3)]
    + [(64, 64, 128, 4, 3), (64, 64, 256, 8, 3), (64, 32, 256, 8, 4), (128, 64, 64, 8, 3), (128, 64, 256, 8, 2)],
}


def trials(options: argparse.Namespace, device: str = "cuda") -> Iterator[dict]:
    """Yield a row per other shape of each program."""
    for name, shapes in TRIALS.items():
        cell = make_cell(options, device, "x" if name == "means" else "psi", options.b, options.n, options.lam)
        own, usual = cuda_blocks.BLOCKS[name], arm(cell)
        expected = usual()[1].clone()
        for trial in shapes:
            cuda_blocks.BLOCKS[name] = shape(*trial)
            row = {"program": name, "blocks": " x ".join(map(str, trial)), "own": " x ".join(map(str, own.values()))}
            try:
                step = arm(cell)
                difference = float((step()[1] - expected).abs().max())
            except Exception as error:  # too much shared memory, most often
                yield row | {"status": f"{type(error).__name__}: {error}".split("\n")[0][:120]}
                continue
            finally:
                cuda_blocks.BLOCKS[name] = own
            yield row | {"status": "ok", "difference": difference} | compared(step, usual, options, cell.x.device)


def compared(step: Step, usual: Step, options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Median and quartiles of a step's milliseconds, and of its time over the usual one's, in interleaved rounds."""
    pairs = [
        [time_calls(function, options.calls, device, wall=False) for function in (step, usual)]
        for _ in range(options.rounds)
    ]
    low, median, high = np.percentile([mine for mine, _ in pairs], [25, 50, 75])
    ratio = float(np.median([mine / theirs for mine, theirs in pairs]))
    return {"median_ms": float(median), "q25_ms": float(low), "q75_ms": float(high), "ratio": ratio}


def arm(cell: Cell) -> Step:
    """The kernel's step, captured in a graph where there is a GPU."""
    return graph_arm(cell) if cell.x.device.type == "cuda" else kernel_arm(cell)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--b", type=int, default=200)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--lam", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=50, help="in a round")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device: blocks can only be timed on an NVIDIA GPU")
    for row in trials(options):
        print("  ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row.values()), flush=True)


if __name__ == "__main__":
    main()
