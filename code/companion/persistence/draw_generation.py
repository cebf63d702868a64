"""Generated images: exact W1 against outer steps and seconds, diversity, and a row of samples per method."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_json

COLOURS = {"w1fe": style.BLUE, "wgan": style.ORANGE, "ot": style.GREEN}
PANELS = (  # abscissa, ordinate, their names
    ("step", "w1", "outer steps", "$W_1$ to held-out images"),
    ("seconds", "w1", "seconds (training alone)", "$W_1$ to held-out images"),
    ("step", "diversity", "outer steps", "total variance of samples"),
)
LEVELS = {  # reference -> (panel's ordinate, line, label)
    "w1_data": ("w1", ":", "training images"),
    "w1_mean_image": ("w1", "-.", "their mean image"),
    "diversity_data": ("diversity", ":", None),
}
SHOWN = 20  # samples in a row


def draw(records, logs, timings, samples, outputs, preset):
    """Draw the curves, and below them held-out images and samples of every arm.

    Args:
        records: run.json of each arm.
        logs: log.csv of each arm, in the same order.
        timings: timing.csv of each arm.
        samples: samples.npz of each arm: images and data (m, h, w) in [0, 1], and what `references` gives.
        outputs: figure files.
        preset: its name.
    """
    runs = [read_json(record) for record in records]
    arms = [run["config"] for run in runs]
    names = labels.arms(arms)
    rows = (len(arms) + 1) * style.PAGE / (SHOWN + 3)
    fig = plt.figure(figsize=(style.PAGE, 2.5 + rows))
    above, below = fig.subfigures(2, 1, height_ratios=(2.4, rows))
    axes, handles = above.subplots(1, len(PANELS)), []
    for config, name, log, timing in zip(arms, names, logs, timings, strict=True):
        columns = style.by_seed(log) | {"seconds": style.by_seed(timing)["seconds"]}
        for axis, (x, y, *_) in zip(axes, PANELS, strict=True):
            style.draw_band(axis, columns[x].mean(axis=0), columns[y], look(config))
        handles.append(plt.Line2D([], [], label=name, **look(config)))
    for axis, (*_, x_label, y_label) in zip(axes, PANELS, strict=True):
        axis.set(xlabel=x_label, ylabel=y_label)
    with np.load(samples[0]) as data:
        handles += draw_levels(axes, data)
    above.legend(handles=handles, loc="outside upper center", columnspacing=1.4, ncols=6)
    draw_images(below.subplots(), names, samples)
    images, seeds = style.literal(runs[0]["data"]["label"]), len(runs[0]["seeds"])
    paired = f"mean and range over {seeds} paired seeds, images of the first" if seeds > 1 else "1 seed"
    style.stamp(fig, f"data: {images}; preset {preset}; {paired}")
    style.save(fig, outputs, [*logs, *timings, *samples])


def draw_levels(axes, data):
    """Draw what W1 and the variance are to be read against; return the legend's handles."""
    handles = []
    for name, (ordinate, line, text) in LEVELS.items():
        for axis, (_, y, *_) in zip(axes, PANELS, strict=True):
            if y == ordinate:
                axis.axhline(float(data[name]), color="0.35", linestyle=line, linewidth=1)
        if text:
            handles.append(plt.Line2D([], [], color="0.35", linestyle=line, linewidth=1, label=text))
    return handles


def draw_images(axis, names, samples):
    """Draw held-out images in the first row, then the first samples of every arm."""
    lines = []
    for path in samples:
        with np.load(path) as data:
            lines += [data["data"][:SHOWN]] * (not lines) + [data["images"][:SHOWN]]
    style.draw_image_rows(axis, lines, ["held out", *names], 0.15, cmap="gray_r", vmin=0, vmax=1)


def look(config):
    """Colour of the method, dashes of K; WGAN wide and below, since at K = 1 W1-FE nearly coincides with it."""
    colour, dashes = COLOURS[config["method"]], style.DASHES.get(config["persistence"], "-")
    below = {"linewidth": 3, "zorder": 1.9} if config["method"] == "wgan" else {"linewidth": 1.3}
    return {"color": colour, "linestyle": dashes} | below


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw(smk.input.records, smk.input.logs, smk.input.timings, smk.input.samples, smk.output, smk.params.preset)
