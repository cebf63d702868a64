"""How far one training differs with threads, kernels, processes and devices, from itself on one thread.

python code/benchmarks/determinism.py --data results/data --output results/tracks/determinism.csv

The first 10,000 images as atoms. Every arm is the same call of train_ot.py, same seed, a process of its own; the first
is made twice. `value_10` and so on: relative difference of the objective logged at that outer step; `psi`: largest
difference over the standard deviation of psi, `theta`: norm of the difference over that of theta, both at the end;
`same`: every bit.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from problems import launcher, rounded, write_table

TRAIN = Path(__file__).parents[1] / "companion/images/run_training.py"
STEPS = (10, 100)
SETTINGS = {"n-train": "10000", "outer-steps": str(STEPS[-1]), "log-every": "10", "eval-samples": "1000"}
Run = tuple[dict[int, float], torch.Tensor, torch.Tensor]


def arms() -> dict[str, tuple[int, dict[str, str], dict[str, str]]]:
    """Name each arm: its processes, its options and what it adds to the environment."""
    one = {"threads": "1", "device": "cpu"}
    found = {"1 thread": (1, one, {}), "1 thread, again": (1, one, {}), "2 threads": (1, one | {"threads": "2"}, {})}
    found["plain torch, 1 thread"] = (1, one, {"OTGRAD_KERNEL": "reference"})
    found["plain torch, 2 threads"] = (1, one | {"threads": "2"}, {"OTGRAD_KERNEL": "reference"})
    if torch.distributed.is_available():
        found["two processes"] = (2, one, {})
    if torch.cuda.is_available():
        found |= {name: (1, {"threads": "1", "device": "cuda"}, {}) for name in ("cuda", "cuda, again")}
    return found


def train(data: str, lam: float, processes: int, options: dict[str, str], environment: dict[str, str]) -> Run:
    """Train once; return the logged values by step, psi and theta."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"data": data, "out": f"{folder}/runs", "checkpoints": f"{folder}/checkpoints", "lam": str(lam)}
        given |= SETTINGS | options
        flags = [part for key, value in given.items() for part in (f"--{key}", value)]
        command = [sys.executable, *launcher(processes), str(TRAIN), *flags]
        subprocess.run(command, check=True, env=os.environ | environment)
        (run,) = (path.parent for path in Path(folder, "runs").glob("*/weights.pt"))
        weights = torch.load(run / "weights.pt", weights_only=True)
        with (run / "log.csv").open(encoding="utf-8") as stream:
            values = {int(row["step"]): float(row["value"]) for row in csv.DictReader(stream)}
    return values, weights["psi"].double(), torch.cat([part.double().ravel() for part in weights["generator"].values()])


def compare(first: Run, other: Run) -> dict[str, object]:
    """Differences of a run from the first."""
    (values, psi, theta), (others, its_psi, its_theta) = first, other
    found: dict[str, object] = {f"value_{k}": rounded(abs(others[k] / values[k] - 1), 2) for k in STEPS}
    found["psi"] = rounded(float((psi - its_psi).abs().max() / psi.std()), 2)
    found["theta"] = rounded(float((theta - its_theta).norm() / theta.norm()), 2)
    found["same"] = values == others and torch.equal(psi, its_psi) and torch.equal(theta, its_theta)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data", help="folder of rule data")
    parser.add_argument("--output", default="results/tracks/determinism.csv")
    given, rows = parser.parse_args(), []
    for lam in (0.01, 0.0):
        first = None
        for name, arm in arms().items():
            run = train(given.data, lam, *arm)
            first = first or run
            rows.append({"lam": lam, "arm": name} | compare(first, run))
            print(rows[-1], flush=True)
    write_table(given.output, rows, 1, [])


if __name__ == "__main__":
    main()
