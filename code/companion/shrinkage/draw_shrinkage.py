"""What lam takes from the generators' samples, beside what theory says; and whether a missing gradient limits training.

Top: the variance along the principal axes of the data, its total against lam, the cost against lam. Bottom: Algorithm 1
at lam = 0 and 0.01 by the number of inner steps, with and without averaging.
"""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import style
from companion.common.readers import read_table

PANELS = {  # column of stability.csv: title, scale
    "marginal_error": (r"Marginal error of the $\psi$ in use", "linear"),
    "swing": ("Noise of the cost, relative", "log"),
    "w2": ("W2 to held-out images", "linear"),
}
COVER = {"frameon": True, "framealpha": 0.8, "edgecolor": "none"}  # of a legend that may lie on marks
SHOWN = 6  # values of lam whose spectrum is drawn


def draw(tables, outputs, stamp_text):
    """Draw all six panels.

    Args:
        tables: paths of spectrum, cost and stability, by these names.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    rows = {name: read_table(path) for name, path in tables.items()}
    fig, axes = plt.subplots(2, 3, figsize=(style.PAGE, 4.9))
    colours = style.lam_colours(float(row["lam"]) for row in rows["cost"] if row["kind"] == "run")
    draw_spectrum(axes[0, 0], rows["spectrum"], colours)
    draw_total(axes[0, 1], rows["spectrum"], rows["cost"], colours)
    draw_cost(axes[0, 2], rows["cost"], colours)
    for axis, (column, (title, scale)) in zip(axes[1], PANELS.items(), strict=True):
        draw_stability(axis, rows["stability"], column)
        axis.set_title(title, fontsize=8, loc="left")
        axis.set(yscale=scale, xlabel=r"steps on $\psi$ per step on $\theta$")
    tied = max(float(row["ties"]) for row in rows["stability"])
    axes[1, 0].set(ylim=(0, 3.3), yticks=[0, 0.5, 1, 1.5, 2])  # 2 at most; above, the legend
    axes[1, 0].legend(title=f"samples that tie: {tied:.1%} at most", title_fontsize=6, fontsize=6, loc="upper right")
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, tables.values())


def first_of_each_lam(spectrum):
    """Names of the first set of every lam, at most SHOWN of them, evenly chosen."""
    names = {float(row["lam"]): row["set"] for row in reversed(spectrum) if row["set"] != "held out"}
    lams = sorted(names)
    keep = np.unique(np.linspace(0, len(lams) - 1, min(SHOWN, len(lams))).round().astype(int))
    return {lams[k]: names[lams[k]] for k in keep}


def draw_spectrum(axis, spectrum, colours):
    """Variance along each axis: samples (dots), the best Gaussian model (dashes), real images (line)."""
    for lam, name in first_of_each_lam(spectrum).items():
        own = [row for row in spectrum if row["set"] == name and int(row["k"]) > 0]
        k = [int(row["k"]) for row in own]
        axis.plot(k, column(own, "variance"), ".", markersize=3, color=colours[lam], label=f"$\\lambda$ = {lam:g}")
        axis.plot(k, column(own, "predicted"), "--", linewidth=0.9, color=colours[lam])
    real = [row for row in spectrum if row["set"] == "held out" and int(row["k"]) > 0]
    axis.plot(
        [int(row["k"]) for row in real], column(real, "variance"), color="black", linewidth=0.9, label="held-out images"
    )
    top = np.nanmax(column(real, "data"), initial=0) or 1.0  # of data without variance nothing is drawn
    axis.set(xscale="log", yscale="log", ylim=(2e-4 * top, 30 * top), xlabel="principal axis of the data")
    axis.set_title("Variance along it (dashed: theory)", fontsize=8, loc="left")
    axis.legend(fontsize=5.5, loc="upper center", ncols=3, columnspacing=1, handlelength=1.2)  # above all marks


def column(rows, name):
    """Column as floats, 0 left out of logarithmic axes."""
    values = np.array([float(row[name]) for row in rows])
    return np.where(values > 0, values, np.nan)


def draw_total(axis, spectrum, cost, colours):
    """Share of the data's variance that is left, against lam."""
    theory = [row for row in cost if row["kind"] == "left"]
    axis.plot(column(theory, "lam"), [float(row["value"]) for row in theory], "--", color="black", label="theory")
    runs = [row for row in spectrum if row["set"] != "held out" and row["k"] == "0"]
    for row in runs:
        place(axis, float(row["lam"]), share(row), colours)
    axis.set_title("Total variance over the data's", fontsize=8, loc="left")
    finish_lam_axis(axis, cost)
    axis.legend(fontsize=6, loc="upper right")


def share(row):
    """Share of the data's variance that a set of samples has; nan where the data have none."""
    return float(row["variance"]) / float(row["data"]) if float(row["data"]) > 0 else np.nan


def draw_cost(axis, cost, colours):
    """Final semi-dual values, the bound, and the cost of the mean image."""
    bound = [row for row in cost if row["kind"] == "bound"]
    axis.plot(column(bound, "lam"), column(bound, "value"), "--", color="black", label="best Gaussian: upper bound")
    collapsed = next(float(row["value"]) for row in cost if row["kind"] == "collapsed")
    axis.axhline(collapsed, color="0.6", linewidth=0.8, label="the mean image")
    for row in cost:
        if row["kind"] == "run":
            place(axis, float(row["lam"]), float(row["value"]), colours)
    axis.set_title(r"Cost after training", fontsize=8, loc="left")
    finish_lam_axis(axis, cost)
    axis.legend(fontsize=5.5, loc="lower center", **COVER)


def place(axis, lam, value, colours):
    """Mark a run; lam = 0 at the left end of the logarithmic axis."""
    axis.plot(lam if lam > 0 else LEFT, value, "o", markersize=4, color=colours[lam], clip_on=False)


LEFT = 3e-4  # where lam = 0 stands


def finish_lam_axis(axis, cost):
    """Logarithmic lam with 0 at its left end, and the critical value."""
    critical = next(float(row["lam"]) for row in cost if row["kind"] == "critical")
    if critical > LEFT:
        axis.axvline(critical, color=style.RED, linewidth=0.7, linestyle=":")
        spot = {"xy": (critical, 0.6), "xycoords": ("data", "axes fraction")}
        spot |= {"xytext": (1.5, 0), "textcoords": "offset points"}
        axis.annotate("collapse", **spot, color=style.RED, fontsize=6, rotation=90, ha="left", va="center")
    ticks = [1e-3, 1e-2, 1e-1]
    axis.set(xscale="log", xlim=(LEFT, max(1.0, 2 * critical)), xlabel=r"$\lambda$")
    axis.set_xticks([LEFT, *ticks, 1.0], ["0", *(f"{tick:g}" for tick in ticks), "1"], minor=False)
    axis.minorticks_off()


def draw_stability(axis, rows, name):
    """One line per lam and averaging; with one inner step both are the same training."""
    for lam, colour in zip(sorted({float(row["lam"]) for row in rows}), (style.RED, style.BLUE), strict=False):
        given = [row for row in rows if float(row["lam"]) == lam]
        for averaging, dash in (("True", "-"), ("False", ":")):
            own = [row for row in given if row["averaging"] == averaging or row["inner_steps"] == "1"]
            label = f"$\\lambda$ = {lam:g}, {'averaged' if averaging == 'True' else 'last iterate'}"
            x = [int(row["inner_steps"]) for row in own]
            axis.plot(x, [float(row[name]) for row in own], dash, marker="o", markersize=3, color=colour, label=label)
    steps = sorted({int(row["inner_steps"]) for row in rows})
    axis.set_xscale("log", base=2)
    axis.set_xticks(steps, [str(step) for step in steps])


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        given = {name: smk.input[name] for name in ("spectrum", "cost", "stability")}
        draw(given, smk.output, style.data_text(smk.input.dataset, smk.params.preset))
