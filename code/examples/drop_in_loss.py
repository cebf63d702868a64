"""Use otgrad as the loss of a generator and a training loop of your own.

    python code/examples/drop_in_loss.py --out results/examples

What you would copy stands between the two markers: a loop like any other, whose loss is the transport cost to the data.
The generator here is a small network in the plane, the data are eight blobs around a circle; yours may be any module
whose output is (b, d). Prints the squared W2 distance between fresh samples and fresh data, by the exact solver,
before and after, beside that between data and data, which is what a perfect generator would reach.
"""

import argparse
import math
from pathlib import Path

import torch

from otgrad import SemiDiscreteOT, SemiDual, solve_exact

JUDGED = 400  # points of each of the two clouds whose exact distance is computed


# --- drop-in: begin ---
def train(generator, y, steps, lam=0.05, batch_size=256):
    """Train a generator of yours, z (b, 2) -> (b, d), on the data y (n, d)."""
    ot = SemiDiscreteOT(y, lam=lam)
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3)

    def sample(b, rng=None):
        return generator(torch.randn(b, 2, generator=rng))

    for _ in range(steps):
        with torch.no_grad():  # some steps on the potential psi, which follows the generator from where it was
            ot.fit(sample, batch_size, max_iter=5, progress=False, restart=True)
        loss = ot.loss(sample(batch_size))  # one step on the generator, psi held fixed
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ot


# --- drop-in: end ---


def network():
    """Build the generator, which could be anyone's."""
    layers = torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)
    return torch.nn.Sequential(*layers)


def draw_data(n, rng):
    """Draw n points (n, 2): eight blobs of standard deviation 0.08 around the unit circle."""
    angle = torch.randint(8, (n,), generator=rng) * torch.pi / 4
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.08 * torch.randn(n, 2, generator=rng)


def squared_w2(x, y):
    """Compute the squared W2 distance of two clouds, exactly (to 1e-4 of it)."""
    return solve_exact(x, None, SemiDual.of(y, None, lam=0)).value


def run(out=None, steps=400, lam=0.05, n=1000, seed=0):
    """Train and judge; return the distance before, after, and between data and data, and write what was printed."""
    torch.manual_seed(seed)  # of the network's weights and of the loop's latents
    rng = torch.Generator().manual_seed(seed + 1)
    generator = network()
    z, fresh, others = torch.randn(JUDGED, 2, generator=rng), draw_data(JUDGED, rng), draw_data(JUDGED, rng)
    with torch.no_grad():
        before = squared_w2(generator(z), fresh)
    train(generator, draw_data(n, rng), steps, lam)
    with torch.no_grad():
        after = squared_w2(generator(z), fresh)
    floor = squared_w2(others, fresh)
    text = (
        f"squared W2 to fresh data, exact, {JUDGED} points against {JUDGED}\n"
        f"before training:         {before:.4f}\n"
        f"after {steps:4d} steps:        {after:.4f}\n"
        f"data against other data: {floor:.4f}\n"
    )
    print(text, end="")
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        Path(out, "drop_in_loss.txt").write_text(text, encoding="utf-8")
    return before, after, floor


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for drop_in_loss.txt; without it nothing is written")
    parser.add_argument("--steps", type=int, default=400, help="steps on the generator")
    parser.add_argument("--lam", type=float, default=0.05, help="regularisation >= 0")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.steps < 1:
        raise SystemExit(f"drop_in_loss: --steps = {given.steps}: give an integer >= 1")
    if not 0 <= given.lam < math.inf:
        raise SystemExit(f"drop_in_loss: --lam = {given.lam:g}: give a number >= 0")
    run(given.out, given.steps, given.lam, seed=given.seed)


if __name__ == "__main__":
    main()
