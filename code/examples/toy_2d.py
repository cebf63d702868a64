"""Transport the uniform law on a square to a weighted spiral, without and with entropic regularisation.

    python code/examples/toy_2d.py --out results/examples

Fits `otgrad.SemiDiscreteOT` at lam = 0 (each point goes to one atom: Laguerre cells) and at a lam > 0 (each point is
shared between atoms), compares the value with the exact solver's on a pool of points, measures the marginal error on
fresh points, and draws toy_2d.png and toy_2d.svg. Needs torch, numpy and otgrad; matplotlib only for the picture.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from otgrad import SemiDiscreteOT, solve_exact

FRESH = 100_000  # points on which the marginal error is measured
PIXELS = 300  # of the pictures of cells, per side
ARROWS = 14  # per side of the square
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
)


def spiral(n):
    """Place n atoms (n, 2) on a spiral, with masses (n,) that grow fourfold from its middle to its end."""
    t = torch.linspace(0, 1, n, dtype=torch.float64).sqrt()  # more atoms where the spiral is longer
    angle, radius = 4.2 * math.pi * t, 0.15 + 0.7 * t
    y = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    nu = 1 + 3 * t
    return y, nu / nu.sum()


def square(b, generator):
    """Draw b points (b, 2) from the uniform law on [-1, 1]^2: the law to be transported."""
    return 2 * torch.rand(b, 2, dtype=torch.float64, generator=generator) - 1


def fit(y, nu, lam, steps, seed):
    """Fit psi on fresh points of the square at every step."""
    rng = torch.Generator().manual_seed(seed)
    return SemiDiscreteOT(y, nu, lam=lam).fit(square, batch_size=256, max_iter=steps, progress=False, generator=rng)


def check(ot, y, nu, pool_size, seed):
    """Judge a fit by what it did not see.

    Returns:
        F(psi) on a pool of fresh points; its maximum over psi there, by the exact solver; the L1 distance between nu
        and the mass that each atom receives from FRESH points; what that distance is on average at the exact psi of
        lam = 0, by chance alone.
    """
    rng = torch.Generator().manual_seed(seed + 1)
    pool = square(pool_size, rng)
    exact = solve_exact(pool, None, ot.semidual).value
    marginal = ot.assign(square(FRESH, rng)).mean(dim=0)
    chance = (2 / (math.pi * FRESH) * nu * (1 - nu)).sqrt().sum()
    return ot.value(pool), exact, float((marginal - nu).abs().sum()), float(chance)


def draw(fits, y, nu, path):
    """Draw, per fit, whose points go where (top) and the barycentric map (bottom), as path.png and path.svg."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 9, "svg.hashsalt": "otgrad", "savefig.dpi": 200})
    import matplotlib.pyplot as plt

    palette = np.array([mpl.colors.to_rgb(tint) for tint in (BLUE, ORANGE, GREEN, PURPLE, YELLOW, RED, SKY)])
    tints = palette[np.arange(len(y)) % len(palette)]
    fig, axes = plt.subplots(2, len(fits), figsize=(7.2, 7.5), layout="constrained", squeeze=False)
    for (above, below), ot in zip(axes.T, fits, strict=True):
        draw_cells(above, ot, tints)
        draw_map(below, ot, tints)
        for axis in (above, below):
            axis.scatter(*y.T, s=900 * nu, color=tints, edgecolors="black", linewidths=0.7, zorder=3)
            axis.set(aspect="equal", xlim=(-1, 1), ylim=(-1, 1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        law = "one atom per point: Laguerre cells" if ot.lam == 0 else "every point shared between atoms"
        above.set_title(rf"$\lambda={ot.lam:g}$, {law}")
        below.set_title(rf"$\lambda={ot.lam:g}$, barycentric map $x\mapsto\Sigma_j\,\pi_j(x)\,y_j$")
    fig.supxlabel("Circles: atoms, area proportional to mass. The square is uniform.", fontsize=7, color="0.35")
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
        fig.savefig(path.with_suffix(suffix), metadata=metadata)
    plt.close(fig)


def draw_cells(axis, ot, tints):
    """Colour the square by the atoms that its points go to, mixed in the proportions of the assignment."""
    ticks = (torch.arange(PIXELS, dtype=torch.float64) + 0.5) / PIXELS * 2 - 1
    colours = ot.assign(torch.cartesian_prod(ticks, ticks)).numpy() @ tints
    picture = 0.45 + 0.55 * colours.reshape(PIXELS, PIXELS, 3)  # lighter than the atoms
    axis.imshow(picture.clip(0, 1).transpose(1, 0, 2), origin="lower", extent=(-1, 1, -1, 1), interpolation="nearest")


def draw_map(axis, ot, tints):
    """Draw an arrow from a grid of points to where the plan sends them on average, in the colour of the nearest end."""
    ticks = (torch.arange(ARROWS, dtype=torch.float64) + 0.5) / ARROWS * 2 - 1
    x = torch.cartesian_prod(ticks, ticks)
    shift = ot.barycentric_map(x) - x
    colours = tints[ot.assign(x).argmax(dim=1).numpy()]
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004, "headwidth": 5, "headlength": 6}
    axis.quiver(*x.T, *shift.T, color=colours, **arrows)
    axis.scatter(*x.T, s=3, color=colours, linewidths=0)


def run(out, n=36, lam=0.01, steps=3000, pool_size=1500, seed=0, picture=True):
    """Fit, check and draw; return a row (lam, value, exact, marginal error, chance) per fit."""
    y, nu = spiral(n)
    fits = [fit(y, nu, strength, steps, seed) for strength in (0.0, lam)]
    rows = [(ot.lam, *check(ot, y, nu, pool_size, seed)) for ot in fits]
    print(f"{'lam':>6}  {'F(psi)':>8}  {'exact':>8}  {'short by':>8}  marginal error (by chance alone)")
    for strength, value, exact, error, chance in rows:
        print(f"{strength:6g}  {value:8.5f}  {exact:8.5f}  {exact - value:8.1e}  {error:.4f} ({chance:.4f})")
    if picture:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(fits, y, nu, out / "toy_2d")
        print(f"drawn: {out / 'toy_2d.png'}, {out / 'toy_2d.svg'}")
    return rows


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/examples"), help="folder for the picture")
    parser.add_argument("--atoms", type=int, default=36)
    parser.add_argument("--lam", type=float, default=0.01, help="regularisation of the second fit, > 0")
    parser.add_argument("--steps", type=int, default=3000, help="steps on psi per fit, 256 fresh points each")
    parser.add_argument("--pool", type=int, default=1500, help="points on which the exact solver is asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-picture", action="store_true", help="do without matplotlib")
    given = parser.parse_args(arguments)
    for name, least in (("atoms", 2), ("steps", 1), ("pool", 1)):
        if getattr(given, name) < least:
            raise SystemExit(f"toy_2d: --{name} = {getattr(given, name)}: give an integer >= {least}")
    if not 0 < given.lam < math.inf:
        raise SystemExit(f"toy_2d: --lam = {given.lam:g}: give a number > 0; lam = 0 is fitted beside it")
    run(given.out, given.atoms, given.lam, given.steps, given.pool, given.seed, not given.no_picture)


if __name__ == "__main__":
    main()
