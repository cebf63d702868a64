"""What lam trades: fidelity, precision and recall of the samples against smoothing; below, samples for every lam."""

from companion.common.job import job

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_json
from companion.scores.verdicts import read_scores

FIDELITY = {"fid": "Fréchet distance", "divergence": "Sinkhorn divergence"}  # the second where the first is missing
COLOURS = {"mlp": style.BLUE, "dcgan": style.ORANGE}
MARKERS, TINTS = "sD^vPX<", (style.RED, style.GREEN, style.PURPLE, style.SKY, style.BLACK)  # of variants
CONTROLS = {"real": ("real images", "-", "*"), "blurred": ("real images, blurred", (0, (4, 2)), "p")}
GREY = "0.35"
TITLE = {"fontsize": 8, "loc": "left"}
FEW = 5  # lams up to which they are named horizontally, and the samples of each stand four in a row
GAP = 0.4  # between the samples of two lams, in widths of an image
NAME = 44  # letters of a variant's name in a line of the legend
PANELS = 2.6  # inches: height of the panels with the legend


def draw(runs, table, picture_paths, classifier, outputs, stamp_text):
    """Draw three panels and the samples.

    Args:
        runs: name -> {"setting", "generator", "lam", "changes"}, in the order of the paths.
        table: scores with their intervals, as companion/scores/run_table.py writes them.
        picture_paths: pictures of each run, as companion/scores/run_pictures.py writes them.
        classifier: its status, said where its scores are missing.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    scores = read_scores(table)
    rows = [
        scores[run["setting"]] | run | {"pictures": path}
        for run, path in zip(runs.values(), picture_paths, strict=True)
    ]
    lines = lines_of(rows)
    strips = [images_of(line) for line in lines.values()]
    height = sum(0.93 * style.PAGE * len(strip[0]) / len(strip[0][0]) + 0.25 for strip in strips) + 0.15
    panels = PANELS + 0.1 * len(rows) / len(lines)  # the more there is to name and tell apart, the higher
    fig = plt.figure(figsize=(style.PAGE, panels + height))
    above, below = fig.subfigures(2, 1, height_ratios=(panels, height))
    axes = below.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, generator, strip in zip(axes, lines, strips, strict=True):
        draw_strip(axis, generator, *strip)
    style.stamp(fig, f"{style.scores_text(rows, classifier)}; {stamp_text}")
    draw_panels(above, lines, [row for row in rows if row["changes"]], scores, classifier)
    style.save(fig, outputs, [table, *picture_paths])


def lines_of(rows):
    """Generator -> rows of Algorithm 1 as it stands, by lam."""
    plain = sorted((row for row in rows if not row["changes"]), key=lambda row: row["lam"])
    return {name: [r for r in plain if r["generator"] == name] for name in dict.fromkeys(r["generator"] for r in plain)}


# --- Panels -----------------------------------------------------------------------------------------------------------


def draw_panels(fig, lines, variants, scores, classifier):
    """Draw fidelity against lam, precision and recall against lam, and fidelity against smoothing."""
    score = next((s for s in FIDELITY if any(np.isfinite(r[s]) for line in lines.values() for r in line)), "fid")
    left, middle, right = axes = fig.subplots(1, 3, width_ratios=(1, 1, 1.2))
    places = abscissae(sorted({row["lam"] for line in lines.values() for row in line}))
    for axis in (left, middle):
        mark_lams(axis, places, len(variants))
    for generator, line in lines.items():
        look = look_of(generator)
        draw_line(left, line, places, score, look)
        draw_line(middle, line, places, "precision", look)
        draw_line(middle, line, places, "recall", look | {"linestyle": "--", "markerfacecolor": "white"})
        draw_path(right, line, score, look)
    draw_variants(axes, variants, places, score)
    draw_controls(axes, scores, score)
    set_texts(axes, score, classifier, np.isfinite(scores["real"][score]))
    fig.legend(handles=legend(lines, variants), loc="outside upper center", ncols=3, columnspacing=1.2, fontsize=6.5)
    fig.figure.draw_without_rendering()  # labels look for room among what has its place
    said = [(row, f"{row['lam']:g}") for line in lines.values() for row in line] + [(row, "") for row in variants]
    style.place_labels(right, [(r["sharpness"], r[score], text, look_of(r["generator"])["color"]) for r, text in said])


def abscissae(lams):
    """Place of every lam: its logarithm, and for lam = 0, which has none, a place of its own on the left."""
    logs = {lam: float(np.log10(lam)) for lam in lams if lam > 0}
    low, high = (min(logs.values()), max(logs.values())) if logs else (0.0, 0.0)
    return ({0.0: low - max(0.8, 0.2 * (high - low))} if 0 in lams else {}) | logs


def slots(places, count):
    """Places of the variants, beside those of the lams."""
    span = max(1.0, max(places.values()) - min(places.values()))
    return max(places.values()) + span * (0.16 + 0.08 * np.arange(count))


def mark_lams(axis, places, count):
    """Name every lam on the axis, break it beside lam = 0, and set the variants apart."""
    ticks, labels = list(places.values()), [f"{lam:g}" for lam in places]
    low = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "center"}
    if 0 in places and len(ticks) > 1:
        axis.text((ticks[0] + ticks[1]) / 2, 0, "//", fontsize=8, **low)
    if count:
        beside = slots(places, count)
        axis.axvline(beside[0] - 0.08 * (beside[0] - ticks[0]), color="0.8", linewidth=0.8)
        axis.text(1, 1, "variants", ha="right", va="bottom", fontsize=7, transform=axis.transAxes)
    axis.set_xticks(ticks, labels, rotation=90 if len(places) > FEW else 0)
    ends = np.array([ticks[0], beside[-1] if count else ticks[-1]])
    axis.set_xlim(ends + (0.05 * np.ptp(ends) + 0.05) * np.array([-1, 1]))
    axis.tick_params(axis="x", length=2)


def draw_line(axis, line, places, score, look):
    """Draw a score against lam with its intervals; dotted from lam = 0, whose place is not to scale."""
    x, y = (np.array([row[key] for row in line]) for key in ("lam", score))
    x = np.array([places[lam] for lam in x])
    axis.errorbar(x, y, [row[f"{score}_pm"] for row in line], **look | {"linestyle": "none"})
    first, bare = int(line[0]["lam"] == 0), look | {"marker": None}
    axis.plot(x[first:], y[first:], **bare)
    axis.plot(x[: first + 1], y[: first + 1], **bare | {"linestyle": ":"})


def draw_path(axis, rows, score, look):
    """Draw fidelity against sharpness, in the order of the rows, with the intervals of both."""
    names = "sharpness", score, f"{score}_pm", "sharpness_pm"
    axis.errorbar(*([row[name] for row in rows] for name in names), elinewidth=0.6, linewidth=0.8, **look)


def look_of(generator):
    """Colour and marker of a generator."""
    return {"color": COLOURS.get(generator, style.BLACK), "marker": "o", "markersize": 3.5}


def draw_variants(axes, variants, places, score):
    """Draw every variant with a marker of its own, beside the lams and among the paths."""
    left, middle, right = axes
    for row, x, look in zip(variants, slots(places, len(variants)), looks(len(variants)), strict=True):
        left.errorbar(x, row[score], row[f"{score}_pm"], **look)
        middle.errorbar(x, row["precision"], row["precision_pm"], **look)
        middle.errorbar(x, row["recall"], row["recall_pm"], **look | {"markerfacecolor": "white"})
        draw_path(right, [row], score, look)


def looks(count):
    """Marker and colour of every variant."""
    return [
        {"marker": MARKERS[k % len(MARKERS)], "color": TINTS[k % len(TINTS)], "markersize": 4.5, "linestyle": "none"}
        for k in range(count)
    ]


def draw_controls(axes, scores, score):
    """Draw what perfect samples would get, and what a blur of them would."""
    left, middle, right = axes
    for name, (_, dashes, marker) in CONTROLS.items():
        row = scores[name]
        left.axhline(row[score], color=GREY, linestyle=dashes, linewidth=0.9, zorder=0)
        right.plot(row["sharpness"], row[score], color=GREY, marker=marker, markersize=6, linestyle="none")
    for measure, dashes in (("precision", "-"), ("recall", "--")):
        middle.axhline(scores["real"][measure], color=GREY, linestyle=dashes, linewidth=0.6, zorder=0)


def set_texts(axes, score, classifier, known):
    """Name the panels and axes; say what is missing and why."""
    left, middle, right = axes
    left.set(xlabel="λ", ylabel=FIDELITY[score])
    middle.set(xlabel="λ", ylim=(-0.03, 1.05))
    right.set(xlabel="sharpness (real images: 1)", ylabel=FIDELITY[score])
    for axis in (left, right) * bool(known):
        axis.set_yscale("log")
        style.few_ticks(axis.yaxis)
    for axis, text in zip(axes, ("Fidelity", "Precision ●, recall ○", "Fidelity and smoothing"), strict=True):
        axis.set_title(text, **TITLE)
    if score != "fid" or not known:
        text = f"no precision, no recall,\nno Fréchet distance:\n{textwrap.fill(classifier, 28)}"
        middle.text(0.5, 0.5, text, ha="center", va="center", transform=middle.transAxes, backgroundcolor="white")


def legend(lines, variants):
    """One handle per generator, control and variant."""
    entries = [(f"Algorithm 1, {labels.GENERATORS[name]}", look_of(name)) for name in lines]
    for text, dashes, marker in CONTROLS.values():
        entries.append((text, {"color": GREY, "linestyle": dashes, "linewidth": 0.9, "marker": marker}))
    named = [textwrap.fill(labels.run(row), NAME) for row in variants]
    entries += zip(named, looks(len(variants)), strict=True)
    return [plt.Line2D([], [], label=text, **look) for text, look in entries]


# --- Samples ----------------------------------------------------------------------------------------------------------


def images_of(line):
    """Samples of one generator for every lam side by side, then held-out images: the picture, middles and names."""
    across, parts = (8 if len(line) <= 2 else 4 if len(line) <= FEW else 2), []
    for row in line:
        with np.load(row["pictures"]) as found:
            parts.append(style.mosaic(found["samples"], across))
            held_out = style.mosaic(found["held_out"], across)
    high, wide = parts[0].shape
    gap = round(GAP * wide / across)
    parts.append(np.pad(held_out[:high], ((0, max(0, high - len(held_out))), (0, 0))))
    picture = np.hstack([np.pad(part, ((0, 0), (0, gap))) for part in parts])[:, :-gap]
    middles = wide / 2 + (wide + gap) * np.arange(len(parts))
    return picture, middles, [*(f"λ = {row['lam']:g}" for row in line), "held out"]


def draw_strip(axis, generator, picture, middles, names):
    """Draw the samples of one generator, the same latents for every lam."""
    axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks(middles, names, fontsize=6.5)
    axis.set_yticks([len(picture) / 2], [labels.GENERATORS[generator]])
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_visible(False)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        judged = read_json(smk.input.classifier)["status"]
        text = style.data_text(smk.input.dataset, smk.params.preset)
        given = smk.params.runs, smk.input.table, smk.input.pictures, judged
        draw(*given, smk.output, text)
