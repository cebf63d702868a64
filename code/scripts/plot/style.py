"""The one style of all figures: sizes, colours, the data stamp, and saving with the hashes of the drawn tables."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
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
    for output in map(Path, outputs):
        output.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(output, metadata=metadata[output.suffix])
    plt.close(fig)
