"""Do generators copy, and what lies between two samples? A panel of pictures for every run."""

from companion.common.job import job

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style

LOOK = {"gap": 0.15, "cmap": "gray_r", "vmin": 0, "vmax": 1}
FEW = 8  # panels up to which there are two in a row, else three
LETTERS = {1: 128, 2: 64, 3: 42}  # of a title in one line, by panels in a row


def draw_neighbours(runs, paths, outputs, stamp_text):
    """Draw images over their nearest training images: held-out ones first, then the samples of every run.

    Args:
        runs: name -> {"generator", "lam", "changes"}, in the order of the paths.
        paths: pictures of each run, as companion/scores/run_pictures.py writes them.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    pictures = [dict(np.load(path)) for path in paths]
    fig, axes = panels(len(runs) + 1, 2, pictures[0]["samples"])
    draw_pairs(axes[0], pictures[0], "held_out", "Held out, for comparison")
    for axis, run, found in zip(axes[1:], runs.values(), pictures, strict=True):
        draw_pairs(axis, found, "samples", labels.generated(run))
    style.stamp(fig, f"below each image the nearest training image, and how far it is (Euclidean). {stamp_text}")
    style.save(fig, outputs, paths)


def draw_pairs(axis, found, name, text):
    """Draw one panel: the distances below, their mean in the title."""
    images, distances = found[name], found[f"{name}_distance"]
    style.draw_image_rows(axis, [images, found[f"{name}_nearest"]], ["", ""], **LOOK)
    width = images.shape[2] + 1
    axis.set_xticks(np.arange(len(images)) * width + width / 2, [f"{d:.1f}" for d in distances], fontsize=5.5)
    axis.tick_params(pad=1)
    write_title(axis, f"{text}: mean {distances.mean():.1f}")


def draw_interpolation(runs, paths, outputs, stamp_text):
    """Draw images on the ways between pairs of latents; arguments as above."""
    ways = [np.load(path)["ways"] for path in paths]
    fig, axes = panels(len(runs), len(ways[0]), ways[0][0])
    for axis, run, rows in zip(axes, runs.values(), ways, strict=True):
        style.draw_image_rows(axis, list(rows), [""] * len(rows), **LOOK)
        write_title(axis, labels.generated(run))
    style.stamp(fig, f"on straight lines between pairs of latents, the same pairs in every panel. {stamp_text}")
    style.save(fig, outputs, paths)


def panels(count, rows, images):
    """Make a figure with a panel for `count` pictures of `rows` rows of images like these (columns, h, w)."""
    columns = min(count, 2 if count <= FEW else 3)
    lines = -(-count // columns)
    across, h, w = images.shape
    height = style.PAGE / columns * rows * (h + 1) / (across * (w + 1)) + 0.3
    fig, axes = plt.subplots(lines, columns, figsize=(style.PAGE, lines * height + 0.15), squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    return fig, axes.flat[:count]


def write_title(axis, text):
    """Write a title over a panel, in as many lines as it needs."""
    columns = axis.get_subplotspec().get_gridspec().ncols
    axis.set_title(textwrap.fill(text, LETTERS[columns]), fontsize=7, loc="left", pad=2)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw = {"neighbours": draw_neighbours, "interpolation": draw_interpolation}[smk.params.part]
        draw(smk.params.runs, smk.input.pictures, smk.output, style.data_text(smk.input.dataset, smk.params.preset))
