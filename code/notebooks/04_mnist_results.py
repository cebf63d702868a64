# %% [markdown]
# # Reading the image results: what $\lambda$ does to a generator
#
# Figure 2 shows samples of generators that were trained by Algorithm 1, one for each $\lambda$, on images. This
# notebook reads what those runs left behind, puts numbers to the pictures and compares them with a closed form.
#
# It works for whichever data set and preset the workflow ran, and says which. In the `smoke` preset nothing is learned:
# then only what holds for *any* generator can be checked, and the verdict has to be "undecided".

# %%
import csv
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import yaml

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "Snakefile").is_file())
plt.style.use(ROOT / "code/notebooks/style.mplstyle")
PLACES = json.loads(os.environ.get("OTGRAD_PLACES", "{}"))  # said by the workflow; by hand, the newest
DATA = PLACES.get("data", "results/data")
RECORDS = sorted(
    ROOT.glob(f"{PLACES.get('images', 'results/runs/images/*')}/*/run.json"), key=lambda p: p.stat().st_mtime
)
RUNS = RECORDS[-1].parents[1]


def read_json(path):
    """Content of a JSON file below the root."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def read_run(folder):
    """Configuration, log as columns, and samples (m, h, w) of one run."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    log = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with np.load(folder / "samples.npz") as data:
        samples = data["images"].astype(float)
    return {"config": record["config"], "lam": record["config"]["lam"], "log": log, "samples": samples}


# %% [markdown]
# ## Which runs?
#
# Folders of an earlier preset or seed may lie beside those of the last run of the workflow. One of its tables,
# `results/shrinkage/cost.csv`, has a row for each run that its verdict is about, with the name in the run's own record.
# Of several seeds the first is shown.

# %%
dataset = read_json(f"{DATA}/dataset.json")
verdicts = [entry for entry in read_json("results/claims.json") if entry["id"] in ("A-collapse", "A-smoothing")]
with (ROOT / "results/shrinkage/cost.csv").open(encoding="utf-8", newline="") as stream:
    judged = {row["name"] for row in csv.DictReader(stream) if row["kind"] == "run"}
runs = [read_run(path.parent) for path in RUNS.glob("*/run.json") if read_json(path).get("name") in judged]
first_seed = min(run["config"]["seed"] for run in runs)
runs = sorted((run for run in runs if run["config"]["seed"] == first_seed), key=lambda run: run["lam"])
common = {key: value for key, value in runs[0]["config"].items() if key not in ("lam", "generator")}
lams = sorted({run["lam"] for run in runs})
generators = sorted({run["config"]["generator"] for run in runs})
presets = {
    path.stem
    for path in (ROOT / "config/presets").glob("*.yaml")
    if all(common[key] == yaml.safe_load(path.read_text())[key] for key in ("outer_steps", "inner_steps", "batch_size"))
}
decided = verdicts[0]["verdict"] in ("confirmed", "refuted")

print(f"data: {dataset['label']}, images of {dataset['shape'][0]} x {dataset['shape'][1]}")
print(f"preset: {', '.join(sorted(presets)) or 'none of the presets as they are'}")
print(f"{common['n_train']} atoms, {common['outer_steps']} theta-steps of {common['inner_steps']} psi-steps each")
print(f"generators: {', '.join(generators)}; lam: {', '.join(f'{lam:g}' for lam in lams)}")
print("" if decided else "NO VERDICT can be drawn from these runs: smoke preset, or no lam beyond the threshold")

# %% [markdown]
# ## Samples and logs
#
# A row of samples per run. Below, three curves that the training wrote: the dual value $F(\psi, \theta)$, a lower bound
# of the transport cost; the $L^1$ distance between the masses that the atoms get and the masses they ask for, which
# tells how good $\psi$ is; and the mean *perplexity* $e^{-\sum_j \pi_j \log \pi_j}$ of the assignment, the number of
# atoms over which one sample averages. All costs are in units of $\overline{\|y\|^2}$. The last point of each curve is
# at a $\psi$ solved afresh for the finished generator, hence the jump.

# %%
for generator in generators:
    chosen = [run for run in runs if run["config"]["generator"] == generator]
    fig, axes = plt.subplots(len(chosen), 1, figsize=(7.6, 0.62 * len(chosen) + 0.2), squeeze=False)
    for (panel,), run in zip(axes, chosen, strict=True):
        strip = np.pad(run["samples"][:16], ((0, 0), (0, 0), (0, 1)), constant_values=0.15)
        panel.imshow(np.hstack(strip), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        panel.set_ylabel(f"$\\lambda$ = {run['lam']:g}", rotation=0, ha="right", va="center")
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    fig.suptitle(f"{generator.upper()}, {dataset['label']}", fontsize=9, parse_math=False)
    plt.show()

fig, axes = plt.subplots(1, 3, figsize=(8.8, 2.8))
titles = {"value": "$F$", "marginal_error": "marginal error", "effective_atoms": "atoms per sample"}
for run in runs:
    generator = run["config"]["generator"]
    look = {"color": f"C{lams.index(run['lam']) % 7}", "linestyle": "-" if generator == generators[0] else "--"}
    look["label"] = f"{run['lam']:g}" + (f", {generator}" if len(generators) > 1 else "")
    for panel, key in zip(axes, titles, strict=True):
        panel.plot(run["log"]["step"], run["log"][key], marker=".", **look)
for panel, title in zip(axes, titles.values(), strict=True):
    panel.set(title=title, xlabel="$\\theta$-step")
axes[0].set_ylim(bottom=max(axes[0].get_ylim()[0], -0.5))  # an untrained psi can make F very small
axes[2].set_yscale("log")
axes[2].legend(title="$\\lambda$", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Fidelity against smoothing
#
# The claim: $\lambda$ *trades fidelity for smoothing*. Two numbers follow each side. Atoms per sample should grow with
# $\lambda$, from exactly one at $\lambda = 0$. The total variance of the samples, as a fraction of the data's, should
# fall. It is judged in two parts: whether it falls at every step of $\lambda$, over several training seeds, and whether
# it is gone beyond the threshold below.
#
# Theory says how fast. If data and model were Gaussian, the best model would have covariance
# $\Sigma - \frac{\lambda}{2} I$ with negative eigenvalues set to $0$. In units of $m = \overline{\|y\|^2}$ the variance
# that remains of the eigenvalues $e_i$ is
#
# $$\frac{\sum_i \max\left(e_i - \frac{\lambda m}{2},\, 0\right)}{\sum_i e_i} ,$$
#
# and nothing is left from $\lambda = 2 e_1 / m$ on: every sample is then the mean image. Images are not Gaussian, so
# this is no law for them, but the last threshold is one: close to the mean only second moments are seen (notebook 2).

# %%
with np.load(ROOT / DATA / "train.npz") as data:
    images = data["images"][: common["n_train"]]
y = images.reshape(len(images), -1) / (255.0 if images.dtype == np.uint8 else 1.0)
mean_square = np.square(y).sum(1).mean()
eigenvalues = np.linalg.eigvalsh(np.cov(y.T, bias=True)).clip(min=0)
threshold = 2 * eigenvalues[-1] / mean_square


def remaining(lam):
    """Fraction of the variance that the Gaussian closed form leaves at lam."""
    return (eigenvalues - lam * mean_square / 2).clip(min=0).sum() / eigenvalues.sum()


rows = []
for run in runs:
    flat = run["samples"].reshape(len(run["samples"]), -1)
    atoms, value = run["log"]["effective_atoms"][-1], run["log"]["value"][-1]
    rows.append((run["config"]["generator"], run["lam"], atoms, flat.var(0).sum() / eigenvalues.sum(), value))
    print(f"{rows[-1][0]}, lam = {run['lam']:<6g} F = {value:8.4f}   atoms per sample {atoms:9.2f}", end="   ")
    print(f"variance over the data's {rows[-1][3]:.3f} (Gaussian model {remaining(run['lam']):.3f})")
print(f"collapse predicted from lam = {threshold:.4f} on, at the cost {eigenvalues.sum() / mean_square:.4f}")

fig, axes = plt.subplots(1, 2)
grid = np.linspace(0, 1.3 * max(threshold, *(row[1] for row in rows)), 300)
axes[1].plot(grid, [remaining(lam) for lam in grid], "C6", linewidth=1, label="Gaussian closed form")
for generator, marker in zip(generators, "os", strict=False):
    chosen = [row for row in rows if row[0] == generator]
    axes[0].plot([row[1] for row in chosen], [row[2] for row in chosen], "C0-" + marker, label=generator)
    axes[1].plot([row[1] for row in chosen], [row[3] for row in chosen], "C3" + marker, label=generator)
axes[0].set(title="atoms per sample", yscale="log")
axes[1].set(title="variance over the data's", ylim=(0, None))
axes[1].axvline(threshold, color="0.6", linestyle=":", label="collapse predicted")
linear = min([lam for lam in lams if lam > 0], default=threshold) / 2  # below it the axis is linear, to show lam = 0
for panel in axes:
    panel.set_xscale("symlog", linthresh=linear, linscale=0.3)
    panel.set_xlim(-0.1 * linear, grid[-1])
    panel.set_xticks(lams, [f"{lam:g}" for lam in lams])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("$\\lambda$")
    panel.legend()
plt.show()

# %% [markdown]
# Below the threshold the points need not lie on the curve. A small generator after a short training does not reach the
# variance of the data even at $\lambda = 0$, and that shortfall hides the part of the loss that is due to a small
# $\lambda$.

# %% [markdown]
# ## Conclusion
#
# At $\lambda = 0$ every sample is pulled to one image. Raising $\lambda$ makes it average over more of them, which
# blurs; once $\lambda$ passes $2 e_1 / m$ all samples are the mean image. What the workflow says of both is printed
# below, and the second is recomputed. Where nothing was learned, the checks are those that any generator passes, and
# the verdict is "undecided".


# %%
beyond = [row[3] for row in rows if row[1] > threshold]
below = [row[3] for row in rows if row[1] <= threshold]
collapsed = bool(beyond) and max(beyond) <= 0.01 < min(below)
for entry in verdicts:
    print(f"{entry['id']}: {entry['verdict']} ({entry['evidence']})")
print("recomputed here: variance", "goes" if collapsed else "does not go", "beyond the threshold, and no earlier")
print("" if decided else "(which means nothing in runs without a verdict)")

assert runs, "there is at least one run"
for run, (_, lam, atoms, variance, value) in zip(runs, rows, strict=True):
    assert run["log"]["step"][-1] <= common["outer_steps"], "a run ends with its last step, or once it has collapsed"
    assert run["samples"].shape[1:] == tuple(dataset["shape"]), "samples are as large as the data"
    assert np.abs(run["samples"] - 0.5).max() <= 0.5, "a sigmoid's values lie in [0, 1]"
    assert np.isfinite([atoms, variance, value]).all(), "numbers"
    assert 1 - 1e-5 <= atoms <= common["n_train"] * (1 + 1e-5), "a perplexity lies between 1 and n, up to float32"
    assert lam > 0 or abs(atoms - 1) < 1e-6, "at lam = 0 the assignment is one-hot"
if decided:
    assert collapsed == (verdicts[0]["verdict"] == "confirmed"), "the workflow's verdict is what its runs say"
else:
    assert "undecided" in {entry["verdict"] for entry in verdicts}, "nothing shown, nothing claimed"
