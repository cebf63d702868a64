"""Paper B in 2-D: W1 against steps, updates and time; samples and potentials over time."""

from companion.common.job import job

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_json
from companion.persistence.summary import LEVELS

COLOURS = {
    "w1fe": style.BLUE,
    "w1fe-ab2": style.SKY,
    "wgan": style.ORANGE,
    "wgan-stale": style.RED,
    "w1fe-psi": style.PURPLE,
    "w2fe-psi": style.BLACK,
    "w1fe-exact": style.PURPLE,
    "w2fe-exact": style.BLACK,
    "ot": style.GREEN,
}
X_AXES = {
    "step": "outer steps",
    "generator_updates": "generator updates",
    "gradients": "batch gradients, all networks",
    "seconds": "seconds (training alone)",
}
WIDTH = 22  # letters of a name in one line


def load_arm(record, log, timing):
    """Settings and curves of an arm: each column as (seeds, measures)."""
    content = read_json(record)
    columns = style.by_seed(log) | {"seconds": style.by_seed(timing)["seconds"]}
    return content["config"] | {"floor": content["data"]["sampling_floor"]}, columns


def look(config):
    """Colour, dashes and width: the method, K, and thin for a changed rate."""
    thin = config["lr_factor"] != 1 or config["method"].endswith("exact")
    return {
        "color": COLOURS[config["method"]],
        "linestyle": style.DASHES.get(config["persistence"], "-") if config["method"] != "ot" else "-",
        "linewidth": 0.8 if thin else 1.5,
        "alpha": 0.75 if thin else 1.0,
    }


def draw_curves(records, logs, timings, outputs, preset):
    """Draw W1 against four abscissae, and the cosine of slopes, for the arms on the first law.

    Args:
        records: run.json of every arm.
        logs: log.csv, in the same order.
        timings: timing.csv, in the same order.
        outputs: figure files.
        preset: its name.
    """
    arms = [load_arm(*paths) for paths in zip(records, logs, timings, strict=True)]
    law = arms[0][0]["law"]
    arms = [(config, columns) for config, columns in arms if config["law"] == law]
    fig, axes = plt.subplots(2, 3, figsize=(style.PAGE, 0.66 * style.PAGE))
    panels = list(axes.flat)
    for axis, (column, name) in zip(panels, X_AXES.items(), strict=False):
        for config, columns in arms:
            style.draw_band(axis, columns[column].mean(axis=0), columns["w1"], look(config))
        mark_levels(axis, arms[0][0]["floor"])
        axis.set(xlabel=name, yscale="log", ylabel="$W_1$ to the data")
        axis.yaxis.set_major_locator(plt.FixedLocator([0.05, 0.1, 0.2, 0.5, 1]))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
    for config, columns in arms:
        style.draw_band(panels[4], columns["step"].mean(axis=0), columns["cosine"], look(config))
    panels[4].set(xlabel="outer steps", ylabel="cosine of slopes of $\\phi$ and exact", ylim=(-0.2, 1.05))
    panels[5].axis("off")
    configs = [config for config, _ in arms]
    names = zip(labels.arms(configs), configs, strict=True)
    handles = [plt.Line2D([], [], label=name, **look(config)) for name, config in names]
    handles.append(plt.Line2D([], [], color="0.5", linestyle=":", label="data against data"))
    panels[5].legend(handles=handles, loc="center left", bbox_to_anchor=(-0.15, 0.5), fontsize=6.5)
    seeds = len(arms[0][1]["w1"])
    style.stamp(fig, f"{labels.law(law)}, preset {preset}; mean and range over {seeds} paired seeds, 512 points")
    style.save(fig, outputs, [*logs, *timings])


def mark_levels(axis, floor):
    """Draw the levels that speed is measured by, and the W1 of the data against itself."""
    for level in LEVELS:
        axis.axhline(level, color="0.8", linewidth=0.6, zorder=0)
    axis.axhline(floor, color="0.5", linestyle=":", linewidth=0.8)


def draw_flow(records, snapshots, outputs, preset):
    """Draw samples over the level sets of the potential, a row per arm on the first law, a column per time.

    Args:
        records: run.json of every arm.
        snapshots: snapshots.npz, in the same order.
        outputs: figure files.
        preset: its name.
    """
    arms = [(read_json(record)["config"], path) for record, path in zip(records, snapshots, strict=True)]
    law = arms[0][0]["law"]
    shown = [(config, path) for config, path in arms if config["law"] == law]
    columns = len(np.load(snapshots[0])["step"])
    size = (style.PAGE, style.PAGE / columns * len(shown) * 1.02)
    fig, axes = plt.subplots(len(shown), columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    names = labels.arms([config for config, _ in shown])
    for line, name, (_, path) in zip(axes, names, shown, strict=True):
        with np.load(path) as data:
            for axis, step, samples, phi in zip(line, data["step"], data["samples"], data["phi"], strict=True):
                draw_snapshot(axis, data["data"], samples, phi, float(data["extent"]))
                axis.set_title(f"step {step}", fontsize=7, pad=2)
        whole = name.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        line[0].set_ylabel(textwrap.fill(whole, WIDTH), fontsize=7)
    look_of = "first seed; grey: data, blue: samples, lines: level sets of phi"
    style.stamp(fig, f"{labels.law(law)}, preset {preset}, {look_of}")
    style.save(fig, outputs, snapshots)


def draw_snapshot(axis, data, samples, phi, extent):
    """Draw one panel."""
    ticks = np.linspace(-extent, extent, len(phi))
    axis.contour(ticks, ticks, phi, levels=12, cmap="cividis", linewidths=0.6)
    axis.plot(*data.T, ".", color="0.7", markersize=1.2)
    axis.plot(*samples.T, ".", color=style.BLUE, markersize=1.6)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        if smk.params.part == "curves":
            draw_curves(smk.input.records, smk.input.logs, smk.input.timings, smk.output, smk.params.preset)
        else:
            draw_flow(smk.input.records, smk.input.snapshots, smk.output, smk.params.preset)
