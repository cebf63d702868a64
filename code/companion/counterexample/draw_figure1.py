"""Figure 1: theta_k of Algorithm 1 on the counterexample of Proposition 1, over the points of the paper's figure."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import style
from companion.common.readers import read_table

Y1, Y2, THETA_STAR = (0.0, 1.0), (0.0, 0.0), (0.0, 0.5)
PANELS = {"plain": r"$\mathrm{OT}_c$", "entropic": r"$\mathrm{OT}_c^\lambda$"}
RINGS = {"marker": "o", "linestyle": "none", "fillstyle": "none", "color": style.BLACK, "markeredgewidth": 0.7}
TIED = {"color": style.ORANGE, "linewidth": 0.8, "marker": ".", "markersize": 3}


def draw_figure1(table, outputs):
    """Draw the panels "plain" and "entropic" of results/counterexample/figure1.csv, with what the paper's figure shows.

    Args:
        table: columns panel, k, theta_x, theta_y; in units of the data.
        outputs: figure files.
    """
    fig, axes = plt.subplots(1, 2, figsize=(style.PAGE, 0.53 * style.PAGE), sharex=True, sharey=True)
    for axis, (panel, title) in zip(axes, PANELS.items(), strict=True):
        draw_panel(axis, trajectory(table, panel), title)
        axis.plot(*trajectory(table, f"{panel}_paper").T, **RINGS, label="the paper's figure")
    tied = trajectory(table, "plain_ties")[: len(trajectory(table, "plain_paper"))]  # then all run into each other
    axes[0].plot(*tied.T, **TIED, label="ties broken as there", zorder=2.5)
    axes[0].child_axes[0].plot(tied[:, 1], **TIED | {"marker": ""}, zorder=1)
    axes[0].legend(loc="lower left", handletextpad=0.4)
    axes[0].set_ylabel("second coordinate")
    style.save(fig, outputs, [table])


def trajectory(table, panel):
    """Points theta_k of one panel (iterations, 2), in order of k."""
    rows = [line for line in read_table(table) if line["panel"] == panel]
    rows.sort(key=lambda line: int(line["k"]))
    return np.array([(float(line["theta_x"]), float(line["theta_y"])) for line in rows])


def draw_panel(axis, theta, title):
    """Draw data points, theta* and the fading trajectory in a square panel, with an inset of y against k."""
    k = np.arange(len(theta))
    axis.scatter(*theta.T, c=k, cmap=style.FADE, s=14, zorder=2)
    axis.scatter([], [], color=style.GREEN, s=14, label=r"$\theta^k$, light to dark")
    axis.plot(*THETA_STAR, "+", color=style.BLUE, markersize=11, markeredgewidth=2, label=r"$\theta^*$", zorder=3)
    axis.plot(*zip(Y1, Y2, strict=True), "*", color=style.RED, markersize=11, label="$y_1$ (top), $y_2$", zorder=3)
    axis.set(xlim=(-1.08, 0.62), ylim=(-0.35, 1.35), aspect="equal", title=title, xlabel="first coordinate")
    inset = axis.inset_axes((0.11, 0.70, 0.42, 0.27))
    inset.axhline(THETA_STAR[1], color="0.35", linestyle="--", linewidth=0.8)
    inset.plot(k, theta[:, 1], color=style.GREEN, linewidth=0.6)
    inset.scatter(k, theta[:, 1], c=k, cmap=style.FADE, s=2, zorder=2)
    inset.set(ylim=(0, 0.65), xlim=(-2, len(theta)), yticks=(0, 0.5), xticks=(0, len(theta) // 2, len(theta)))
    inset.tick_params(labelsize=6, length=2, pad=1)
    inset.set_xlabel("$k$", fontsize=6, labelpad=0)
    inset.set_ylabel(r"$\theta^k_2$", fontsize=6, labelpad=0)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw_figure1(smk.input[0], smk.output)
