"""Compute what the figure "why the gradient fails" shows: closed forms, each beside what the package computes.

profiles     W_c and F^lam(psi*(theta_0), .) across the interface, Dirac and segment
slopes       their derivatives at theta_0
dilation     W_c^lam of the dilation, where lam moves the minimiser
shrinkage    that minimiser against lam, and the Gaussian's
field        grad F^lam(psi*(theta*), .) in the plane, Dirac
convergence  Algorithm 1's distance to theta*, beside the contraction (1 - 2 tau)^k
modulus      the modulus of continuity of the dilation's gradient against lam

Each of these functions is told everything by its arguments, explained in settings.yaml, and returns a header and rows.
"""

from companion.common.job import job

import math

import torch

from companion.common.files import write_csv
from companion.counterexample import theory
from companion.counterexample.descent import (
    INSTANCES,
    decreasing,
    dirac,
    gradient_descent,
    one_sided_derivatives,
    run,
    run_exact,
    transport_cost,
)
from otgrad.solvers.stochastic import StepRule

RULES = {"averaged": StepRule("plain", c=1.0, power=0.5, averaging=0.0), "default": StepRule()}


def grid(low, high, points):
    """Evenly spaced float64 numbers (points,), ends included."""
    return torch.linspace(low, high, points, dtype=torch.float64)


def profiles(lams, reach, points):
    """Give instance, lam, theta, cost, dual, solved along the kink axis through theta_0, theta - theta_0 in +-reach."""
    rows = []
    for name, build in INSTANCES.items():
        instance = build()
        theta_0 = torch.tensor(instance.theta_0, dtype=torch.float64)
        theta = theta_0.repeat(points, 1)
        theta[:, instance.kink_axis] += grid(-reach, reach, points)
        costs = [float(transport_cost(instance, point)) for point in theta]
        for lam in lams:
            dual = theory.frozen_dual(instance, theta_0, theta, lam).tolist()
            solved = theory.solved_frozen_dual(instance, theta_0, theta, lam).tolist()
            coordinate = theta[:, instance.kink_axis].tolist()
            rows += [(name, lam, *values) for values in zip(coordinate, costs, dual, solved, strict=True)]
    return ("instance", "lam", "theta", "cost", "dual", "solved"), rows


def slopes():
    """Give instance, theta_0 (along the kink axis), W_c there, F's left and right derivative, and W_c's."""
    rows = []
    for name, build in INSTANCES.items():
        instance = build()
        theta_0, axis = torch.tensor(instance.theta_0, dtype=torch.float64), instance.kink_axis
        left, right = one_sided_derivatives(instance, theta_0, axis)
        true = 2 * float(theta_0[axis] - instance.theta_star[axis])
        rows.append((name, float(theta_0[axis]), float(transport_cost(instance, theta_0)), left, right, true))
    return ("instance", "theta_0", "cost", "left", "right", "derivative"), rows


def dilation(lams, reach, points, solved_every):
    """Give lam, theta, cost, solved (every so many thetas), and the minimiser and minimum of that lam."""
    rows = []
    for lam in lams:
        best = theory.dilation_minimiser(lam)
        minimum = float(theory.dilation_cost(torch.tensor(best, dtype=torch.float64), lam))
        theta = grid(-reach, reach, points)
        for i, (t, cost) in enumerate(zip(theta.tolist(), theory.dilation_cost(theta, lam).tolist(), strict=True)):
            solved = theory.solved_dilation(t, lam)[0] if i % solved_every == 0 else math.nan
            rows.append((lam, t, cost, solved, best, minimum))
    return ("lam", "theta", "cost", "solved", "minimiser", "minimum"), rows


def shrinkage(high, points):
    """Give lam, the dilation's minimiser and that of a Gaussian's scale, data of variance 1 in both."""
    lams = grid(0, high, points).tolist()
    return ("lam", "dilation", "gaussian"), [
        (lam, theory.dilation_minimiser(lam), theory.gaussian_minimiser(1.0, lam)) for lam in lams
    ]


def field(lams, reach, points):
    """Give lam, theta, grad F^lam(psi*(theta*), theta) on a square grid about theta*, Dirac instance."""
    instance, side = dirac(), grid(-reach, reach, points)
    theta = torch.cartesian_prod(side, side) + instance.theta_star
    rows = []
    for lam in lams:
        gradient = theory.frozen_dual_gradient(instance, instance.theta_star, theta, lam)
        rows += [(lam, *point, *slope) for point, slope in zip(theta.tolist(), gradient.tolist(), strict=True)]
    return ("lam", "theta_x", "theta_y", "grad_x", "grad_y"), rows


def convergence(runs, iterations):
    """Give solver, inner_steps, lam, step, schedule, k, distance to theta*, and the contraction's at that step."""
    instance, rows = dirac(), []
    for solver, inner, lam, tau, schedule in runs:
        step = decreasing(tau) if schedule == "decreasing" else tau
        if solver == "exact":
            path = run_exact(instance, lam, step, iterations)
        else:
            path = run(instance, lam, inner, RULES[solver], step, iterations)
        ideal = (gradient_descent(instance, tau, iterations) - instance.theta_star).norm(dim=1)
        pairs = zip(path.errors().tolist(), ideal.tolist(), strict=True)
        rows += [(solver, inner, lam, tau, schedule, k, *pair) for k, pair in enumerate(pairs)]
    return ("solver", "inner_steps", "lam", "step", "schedule", "k", "distance", "contraction"), rows


def modulus(lams, steps, points):
    """Give step, lam, the modulus measured on the formula's gradients, its closed form, and the plain jump."""
    jump, rows = 4.0, []
    for step in steps:
        theta = grid(-2 * step, 2 * step, 4 * points + 1).tolist()
        for lam in lams:
            gradients = torch.tensor([[theory.solved_dilation(t, lam)[1]] for t in theta], dtype=torch.float64)
            measured = theory.modulus_of_continuity(gradients, step / points, step)
            rows.append((step, lam, measured, theory.kink_modulus(jump, lam, step), jump))
    return ("step", "lam", "measured", "closed_form", "jump"), rows


PARTS = (profiles, slopes, dilation, shrinkage, field, convergence, modulus)


def theory_tables(settings, paths):
    """Write one CSV per part, whole or not at all.

    Args:
        settings: arguments of each part, by its name.
        paths: files, by the part's name.
    """
    for part in PARTS:
        write_csv(paths[part.__name__], *part(**settings.get(part.__name__, {})))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    torch.set_num_threads(1)  # tensors of two columns: a second thread only waits for the first
    with job(smk.rule, smk.log[0]):
        theory_tables(smk.params.settings, dict(smk.output.items()))
