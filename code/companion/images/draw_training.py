"""Training curves of Algorithm 1 on images: what each run logged against its steps on theta, one line per lam.

The last row of a log is taken after further steps on psi alone: a dot, not joined to the line.
"""

from companion.common.job import job

import matplotlib.pyplot as plt
import numpy as np

from companion.common import labels, style
from companion.common.readers import read_table

PANELS = {  # column of log.csv: panel's title, scale
    "value": ("Semi-dual value $F$", "linear"),
    "marginal_error": (r"Marginal error $\|\nu-\bar\nu\|_1$", "log"),
    "effective_atoms": ("Effective atoms per sample", "log"),
}
DASHES = ("-", (0, (4, 1.5)), ":")  # generators, in order of appearance
FEW = 10  # measures up to which each is marked: a few points alone make no curve
LAST = {"marker": "o", "markersize": 4.5, "markeredgecolor": "black", "markeredgewidth": 0.6, "zorder": 3}


def draw(runs, log_paths, outputs, stamp_text):
    """Draw one panel per logged quantity.

    Args:
        runs: name -> {"generator", "lam"}, in the order of the logs.
        log_paths: log.csv of each run.
        outputs: figure files.
        stamp_text: data set and preset.
    """
    fig, axes = plt.subplots(1, len(PANELS), figsize=(style.PAGE, 2.6))
    handles = []
    for config, look, log in zip(runs.values(), looks(list(runs.values())), log_paths, strict=True):
        columns = {key: np.array([float(row[key]) for row in read_table(log)]) for key in ("step", *PANELS)}
        marker = "." if len(columns["step"]) <= FEW else None
        for axis, name in zip(axes, PANELS, strict=True):
            axis.plot(columns["step"][:-1], columns[name][:-1], marker=marker, **look)
            axis.plot(columns["step"][-1], columns[name][-1], **look | LAST)
        handles.append(plt.Line2D([], [], label=label(config), **look))
    for axis, (title, scale) in zip(axes, PANELS.values(), strict=True):
        axis.set(xlabel=r"steps on $\theta$", yscale=scale)
        axis.set_title(title, fontsize=8, loc="left")
    handles.append(plt.Line2D([], [], color="white", label=r"after further steps on $\psi$", **LAST))
    fig.legend(handles=handles, loc="outside upper center", ncols=5)
    style.stamp(fig, stamp_text)
    style.save(fig, outputs, log_paths)


def looks(configs):
    """Colour and dashes of every run: lam by colour, the generator by dashes."""
    colours = style.lam_colours(config["lam"] for config in configs)
    generators = list(dict.fromkeys(config["generator"] for config in configs))
    dashes = {name: DASHES[k % len(DASHES)] for k, name in enumerate(generators)}
    return [{"color": colours[config["lam"]], "linestyle": dashes[config["generator"]]} for config in configs]


def label(config):
    """Name a run."""
    return f"{labels.GENERATORS[config['generator']]}, $\\lambda$ = {config['lam']:g}"


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw(smk.params.runs, smk.input.logs, smk.output, style.data_text(smk.input.dataset, smk.params.preset))
