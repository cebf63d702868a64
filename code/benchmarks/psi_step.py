"""Time and memory of one psi-step, beside the same formula in numpy and in torch with autograd.

python code/benchmarks/psi_step.py [--data results/data/train.npz] [--threads 2] [--rounds 7]

Times: interleaved rounds in one process, median and quartiles in ms. Memory: each arm in a process of its own, peak
resident size with the data. The atoms are the images of --data if there are at least n of 28 x 28, else random ones.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from otgrad.costs import Cost
from otgrad.ctransform import c_transform, psi_step
from otgrad.measures import DiscreteMeasure

LAM = 0.01


def otgrad_arm(x, y):
    """The library's psi_step."""
    target = DiscreteMeasure.from_atoms(torch.from_numpy(y))
    cost, psi, points = Cost().normalized(target.y, target.nu), torch.zeros(len(y)), torch.from_numpy(x)
    return lambda: [part.numpy() for part in psi_step(points, target, psi, LAM, cost)]


def numpy_arm(x, y):
    """The same explicit formula in numpy, in place where it can be."""
    n = len(y)
    y_sq = np.einsum("jd,jd->j", y, y)
    scale, psi = np.float32(y_sq.mean()), np.zeros(n, np.float32)

    def step():
        scores = x @ y.T
        scores *= 2 / (scale * LAM)
        scores += (psi - y_sq / scale) / LAM
        top = scores.max(axis=1, keepdims=True)
        scores -= top
        np.exp(scores, out=scores)
        z = scores.sum(axis=1) / n
        values = np.einsum("id,id->i", x, x) / scale - LAM * (top[:, 0] + np.log(z))
        return [values, np.float32(1 / n) * (1 - (1 / (len(x) * z)) @ scores)]

    return step


def autograd_arm(x, y):
    """The definition of the transform, differentiated by autograd (the style of most research code)."""
    target = DiscreteMeasure.from_atoms(torch.from_numpy(y))
    cost, points = Cost().normalized(target.y, target.nu), torch.from_numpy(x)

    def step():
        psi = torch.zeros(len(y), requires_grad=True)
        values = c_transform(points, target, psi, LAM, cost)
        (grad,) = torch.autograd.grad(values.mean(), psi)
        return [values.detach().numpy(), (target.nu + grad).numpy()]

    return step


ARMS = {"otgrad": otgrad_arm, "numpy": numpy_arm, "torch autograd": autograd_arm}


def problem(data, b, n):
    """Blurred images as points x (b, d) and images as atoms y (n, d), float32 in [0, 1]; random without data."""
    rng = np.random.default_rng(0)
    images = np.load(data)["images"] if Path(data).exists() else np.empty((0, 1, 1), np.uint8)
    if len(images) >= n and images.shape[1:] == (28, 28) and images.dtype == np.uint8:
        y = images[:n].reshape(n, -1) * np.float32(1 / 255)
        source = "MNIST"
    else:
        y = rng.random((n, 784), dtype=np.float32)
        source = "random"
    pairs = y[rng.integers(n, size=(2, b))]
    return (pairs[0] + pairs[1]) / 2, y, source


def time_arms(x, y, rounds):
    """Quartiles of each arm's time in ms, in interleaved rounds, after a first call."""
    steps = {name: make(x, y) for name, make in ARMS.items()}
    results = {name: step() for name, step in steps.items()}
    for name, (values, grad) in results.items():
        np.testing.assert_allclose(values, results["otgrad"][0], rtol=1e-3, err_msg=name)
        assert np.abs(grad - results["otgrad"][1]).sum() < 1e-2, name
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.percentile(values, [25, 50, 75]).round(1).tolist() for name, values in times.items()}


def peak_memory(arm, arguments, n):
    """Peak resident size in MiB of a fresh process that builds the problem and takes two steps of one arm."""
    command = [sys.executable, __file__, "--child", arm, "--n", str(n), "--data", arguments.data]
    done = subprocess.run([*command, "--threads", str(arguments.threads)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def own_peak_memory():
    """Peak resident size of this process in MiB; Linux's ru_maxrss would include the parent's at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="results/data/train.npz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--b", type=int, default=200)
    parser.add_argument("--n", type=int, default=60000)
    parser.add_argument("--big-n", type=int, default=0, help="also the memory of one step with so many atoms")
    parser.add_argument("--child", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x, y, source = problem(arguments.data, arguments.b, arguments.n)
    if arguments.child:
        step = ARMS[arguments.child](x, y)
        step(), step()
        print(own_peak_memory())
        return
    print(f"b = {arguments.b}, n = {arguments.n}, d = {y.shape[1]}, {source}, {arguments.threads} threads, lam = {LAM}")
    times = time_arms(x, y, arguments.rounds)
    del x, y
    for name, (low, median, high) in times.items():
        ratio = median / times["otgrad"][1]
        memory = peak_memory(name, arguments, arguments.n)
        print(f"{name:15} {median:8.1f} ms ({low} to {high})  {ratio:5.2f} x otgrad  peak {memory} MiB")
    if arguments.big_n:
        print(f"otgrad, n = {arguments.big_n}: peak {peak_memory('otgrad', arguments, arguments.big_n)} MiB")


if __name__ == "__main__":
    main()
