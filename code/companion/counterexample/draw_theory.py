"""Why the plain gradient fails and the entropic one does not: six panels, lines closed forms, dots computed."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import style
from companion.common.readers import read_table

TITLE = {"fontsize": 8, "loc": "left"}
TINTS = {  # lam means the same colour in every panel; others are black
    0: style.RED,
    0.01: style.SKY,
    0.1: style.ORANGE,
    0.5: style.GREEN,
    1: style.BLUE,
    2: style.PURPLE,
}
FLOOR = 1e-7  # a run that ends below has converged
GREY = "0.75"  # what is true: the cost, the contraction
NOTE = {"fontsize": 7, "textcoords": "offset points"}
SOLVERS = {"exact": r"exact $\psi^*$", "averaged": "{} averaged", "default": "{} inner"}
DOT = {"marker": "o", "markersize": 2.6, "linestyle": "none", "markeredgewidth": 0}
INSTANCES = {
    "dirac": (r"(a) Dirac, along $\theta_2$", r"$\theta_2$"),
    "segment": (r"(b) Segment, along $\theta_1$", r"$\theta_1$"),
}


def draw_theory(tables, outputs):
    """Draw the six panels.

    Args:
        tables: files by the name of the part of companion/counterexample/run_theory.py that wrote them.
        outputs: figure files.
    """
    rows = {name: read_table(table) for name, table in tables.items()}
    fig = plt.figure(figsize=(style.PAGE, 1.13 * style.PAGE))
    grid = fig.add_gridspec(3, 2, height_ratios=(1, 0.85, 1))
    for j, instance in enumerate(INSTANCES):
        draw_profiles(fig.add_subplot(grid[0, j]), rows["profiles"], rows["slopes"], instance)
    left = grid[1, 0].subgridspec(1, 2, width_ratios=(1.35, 1))
    draw_dilation(fig.add_subplot(left[0]), rows["dilation"])
    draw_shrinkage(fig.add_subplot(left[1]), rows["shrinkage"])
    draw_fields(fig, grid[1, 1].subgridspec(1, 2), rows["field"])
    draw_convergence(fig.add_subplot(grid[2, 0]), rows["convergence"])
    draw_modulus(fig.add_subplot(grid[2, 1]), rows["modulus"])
    text = r"Lines: closed forms; dots and the runs of (e): computed. (d): $\psi=\psi^*(\theta^*)$ held fixed;"
    style.stamp(fig, text + r" dashed: interface; cross: $\theta^*$. (e): steps on $\psi$ per step on $\theta$.")
    style.save(fig, outputs, tables.values())


def column(rows, name, **where):
    """Numbers of a column, of the rows whose other columns have the given values."""
    chosen = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return np.array([float(row[name]) for row in chosen])


def distinct(rows, name):
    """Values of a column as written, in order of appearance."""
    return list(dict.fromkeys(row[name] for row in rows))


def tint_of(lam):
    """Colour of a lam as written."""
    return TINTS.get(float(lam), style.BLACK)


# --- The cost and its frozen dual -------------------------------------------------------------------------------------


def draw_profiles(axis, rows, slopes, instance):
    """Draw W_c, F^lam(psi*(theta_0), .) for every lam, and F's one-sided slopes at theta_0."""
    rows = [row for row in rows if row["instance"] == instance]
    theta = column(rows, "theta", lam=rows[0]["lam"])
    cost = column(rows, "cost", lam=rows[0]["lam"])
    axis.plot(theta, cost, color=GREY, linewidth=3.5, zorder=0, label=r"$W_c=W_c^\lambda$")
    for lam in distinct(rows, "lam"):
        tint = tint_of(lam)
        name = r"$F(\psi^*(\theta_0),\cdot)$" if float(lam) == 0 else rf"$F^\lambda$, $\lambda={float(lam):g}$"
        axis.plot(theta, column(rows, "dual", lam=lam), color=tint, label=name)
        axis.plot(theta[4::14], column(rows, "solved", lam=lam)[4::14], color=tint, **DOT)
    (slope,) = (row for row in slopes if row["instance"] == instance)
    draw_slopes(axis, *(float(slope[key]) for key in ("theta_0", "cost", "left", "right")), theta[-1] - theta[0])
    title, label = INSTANCES[instance]
    axis.set_title(title, **TITLE)
    axis.set(xlabel=label, ylabel="cost")
    axis.legend(loc="upper right", handlelength=1.4)


def draw_slopes(axis, theta_0, cost, left, right, width):
    """Draw both one-sided tangents of F at theta_0, an eighth of the width each."""
    for slope, side in ((left, -1), (right, 1)):
        ends = theta_0 + np.array([0, side * width / 8])
        heights = cost + slope * (ends - theta_0)
        axis.plot(ends, heights, color="black", linewidth=2, solid_capstyle="round", zorder=4)
        place = {"xytext": (-6, -3), "ha": "right", "va": "top"}
        axis.annotate(f"slope {slope:g}".replace("-", "\N{MINUS SIGN}"), (ends[1], heights[1]), **place, **NOTE)
    axis.plot(theta_0, cost, "o", color="black", markersize=4, zorder=5)
    axis.annotate(r"$\theta_0$", (theta_0, cost), xytext=(4, 4), **NOTE)


# --- The dilation -----------------------------------------------------------------------------------------------------


def draw_dilation(axis, rows):
    """Draw W_c^lam of the dilation, with its minimisers."""
    for lam in distinct(rows, "lam"):
        tint = tint_of(lam)
        theta, cost, solved = (column(rows, name, lam=lam) for name in ("theta", "cost", "solved"))
        axis.plot(theta, cost, color=tint)
        axis.plot(theta[~np.isnan(solved)], solved[~np.isnan(solved)], color=tint, **DOT)
        axis.annotate(f"{float(lam):g}", (theta[-1], cost[-1]), xytext=(4, 0), va="center", color=tint, **NOTE)
        best, least = column(rows, "minimiser", lam=lam)[0], column(rows, "minimum", lam=lam)[0]
        axis.plot((-best, best), (least, least), "v", color=tint, markersize=5.5, markeredgecolor="black", zorder=4)
    axis.annotate(r"$\lambda$", (theta[-1], cost[-1]), xytext=(4, 10), va="center", **NOTE)
    axis.plot([], [], "v", color="white", markersize=5.5, markeredgecolor="black", label="minimisers")
    axis.legend(loc="upper center", handletextpad=0.2)
    axis.set_title(r"(c) Dilation $\theta z$: $W_c^\lambda$", **TITLE)
    axis.set(xlabel=r"$\theta$", ylabel="cost", xlim=(-1.6, 1.95), ylim=(-0.1, 2.3), xticks=(-1, 0, 1))


def draw_shrinkage(axis, rows):
    """Draw where the minimum lies, against lam."""
    lam = column(rows, "lam")
    axis.plot(lam, column(rows, "dilation"), color="black", label="two points")
    axis.plot(lam, column(rows, "gaussian"), color="black", linestyle="--", label="Gaussian")
    axis.legend(loc="upper right", handlelength=1.6, borderaxespad=0)
    axis.set_title("its minimiser", **TITLE)
    axis.set(xlabel=r"$\lambda$", ylim=(-0.04, 1.3), xticks=range(4), yticks=(0, 0.5, 1))


# --- Gradient fields --------------------------------------------------------------------------------------------------


def draw_fields(fig, grid, rows):
    """Draw -grad F^lam(psi*(theta*), .) in the plane, a panel per lam."""
    first = None
    for j, lam in enumerate(distinct(rows, "lam")):
        axis = fig.add_subplot(grid[j], sharex=first, sharey=first)
        x, y, u, v = (column(rows, key, lam=lam) for key in ("theta_x", "theta_y", "grad_x", "grad_y"))
        axis.axhline(0.5, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        arrows = {"angles": "xy", "scale_units": "xy", "scale": 8, "width": 0.013, "headwidth": 4}
        axis.quiver(x, y, -u, -v, color=tint_of(lam), **arrows)
        axis.plot(0, 0.5, "+", color="black", markersize=9, markeredgewidth=1.6)
        axis.set(aspect="equal", xlabel=r"$\theta_1$", xticks=(-0.5, 0, 0.5), yticks=(0, 0.5, 1))
        name = r"(d) $-\nabla F$, $\lambda=0$" if j == 0 else rf"$-\nabla F^\lambda$, $\lambda={float(lam):g}$"
        axis.set_title(name, **TITLE)
        if first is None:
            first = axis
            axis.set_ylabel(r"$\theta_2$")
        else:
            axis.tick_params(labelleft=False)


# --- Convergence and continuity ---------------------------------------------------------------------------------------


def draw_convergence(axis, rows):
    """Draw the distance to theta* of every run, over the contraction (1 - 2 tau)^k of its step."""
    keys = ("solver", "inner_steps", "lam", "step", "schedule")
    failed, good = [], {}
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        run = dict(zip(keys, values, strict=True))
        distance = column(rows, "distance", **run)
        axis.plot(column(rows, "contraction", **run), color=GREY, linewidth=3.5, zorder=0)
        axis.plot(distance, color=tint_of(run["lam"]), linewidth=0.8 if run["step"] != rows[0]["step"] else 1.2)
        if distance[-1] > FLOOR:
            failed.append((np.exp(np.log(distance[-30:]).mean()), describe(run), tint_of(run["lam"])))
        else:
            good.setdefault(run["step"], []).append(describe(run).rpartition(",")[0])
    write_labels(axis, failed, len(distance) + 3)
    for step, names in good.items():
        height = FLOOR / 5
        k = np.log(height) / np.log(1 - 2 * float(step))
        text = "\n".join([rf"$\tau={float(step):g}$", *names])
        axis.annotate(text, (k, height), xytext=(5, -2), va="bottom", **NOTE | {"fontsize": 6.5})
    axis.set_yscale("log")
    axis.set(xlim=(-4, 1.72 * len(distance)), ylim=(1e-9, 3), xticks=(0, 50, 100, 150))
    axis.set(xlabel="$k$", ylabel=r"$|\theta^k-\theta^*|$")
    axis.set_title(r"(e) Algorithm 1, Dirac; grey: $(1-2\tau)^k$", **TITLE)


def describe(run):
    """Name a run in a few words."""
    inner = SOLVERS[run["solver"]].format(run["inner_steps"])
    step = r"$\tau_k$ falling" if run["schedule"] == "decreasing" else rf"$\tau={float(run['step']):g}$"
    return rf"$\lambda={float(run['lam']):g}$, {inner}, {step}"


def write_labels(axis, labels, x, apart=3):
    """Write each (height, text, colour) at x beside its line, pushed down to be a factor `apart` from the one above."""
    ceiling = np.inf
    for height, text, tint in sorted(labels, reverse=True):
        ceiling = min(height, ceiling / apart)
        axis.text(x, ceiling, text, color=tint, fontsize=6.5, va="center")


def draw_modulus(axis, rows):
    """Draw the modulus of continuity of the dilation's gradient against lam, at several steps, and the plain jump."""
    for step, dashes in zip(distinct(rows, "step"), ("-", "--", ":"), strict=True):
        lam = column(rows, "lam", step=step)
        look = {"color": "black", "linestyle": dashes, "label": f"step $h={float(step):g}$"}
        axis.loglog(lam, column(rows, "closed_form", step=step), **look)
        axis.plot(lam, column(rows, "measured", step=step), color="black", **DOT)
    axis.axhline(float(rows[0]["jump"]), color=tint_of(0), label=r"jump at $\lambda=0$, any $h$")
    axis.legend(loc="lower left")
    axis.set_title(r"(f) Dilation: modulus of continuity of $\nabla W_c^\lambda$", **TITLE)
    axis.set(xlabel=r"$\lambda$", ylabel="largest change over a step $h$", ylim=(1e-3, 8))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        tables = {name: path for name, path in smk.input.items() if name != "sources"}
        draw_theory(tables, smk.output)
