"""Track D's arms: Algorithm 1 by the authors' schedules and this library's, with our kernels or with torch's autograd.

The authors' psi-steps are constant steps with psi's gradient: 1.79 in this cost (0.8 on images in [-1, 1] with the cost
divided by d: 0.8 / (4 mean ||y||^2 / d) and plain averaging, begun anew for each theta-step, in 2021; 5, without an
average, in the sequel. Theirs are read from research code, not from the papers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from companion.algorithms import algorithm1 as ot
from companion.algorithms.networks import LATENT_DIM, make_generator
from otgrad import ctransform
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Uniform
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step
from problems import SIDE, Problem
from solver_arms import Clock, Done
from worker import Pipe

HELD_OUT_SEED = 1_000_003


@dataclass(frozen=True)
class Schedule:
    """How often psi moves before theta does, on how many points, and by which steps.

    Attributes:
        carry: what a round of psi-steps takes over from the last one: its "average" (the counter begins anew, as the
            library does), also the "counter" and the iterate, or "nothing" (psi begins at 0).
        reuse: whether theta's step is taken on the last batch that psi saw, and not on a fresh one.
    """

    inner_steps: int
    batch_size: int
    lr_theta: float
    rule: StepRule
    carry: Literal["average", "counter", "nothing"] = "average"
    reuse: bool = False


SCHEDULES = {
    "authors 2021": Schedule(200, 100, 2e-4, StepRule("plain", 1.79, power=0, averaging=0)),
    "authors 2021, our Adam": Schedule(200, 100, 1e-3, StepRule("plain", 1.79, power=0, averaging=0)),
    "sequel": Schedule(10, 200, 1e-3, StepRule("plain", 5, power=0, averaging=None)),
    "otgrad, psi not carried": Schedule(4, 200, 1e-3, StepRule(), carry="nothing"),
    "otgrad, counter carried": Schedule(4, 200, 1e-3, StepRule(), carry="counter"),
    "otgrad, last batch reused": Schedule(4, 200, 1e-3, StepRule(), reuse=True),
    "otgrad, constant step 5": Schedule(4, 200, 1e-3, StepRule("plain", 5, power=0, averaging=None)),
    "otgrad": Schedule(4, 200, 1e-3, StepRule()),
}


class Training:
    """One run of Algorithm 1 from one seed."""

    def __init__(self, problem: Problem, lam: float, schedule: Schedule, seed: int) -> None:
        """Build the network, the same for every schedule, and the law of the data."""
        target = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y), unit=1 / 255)
        self.task = ot.Problem(Uniform(LATENT_DIM), SemiDual(target, lam, Cost(scale=problem.scale)))
        self.generator, self.schedule = make_generator("mlp", (SIDE, SIDE), seed), schedule
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=schedule.lr_theta)
        self.rng, self.state = torch.Generator().manual_seed(seed), AsgdState.zeros(target)
        self.latents = torch.empty(0, LATENT_DIM)

    def psi_step(self) -> None:
        """Take one inner step on a fresh batch."""
        self.latents = self.task.latent(self.schedule.batch_size, self.rng)
        with torch.no_grad():
            x = self.generator(self.latents)
        asgd_step(x, self.task.semidual, state=self.state, rule=self.schedule.rule)

    def theta_step(self) -> None:
        """Take one step on theta."""
        task = replace(self.task, latent=lambda *_: self.latents) if self.schedule.reuse else self.task
        given = self.generator, task, self.state.average, self.optimizer, self.schedule.batch_size, self.rng
        ot.descend_theta(*given)

    def outer_step(self) -> None:
        """Take a round of inner steps, then one on theta: ot.algorithm1's, but for what the schedule changes."""
        if self.schedule.carry == "nothing":
            self.state = AsgdState.zeros(self.task.semidual.law)
        elif self.schedule.carry == "average":
            self.state = self.state.restarted()
        for _ in range(self.schedule.inner_steps):
            self.psi_step()
        self.theta_step()

    @torch.no_grad()
    def held_out(self, count: int) -> np.ndarray:
        """Images of fixed latents, the same for every schedule."""
        return self.generator(self.task.latent(count, torch.Generator().manual_seed(HELD_OUT_SEED))).numpy()


def autograd_psi_step(x, target, psi, lam, cost, weights=None):
    """Stand in for ctransform.psi_step: the definition, differentiated by autograd."""
    with torch.enable_grad():
        psi = psi.detach().requires_grad_()
        values = ctransform.c_transform(x, target, psi, lam, cost)
        (gradient,) = torch.autograd.grad(values.mean(), psi)
    return values.detach(), target.nu + gradient


def use_autograd(training: Training) -> None:
    """Put autograd in the kernels' place, in this process, on float32 atoms."""
    ctransform.psi_step = autograd_psi_step
    ctransform.c_transform_fixed_psi = lambda *given: ctransform.c_transform(*given[:5])  # y and nu are the law's
    semidual = training.task.semidual
    semidual = replace(semidual, law=DiscreteMeasure.from_atoms(semidual.law.points))
    training.task = replace(training.task, semidual=semidual)


_state: dict[str, Training] = {}


def answer(pipe: Pipe, do: str, **given) -> None:
    """Serve Track D: "train" (looks at held-out images), or "prepare" and "go" (times of single steps)."""
    if do == "train":
        train(pipe, **given)
    elif do == "prepare":
        prepare(pipe, **given)
    else:
        pipe.send({"psi_ms": timed(_state["run"].psi_step), "theta_ms": timed(_state["run"].theta_step)})


def timed(function) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def prepare(pipe: Pipe, folder: str, lam: float, seed: int, schedule: str, kernel: str) -> None:
    """Build a run for single steps, by either kernel, and take one of each."""
    run = _state["run"] = Training(Problem.load(folder), lam, SCHEDULES[schedule], seed)
    if kernel == "autograd":
        use_autograd(run)
    run.psi_step(), run.theta_step()
    pipe.send({"ready": True})


def train(pipe: Pipe, folder: str, lam: float, seed: int, schedule: str, images: str, held_out: int) -> None:
    """Train until the driver has seen enough; the clock counts training alone."""
    clock, problem = Clock(pipe, images, first_look=0.5), Problem.load(folder)
    spare = Training(problem, lam, SCHEDULES[schedule], seed)
    spare.psi_step(), spare.theta_step()  # builds what is built once
    run = Training(problem, lam, SCHEDULES[schedule], seed)
    run.task = spare.task
    try:
        clock.start()
        while True:
            run.outer_step()
            clock(lambda: run.held_out(held_out))
    except Done:
        return
