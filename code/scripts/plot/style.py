"""The one style of all figures: sizes, colours, the data stamp, and saving with the hashes of the drawn tables."""

import csv
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

COLUMN = 3.5  # inches: width of one column in print
PAGE = 7.2  # inches: width of two columns

# Okabe and Ito's palette, told apart by colour-blind readers and in grey
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
)

mpl.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "legend.fontsize": 7,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
        "lines.linewidth": 1.2,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "otgrad",
        "pdf.fonttype": 42,
    }
)


# dashes of persistence K, in every figure of paper B
DASHES = {1: "-", 3: (0, (5, 1)), 5: (0, (3, 1.2)), 10: (0, (1, 1))}


def read(table: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV as dicts of strings."""
    with Path(table).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def by_seed(table: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Columns of a table with a column `seed` as (seeds, measures)."""
    rows = read(table)
    count = len({row["seed"] for row in rows})
    return {key: np.array([float(row[key]) for row in rows]).reshape(count, -1) for key in rows[0]}


def draw_band(axis, x, values, line):
    """Draw the mean over seeds and the range of values (seeds, measures)."""
    axis.plot(x, values.mean(axis=0), **line)
    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=line["color"], alpha=0.1, linewidth=0)


def draw_image_rows(axis, rows, names, gap, **look):
    """Draw rows of images, each (count, h, w) with its name, separated by lines of the grey value `gap`."""
    count, (columns, h, w) = len(rows), rows[0].shape
    tiles = np.full((count, columns, h + 1, w + 1), gap)
    tiles[:, :, :h, :w] = np.stack(rows)
    picture = tiles.transpose(0, 2, 1, 3).reshape(count * (h + 1), -1)
    axis.imshow(picture, interpolation="nearest", **look)
    axis.set_yticks(np.arange(count) * (h + 1) + h / 2, names)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def lam_colours(lams: Iterable[float]) -> dict[float, object]:
    """Colour of every lam, the same in all figures: 0 in red, the others from dark to light as lam grows."""
    positive = sorted({lam for lam in lams if lam > 0})
    tints = plt.get_cmap("viridis")(np.linspace(0, 0.82, max(len(positive), 1)))
    return {0: RED} | dict(zip(positive, tints, strict=False))


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def stamp(fig: Figure, text: str) -> None:
    """Write small grey text (data set, preset) below a figure."""
    fig.supxlabel(text, x=0.995, ha="right", fontsize=6, color="0.35")


def save(fig: Figure, outputs: Iterable[str], tables: Iterable[str]) -> None:
    """Save to every path in `outputs` (.svg, .pdf, .png), byte for byte the same for the same tables.

    Each file carries "tables-sha256:<digest>[,<digest>...]" of the tables it was drawn from, in order, in its
    metadata (SVG dc:description, PDF Subject, PNG Description), so that a stale figure can be told from its tables.
    """
    text = "tables-sha256:" + ",".join(sha256(table) for table in tables)
    metadata = {
        ".svg": {"Date": None, "Creator": None, "Description": text},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": text},
        ".png": {"Software": None, "Description": text},
    }
    fig.draw_without_rendering()  # constrained layout needs a draw before its positions are final
    for output in map(Path, outputs):
        output.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(output, metadata=metadata[output.suffix])
    plt.close(fig)
