"""What the tracks measured: time and memory of a step, gap against seconds, value against seconds of training.

Top: one psi-step against n and b, with the quartiles, over the faster of the float32 products alone (the floor).
Middle and bottom: solvers on a fixed source and on a small pool, one panel per lam; training by all schedules.
"""

from companion.common.job import job

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from companion.common import style
from companion.common.readers import read_table

OURS = {"otgrad", "otgrad fixed source", "otgrad fixed source, certified", "otgrad estimator"}
STEP_ARMS = {  # of track A: those drawn, and how
    "otgrad": {"color": style.BLUE, "linewidth": 2.2},
    "otgrad reference": {"color": style.SKY},
    "numpy": {"color": style.ORANGE},
    "torch.compile": {"color": style.GREEN},
    "OTT-JAX": {"color": style.RED},
    "torch autograd": {"color": style.PURPLE},
    "POT": {"color": style.YELLOW},
    "KeOps": {"color": "0.6"},
}
FLOORS = ("sgemm, torch", "sgemm, numpy")
COLOURS = (style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.YELLOW, "0.45", "0.7")
DASHES = ("-", (0, (4, 1.5)))


def draw(tables, outputs, stamp_text):
    """Draw all tracks.

    Args:
        tables: track -> table: a, and the curves of b, c and d.
        outputs: figure files.
        stamp_text: processor and threads.
    """
    rows = {name: read_table(table) for name, table in tables.items()}
    fig, axes = plt.subplots(3, 3, figsize=(style.PAGE, 7.2))
    draw_steps(axes[0], rows["a"])
    looks = solver_looks([row["arm"] for row in rows["b"] + rows["c"]])
    panels = [("B", "b", lam) for lam in lams(rows["b"])[:3]] + [("C", "c", lam) for lam in lams(rows["c"])[:2]]
    for axis, (title, name, lam) in zip(axes[1:].flat, panels, strict=False):
        draw_gaps(axis, [row for row in rows[name] if row["lam"] == lam], looks)
        axis.set_title(f"{title}, $\\lambda$ = {float(lam):g}", fontsize=8, loc="left")
    for axis in axes[1:].flat[len(panels) : 5]:
        axis.set_visible(False)
    draw_training(axes[2, 2], rows["d"])
    for axis in axes.flat:
        axis.xaxis.set_minor_formatter(NullFormatter())  # 2 x 10^4, 3 x 10^4, ... would overlap
    handles = [plt.Line2D([], [], label=name, **look) for name, look in looks.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=6)
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, tables.values())


def draw_steps(axes, rows):
    """Track A: time against n, time against b, memory against n, at the first lam and the shared b or n."""
    done = [row for row in rows if row["quantity"] == "psi" and row["status"] == "ok"]
    done = [row for row in done if row["lam"] == done[0]["lam"]]
    b, n = (min((row[key] for row in done), key=int, default="0") for key in "bn")
    same_b, same_n = ([row for row in done if row[key] == value] for key, value in (("b", b), ("n", n)))
    for axis, chosen, key, column in (
        (axes[0], same_b, "n", "median_ms"),
        (axes[1], same_n, "b", "median_ms"),
        (axes[2], same_b, "n", "peak_mib"),
    ):
        for name, look in STEP_ARMS.items():
            own = sorted((row for row in chosen if row["arm"] == name), key=lambda row: int(row[key]))
            if own:
                axis.loglog(
                    [int(row[key]) for row in own], [float(row[column]) for row in own], ".-", label=name, **look
                )
        axis.set(xlabel={"n": f"atoms n (b = {b})", "b": f"points b (n = {int(n):,})"}[key])
    for axis, chosen, key in ((axes[0], same_b, "n"), (axes[1], same_n, "b")):
        draw_floor(axis, chosen, key)
    axes[0].set_title("A: ms per psi-step", fontsize=8, loc="left")
    axes[2].set_title("A: peak memory, MiB", fontsize=8, loc="left")
    low, high = axes[0].get_ylim()
    for axis in axes[:2]:
        axis.set_ylim(low, 40 * high)  # room for the legend
    axes[0].legend(fontsize=5, ncols=2, loc="upper left")


def draw_floor(axis, rows, key):
    """The faster of the products alone."""
    sizes = sorted({int(row[key]) for row in rows if row["arm"] in FLOORS})
    times = [min(float(row["median_ms"]) for row in rows if row["arm"] in FLOORS and int(row[key]) == k) for k in sizes]
    axis.loglog(sizes, times, color="black", linestyle=":", label="float32 product alone")


def lams(rows):
    """Values of lam, in order of appearance."""
    return list(dict.fromkeys(row["lam"] for row in rows))


def solver_looks(names):
    """Colour and dashes of every solver: this library's in blue and thick."""
    ours = [name for name in dict.fromkeys(names) if name in OURS]
    others = [name for name in dict.fromkeys(names) if name not in OURS]
    found = {
        name: {"color": (style.BLUE, style.SKY, style.BLACK)[k % 3], "linewidth": 2} for k, name in enumerate(ours)
    }
    for k, name in enumerate(others):
        dashes = DASHES[k // len(COLOURS) % len(DASHES)]
        found[name] = {"color": COLOURS[k % len(COLOURS)], "linestyle": dashes, "linewidth": 1}
    return found


def draw_gaps(axis, rows, looks):
    """Gap against a solver's own seconds."""
    for name, look in looks.items():
        own = [(float(row["seconds"]), float(row["gap"])) for row in rows if row["arm"] == name and row["gap"]]
        own = [point for point in own if np.isfinite(point[1])]
        if own:
            axis.loglog(*np.array(sorted(own)).T, marker=".", markersize=3, **look)
    for gap in (1e-2, 3e-3, 1e-3):
        axis.axhline(gap, color="0.85", linewidth=0.6, zorder=0)
    axis.set(xlabel="seconds", ylabel="relative gap", ylim=(5e-5, 2))


def draw_training(axis, rows):
    """Held-out value against seconds of training: the first seed of every schedule, the others of the same thin."""
    names = list(dict.fromkeys(row["schedule"] for row in rows))
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    for seed in reversed(seeds):
        for k, name in enumerate(names):
            own = [
                (float(row["seconds"]), float(row["value"]))
                for row in rows
                if (row["schedule"], row["seed"]) == (name, seed)
            ]
            look = {"color": style.BLUE, "linewidth": 2.2} if name in OURS else {"color": COLOURS[k]}
            if seed == seeds[0]:
                look |= {"label": name, "marker": ".", "markersize": 3}
            else:
                look |= {"linewidth": 0.6}
            if own:
                axis.plot(*np.array(own).T, **look)
    axis.set(xscale="log", xlabel="seconds of training", ylabel="held-out value")
    axis.set_title("D", fontsize=8, loc="left")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 1.5 * (high - low))  # room for the legend
    axis.legend(fontsize=5, loc="upper right")


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        given = {name: Path(getattr(smk.input, name)) for name in "abcd"}
        draw(given, smk.output, smk.params.stamp)
