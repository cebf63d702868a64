"""The comparison with POT: our potentials against POT's, and how fast the solvers approach the optimum."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import style
from companion.common.readers import read_json, read_table

SHOWN = "images"  # the instance whose convergence is drawn
COLOURS = {"two atoms": style.RED, "random atoms": style.ORANGE, "massless atom": style.GREEN, "images": style.BLUE}
MARKERS = {"two atoms": "s", "random atoms": "o", "massless atom": "x", "images": "o"}
SIZES = {"two atoms": 7, "random atoms": 5, "massless atom": 3.5, "images": 2}
DASHES = {"stochastic": "-", "POT Sinkhorn": "--"}
ROUNDING = 1e-14  # gaps below it are not drawn


def draw(potentials, trace, outputs, stamp_text):
    """Draw psi against psi for every instance and lam > 0, and the relative dual gap of the images against passes.

    Args:
        potentials: CSV with instance, lam, psi_pot, psi_ours.
        trace: CSV with instance, lam, solver, iteration, gap.
        outputs: figure files.
        stamp_text: instance, data set and preset.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.9))
    draw_potentials(left, read_table(potentials))
    draw_gaps(right, [row for row in read_table(trace) if row["instance"] == SHOWN])
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, [potentials, trace])


def draw_potentials(axis, rows):
    """Draw one point per atom, coloured by instance, over the identity."""
    pairs = np.array([[float(row["psi_pot"]), float(row["psi_ours"])] for row in rows])
    names = np.array([row["instance"] for row in rows])
    ends = [pairs.min(), pairs.max()]
    axis.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
    for number, name in reversed(list(enumerate(COLOURS, start=1))):
        x, y = pairs[names == name].T
        look = {"color": COLOURS[name], "ms": SIZES[name], "mfc": "none", "mew": 0.8, "rasterized": True}
        axis.plot(x, y, MARKERS[name], label=f"{number}: {name}", **look)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="upper left")
    axis.text(0.98, 0.04, largest_difference(pairs), transform=axis.transAxes, ha="right", va="bottom", fontsize=7)
    axis.set(xlabel=r"$\psi$ from POT's Sinkhorn", ylabel=r"$\psi$ from our exact solver")
    axis.set_title(r"potentials, all $\lambda > 0$")
    axis.set_aspect("equal", "datalim")


def largest_difference(pairs):
    """Say how far apart the two potentials are, in powers of ten."""
    mantissa, exponent = f"{np.abs(pairs[:, 0] - pairs[:, 1]).max():.0e}".split("e")
    return f"largest difference ${mantissa} \\cdot 10^{{{int(exponent)}}}$"


def draw_gaps(axis, rows):
    """Draw one line per lam and solver, told apart by colour and by dash."""
    lams = sorted({float(row["lam"]) for row in rows})
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(lams)))
    handles = []
    for lam, colour in zip(lams, colours, strict=True):
        for solver, dash in DASHES.items():
            line = [row for row in rows if float(row["lam"]) == lam and row["solver"] == solver]
            gaps = np.array([float(row["gap"]) for row in line])
            gaps[gaps < ROUNDING] = np.nan
            axis.plot([int(row["iteration"]) for row in line], gaps, dash, color=colour)
        handles += axis.plot([], [], color=colour, label=f"$\\lambda = {lam:g}$")
    for solver, dash in DASHES.items():
        handles += axis.plot([], [], dash, color="0.4", label=label(solver))
    if any(np.nanmax(line.get_ydata(), initial=0) > 0 for line in axis.lines):  # some solver took more than a moment
        axis.set_yscale("log")
    axis.set(xscale="log", xlabel="passes over the samples (Sinkhorn: iterations)")
    axis.set(ylabel="relative dual gap", title="instance 4: distance to the optimum")
    axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))


def label(solver):
    """Name a solver in the legend."""
    return "ours, stochastic" if solver == "stochastic" else solver


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        name = style.literal(read_json(smk.input.dataset)["label"])
        text = f"instance 4: {name}, preset {smk.params.preset}"
        draw(smk.input.potentials, smk.input.trace, smk.output, text)
