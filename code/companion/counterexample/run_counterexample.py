"""Run Algorithm 1 on the two instances of Proposition 1 and write one table per question.

figure1   the trajectories of Figure 1
chart     where descent oscillates, over the number and the size of the inner steps
segment   the same two curves on the instance whose mass is spread along the interface
steps     lam against the step on theta, constant and decreasing

Each function is told everything by its arguments, explained in settings.yaml, and writes one CSV, whole or not at all.
"""

from companion.common.job import job

import torch

from companion.common.files import write_csv
from companion.common.readers import read_table
from companion.counterexample.descent import INSTANCES, decreasing, dirac, run, run_exact
from companion.counterexample.lockstep import Setting, run_all
from companion.counterexample.ties import run_tied
from companion.counterexample.verdicts import NEAR, TAIL
from otgrad.solvers.stochastic import StepRule


def averaged_rule(c=1.0):
    """Steps c / sqrt(i) with a plain average: the rule that ends on Figure 1's cycle."""
    return StepRule("plain", c=c, power=0.5, averaging=0.0)


def constant_rule(lam, multiplier=1.0):
    """Constant steps multiplier n lam with n = 2 atoms, last iterate: multiplier 1 is Newton's step at the tie."""
    return StepRule("plain", c=multiplier * 2 * lam, power=0.0, averaging=None)


SCHEDULES = {"constant": lambda tau: tau, "decreasing": decreasing}
SOLVERS = {"averaged": averaged_rule(), "default": StepRule()}


def figure1(lam, step, iterations, plain_inner_steps, entropic_inner_steps, ties, digitised, path):
    """Write panel, k, theta_x, theta_y for the Dirac instance; k = 0 is the first plotted point, after one step.

    "plain_paper" and "entropic_paper" are the points digitised from the paper's figure, as wide as ours: its axes fix
    no horizontal scale.
    """
    # ASSUME: five averaged steps at lam = 0. The paper's inner solver is unknown, and with it how ties are broken; this
    # one ends on the paper's 2-cycle from other first points. "plain_ties" breaks them as the paper's points imply.
    instance = dirac()
    panels = {
        "plain": run(instance, 0.0, plain_inner_steps, averaged_rule(), step, iterations),
        "plain_exact": run_exact(instance, 0.0, step, iterations),
        "plain_ties": run_tied(instance, ties, step, iterations),
        "entropic": run(instance, lam, entropic_inner_steps, constant_rule(lam), step, iterations),
        "entropic_exact": run_exact(instance, lam, step, iterations),
    }
    rows = [
        (panel, k, *point)
        for panel, trajectory in panels.items()
        for k, point in enumerate(trajectory.theta[1:].tolist())
    ]
    wide = -rows[0][2]
    rows += [(f"{p['panel']}_paper", p["k"], wide * float(p["x"]), float(p["y"])) for p in read_table(digitised)]
    write_csv(path, ("panel", "k", "theta_x", "theta_y"), rows)


def chart(lams, inner_steps, multipliers, plain_multipliers, step, iterations, path):
    """Write how far the last iterates swing (Dirac instance), for each solver setting."""
    chosen = []
    for lam in lams:
        rules = [("default", 1.0, StepRule())]
        if lam > 0:
            rules += [("constant", m, constant_rule(lam, m)) for m in multipliers]
        else:
            rules += [("averaged", m, averaged_rule(m)) for m in plain_multipliers]
        chosen += [
            ((lam, name, inner, m), Setting(lam, inner, rule, step)) for name, m, rule in rules for inner in inner_steps
        ]
    ends = run_all(dirac(), [setting for _, setting in chosen], iterations)
    rows = [
        (*told, end.amplitude(TAIL), float(end.errors(TAIL).max())) for (told, _), end in zip(chosen, ends, strict=True)
    ]
    header = ("lam", "rule", "inner_steps", "inner_step", "tail_amplitude", "tail_distance")
    write_csv(path, header, rows)


def segment(lams, inner_steps, step, iterations, batch_size, seed, path):
    """Write lam, k, theta_x, theta_y of the segment instance, default solver; k = 0 is theta_0."""
    rows = []
    for lam in lams:
        end = run(INSTANCES["segment"](), lam, inner_steps, StepRule(), step, iterations, batch_size, seed)
        rows += [(lam, k, *point) for k, point in enumerate(end.theta.tolist())]
    write_csv(path, ("lam", "k", "theta_x", "theta_y"), rows)


def steps(lams, theta_steps, inner_steps, iterations, batch_size, seed, path):
    """Write the distances to theta* over the last iterates, for each lam, step on theta, schedule and instance.

    A row has converged if its largest distance along the kink axis is at most NEAR (no sampling noise enters there;
    the full distances of the segment instance keep that of the draws, about 0.02 at step 0.07).
    """
    grid = [(lam, tau, name) for lam in lams for tau in theta_steps for name in SCHEDULES]
    rows = []
    for solver, inner in inner_steps.items():
        for name, build in INSTANCES.items():
            points = 1 if name == "dirac" else batch_size
            if solver != "exact":
                settings = [Setting(lam, inner, SOLVERS[solver], SCHEDULES[kind](tau)) for lam, tau, kind in grid]
                ends = run_all(build(), settings, iterations, points, seed)
            elif name == "dirac":
                ends = [run_exact(build(), lam, SCHEDULES[kind](tau), iterations) for lam, tau, kind in grid]
            else:
                continue
            rows += [(solver, inner, name, *told, *_tail_summary(end)) for told, end in zip(grid, ends, strict=True)]
    header = ("solver", "inner_steps", "instance", "lam", "step", "schedule")
    columns = ("max_distance", "mean_distance", "last_distance", "kink_max", "kink_mean", "converged")
    write_csv(path, header + columns, rows)


def _tail_summary(trajectory):
    distance, kink = trajectory.errors(TAIL), trajectory.kink_errors(TAIL)
    values = (distance.max(), distance.mean(), distance[-1], kink.max(), kink.mean())
    return (*map(float, values), int(kink.max() <= NEAR))


PARTS = {"figure1": figure1, "chart": chart, "segment": segment, "steps": steps}

if "snakemake" in globals():
    smk = globals()["snakemake"]
    torch.set_num_threads(1)  # tensors of two columns: a second thread only waits for the first
    with job(smk.rule, smk.log[0]):
        for part, settings in smk.params.settings.items():
            read = {"digitised": smk.input.digitised} if part == "figure1" else {}
            PARTS[part](**settings, **read, path=smk.output[part])
