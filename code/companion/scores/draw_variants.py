"""Algorithm 1 for every lam and its variants: scores and seconds in a row each, with samples at its right."""

from companion.common.job import job

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from companion.common import labels, style
from companion.common.readers import read_json, read_table
from companion.scores.verdicts import BEATEN, read_scores

PANELS = {  # score: title, scale
    "fid": ("Fréchet\ndistance", "log"),
    "recall": ("recall", "linear"),
    "precision": ("precision", "linear"),
    "sharpness": ("sharpness\n(real: 1)", "linear"),
    "seconds": ("seconds of\ntraining", "linear"),
}
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's t, 97.5%, degrees of freedom 1 to 9
LOOKS = {False: {"color": style.BLUE, "marker": "o"}, True: {"color": style.RED, "marker": "D"}}  # is it a variant?
BEST, GREY = {"color": style.BLUE, "linewidth": 0.9, "zorder": 0}, "0.55"
SHOWN = 6  # samples in a row
ROW = 0.32  # inches
WIDTH = 34  # letters of a name in one line


def draw(runs, table, picture_paths, timing_paths, classifier, outputs, stamp_text):
    """Draw a row for each lam and each variant, of the generators that have variants, or of all if none has.

    Args:
        runs: name -> {"setting", "generator", "lam", "changes"}, in the order of the paths.
        table: scores with their intervals, as companion/scores/run_table.py writes them.
        picture_paths: pictures of each run, as companion/scores/run_pictures.py writes them.
        timing_paths: timing.csv of each run.
        classifier: its status, said where its scores are missing.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    scores = read_scores(table)
    rows = settings(runs, scores, picture_paths, timing_paths)
    fig = plt.figure(figsize=(style.PAGE, ROW * len(rows) + 1.0))
    widths = [1] * len(PANELS) + [SHOWN * ROW / 0.72]
    *axes, strip = fig.subplots(1, len(widths), sharey=True, width_ratios=widths)
    for axis, score in zip(axes, PANELS, strict=True):
        draw_column(axis, rows, score, scores["real"], classifier)
    axes[0].set(ylim=(len(rows) - 0.5, -0.5))
    axes[0].set_yticks(range(len(rows)), names(rows), fontsize=6)
    draw_samples(strip, rows)
    draw_legend(fig, rows)
    style.stamp(fig, f"{style.scores_text(rows, classifier)}; {stamp_text}")
    style.save(fig, outputs, [table, *picture_paths, *timing_paths])


# --- Rows -------------------------------------------------------------------------------------------------------------


def settings(runs, scores, picture_paths, timing_paths):
    """One row per setting, its seeds together: by generator, Algorithm 1 as it stands by lam, then the variants."""
    found = {}
    for run, picture, timing in zip(runs.values(), picture_paths, timing_paths, strict=True):
        key = run["setting"]
        row = found.setdefault(key, scores[key] | run | {"pictures": picture, "times": []})
        row["times"].append(float(read_table(timing)[-1]["seconds"]))
    shown = {row["generator"] for row in found.values() if row["changes"]} or {r["generator"] for r in found.values()}
    rows = [row | interval(row["times"]) for row in found.values() if row["generator"] in shown]
    return sorted(rows, key=lambda row: (row["generator"], bool(row["changes"]), 0 if row["changes"] else row["lam"]))


def interval(times):
    """Mean seconds of several seeds and half-width of the 95% interval; of one seed no interval."""
    count = len(times)
    spread = T95[min(count, len(T95) + 1) - 2] * np.std(times, ddof=1) / np.sqrt(count) if count > 1 else np.nan
    return {"seconds": float(np.mean(times)), "seconds_pm": float(spread)}


def names(rows):
    """Names of the rows, with the generator where there are several."""
    several = len({row["generator"] for row in rows}) > 1
    texts = [f"{labels.GENERATORS[row['generator']]}, " * several + labels.run(row) for row in rows]
    return [textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in texts]


def blocks(rows):
    """Generator -> places of its rows."""
    found = {}
    for place, row in enumerate(rows):
        found.setdefault(row["generator"], []).append(place)
    return found


# --- Columns ----------------------------------------------------------------------------------------------------------


def draw_column(axis, rows, score, real, classifier):
    """Draw one column, or say why there is nothing to draw."""
    draw_scores(axis, rows, score)
    draw_best(axis, rows, score)
    draw_real(axis, real, score)
    title, scale = PANELS[score]
    axis.set_title(title, fontsize=7.5)
    if any(np.isfinite(row[score]) for row in rows):
        set_scale(axis, scale)
    else:
        say_missing(axis, classifier)


def draw_scores(axis, rows, score):
    """Draw one score of every row with its interval."""
    for place, row in enumerate(rows):
        look = LOOKS[bool(row["changes"])]
        axis.errorbar(
            row[score], place, xerr=row[f"{score}_pm"], markersize=4, elinewidth=0.9, linestyle="none", **look
        )
    axis.grid(axis="x", color="0.92", linewidth=0.6)
    axis.tick_params(axis="y", length=0)


def set_scale(axis, scale):
    """Few ticks, since the columns are narrow; linear ones begin at 0."""
    axis.set_xscale(scale)
    if scale == "log":
        style.few_ticks(axis.xaxis, (1,))
    else:
        high = axis.get_xlim()[1]
        axis.set_xlim(-0.06 * high, 1.06 * high)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=2, steps=[1, 2, 5, 10]))


def draw_best(axis, rows, score):
    """Mark the fixed lam of the least Fréchet distance, and what lies as far below it as is aimed at."""
    for places in blocks(rows).values():
        plain = [rows[k] for k in places if not rows[k]["changes"] and np.isfinite(rows[k]["fid"])]
        if plain:
            best, ends = min(plain, key=lambda row: row["fid"])[score], (places[0] - 0.5, places[-1] + 0.5)
            axis.vlines(best, *ends, **BEST)
            if score == "fid":
                axis.vlines(BEATEN * best, *ends, linestyle=(0, (4, 2)), **BEST)


def draw_real(axis, real, score):
    """Mark what real images get."""
    if np.isfinite(real.get(score, np.nan)):
        axis.axvline(real[score], color=GREY, linestyle=":", linewidth=1, zorder=0)


def say_missing(axis, classifier):
    """Say in an empty column why it is."""
    text = textwrap.fill(f"not computed: {classifier}", 14)
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, fontsize=6).set_in_layout(False)
    axis.set_xticks([])


def draw_samples(axis, rows):
    """Draw the first samples of every row, at its height."""
    axis.axis("off")
    axis.set_title("samples", fontsize=7.5)
    for place, row in enumerate(rows):
        with np.load(row["pictures"]) as found:
            picture = style.mosaic(found["samples"][:SHOWN], SHOWN)
        inside = axis.inset_axes((0, place - 0.46, 1, 0.92), transform=axis.get_yaxis_transform())
        inside.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        inside.axis("off")


def draw_legend(fig, rows):
    """Say what marks and lines are."""
    entries = [("Algorithm 1", LOOKS[False])] + [("variants", LOOKS[True])] * any(row["changes"] for row in rows)
    handles = [plt.Line2D([], [], label=text, markersize=4, linestyle="none", **look) for text, look in entries]
    lines = {
        "best fixed λ": ("-", BEST["color"]),
        f"{BEATEN:g} of its Fréchet distance": ((0, (4, 2)), BEST["color"]),
        "real images": (":", GREY),
    }
    handles += [
        plt.Line2D([], [], label=text, linestyle=dash, color=tint, linewidth=1) for text, (dash, tint) in lines.items()
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        judged = read_json(smk.input.classifier)["status"]
        text = style.data_text(smk.input.dataset, smk.params.preset)
        given = smk.input.table, smk.input.pictures, smk.input.timings, judged
        draw(smk.params.runs, *given, smk.output, text)
