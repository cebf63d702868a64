# %% [markdown]
# # Proposition 1: a smooth cost whose gradient formula fails
#
# A generator $g_\theta$ is trained by descending $W(\theta)$, the optimal transport cost between its samples and the
# data. Nobody differentiates $W$ itself. One solves the dual, keeps its solution $\psi^*$ fixed and differentiates what
# is left. This notebook shows the smallest problem on which that is wrong, what it does to gradient descent, and how a
# little entropy repairs it.
#
# It reads the tables behind Figure 1 and runs in seconds.

# %%
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from companion.counterexample.descent import (
    dirac,
    gradient_descent,
    one_sided_derivatives,
    optimal_psi,
    transport_cost,
    two_cycle,
)

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "Snakefile").is_file())
plt.style.use(ROOT / "code/notebooks/style.mplstyle")


def read(name):
    """Rows of a table of the counterexample, numbers as strings."""
    with (ROOT / "results/counterexample" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# %% [markdown]
# ## One point, two data points
#
# The latent law is a single point $z_0$, the generator a translation, $g_\theta(z) = z - \theta$, and the data are
# $y_1$ and $y_2$ with mass $\frac{1}{2}$ each. All of the mass sits in $x = z_0 - \theta$, so there is only one plan,
# half to each. With $\theta^* = z_0 - (y_1 + y_2) / 2$,
#
# $$W(\theta) = \tfrac{1}{2}\|x - y_1\|^2 + \tfrac{1}{2}\|x - y_2\|^2
# = \|\theta - \theta^*\|^2 + \tfrac{1}{4}\|y_1 - y_2\|^2 .$$
#
# Nothing could be smoother: $\nabla W(\theta) = 2(\theta - \theta^*)$.
#
# The dual, with the c-transform $\psi^c(x) = \min_j \|x - y_j\|^2 - \psi_j$, is
#
# $$W(\theta) = \max_\psi F(\psi, \theta), \qquad
# F(\psi, \theta) = \psi^c(z_0 - \theta) + \tfrac{1}{2}(\psi_1 + \psi_2) .$$
#
# Its solution at $\theta_0$ makes the two terms of the minimum *equal*: $\psi^*_j = \|x_0 - y_j\|^2$, up to a constant.
# The point lies exactly on the border of the two Laguerre cells. This is no accident of $\theta_0$. If the point were
# inside a cell, that cell would receive all of the mass, and the data ask for one half.

# %%
instance = dirac()
theta_0 = torch.tensor(instance.theta_0, dtype=torch.float64)
psi = optimal_psi(instance, theta_0)
axis = torch.eye(2, dtype=torch.float64)[instance.kink_axis]


def dual(theta, lam):
    """F(psi*(theta_0), theta), with psi* held fixed."""
    z0 = torch.tensor([instance.latent_mean], dtype=torch.float64)
    return float(instance.problem(lam).semidual.transform(z0 - theta, psi) + psi.mean())


t = np.linspace(-0.6, 0.6, 241)
fig, axes = plt.subplots(1, 2, sharey=True)
for panel, lam in zip(axes, (0, 0.5), strict=True):
    panel.plot(t, [float(transport_cost(instance, theta_0 + s * axis)) for s in t], "C0", label="$W(\\theta_0 + te)$")
    panel.plot(t, [dual(theta_0 + s * axis, lam) for s in t], "C3--", label="$F(\\psi^*(\\theta_0), \\theta_0 + te)$")
    panel.set(title=f"$\\lambda$ = {lam:g}", xlabel="$t$")
    panel.legend()
plt.show()

# %% [markdown]
# On the left the envelope argument breaks. $F(\psi^*, \cdot)$ touches $W$ from below at $\theta_0$, as a maximum must,
# but it has a *kink* there: a minimum of two functions that cross. What the formula returns is the slope of whichever
# piece the solver happens to be on. The slope of $W$ is the mean of the two, and neither of them.

# %%
left, right = one_sided_derivatives(instance, theta_0, instance.kink_axis)
slope = 2 * float(theta_0[instance.kink_axis] - instance.theta_star[instance.kink_axis])
print(f"slopes of F at lam = 0: {left:+.3f} from the left, {right:+.3f} from the right; of W: {slope:+.3f}")

STEP = 1e-5
measured = {}
for lam in (0, 0.01, 0.1, 1):
    here, behind, ahead = (dual(theta_0 + s * axis, lam) for s in (0, -STEP, STEP))
    measured[lam] = (here - behind) / STEP, (ahead - here) / STEP
    print(f"lam = {lam:<5g} finite differences of F: {measured[lam][0]:+.3f} and {measured[lam][1]:+.3f}")

# %% [markdown]
# ## What descent makes of it
#
# Write $u$ for the distance to $\theta^*$ along the kink. With a constant step $\tau$ each iteration takes
# $u \to u - \tau(2u \pm 1)$, the sign being the piece. The true gradient would shrink $u$ by $1 - 2\tau$; the extra
# $\pm\tau$ never fades. If the pieces alternate, $u$ and $-u$ must map to each other:
#
# $$u = -(1 - 2\tau)\,u + \tau \quad\Longrightarrow\quad u = \frac{\tau}{2(1 - \tau)} .$$
#
# Figure 1 of the paper shows that 2-cycle, and so does Algorithm 1 here. "Exact $\psi^*$" always breaks the tie in the
# same way: it descends to the minimum of *one* piece, which is wrong by half the distance of the data points.

# %%
TAU = 0.07  # Figure 1's step
paths = {}
for row in read("figure1.csv"):
    paths.setdefault(row["panel"], []).append((float(row["theta_x"]), float(row["theta_y"])))
paths = {name: np.array(points) for name, points in paths.items()}

fig, axes = plt.subplots(1, 2, sharex=True, sharey=True)
looks = {"plain": ("C3", "Algorithm 1"), "plain_exact": ("C1", "exact $\\psi^*$")}
looks |= {"entropic": ("C2", "Algorithm 1"), "entropic_exact": ("C0", "exact $\\psi^*$")}
for name, (colour, label) in looks.items():
    panel = axes[int(name.startswith("entropic"))]
    panel.plot(paths[name][:, 1], color=colour, label=label, linestyle="--" if "exact" in name else "-")
for panel, title in zip(axes, ("$\\lambda$ = 0", "$\\lambda$ > 0"), strict=True):
    panel.axhline(0.5, color="0.6", linewidth=0.8)
    panel.set(title=title, xlabel="iteration $k$")
    panel.legend(loc="center right")
axes[0].set_ylabel("second coordinate of $\\theta_k$")
plt.show()

ends = np.sort(paths["plain"][-2:, 1])
low, high = two_cycle(instance, TAU)
print(f"last two points of Algorithm 1 at lam = 0: {ends[0]:.5f}, {ends[1]:.5f}")
print(f"predicted 2-cycle:                         {low:.5f}, {high:.5f}")

# %% [markdown]
# ## The entropic cure
#
# With $\lambda > 0$ the minimum becomes a soft one,
#
# $$\psi^{c,\lambda}(x) = -\lambda \log \sum_j \nu_j \exp\frac{\psi_j - \|x - y_j\|^2}{\lambda} ,$$
#
# and its gradient splits a tie in proportion to $\nu$. At $\psi^*$ the point goes half to each, so the formula returns
# $2(x - (y_1 + y_2) / 2)$ up to the sign of $\partial_\theta g$: the true gradient, for every $\lambda$. The *cost* is
# the same as before, since the only plan is the product plan and its entropy costs nothing. Only the dual became
# smooth. Descent follows $\theta_{k+1} - \theta^* = (1 - 2\tau)(\theta_k - \theta^*)$.

# %%
closed_form = gradient_descent(instance, TAU, len(paths["entropic_exact"])).numpy()[1:]
print(f"entropic path, exact psi*: {np.abs(paths['entropic_exact'] - closed_form).max():.1e} from the closed form")
print(f"entropic path, Algorithm 1: ends {np.linalg.norm(paths['entropic'][-1] - [0, 0.5]):.1e} from theta*")

# %% [markdown]
# ## A point is not the reason
#
# The failure survives if the latent mass is spread. Let $\zeta$ be uniform on a segment, with the two data points
# placed as mirror images. The *whole segment* then lies on the border of the cells, for every $\theta_0$.

# %%
curves = {}
for row in read("segment.csv"):
    curves.setdefault(float(row["lam"]), []).append(float(row["theta_x"]))
fig, panel = plt.subplots(figsize=(7.6, 2.4))
for (lam, curve), look in zip(sorted(curves.items()), ("C3-", "C2-"), strict=False):
    panel.plot(curve, look, label=f"$\\lambda$ = {lam:g}", linewidth=1)
panel.set(xlabel="iteration $k$", ylabel="first coordinate of $\\theta_k$")
panel.legend()
plt.show()
swings = {lam: float(np.ptp(curve[-50:])) for lam, curve in curves.items()}
print("swing over the last 50 iterations:", ", ".join(f"{swing:.2g} at lam = {lam:g}" for lam, swing in swings.items()))

# %% [markdown]
# ## How much is the cost's fault, how much the solver's?
#
# The table of steps tries every $\lambda$ with several constant steps. With the exact $\psi^*$ only $\lambda$ decides.
# With a stochastic inner loop a *small* $\lambda$ and a large step can still swing: entropy makes the gradient exist,
# it does not find $\psi^*$ for you.

# %%
steps = [row for row in read("steps.csv") if row["instance"] == "dirac" and row["schedule"] == "constant"]
for solver, name in (("exact", "exact psi*"), ("default", "Algorithm 1")):
    print(f"{name}: largest distance to theta* over the last 50 iterations")
    for lam in sorted({float(row["lam"]) for row in steps}):
        rows = [row for row in steps if row["solver"] == solver and float(row["lam"]) == lam]
        cells = (f"{float(row['max_distance']):.1e} at step {float(row['step']):g}" for row in rows)
        print(f"  lam = {lam:<6g}", ", ".join(cells))

# %% [markdown]
# ## Conclusion
#
# $W$ is a parabola. The dual at a fixed $\psi^*$ has a kink at *every* $\theta_0$, because the data's masses can only
# be met by putting the model on the border of two cells. Descent with a constant step ends on a 2-cycle or on a wrong
# point, never at $\theta^*$. With $\lambda > 0$ the same formula gives the gradient of $W$ exactly, and descent with
# the exact $\psi^*$ converges for every $\lambda$ and step that was tried. The last cell checks each of these
# sentences.

# %%
exact = {True: [], False: []}
for row in steps:
    if row["solver"] == "exact":
        exact[float(row["lam"]) > 0].append(float(row["max_distance"]))

# a one-sided difference is off by STEP / 2 times the curvature: 2 on a piece, |2 - 1 / lam| for the soft minimum
assert abs(measured[0][0] - measured[0][1] - instance.jump) < 10 * STEP, "at lam = 0 the slopes jump by 2 |y1 - y2|"
for lam in (0.01, 0.1, 1):
    assert max(abs(side - slope) for side in measured[lam]) < STEP * (2 + 1 / lam), "at lam > 0 the slope is that of W"
assert np.abs(ends - (low, high)).max() < 1e-3, "the 2-cycle: after 100 iterations 0.86^100 of the start is left"
assert np.abs(paths["entropic_exact"] - closed_form).max() < 1e-6, "exact psi*: rounding, amplified by 1 / lam"
assert min(exact[False]) > 1e-2, "lam = 0 with exact psi* ends half of |y1 - y2| away, whatever the step"
assert max(exact[True]) < 1e-3, "lam > 0: (1 - 2 step)^70 of the start is left at most"
assert swings[0] > 10 * max(swing for lam, swing in swings.items() if lam > 0), "the segment swings at lam = 0 alone"
