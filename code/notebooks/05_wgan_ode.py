# %% [markdown]
# # WGAN as a differential equation
#
# Paper B reads the training of a Wasserstein GAN as one Euler step of an ODE. This notebook checks the identity behind
# that reading, then follows the ODE itself with the *exact* potential to see what a step of Euler does, and last reads
# the workflow's experiment in the plane, where the potential is a network that has to be learned.

# %%
import csv
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.algorithms.potentials import Critic, CriticRule, SemiDiscrete
from companion.algorithms.w1fe import EulerRule, w1fe
from companion.algorithms.wgan import wgan
from companion.persistence.planar import LATENT, LAWS
from companion.scores.distances import exact_w1
from otgrad.measures import DiscreteMeasure, Normal

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "Snakefile").is_file())
plt.style.use(ROOT / "code/notebooks/style.mplstyle")

# %% [markdown]
# ## The flow and the identity
#
# Let $\varphi$ be a Kantorovich potential, $1$-Lipschitz and larger on the data than on the model. Samples that climb
# it,
#
# $$dY = \nabla\varphi(Y)\, dt ,$$
#
# descend $W_1$: this is its gradient flow (paper B writes $-\varphi$ for our $\varphi$). A generator follows by W1-FE:
# take samples $y = G(z)$, make one Euler step to the targets $y' = y + \Delta t\, \nabla\varphi(y)$, hold them fixed,
# and regress $K$ times on them with the loss $\frac{1}{d}\mathbb{E}\|G(z) - y'\|^2$. At the first of those steps
# $G(z) - y' = -\Delta t\,\nabla\varphi(y)$, so its gradient is
#
# $$\frac{2}{d}\,\mathbb{E}\left[(\partial_\theta G)^T (G(z) - y')\right]
# = -\frac{2\Delta t}{d}\,\mathbb{E}\left[(\partial_\theta G)^T \nabla\varphi(G(z))\right]
# = \frac{2\Delta t}{d}\,\nabla_\theta\, \mathbb{E}\left[-\varphi(G(z))\right] .$$
#
# The last factor is WGAN's gradient. With $K = 1$ the two algorithms are one, up to a constant that Adam does not see.
# The two loops below share no code for the generator's step.


# %%
def generator_gradient(loop, d, dt=None):
    """Gradient that one outer step of a loop leaves on a generator of R^d; same weights and draws for every loop."""
    torch.manual_seed(0)
    generator, network = ResidualMlp((d, 16, 16, d), 0).double(), CriticMlp((d, 16, 16), 1).double()
    for parameter in [*generator.parameters(), *network.parameters()]:
        parameter.data += 0.3 * torch.randn_like(parameter)
    data, latent = Normal(d, mean=1.0, dtype=torch.float64), Normal(d, dtype=torch.float64)
    critic = Critic(network, torch.optim.Adam(network.parameters(), lr=1e-3), data, CriticRule("lp"))
    still = torch.optim.SGD(generator.parameters(), lr=0.0)
    rule = 1 if dt is None else EulerRule(dt, persistence=1)
    next(loop(generator, critic, latent, still, rule, 64, torch.Generator().manual_seed(7)))
    return torch.cat([parameter.grad.flatten() for parameter in generator.parameters()])


deviations = []
for d, dt in ((1, 1.0), (2, 1.0), (2, 0.05), (5, 0.3), (10, 3.0)):
    ours, theirs = generator_gradient(w1fe, d, dt), generator_gradient(wgan, d)
    deviations.append(float((ours - 2 * dt / d * theirs).norm() / ours.norm()))
    ratio, factor = float(ours.norm() / theirs.norm()), 2 * dt / d
    print(f"d = {d:<3} dt = {dt:<5g} ratio of norms {ratio:.6f}, 2 dt / d {factor:.6f}, deviation {deviations[-1]:.0e}")

# %% [markdown]
# ## Particles on the exact flow
#
# Forget networks. Let 128 particles start near the origin and climb the exact potential towards 128 points of eight
# Gaussians; it is solved anew before every step (with the Euclidean cost, by paper A's machinery: $\varphi = -\psi^c$).
#
# The flow of $W_1$ is peculiar. Its speed is $|\nabla\varphi| = 1$ however far a particle has to go. Until the first
# particle arrives, $W_1$ falls at rate one, along the optimal rays:
#
# $$W_1(t) = W_1(0) - t .$$
#
# And a particle that is $r < \Delta t$ away from its goal does not slow down. It jumps over it, to $\Delta t - r$, and
# back. The mean of two consecutive distances is $\Delta t / 2$, so this is about where $W_1$ must stay.

# %%
COUNT = 128
rng = torch.Generator().manual_seed(0)
atoms = LAWS["8gaussians"](COUNT, rng).double()
cloud = LATENT(COUNT, rng).double()


def follow(dt, steps, p=1):
    """Forward Euler with the exact potential of W1 (p = 1) or W2 (p = 2): all clouds and their W1 to the atoms."""
    potential = SemiDiscrete(DiscreteMeasure.from_atoms(atoms), p, lam=0.0, steps=0)
    clouds = [cloud]
    for _ in range(steps):
        potential.update(lambda _: clouds[-1], COUNT, rng)
        clouds.append(clouds[-1] + dt * potential.velocity(clouds[-1]))
    return clouds, np.array([exact_w1(atoms, y)[0] for y in clouds])


flows = {1.0: follow(1.0, 20), 0.05: follow(0.05, 40)}
_, w2_step = follow(1.0, 1, p=2)

fig, axes = plt.subplots(2, 4, figsize=(8.6, 4.4), sharex=True, sharey=True)
for line, (dt, (clouds, w1)) in zip(axes, flows.items(), strict=True):
    for panel, time in zip(line, (0, 1, 2, 3) if dt == 1 else (0, 0.5, 1, 2), strict=True):
        k = round(time / dt)
        panel.scatter(*atoms.T, c="C1", s=7, label="atoms")
        panel.scatter(*clouds[k].T, c="C0", s=7, marker="x", linewidths=0.8, label="particles")
        panel.set(title=f"$t$ = {time:g}, $W_1$ = {w1[k]:.3f}", xticks=[], yticks=[], aspect="equal")
    line[0].set_ylabel(f"$\\Delta t$ = {dt:g}")
axes[0, 0].legend(loc="upper left", handletextpad=0.1)
plt.show()

fig, panel = plt.subplots(figsize=(5.6, 2.8))
for (dt, (_, w1)), colour in zip(flows.items(), ("C3", "C0"), strict=True):
    time = dt * np.arange(len(w1))
    panel.plot(time[time <= 6], w1[time <= 6], colour + ".-", markersize=5, label=f"$\\Delta t$ = {dt:g}")
    panel.axhline(dt / 2, color=colour, linestyle=":", linewidth=1)
start = flows[1.0][1][0]
panel.plot([0, start], [start, 0], "C6--", linewidth=1, label="$W_1(0) - t$")
panel.set(xlabel="$t$", ylabel="$W_1$", ylim=(0, None), title="dotted: $\\Delta t / 2$")
panel.legend()
plt.show()

ends = {dt: w1[-4:].mean() for dt, (_, w1) in flows.items()}
for dt, end in ends.items():
    print(f"dt = {dt:<5g} W1 at the end {end:.4f} (mean of four steps), dt / 2 = {dt / 2:g}")
print(f"for comparison, one step of W2's flow at dt = 1: W1 = {w2_step[1]:.4f}")

# %% [markdown]
# Both runs use the perfect critic. At $\Delta t = 1$ the first step is splendid, since the data happen to be about one
# unit away, and then it never settles. $W_2$'s flow is different: its velocity is $T(y) - y$, the whole way to the
# goal, so one step with $\Delta t = 1$ arrives. Unit speed belongs to $W_1$, and so does the need for a small step.
#
# ## The workflow's experiment
#
# Now the potential is a critic, trained for a few steps per round, and the particles are what a generator can make of
# them. Bands are ranges over seeds; the grey line is the score of fresh data against the data.

# %%
with (ROOT / "results/planar/table.csv").open(encoding="utf-8", newline="") as stream:
    table = {row["arm"]: row for row in csv.DictReader(stream)}


place = json.loads(os.environ.get("OTGRAD_PLACES", "{}")).get("planar", "results/runs/planar/*")  # by hand, the newest
paths = sorted(ROOT.glob(f"{place}/*/run.json"), key=lambda path: path.stat().st_mtime)
arms_folder = paths[-1].parents[1]


def read_log(folder):
    """Columns of an arm's log as (seeds, measures)."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    seeds = len({row["seed"] for row in rows})
    return {key: np.array([float(row[key]) for row in rows]).reshape(seeds, -1) for key in rows[0]}


def label(config):
    """Short name of an arm on one law."""
    parts = [config["method"]] + ([f"K = {config['persistence']}"] if config["method"] != "ot" else [])
    parts += [f"dt = {config['dt']:g}"] if config["dt"] != 1 else []
    return ", ".join(parts + ([f"{config['lr_factor']:g} x rate"] if config["lr_factor"] != 1 else []))


found = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in sorted(arms_folder.glob("*/run.json"))}
found = {folder: record for folder, record in found.items() if record.get("name") in table}
records = {record["name"]: record for record in found.values()}
logs = {record["name"]: read_log(folder) for folder, record in found.items()}
floors = {record["data"]["law"]: record["data"]["sampling_floor"] for record in records.values()}
law = records[next(iter(table))]["data"]["law"]
shown = [arm for arm in table if records[arm]["data"]["law"] == law][:7]  # as many as there are colours
long_enough = min(log["step"].max() for log in logs.values()) >= 500

fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.0), sharey=True)
for panel, column in zip(axes, ("step", "generator_updates"), strict=True):
    for number, arm in enumerate(shown):
        log, colour = logs[arm], f"C{number}"
        panel.plot(log[column][0], log["w1"].mean(0), colour, label=label(records[arm]["config"]))
        panel.fill_between(log[column][0], log["w1"].min(0), log["w1"].max(0), color=colour, alpha=0.12, linewidth=0)
    panel.axhline(floors[law], color="0.6")
    panel.set(xlabel={"step": "outer steps"}.get(column, "generator updates"), yscale="log")
axes[0].set(ylabel="$W_1$", title=law)
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
display(Markdown((ROOT / "results/planar/table.md").read_text(encoding="utf-8")))

plain, persistent = (f"8gaussians-w1fe-lp-K{k}" for k in (1, 5))
if plain in logs and persistent in logs:
    early = {arm: logs[arm]["w1"][:, : max(2, logs[arm]["w1"].shape[1] // 5)].mean() for arm in (plain, persistent)}
    late = {arm: float(table[arm]["w1_mean"]) for arm in (plain, persistent)}
    for when, scores in (("over the first fifth", early), ("at the end", late)):
        print(f"W1 {when}: {scores[plain]:.3f} with K = 1, {scores[persistent]:.3f} with K = 5")
print("" if long_enough else "These runs are a few steps long (smoke preset): nothing was learned.")

# %% [markdown]
# ## Conclusion
#
# With $K = 1$ W1-FE *is* WGAN, to rounding. As an ODE it has unit speed, so a forward Euler step $\Delta t$ overshoots
# by its own length: with a perfect potential $W_1$ ends near $\Delta t / 2$, at whatever $\Delta t$. So $\Delta t$ is
# not a harmless constant, though for $K = 1$ it drops out of Adam's steps. What persistence ($K > 1$) gains or loses
# with a *learned* potential is an empirical matter: the table above is this run's answer, and the workflow's tests over
# paired seeds, in `results/claims.json`, say how much of it is more than chance.

# %%
assert max(deviations) < 1e-10, "the identity holds to float64 rounding through the network"
_, small = flows[0.05]
falling = 0.05 * np.arange(9)  # up to t = 0.4, before any particle arrives
assert np.abs(small[:9] - (start - falling)).max() < 2e-3, "W1 falls at rate one; psi has a relative gap of 1e-4"
for dt, end in ends.items():
    assert 0.6 < end / (dt / 2) < 1.2, "near dt / 2; choosing new partners at every step can only make it less"
assert w2_step[1] < 1e-2, "W2's flow arrives in one step of dt = 1, up to the same gap"

for law, floor in floors.items():
    starts = np.array([log["w1"][:, 0] for arm, log in logs.items() if records[arm]["data"]["law"] == law])
    assert np.ptp(starts, axis=0).max() < 1e-6, "arms are paired: the same seed starts from the same generator"
    best = min(log["w1"].min() for arm, log in logs.items() if records[arm]["data"]["law"] == law)
    # by the triangle inequality no fixed cloud is closer to fresh data than floor / 2 on average
    assert best > 0.4 * floor, "nothing scores better than data can"
for arm, log in logs.items():
    assert abs(log["w1"][:, -10:].mean() - float(table[arm]["w1_mean"])) < 1e-9, "the table is that of these logs"
if long_enough:
    ends = [float(table[arm]["w1_mean"]) / logs[arm]["w1"][:, 0].mean() for arm in table]
    assert min(ends) < 0.5, "the best arm went more than half of the way: otherwise nothing here was learned"
