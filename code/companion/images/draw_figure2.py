"""Figure 2: random samples of the generators learned by Algorithm 1, one panel per lam."""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_table

GRID = 8  # rows and columns of samples in a panel
PER_ROW = 4  # panels beside each other
MANY = 12  # panels from which on as many rows would not fit a page


def draw(runs, sample_paths, log_paths, outputs, stamp_text):
    """Draw the grids, a row of panels per generator, each titled with lam, its value and its effective atoms.

    Args:
        runs: name -> {"generator", "lam"}, in the order of the two lists of paths.
        sample_paths: samples.npz of each run, images (m, h, w) in [0, 1].
        log_paths: log.csv of each run.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    across = PER_ROW if len(runs) <= MANY else 2 * PER_ROW
    columns = min(across, len(runs))
    rows = -(-len(runs) // columns)
    width = style.PAGE / across * columns
    fig, axes = plt.subplots(rows, columns, figsize=(width, rows * (width / columns + 0.35) + 0.15), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, config, samples, log in zip(axes.flat, runs.values(), sample_paths, log_paths, strict=False):
        with np.load(samples) as data:
            axis.imshow(mosaic(data["images"]), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        last = read_table(log)[-1]
        axis.set_title(
            f"{labels.GENERATORS[config['generator']]}, $\\lambda$ = {config['lam']:g}\n"
            f"$F$ = {float(last['value']):.3f}, {labels.atoms(float(last['effective_atoms']))}",
            fontsize=8 if across == PER_ROW else 4.5,
        )
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, [*sample_paths, *log_paths])


def mosaic(images):
    """Tile the first GRID^2 images (m, h, w) into one picture with a light line between them."""
    count, h, w = images.shape
    tiles = np.full((GRID * GRID, h + 1, w + 1), 0.15)
    shown = min(count, GRID * GRID)
    tiles[:shown, :h, :w] = images[:shown]
    return tiles.reshape(GRID, GRID, h + 1, w + 1).transpose(0, 2, 1, 3).reshape(GRID * (h + 1), GRID * (w + 1))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        text = style.data_text(smk.input.dataset, smk.params.preset)
        text += "; F: semi-dual value, in units of mean ||y||$^2$"
        draw(smk.params.runs, smk.input.samples, smk.input.logs, smk.output, text)
