"""One law over 1, 2 and 4 processes on this machine, and a model of many GPUs: steps per second and bytes per step.

python code/benchmarks/scaling.py --data results/data/train.npz --output results/tracks/scaling.csv

Each process is given one thread. Medians of psi-steps and of x-gradients. With more processes than cores they share
them: seconds then do not fall, and what is measured is what the exchange costs. Beside the table, scaling.md: the same,
and a model of a step with n = 10^8, d = 784 on 8 and 64 GPUs (scaling_model.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from otgrad.costs import Cost
from otgrad.ctransform import psi_step, x_grad
from otgrad.measures import DiscreteMeasure
from otgrad.scale.shards import Shard, Team
from problems import launcher, make_problem, rounded, write_table
from scaling_model import document

LAM = 0.01


def measure(folder: Path, rounds: int) -> None:
    """Time this process's part, with the others; the first writes the medians."""
    torch.set_num_threads(1)
    with Team.start(torch.device("cpu")) as team:
        y, x = (torch.from_numpy(np.load(folder / name)) for name in ("y.npy", "x.npy"))
        law = DiscreteMeasure.from_atoms(y, unit=1 / 255)
        if team:
            law = Shard.of(y[team.share_of(len(y))].clone(), team, unit=1 / 255)
        psi, cost = torch.zeros(law.n), Cost(scale=law.mean_square)
        found = {}
        for name, step in (("psi", psi_step), ("x", x_grad)):
            step(x, law, psi, LAM, cost)
            seconds, sent = [], team.sent if team else 0
            for _ in range(rounds):
                begun = time.perf_counter()
                step(x, law, psi, LAM, cost)
                seconds.append(time.perf_counter() - begun)
            found[f"{name}_ms"] = 1000 * float(np.median(seconds))
            found[f"{name}_ms_q25"], found[f"{name}_ms_q75"] = (1000 * np.percentile(seconds, [25, 75])).tolist()
            found[f"{name}_bytes"] = (team.sent - sent) / rounds if team else 0
        if team is None or team.rank == 0:
            (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


def run(processes: int, folder: Path, rounds: int) -> dict[str, float]:
    """Measure on so many processes."""
    itself = [__file__, "--measure", str(folder), "--rounds", str(rounds)]
    environment = {key: value for key, value in os.environ.items() if key != "WORLD_SIZE"} | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher(processes), *itself], check=True, env=environment)
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--output", default="results/tracks/scaling.csv")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--b", type=int, default=200)
    parser.add_argument("--measure", help="for the processes themselves")
    given = parser.parse_args()
    if given.measure:
        return measure(Path(given.measure), given.rounds)
    problem, rows = make_problem(given.data, given.b, given.n), []
    for processes in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            problem.save(Path(folder))
            found = {key: rounded(value) for key, value in run(processes, Path(folder), given.rounds).items()}
        rows.append({"processes": processes, "b": given.b, "n": problem.n} | found)
        print(rows[-1], flush=True)
    write_table(given.output, rows, 1, [])
    text = document(rows, os.cpu_count() or 1, LAM)
    Path(given.output).with_suffix(".md").write_text(text, encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
