"""The authors' recorded losses as rings, ours under their settings as lines."""

from companion.common.job import job

import matplotlib.pyplot as plt

from companion.common import style
from companion.common.readers import read_table

COLOURS = (style.BLACK, style.BLUE, style.GREEN, style.ORANGE, style.RED)
VECTOR, NETWORK = "sequel, psi as a vector", "sequel, psi as a network"
PANELS = {  # run of ours: title, runs of theirs
    VECTOR: ("Later paper's settings, ψ a vector", (VECTOR, NETWORK)),
    "2021 notebook": ("Notebook of 2021", ("2021 notebook",)),
    "mini-batches": ("Batches of the data, λ = 0.025", ("mini-batches",)),
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
    for axis, (start, (title, known)) in zip(axes, PANELS.items(), strict=True):
        keys = sorted({(row["run"], float(row["lam"])) for row in rows if row["run"].startswith(start)}, key=order)
        for (run, lam), colour in zip(keys, COLOURS, strict=False):
            line = [(int(r["step"]), float(r["value"])) for r in rows if (r["run"], float(r["lam"])) == (run, lam)]
            label = run.removeprefix("mini-batches of ") + " images" if start == "mini-batches" else f"λ = {lam:g}"
            axis.plot(*zip(*line, strict=True), color=colour, linewidth=0.8, label=label)
            for name, mark in zip(known, ("o", "s"), strict=False):
                found = [
                    (int(r["step"]), float(r["loss"]))
                    for r in theirs
                    if r["run"] == (run if start == "mini-batches" else name) and float(r["lam"]) == lam
                ]
                axis.plot(
                    *zip(*found, strict=True), mark, color=colour, fillstyle="none", markersize=3.5
                ) if found else None
        axis.set(xlabel="outer steps", ylim=(None, 1.05))
        axis.set_title(title, loc="left", fontsize=8)
        axis.legend(fontsize=6)
    axes[0].set_ylabel("loss on the step's batch")
    axes[2].axhline(0, color="0.6", linewidth=0.6)
    style.stamp(fig, stamp_text + "; rings: the authors', squares: theirs with a network for ψ")
    style.save(fig, outputs, [*tables, recorded])


def order(key):
    """Runs by the number of their atoms, then lam."""
    run, lam = key
    return int(run.split()[-1]) if run.startswith("mini-batches") else 0, lam


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        text = style.data_text(smk.input.dataset, smk.params.preset)
        draw(smk.input.tables, smk.input.recorded, smk.output, text)
