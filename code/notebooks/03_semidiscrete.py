# %% [markdown]
# # Semi-discrete transport in the plane: cells, their softening, and a solver for your own data
#
# One law can be sampled, the other is a list of weighted points. That is the situation of every generator: samples on
# one side, a data set on the other. Here both live in the plane, where the potential $\psi$ can be *seen*.
#
# Everything is computed here, but for the last figure of the second part, which reads the workflow's cross-check.

# %%
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.estimator import SemiDiscreteOT  # also: from otgrad import SemiDiscreteOT
from otgrad.solvers.exact import solve_exact
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "Snakefile").is_file())
plt.style.use(ROOT / "code/notebooks/style.mplstyle")
torch.set_default_dtype(torch.float64)
COLOURS = np.array([[0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0], [204, 121, 167], [86, 180, 233]]) / 255

# %% [markdown]
# ## Cells
#
# Spread mass evenly over the unit square and send it to six atoms $y_j$ that ask for masses $\nu_j$. Without
# regularisation the plan sends $x$ to the atom with the smallest $\|x - y_j\|^2 - \psi_j$. The square falls into
# *Laguerre cells*, convex polygons. With $\psi = 0$ they are the Voronoi cells, whose masses are whatever geometry
# gives. Raising $\psi_j$ moves the sides of cell $j$ outwards, parallel to themselves, and the dual problem asks for
# the $\psi$ with which every cell has mass $\nu_j$:
#
# $$\frac{\partial F}{\partial \psi_j} = \nu_j - \mathbb{E}[\pi_j(x)] = 0 .$$
#
# With $\lambda > 0$ the same equation holds for the soft assignment, and the cells blur into each other. Below a point
# has the mean of the atoms' colours, weighted by $\pi_j(x)$.

# %%
rng = torch.Generator().manual_seed(4)
target = DiscreteMeasure.from_atoms(
    torch.tensor([[0.15, 0.2], [0.5, 0.1], [0.85, 0.3], [0.75, 0.8], [0.4, 0.6], [0.15, 0.85]]),
    torch.tensor([0.30, 0.10, 0.10, 0.20, 0.20, 0.10]),
)
SIDE = 72
ticks = (torch.arange(SIDE) + 0.5) / SIDE
square = torch.cartesian_prod(ticks, ticks)

solved = {lam: solve_exact(square, None, SemiDual(target, lam)).psi for lam in (0.0, 0.02, 0.1, 0.5)}
panels = {"$\\psi = 0$, $\\lambda = 0$": (torch.zeros(6), 0.0)}
panels |= {f"$\\psi^*$, $\\lambda$ = {lam:g}": (psi, lam) for lam, psi in solved.items()}

fig, axes = plt.subplots(1, 5, figsize=(9.2, 2.2), sharey=True)
masses = {}
for panel, (title, (psi, lam)) in zip(axes, panels.items(), strict=True):
    pi = SemiDual(target, lam).assignment(square, psi)
    masses[title] = pi.mean(0)
    picture = (pi.numpy() @ COLOURS).reshape(SIDE, SIDE, 3).transpose(1, 0, 2)
    panel.imshow(picture, origin="lower", extent=(0, 1, 0, 1), interpolation="nearest")
    panel.scatter(*target.y.T, c=COLOURS, edgecolors="black", s=26)
    panel.set(title=title, xticks=[], yticks=[])
plt.show()
print("asked for:           ", "  ".join(f"{mass:.3f}" for mass in target.nu))
for title, mass in masses.items():
    name = title.replace("$", "").replace("\\psi", "psi").replace("\\lambda", "lam")
    print(f"{name:<21}", "  ".join(f"{value:.3f}" for value in mass))

# %% [markdown]
# The masses are right in every picture but the first. At a small $\lambda$ only a band along each border is undecided,
# of width about $\frac{\lambda}{\|y_i - y_j\|}$; at a large one every point is torn between all atoms, and what it is
# sent to on average, $\sum_j \pi_j(x) y_j$, shrinks towards the mean of the data.
#
# ## Convergence of $\psi$
#
# On a grid $\psi^*$ is found by Newton's method, `solve_exact`. A generator has no grid: each step sees a fresh batch.
# Averaged stochastic ascent (ASGD) takes steps $\propto k^{-1/2}$ along the batch's gradient $\nu - p$ and returns an
# average of its iterates. Against the exact $\psi^*$ it can be judged. The average is what Algorithm 1 uses.

# %%
LAM, BATCH, STEPS = 0.1, 64, 2000
exact = target.center(solved[LAM])
state, errors = AsgdState.zeros(target), []
for _ in range(STEPS):
    batch = square[torch.randint(len(square), (BATCH,), generator=rng)]
    asgd_step(batch, SemiDual(target, LAM), state=state, rule=StepRule())
    errors.append([float((target.center(psi) - exact).norm()) for psi in (state.psi, state.average)])
errors = np.array(errors)

with (ROOT / "results/crosscheck/trace.csv").open(encoding="utf-8", newline="") as stream:
    trace = [row for row in csv.DictReader(stream) if row["instance"] == "images" and row["solver"] == "stochastic"]

fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.0))
k = np.arange(1, STEPS + 1)
axes[0].loglog(k, errors[:, 0], "C5", linewidth=0.7, label="last iterate")
axes[0].loglog(k, errors[:, 1], "C0", label="average")
axes[0].loglog(k, errors[99, 1] * (k / 100) ** -0.5, "C6:", label="$k^{-1/2}$")
axes[0].set(xlabel="step $k$", title="$\\|\\psi_k - \\psi^*\\|$, six atoms", ylim=(errors[:, 1].min() / 3, None))
axes[0].legend()
for lam in sorted({float(row["lam"]) for row in trace}):
    rows = [row for row in trace if float(row["lam"]) == lam]
    gaps = [max(float(row["gap"]), 1e-14) for row in rows]
    axes[1].loglog([int(row["iteration"]) for row in rows], gaps, label=f"$\\lambda$ = {lam:g}")
axes[1].set(xlabel="step $k$", title="the workflow's images: relative gap of the dual")
axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
late = errors[-200:].mean(0)
print(f"error at the start {exact.norm():.2f}; mean over the last 200 steps:", end=" ")
print(f"{late[0]:.1e} of the last iterate, {late[1]:.1e} of the average")

# %% [markdown]
# ## On your own data
#
# `SemiDiscreteOT` wraps this. Give it atoms and something to sample from. It returns the potential, the assignment, a
# map and a loss that is differentiable in the samples. Here a ring is sent to two moons of unequal mass. The map's
# arrows start on the ring; the crosses are points that *descend* `ot.loss`, one gradient step with the step of the
# quadratic cost: since the gradient of the loss at $x$ is $2(x - T(x))$ over the batch size, half of it, times the
# batch size, lands on $T(x)$ exactly.

# %%
angle = torch.pi * torch.rand(300, generator=rng)
moons = torch.stack([angle.cos(), angle.sin()], 1)
moons[200:] = torch.tensor([1.0, 0.4]) - moons[200:]
moons += 0.05 * torch.randn(300, 2, generator=rng)
weights = torch.ones(300)
weights[200:] = 4.0  # 100 points of the lower moon hold two thirds of the mass


def ring(b, generator):
    """Uniform on a circle of radius 2 around (0.5, 0.2)."""
    turn = 2 * torch.pi * torch.rand(b, generator=generator)
    return torch.tensor([0.5, 0.2]) + 2 * torch.stack([turn.cos(), turn.sin()], 1)


ot = SemiDiscreteOT(moons, weights, lam=0.05).fit(ring, max_iter=1500, progress=False, generator=rng)
x = ring(60, rng).requires_grad_()
moved = ot.barycentric_map(x.detach())
ot.loss(x).backward()
descended = x.detach() - 0.5 * len(x) * x.grad

fig, panel = plt.subplots(figsize=(5.2, 4.2))
panel.scatter(*moons.T, c="C1", s=4 * weights, label="atoms, by mass")
panel.quiver(*x.detach().T, *(moved - x.detach()).T, angles="xy", scale_units="xy", scale=1, width=0.003, color="0.6")
panel.scatter(*x.detach().T, c="C0", s=9, label="ring")
panel.scatter(*descended.T, c="C6", marker="x", s=16, linewidths=1, label="one step down the loss")
panel.set(aspect="equal")
panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

many = ring(20_000, rng)
reached = ot.barycentric_map(many)
error = float((ot.assign(many).mean(0) - ot.target.nu).abs().sum())
print(f"F(psi) = {ot.value(many):.4f}; marginal error (L1) {error:.3f}")
data_mean = ot.target.nu @ moons
print(f"mean of the mapped ring {reached.mean(0).numpy().round(3)}, of the data {data_mean.numpy().round(3)}")

# %% [markdown]
# ## Conclusion
#
# The potential does one thing: it gives every atom its mass. Regularisation blurs the borders between cells and leaves
# the masses alone. A stochastic solver that sees one batch at a time finds the same $\psi^*$ as an exact one, and its
# average is closer than its last iterate. One gradient step on the loss moves a sample to the mean of the atoms it is
# assigned to; averaged over all samples these images have the mean of the data, because the masses are met.

# %%
voronoi, hard, *soft = masses.values()
cell = 1 / len(square)
assert (voronoi - target.nu).abs().max() > 0.05, "Voronoi cells miss the masses by far"
assert (hard - target.nu).abs().max() < 3 * SIDE * cell, "a border may cut a few rows of the grid's cells"
for mass in soft:
    assert (mass - target.nu).abs().max() < 1e-8, "solve_exact meets the masses to 1e-10"
assert late[1] < 0.1 * float(exact.norm()), "ASGD finds psi*: what is left is the noise of batches of 64"
assert late[1] < late[0], "averaging helps"
assert (descended - moved).abs().max() < 1e-12, "one step lands on the barycentric map, up to rounding"
gap = (reached.mean(0) - data_mean).norm()
assert gap <= error * moons.norm(dim=1).max(), "the means differ by sum_j (p_j - nu_j) y_j, p being the masses reached"
assert error < 0.1, "1,500 batches of 256 meet the masses to a few per cent"
