"""The authors' recorded losses as rings, ours under their settings as lines."""

from companion.common.job import job

import matplotlib.pyplot as plt

from companion.common import style
from companion.common.readers import read_table

COLOURS = (style.BLACK, style.BLUE, style.GREEN, style.ORANGE, style.RED)
PANELS = {  # run of ours: title, runs of theirs, what tells its lines apart
    "sequel, psi as a vector": (
        "Later paper's settings, ψ a vector",
        {"sequel, psi as a vector": "o", "sequel, psi as a network": "s"},
        "lam",
    ),
    "2021 notebook": ("Notebook of 2021", {"2021 notebook": "o"}, "lam"),
    "mini-batches": ("Batches of the data, λ = 0.025", {"mini-batches": "o"}, "atoms"),
}


def draw(tables, recorded, outputs, stamp_text):
    """Draw a panel per setting.

    Args:
        tables: CSV of each piece, of run_recorded.follow.
        recorded: the authors' losses.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    rows, theirs = [row for table in tables for row in read_table(table)], read_table(recorded)
    fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, 2.7), width_ratios=(1.5, 1, 1))
    for axis, (run, (title, marks, by)) in zip(axes, PANELS.items(), strict=True):
        own = [row for row in rows if row["run"] == run]
        for number, colour in zip(sorted({float(row[by]) for row in own}), COLOURS, strict=False):
            text = f"λ = {number:g}" if by == "lam" else f"{number:g} images"
            axis.plot(*points(own, by, number, "value"), color=colour, linewidth=0.8, label=text)
            for name, mark in marks.items():
                found = points([row for row in theirs if row["run"] == name], by, number, "loss")
                axis.plot(*found, mark, color=colour, fillstyle="none", markersize=3.5)
        axis.set(xlabel="outer steps", ylim=(None, 1.05))
        axis.set_title(title, loc="left", fontsize=8)
        axis.legend(fontsize=6)
    axes[0].set_ylabel("loss on the step's batch")
    axes[2].axhline(0, color="0.6", linewidth=0.6)
    style.stamp(fig, f"{stamp_text}; rings: the authors', squares: theirs with a network for ψ")
    style.save(fig, outputs, [*tables, recorded])


def points(rows, by, number, column):
    """Steps and losses of the rows with this lam or number of atoms."""
    chosen = [row for row in rows if float(row[by]) == number]
    return [int(row["step"]) for row in chosen], [float(row[column]) for row in chosen]


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        text = style.data_text(smk.input.dataset, smk.params.preset)
        draw(smk.input.tables, smk.input.recorded, smk.output, text)
