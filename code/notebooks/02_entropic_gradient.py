# %% [markdown]
# # The entropic gradient: a formula, a check, and what $\lambda$ costs
#
# Entropy makes the gradient of the transport cost exist. Here we write it down, check it against finite differences in
# which $\psi^*$ is *solved anew* at every $\theta$, and see the price on a problem small enough for a closed form.
#
# Nothing is read from the workflow: everything is computed here, in float64.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from otgrad.gradient import theta_gradient_explicit
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.exact import solve_exact

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "Snakefile").is_file())
plt.style.use(ROOT / "code/notebooks/style.mplstyle")
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## Soft assignment
#
# For data $\nu = \sum_j \nu_j \delta_{y_j}$, a cost $c$ and a potential $\psi$, the soft c-transform and the soft
# assignment of a point $x$ are
#
# $$\psi^{c,\lambda}(x) = -\lambda \log \sum_j \nu_j\, e^{(\psi_j - c(x, y_j))/\lambda}, \qquad
# \pi_j(x) = \frac{\nu_j\, e^{(\psi_j - c(x, y_j))/\lambda}}{\sum_k \nu_k\, e^{(\psi_k - c(x, y_k))/\lambda}} .$$
#
# The first is a soft minimum, the second is what its derivative picks up:
# $\nabla \psi^{c,\lambda}(x) = \sum_j \pi_j(x) \nabla_x c(x, y_j)$. For $c = \|x - y\|^2$ it is
# $2\left(x - \sum_j \pi_j(x) y_j\right)$, twice the way from $x$ to the mean of the atoms that it is assigned to. As
# $\lambda \to 0$ the assignment turns one-hot, and at a border between two cells it jumps. Bounds hold at every $x$:
#
# $$\psi^c \le \psi^{c,\lambda} \le \psi^c + \lambda \log \frac{1}{\min_j \nu_j} .$$

# %%
atoms = DiscreteMeasure.from_atoms(torch.tensor([[-1.0], [0.2], [1.0]]), torch.tensor([1.0, 1.0, 2.0]))
zero = torch.zeros(3)
x = torch.linspace(-1.6, 1.6, 401)[:, None]
lams = (0.0, 0.1, 0.5)

fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.8))
for lam, colour in zip(lams, ("C6", "C0", "C1"), strict=True):
    label = f"$\\lambda$ = {lam:g}"
    semidual = SemiDual(atoms, lam)
    axes[0].plot(x, semidual.transform(x, zero), colour, label=label)
    axes[1].plot(x, semidual.assignment(x, zero)[:, 1], colour)
    axes[2].plot(x, semidual.x_grad(x, zero)[1], colour)
axes[0].plot(atoms.y, torch.zeros(3), "C3*", markersize=8, label="atoms")
for panel, title in zip(axes, ("$\\psi^{c,\\lambda}$", "$\\pi_2$, of the middle atom", "slope"), strict=True):
    panel.set(title=title, xlabel="$x$")
axes[0].legend()
plt.show()

hard = SemiDual(atoms, 0.0).transform(x, zero)
excess = {lam: SemiDual(atoms, lam).transform(x, zero) - hard for lam in lams}
for lam in lams[1:]:
    bound = lam * np.log(1 / float(atoms.nu.min()))
    print(f"lam = {lam:g}: soft minus hard from {excess[lam].min():.3f} to {excess[lam].max():.3f}; bound {bound:.3f}")

# %% [markdown]
# ## The formula
#
# Where $W_\lambda(\theta) = \max_\psi F(\psi, \theta)$ is attained at $\psi^*$, the derivative of $\psi^*$ with respect
# to $\theta$ drops out, because $F$ is flat there in $\psi$:
#
# $$\nabla W_\lambda(\theta) = \mathbb{E}_z\left[ (\partial_\theta g_\theta(z))^T \sum_j \pi_j(g_\theta(z))
# \nabla_x c(g_\theta(z), y_j) \right] .$$
#
# To check it honestly, do *not* hold $\psi^*$ fixed on the other side. Take a small network, a fixed pool of latents
# and a direction $v$ in parameter space; solve the transport problem exactly at $\theta \pm hv$; compare the difference
# quotient with the formula.

# %%
LAM = 0.1
torch.manual_seed(3)
generator = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
z, data = torch.randn(11, 2), DiscreteMeasure.from_atoms(torch.randn(5, 2), torch.tensor([1.0, 2, 2, 3, 4]))
start = nn.utils.parameters_to_vector(generator.parameters()).detach()
v = torch.randn_like(start)


@torch.no_grad()
def solved(theta):
    """Exact optimum of the semi-dual at theta: psi* and the cost."""
    nn.utils.vector_to_parameters(theta, generator.parameters())
    return solve_exact(generator(z), None, SemiDual(data, LAM))


def formula(psi):
    """The formula's derivative along v at the starting theta, with this psi."""
    nn.utils.vector_to_parameters(start, generator.parameters())
    gradient = theta_gradient_explicit(generator, z, SemiDual(data, LAM), psi)
    return float(nn.utils.parameters_to_vector(gradient) @ v)


optimal, careless = formula(solved(start).psi), formula(torch.zeros(5))
widths = np.logspace(-1, -6, 11)
quotients = np.array([(solved(start + h * v).value - solved(start - h * v).value) / (2 * h) for h in widths])
errors = np.abs(quotients - optimal)

fig, panel = plt.subplots(figsize=(4.6, 3.0))
panel.loglog(widths, errors, "C0o-", markersize=4, label="|quotient $-$ formula at $\\psi^*$|")
panel.loglog(widths, np.abs(quotients - careless), "C3s--", markersize=4, label="|quotient $-$ formula at $\\psi$ = 0|")
panel.loglog(widths, errors[2] * (widths / widths[2]) ** 2, color="0.6", label="slope 2")
panel.set(xlabel="width $h$", ylim=(1e-12, 10))
panel.legend(loc="lower right")
plt.show()
print(f"formula at psi*: {optimal:.9f}; best quotient: {quotients[errors.argmin()]:.9f}")
print(f"smallest error {errors.min():.1e}; with psi = 0 instead of psi* {abs(optimal - careless):.1e}")

# %% [markdown]
# The error falls like $h^2$, as that of a central difference must, until rounding takes over. With another $\psi$ the
# same formula gives a wrong number that no $h$ mends: the inner loop of Algorithm 1 has a job to do.
#
# ## What $\lambda$ costs
#
# Take $z = \pm 1$ and data $y = \pm 1$, each with probability $\frac{1}{2}$, and a generator that only scales,
# $g_\theta(z) = \theta z$. The best model is $\theta = 1$. By symmetry $\psi^*_1 = \psi^*_2$, and
#
# $$W_\lambda(\theta) = \theta^2 + 1 - \lambda \log \cosh \frac{2\theta}{\lambda}, \qquad
# W_\lambda'(\theta) = 2\theta - 2\tanh\frac{2\theta}{\lambda} .$$
#
# Two things happen. $W_0(\theta) = (|\theta| - 1)^2$ has a corner at $0$ and $W_\lambda$ has none: its curvature there
# is $2 - 4 / \lambda$, large but finite. And the minimum moves. It solves $\theta = \tanh(2\theta / \lambda)$, less
# than $1$ and shrinking with $\lambda$. From $\lambda = 2$ on only $\theta = 0$ is left: the model has *collapsed* to
# the mean of the data.


# %%
class Scaling(nn.Module):
    """g_theta(z) = theta z."""

    def __init__(self, theta):
        """Start from theta."""
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, z):
        """Scale z (b, 1)."""
        return self.theta * z


ENDS = torch.tensor([[-1.0], [1.0]])
two_points = DiscreteMeasure.from_atoms(ENDS)


def descend(lam, step=0.2, iterations=400):
    """Minimise W_lam with the formula and the exact psi*; return theta."""
    model, semidual = Scaling(0.9), SemiDual(two_points, lam)
    for _ in range(iterations):
        with torch.no_grad():
            psi = solve_exact(model(ENDS), None, semidual).psi
        (gradient,) = theta_gradient_explicit(model, ENDS, semidual, psi)
        model.theta.data -= step * gradient
    return model.theta.item()


def fixed_point(lam):
    """Solve theta = tanh(2 theta / lam) from above."""
    theta = 1.0
    for _ in range(10_000):
        theta = np.tanh(2 * theta / lam)
    return theta


found = {lam: descend(lam) for lam in (0.25, 0.5, 1.0, 1.5, 2.5)}
fig, axes = plt.subplots(1, 2)
theta = np.linspace(-1.4, 1.4, 301)
axes[0].plot(theta, (abs(theta) - 1) ** 2, "C6", label="$\\lambda$ = 0")
for lam, colour in ((0.5, "C0"), (1.0, "C1"), (2.5, "C3")):
    log_cosh = np.logaddexp(2 * theta / lam, -2 * theta / lam) - np.log(2)
    axes[0].plot(theta, theta**2 + 1 - lam * log_cosh, colour, label=f"$\\lambda$ = {lam:g}")
axes[0].set(xlabel="$\\theta$", title="$W_\\lambda(\\theta)$", ylim=(-0.05, 2.6))
axes[0].legend(loc="upper center", ncols=2)
grid = np.linspace(0.05, 3, 119)
axes[1].plot(grid, [fixed_point(lam) for lam in grid], "C0", label="$\\theta = \\tanh(2\\theta/\\lambda)$")
axes[1].plot(found.keys(), found.values(), "C3o", markersize=5, label="descent with the formula")
axes[1].set(xlabel="$\\lambda$", title="best $\\theta$")
axes[1].legend()
plt.show()
for lam, value in found.items():
    print(f"lam = {lam:<5g} descent ends at {value:.8f}, closed form {fixed_point(lam):.8f}")

# %% [markdown]
# The threshold is no accident of two points. Near $0$ a model sees only second moments of the data: the barycentric map
# is about $(2 / \lambda)\, \Sigma x$, so a direction with variance $e$ can stay only if $\lambda < 2e$. For Gaussian
# data the best Gaussian model has covariance $\Sigma - (\lambda / 2) I$, cut off at $0$, for every $\lambda$. Notebook
# 4 puts that beside generators of images.
#
# ## Conclusion
#
# With $\psi^*$ the formula *is* the gradient of the entropic cost: finite differences that solve the problem anew agree
# as closely as they can. With any other $\psi$ it is not. The price of smoothness is a bias: the best model shrinks
# towards the mean, as $\theta = \tanh(2\theta/\lambda)$ on two points, and collapses once $\lambda$ is twice the
# variance.

# %%
order = np.log(errors[0] / errors[4]) / np.log(widths[0] / widths[4])
for lam in lams[1:]:
    assert excess[lam].min() > -1e-12, "the soft transform is above the hard one, up to rounding"
    assert excess[lam].max() < lam * np.log(1 / float(atoms.nu.min())) + 1e-12, "and within its bound"
assert errors.min() < 1e-8, "near h = 3e-6 both h^2 and rounding over h are below 1e-9"
assert abs(order - 2) < 0.2, "second order: the next term is h^2 smaller"
assert abs(optimal - careless) > 1e-2, "psi = 0 is not optimal, and the formula shows it"
for lam, value in found.items():
    assert abs(value - fixed_point(lam)) < 1e-8, "400 steps contract by 1 - 0.2 W'' each, at most 0.92"
assert fixed_point(1.0) < 1, "the bias"
assert abs(found[2.5]) < 1e-8, "the collapse beyond lam = 2"
