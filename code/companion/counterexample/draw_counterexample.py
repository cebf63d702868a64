"""Around Figure 1: which solver settings oscillate, the instance with spread mass, and lam against the step."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from companion.common import style
from companion.common.readers import read_table
from companion.counterexample.verdicts import NEAR, TAIL

HEAT = "cividis"
CHART_NORM = LogNorm(1e-4, 1, clip=True)
STEPS_NORM = LogNorm(1e-4, 1, clip=True)
MEASURES = {
    "tail_amplitude": r"swing of $\theta_2$: max - min",
    "tail_distance": r"largest distance to $\theta^*$",
}
SOLVERS = {
    "exact": r"exact $\psi^*$",
    "averaged": "{} averaged steps $1/\\sqrt{{i}}$",
    "default": "{} steps of the default rule",
}


def values_of(rows, column):
    """Distinct numbers of a column, increasing."""
    return sorted({float(row[column]) for row in rows})


def heat(axis, values, columns, rows, norm):
    """Draw values (rows, columns) as equal cells, first row at the bottom; nan leaves a gap."""
    mesh = axis.pcolormesh(values, cmap=HEAT, norm=norm, edgecolors="white", linewidth=0.8)
    axis.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axis.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return mesh


# --- Number and size of the inner steps -------------------------------------------------------------------------------


def draw_chart(table, outputs):
    """Draw swing and distance over the inner steps, one column of panels per lam.

    Args:
        table: results/counterexample/chart.csv.
        outputs: figure files.
    """
    rows = read_table(table)
    lams = values_of(rows, "lam")
    size = (style.PAGE, 0.66 * style.PAGE)
    fig, axes = plt.subplots(2, len(lams), figsize=size, squeeze=False, sharex=True)
    for line, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for axis, lam in zip(line, lams, strict=True):
            mesh = draw_chart_panel(axis, [row for row in rows if float(row["lam"]) == lam], measure)
        bar = fig.colorbar(mesh, ax=list(line), extend="both", pad=0.01, aspect=25)
        bar.set_label(f"{label}, last {TAIL}")
        bar.ax.tick_params(labelsize=6)
    for axis, lam in zip(axes[0], lams, strict=True):
        axis.set_title(f"$\\lambda$ = {lam:g}")
    for line in axes:
        line[0].set_ylabel(r"$c$ of the averaged steps $c/\sqrt{i}$")
        line[1].set_ylabel(r"constant inner step, in units of $n\lambda$")
    fig.supxlabel(r"inner steps on $\psi$ per step on $\theta$", fontsize=8)
    style.save(fig, outputs, [table])


def draw_chart_panel(axis, rows, measure):
    """Draw one lam: the settings of the step above, the default rule as a separate line below."""
    inner = values_of(rows, "inner_steps")
    tuned = [row for row in rows if row["rule"] != "default"]
    sizes = values_of(tuned, "inner_step")
    grid = np.full((len(sizes) + 2, len(inner)), np.nan)
    for row in rows:
        line = 0 if row["rule"] == "default" else 2 + sizes.index(float(row["inner_step"]))
        grid[line, inner.index(float(row["inner_steps"]))] = float(row[measure])
    return heat(axis, grid, [f"{i:g}" for i in inner], ["default", "", *(f"{s:g}" for s in sizes)], CHART_NORM)


# --- Mass along the interface -----------------------------------------------------------------------------------------


def draw_segment(table, outputs):
    """Draw theta_k on the segment instance, a panel per lam, with theta's first coordinate against k below.

    Args:
        table: results/counterexample/segment.csv.
        outputs: figure files.
    """
    rows = read_table(table)
    lams = values_of(rows, "lam")
    size = (style.PAGE, 0.62 * style.PAGE)
    fig, axes = plt.subplots(2, len(lams), figsize=size, squeeze=False, sharey="row", height_ratios=(2, 1))
    for (plane, curve), lam in zip(axes.T, lams, strict=True):
        theta = np.array([(row["theta_x"], row["theta_y"]) for row in rows if float(row["lam"]) == lam], dtype=float)
        draw_plane(plane, theta)
        plane.set_title(f"$\\lambda$ = {lam:g}")
        draw_curve(curve, theta[:, 0])
    axes[0, 0].legend(loc="upper left")
    axes[0, 0].set_ylabel("second coordinate")
    axes[1, 0].set_ylabel(r"$\theta^k_1$")
    style.save(fig, outputs, [table])


def draw_plane(axis, theta):
    """Draw the data points, theta* and the fading trajectory."""
    shown = theta[1:]  # theta_0 lies on y_1
    axis.plot((-1, 1), (0, 0), "*", color=style.RED, markersize=11, label="$y_1$ (left), $y_2$")
    axis.plot((0, 0), (0, 1), color="0.75", linewidth=3, zorder=0, label=r"support of $\zeta$")
    axis.scatter(*shown.T, c=np.arange(len(shown)), cmap=style.FADE, s=12, zorder=2)
    axis.scatter([], [], color=style.GREEN, s=12, label=r"$\theta^k$, light to dark")
    axis.plot(0, 0.5, "+", color=style.BLUE, markersize=11, markeredgewidth=2, zorder=3, label=r"$\theta^*$")
    axis.set(xlim=(-1.25, 1.25), ylim=(-0.2, 1.15), aspect="equal", xlabel="first coordinate")


def draw_curve(axis, coordinate):
    """Draw the coordinate across the interface, against k."""
    axis.axhline(0, color="0.35", linestyle="--", linewidth=0.8)
    axis.plot(coordinate, color=style.GREEN, linewidth=0.7, marker=".", markersize=2)
    axis.set(ylim=(-1.05, 1.05), xlabel="$k$")


# --- lam against the step on theta ------------------------------------------------------------------------------------


def draw_steps(table, outputs):
    """Draw the largest distance along the kink axis over lam and the step, a panel per solver and instance.

    Args:
        table: results/counterexample/steps.csv.
        outputs: figure files.
    """
    rows = read_table(table)
    panels = sorted(dict.fromkeys((row["instance"], row["solver"]) for row in rows), key=lambda panel: panel[0])
    lines = -(-len(panels) // 2)
    fig, axes = plt.subplots(lines, 2, figsize=(style.PAGE, 0.36 * style.PAGE * lines), squeeze=False, sharey=True)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, panel in zip(axes.flat, panels, strict=False):
        chosen = [row for row in rows if (row["instance"], row["solver"]) == panel]
        mesh = draw_steps_panel(axis, chosen)
        axis.set_title(f"{panel[0]}, {SOLVERS[panel[1]].format(chosen[0]['inner_steps'])}")
        axis.set_xlabel(r"$\lambda$")
    bar = fig.colorbar(mesh, ax=axes, extend="both", pad=0.01, aspect=40)
    bar.set_label(rf"largest $|\theta^k - \theta^*|$ along the kink axis, last {TAIL}; bold: converged, at most {NEAR}")
    style.save(fig, outputs, [table])


def draw_steps_panel(axis, rows):
    """Draw one table, with its numbers: schedules and steps down, lam across."""
    lams, steps = values_of(rows, "lam"), values_of(rows, "step")
    lines = [(schedule, step) for schedule in ("decreasing", "constant") for step in reversed(steps)]
    grid = np.full((len(lines), len(lams)), np.nan)
    for row in rows:
        i, j = lines.index((row["schedule"], float(row["step"]))), lams.index(float(row["lam"]))
        grid[i, j] = float(row["kink_max"])
        dark = grid[i, j] < 1e-2
        axis.text(
            j + 0.5,
            i + 0.5,
            short(grid[i, j]),
            ha="center",
            va="center",
            fontsize=6,
            color="white" if dark else "black",
            fontweight="bold" if int(row["converged"]) else "normal",
        )
    labels = [f"{schedule} {step:g}" for schedule, step in lines]
    return heat(axis, grid, [f"{lam:g}" for lam in lams], labels, STEPS_NORM)


def short(number):
    """Write a number in a few characters."""
    if number >= 0.01:
        return f"{number:.2f}"
    if number < 1e-6:
        return "<1e-6"
    mantissa, exponent = f"{number:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


PARTS = {"chart": draw_chart, "segment": draw_segment, "steps": draw_steps}

if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        PARTS[smk.params.part](smk.input[0], smk.output)
