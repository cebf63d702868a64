"""One critic step of several runs of the 2-D experiment: one after another, or all in one batch.

python code/benchmarks/batched_runs.py [--runs 8] [--batch 512] [--threads 2] [--rounds 15]

The loops train one run at a time. Arms: plain modules in turn (what they do); weights stacked as (runs, in, out) and
one graph of batched products; torch.func.vmap over grad. All take the same step on the same points (asserted).
Times: interleaved rounds in one process, median and quartiles, in ms per step of one run.
"""

import argparse
import time

import numpy as np
import torch

from companion.algorithms.networks import CriticMlp
from companion.algorithms.potentials import CriticRule, slope_penalty

WIDTHS = (2, 128, 128, 128)
LR = 5e-4
RULE = CriticRule("lp")


def loss_of(weights, x, y, h):
    """The critic's loss from weights [(…, in, out), (…, 1, out), ...], points (…, b, 2) and interpolates h."""

    def phi(points):
        for k in range(0, len(weights) - 2, 2):
            points = (points @ weights[k] + weights[k + 1]).relu()
        return points @ weights[-2] + weights[-1]

    active, points = [], h
    for k in range(0, len(weights) - 2, 2):
        points = (points @ weights[k] + weights[k + 1]).relu()
        active.append((points.detach() > 0).to(points.dtype))
    slopes = weights[-2].mT
    for k, mask in zip(range(len(weights) - 4, -1, -2), reversed(active), strict=True):
        slopes = (slopes * mask) @ weights[k].mT
    excess = (torch.linalg.vector_norm(slopes, dim=-1) - 1).clamp(min=0)
    return (phi(y) - phi(x)).mean(dim=(-1, -2)) + RULE.gp_weight * excess.square().mean(dim=-1)


def in_turn(networks, x, y, h):
    """Each run with its own module and optimizer."""
    optimizers = [torch.optim.Adam(network.parameters(), lr=LR) for network in networks]

    def step():
        for k, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            penalty = slope_penalty(network, h[k], one_sided=True)
            loss = network(y[k]).mean() - network(x[k]).mean() + RULE.gp_weight * penalty
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return [torch.stack([n[k].weight.mT.detach() for n in networks]) for k in range(0, 7, 2)]

    return step


def stack(networks):
    """Weights as (runs, in, out) and biases as (runs, 1, out)."""
    layers = [[layer for layer in network if hasattr(layer, "weight")] for network in networks]
    stacked = []
    for same in zip(*layers, strict=True):
        stacked += [torch.stack([layer.weight.mT for layer in same]), torch.stack([layer.bias[None] for layer in same])]
    return [values.detach().clone().requires_grad_() for values in stacked]


def stacked(networks, x, y, h):
    """All runs in one graph of batched products, one optimizer."""
    weights = stack(networks)
    optimizer = torch.optim.Adam(weights, lr=LR)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(weights, x, y, h).sum().backward()
        optimizer.step()
        return [w.detach() for w in weights[::2]]

    return step


def vmapped(networks, x, y, h):
    """The same by torch.func: vmap over the gradient of one run's loss."""
    weights = stack(networks)
    optimizer = torch.optim.Adam(weights, lr=LR)
    gradient = torch.func.vmap(torch.func.grad(loss_of))

    def step():
        for values, grad in zip(weights, gradient([w.detach() for w in weights], x, y, h), strict=True):
            values.grad = grad
        optimizer.step()
        return [w.detach() for w in weights[::2]]

    return step


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rng = torch.Generator().manual_seed(0)
    x, y, t = (torch.randn(given.runs, given.batch, 2, generator=rng) for _ in range(3))
    h = torch.lerp(y, x, t.sigmoid()[..., :1])
    arms = {"one after another": in_turn, "stacked": stacked, "vmap": vmapped}
    networks = {name: [CriticMlp(WIDTHS, seed) for seed in range(given.runs)] for name in arms}
    steps = {name: make(networks[name], x, y, h) for name, make in arms.items()}
    results = {name: step() for name, step in steps.items()}
    for name, result in results.items():
        for ours, reference in zip(result, results["one after another"], strict=True):
            torch.testing.assert_close(ours, reference, rtol=0, atol=2 * LR * 1e-2, msg=name)
    times = {name: [] for name in arms}
    for _ in range(given.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start) / given.runs)
    print(f"{given.runs} runs, batch {given.batch}, {given.threads} threads; ms per step of one run")
    base = np.median(times["one after another"])
    for name, values in times.items():
        low, median, high = np.percentile(values, [25, 50, 75])
        print(f"{name:18} {median:6.2f} ({low:.2f} to {high:.2f})  {base / median:5.2f} x as fast")


if __name__ == "__main__":
    main()
