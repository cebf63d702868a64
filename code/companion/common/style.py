"""The one style of all figures: sizes, colours, the data stamp, and saving with the hashes of the drawn tables."""

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from companion.common.readers import NOT_RUN, read_json, read_table, sha256

COLUMN = 3.5  # inches: width of one column in print
PAGE = 7.2  # inches: width of two columns

# Okabe and Ito's palette, told apart by colour-blind readers and in grey
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
FADE = LinearSegmentedColormap.from_list("fade", ["#B5E3D3", GREEN, "#00382A"])  # of iterates, light to dark

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


def data_text(dataset: str | os.PathLike[str], preset: str) -> str:
    """What a stamp says of the images that a figure is drawn from; the path is that of dataset.json."""
    return f"data: {literal(read_json(dataset)['label'])}; preset {preset}"


def literal(text: str) -> str:
    """Text that is drawn as it is: a user's file may have dollar signs in its name, which begin a formula."""
    return text.replace("$", r"\$")


def by_seed(table: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Columns of a table with a column `seed` as (seeds, measures)."""
    rows = read_table(table)
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


def mosaic(images, columns, line=0.15):
    """Tile images (m, h, w) into one picture, row by row, with lines of the grey value `line` between them."""
    count, h, w = images.shape
    tiles = np.zeros((-(-count // columns) * columns, h + 1, w + 1))
    tiles[:count] = line
    tiles[:count, :h, :w] = images
    return tiles.reshape(-1, columns, h + 1, w + 1).swapaxes(1, 2).reshape(-1, columns * (w + 1))[:-1, :-1]


def place_labels(axis, points, size=6):
    """Write each (x, y, text, colour) beside its point, where it covers least of other points, labels and lines.

    The axes must have been drawn, so that they know their place on the page. Points without a text are left free.
    """
    points = [point for point in points if np.isfinite(point[:2]).all()]
    unit, bounds = axis.figure.dpi / 72, np.array([axis.bbox.min, axis.bbox.max])
    spots = [axis.transData.transform((x, y)) for x, y, *_ in points]
    taken = [(spot, np.full(2, 2.5 * unit)) for spot in spots] + [(spot, np.full(2, unit)) for spot in along(axis)]
    for (x, y, text, colour), spot in zip(points, spots, strict=True):
        half = unit * size * np.array([0.3 * len(text), 0.5])
        ways = [far * np.array([np.cos(t), np.sin(t)]) for far in (1, 1.6, 2.2) for t in np.arange(1, 9) * np.pi / 4]
        boxes = [(spot + way * (half + 3 * unit), half) for way in ways]
        boxes = [box for box in boxes if np.all((box[0] - half >= bounds[0]) & (box[0] + half <= bounds[1]))] or boxes
        taken.append(min(boxes, key=lambda box: sum(shared_area(box, other) for other in taken)))
        place = {"xytext": (taken[-1][0] - spot) / unit, "textcoords": "offset points", "ha": "center", "va": "center"}
        axis.annotate(text, (x, y), fontsize=size, color=colour, **place).set_in_layout(False)


def few_ticks(axis, ticks=(1, 3)):
    """Give a logarithmic axis (.xaxis, .yaxis) ticks at these multiples of powers of ten alone."""
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def along(axis, steps=8):
    """Places on the page along the lines that were drawn."""
    for line in axis.lines:
        spots = axis.transData.transform(line.get_xydata())
        for start, end in pairwise(spots[np.isfinite(spots).all(axis=1)]):
            yield from np.linspace(start, end, steps)


def shared_area(first, second):
    """Area that two boxes share, each given by its middle and half its sides."""
    return np.prod(np.clip(first[1] + second[1] - np.abs(first[0] - second[0]), 0, None))


def lam_colours(lams: Iterable[float]) -> dict[float, object]:
    """Colour of every lam, the same in all figures: 0 in red, the others from dark to light as lam grows."""
    positive = sorted({lam for lam in lams if lam > 0})
    tints = plt.get_cmap("viridis")(np.linspace(0, 0.82, max(len(positive), 1)))
    return {0: RED} | dict(zip(positive, tints, strict=False))


def stamp(fig: Figure, text: str) -> None:
    """Write small grey text (data set, preset) below a figure."""
    fig.supxlabel(text, x=0.995, ha="right", fontsize=6, color="0.35")


def save(fig: Figure, outputs: Iterable[str], tables: Iterable[str], title: str | None = None) -> None:
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
        fig.savefig(output, metadata=metadata[output.suffix] | ({"Title": title} if title else {}))
    plt.close(fig)


def save_not_run(reason: str, outputs: Iterable[str], tables: Iterable[str]) -> None:
    """Save, in the place of a figure, the line that says why there is none; it is the title of the files as well."""
    fig = plt.figure(figsize=(PAGE, 0.5))
    fig.text(0.5, 0.5, NOT_RUN + reason, ha="center", va="center", wrap=True, parse_math=False)
    save(fig, outputs, tables, title=NOT_RUN + reason)


def scores_text(rows, classifier):
    """What the bars are, and whether the classifier can be trusted, for a stamp."""
    seeds, sets = (int(max(row[key] for row in rows)) for key in ("seeds", "sets"))
    text = "bars: 95%, over " + (f"{seeds} seeds" if seeds > 1 else f"{sets} sample sets of one generator")
    return text if classifier == "trained" else f"{text}; classifier {classifier}"
