"""Free particles against theory: the cost with its bounds, the share that copies data, how many atoms they mean.

A column of panels for each number of images n.
"""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import style
from companion.common.readers import read_table

LOOKS = {
    "data": ("o", style.BLUE, "particles, from the data"),
    "gaussian": ("s", style.RED, "particles, from the best Gaussian"),
    "generator": ("^", "black", "trained generator"),
}
PANELS = {
    "value": "Cost",
    "copies": "Share that copies an image",
    "distance": "Distance² to the nearest image",
    "atoms": "Images that one averages over",
}


def draw(tables, models, expected, outputs, stamp_text):
    """Draw a row for each of PANELS.

    Args:
        tables: CSV of each n and lam, of run_memorise.memorise.
        models: CSV of run_memorise.models; drawn where as many images were used as there are particles.
        expected: of run_memorise.expected.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    rows = [row for table in tables for row in read_table(table)]
    theory, sizes = read_table(expected), sorted({int(row["n"]) for row in rows})
    rows += read_table(models)
    fig, axes = plt.subplots(len(PANELS), len(sizes), figsize=(style.PAGE, 7.6), sharex=True, squeeze=False)
    for n, column in zip(sizes, axes.T, strict=True):
        own = [row for row in rows if int(row["n"]) == n]
        draw_cost(column[0], own, [row for row in theory if int(row["n"]) == n])
        for axis, name in zip(column[1:], list(PANELS)[1:], strict=True):
            points(axis, own, name)
        column[0].set_title(f"n = {n:,} images and particles", fontsize=8, loc="left")
        column[1].set_ylim(-0.05, 1.05)
        column[2].set_ylim(bottom=0)
        column[3].set(yscale="log", xlabel=r"$\lambda$")
        for axis in column:
            mark(axis, [row for row in theory if int(row["n"]) == n], axis is column[0])
    for axis, title in zip(axes[:, 0], PANELS.values(), strict=True):
        axis.set_ylabel(title, fontsize=7)
    axes[0, 0].legend(fontsize=5.5, loc="lower right")
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, [*tables, models, expected])


def draw_cost(axis, rows, theory):
    """The particles' cost and lower bound, between the bounds of theory."""
    bounds = [row for row in theory if row["kind"] == "bound"]
    lams = np.array([float(row["lam"]) for row in bounds])
    shown = lams <= 1.3 * max(float(row["lam"]) for row in rows)
    for name, dash, text in (
        ("gaussian", "--", "best Gaussian: upper bound"),
        ("copying", ":", "copying: upper bound"),
    ):
        values = np.array([float(row[name]) for row in bounds])
        axis.plot(lams[shown], values[shown], dash, color="black", linewidth=0.9, label=text)
    top = max(float(row["value"]) for row in rows)
    points(axis, rows, "value")
    moved = sorted((row for row in rows if row["likelihood"]), key=lambda row: -float(row["value"]))
    best = {float(row["lam"]): float(row["likelihood"]) for row in moved}
    axis.plot(sorted(best), [best[lam] for lam in sorted(best)], "_", color="0.5", markersize=9, label="lower bound")
    axis.set_ylim(0, 1.25 * top)


def points(axis, rows, name):
    """One mark per lam and start."""
    for start, (marker, colour, text) in LOOKS.items():
        own = sorted((float(row["lam"]), float(row[name])) for row in rows if row["start"] == start)
        axis.plot(
            [lam for lam, _ in own],
            [value for _, value in own],
            marker,
            markersize=4,
            color=colour,
            fillstyle="none",
            label=text,
        )


def mark(axis, theory, named):
    """Where copying becomes the worse bound, and where all collapses; named in the first row."""
    for kind, text in (("threshold", "copying: worse bound"), ("collapse", "collapse")):
        lam = next(float(row["lam"]) for row in theory if row["kind"] == kind)
        axis.axvline(lam, color="0.6", linewidth=0.7)
        spot = {"xycoords": ("data", "axes fraction"), "xytext": (1.5, 0), "textcoords": "offset points"}
        axis.annotate(text if named else "", (lam, 0.03), **spot, rotation=90, fontsize=5.5, va="bottom")


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        (verdict,) = read_table(smk.input.verdicts)
        text = (
            f"{style.data_text(smk.input.dataset, smk.params.preset)}; copies below, none beyond: {verdict['verdict']}"
        )
        draw(smk.input.tables, smk.input.models, smk.input.expected, smk.output, text)
