"""Domain adaptation: accuracy against outer steps and generator updates, and what becomes of an image."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_json

DASHES = {"w1fe": "-", "wgan": (0, (3, 1.2))}
COLOURS = {1: style.BLACK, 3: style.SKY, 5: style.ORANGE, 10: style.GREEN}
X_AXES = {"step": "outer steps", "generator_updates": "generator updates"}
BASELINE = {"color": "0.35", "linestyle": ":", "linewidth": 1}
ROW_HEIGHT = 2.5  # inches, of a direction


def draw(records, logs, samples, outputs, preset):
    """Draw a row per direction, or write the line that says why there is nothing to draw.

    Args:
        records: run.json of each arm.
        logs: log.csv of each arm, in the same order.
        samples: samples.npz of each arm: source and adapted (10, 16, 16), in [-1, 1].
        outputs: figure files.
        preset: its name.
    """
    runs = [read_json(record) for record in records]
    if runs[0]["not_run"] is not None:
        style.save_not_run(runs[0]["not_run"], outputs, [*logs, *samples])
        return
    seeds, directions = len(runs[0]["seeds"]), {}
    paired = f"mean and range over {seeds} paired seeds, images of the first" if seeds > 1 else "1 seed"
    for run, *paths in zip(runs, logs, samples, strict=True):
        directions.setdefault((run["source"], run["target"]), []).append((run["config"], *paths))
    fig = plt.figure(figsize=(style.PAGE, ROW_HEIGHT * len(directions) + 0.4))
    rows = fig.subfigures(len(directions), 1, squeeze=False)[:, 0]
    for row, (ends, entries) in zip(rows, directions.items(), strict=True):
        draw_direction(row, ends, entries)
    draw_legend(rows[0], [run["config"] for run in runs])
    style.stamp(fig, f"USPS and MNIST at 16 x 16; preset {preset}; {paired}")
    style.save(fig, outputs, [*logs, *samples])


def draw_direction(fig, ends, entries):
    """Draw both curves and the images of one pair of source and target; entries are (config, log, samples)."""
    axes = fig.subplots(1, 3, width_ratios=(1, 1, 1.25))
    for config, log, _ in entries:
        columns = style.by_seed(log)
        for axis, column in zip(axes, X_AXES, strict=False):
            style.draw_band(axis, columns[column].mean(axis=0), columns["accuracy"], look(config))
    baseline = columns["accuracy"][:, 0].mean()
    for axis, name in zip(axes, X_AXES.values(), strict=False):
        axis.axhline(baseline, **BASELINE)
        axis.set(xlabel=name, ylabel="1-NN accuracy on the target")
    axes[1].set_xscale("log", nonpositive="mask")
    axes[0].set_title(labels.direction(dict(zip(("source", "target"), ends, strict=True))), loc="left")
    draw_images(axes[2], entries)


def draw_legend(fig, configs):
    """Name every line once: a column per K, a row per method."""
    ordered = sorted(configs, key=lambda c: (c["persistence"], c["method"]))
    lines = dict(zip(labels.arms(ordered), map(look, ordered), strict=True))
    lines["no adaptation"] = BASELINE
    handles = [plt.Line2D([], [], label=text, **line) for text, line in lines.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=5)


def draw_images(axis, entries):
    """Draw the source's digits, and below them those of every arm."""
    lines, names = [], ["source", *labels.arms([config for config, *_ in entries])]
    for *_, samples in entries:
        with np.load(samples) as data:
            lines += [data["source"]] * (not lines) + [data["adapted"]]
    style.draw_image_rows(axis, lines, names, 1.0, cmap="gray", vmin=-1, vmax=1)
    axis.tick_params(labelsize=6)


def look(config):
    """Colour of K, dashes of the method."""
    return {"color": COLOURS.get(config["persistence"], style.PURPLE), "linestyle": DASHES[config["method"]]}


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw(smk.input.records, smk.input.logs, smk.input.samples, smk.output, smk.params.preset)
