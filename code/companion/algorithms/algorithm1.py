"""Algorithm 1 of the paper: alternate stochastic ascent on psi and one stochastic step on theta.

repeat

    psi   <- some steps of ASGD on the semi-dual, on fresh batches of the generator, from the last average
    theta <- theta - step * E_z[(d_theta g_theta(z))^T grad psi^{c,lam}(g_theta(z))]   on one fresh batch, psi fixed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.graphs import recorded
from companion.algorithms.networks import LATENT_DIM
from companion.algorithms.problem import Problem
from companion.algorithms.runs import OTConfig
from companion.algorithms.training_state import TrainingState
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Sampler, Uniform
from otgrad.scale.shards import Shard, Team
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_round, check_psi


def ascend_psi(
    generator: nn.Module,
    problem: Problem,
    state: AsgdState,
    rule: StepRule,
    steps: int,
    batch_size: int,
    rng: torch.Generator,
) -> AsgdState:
    """Run the inner loop: `steps` steps of ASGD on fresh batches of g_theta(z), warm-started from the average.

    Returns:
        the new state; its `average` (n,) is the psi that the theta-step uses.
    """

    @torch.no_grad()
    def draw() -> Tensor:
        return generator(problem.latent(batch_size, rng))

    return asgd_round(draw, problem.semidual, state=state, steps=steps, rule=rule)


def psi_round(
    generator: nn.Module,
    problem: Problem,
    state: AsgdState,
    rule: StepRule,
    steps: int,
    batch_size: int,
    rng: torch.Generator,
) -> Callable[[], None]:
    """Prepare the inner loop for being repeated, in place on `state`.

    On a GPU all of its steps are one CUDA graph, but for atoms in several processes and a decreasing lam.
    """

    def ascend() -> None:
        found = ascend_psi(generator, problem, state, rule, steps, batch_size, rng)
        state.psi.copy_(found.psi)
        state.average.copy_(found.average)
        state.k, state.spread = found.k, found.spread

    alone = type(problem.semidual.law) is DiscreteMeasure and rule.anneal == 0
    return recorded(ascend, state.psi.device, rng) if alone else ascend


def descend_theta(
    generator: nn.Module,
    problem: Problem,
    psi: Tensor,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: torch.Generator,
) -> Tensor:
    """Take one step on theta, psi (n,) fixed, by the explicit gradient of a fresh batch. Claims: A-stochastic-gradient.

    Returns:
        F(psi, theta) on that batch before the step (scalar tensor), in units of the cost.
    """
    x = generator(problem.latent(batch_size, rng))
    transform = problem.semidual.fixed_psi(x, psi).mean()
    optimizer.zero_grad(set_to_none=True)
    transform.backward()
    optimizer.step()
    return transform.detach() + problem.semidual.law.mean(psi)


def algorithm1(
    generator: nn.Module,
    problem: Problem,
    state: AsgdState,
    optimizer: torch.optim.Optimizer,
    rule: StepRule,
    inner_steps: int,
    batch_size: int,
    rng: torch.Generator,
) -> Iterator[tuple[AsgdState, Tensor]]:
    """Train without end; yield psi's state, changed in place, and F(psi, theta) on the batch after every theta-step.

    Claims: A-no-convergence, A-decreasing-steps, A-convergence-algorithm1.
    """
    ascend = psi_round(generator, problem, state, rule, inner_steps, batch_size, rng)
    while True:
        ascend()
        yield state, descend_theta(generator, problem, state.average, optimizer, batch_size, rng)


@dataclass
class TrainedGenerator:
    """Result of `train`.

    Attributes:
        generator: the trained generator.
        psi: potential (n,) in units of the normalised cost, after `final_steps` steps from 0 on the trained generator;
            that of the training itself is noisy at small lam.
        log: value, marginal_error, effective_atoms at psi as it was in training, and the samples' variance over mean
            ||y||^2, a row per entry; the last row is at the final psi.
        timing: seconds at the same theta-steps.
    """

    generator: nn.Module
    psi: Tensor
    log: list[dict[str, float]]
    timing: list[dict[str, float]]


def train(
    config: OTConfig,
    y: Tensor,
    shape: tuple[int, int],
    checkpoints: CheckpointFolder,
    checkpoint_digest: str,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
    team: Team | None = None,
) -> TrainedGenerator:
    """Train a generator of images by Algorithm 1 with Adam, resuming from the last checkpoint if there is one.

    The cost is ||x - y||^2 / mean ||y||^2. Stopped at any moment and called again, it gives bit for bit the same
    result on the same CPU with as many threads, a generator in evaluation mode. Where the config asks for a variant,
    its loop is run. Claims: A-collapse, A-smoothing.
    A collapsed generator trains no further (`TrainingState.collapsed`).
    `# ASSUME:` the inner loop is warm-started from the average and its step counter restarts at every theta-step.

    Args:
        config: the run's settings.
        y: training images (n, h w) in [0, 1], float32, on the device to train on.
        shape: (h, w).
        checkpoints: where to keep the state; the caller holds its lock.
        checkpoint_digest: the configuration's digest, checked against the checkpoint's.
        track: wraps the iteration over theta-steps, for a progress bar.
        team: processes among which the atoms are dealt out, y being this one's, each with the same generator; the first
            keeps the checkpoints, which do not depend on their number (None: one process).

    Raises:
        FloatingPointError: if psi or the loss is no longer finite; it names the step and the last checkpoint.
        RunError: if the checkpoint is damaged or of another configuration.
        ProcessLost: if another process has ended.
    """
    problem = _problem(y, config.lam, team)
    rule = StepRule(config.step_rule, config.step_c)  # type: ignore[arg-type]
    run = TrainingState.start(config, problem, rule, shape, checkpoints.load(y.device), checkpoint_digest)

    clock = time.perf_counter() - run.seconds
    batches = config.batch_size, run.rng
    given = run.generator, problem, run.psi_state, run.optimizer, rule, config.inner_steps
    theta_steps = run.variant or algorithm1(*given, *batches)
    for step in track(range(run.step + 1, 1 + (run.step if run.collapsed(problem) else config.outer_steps))):
        with _named(step, run.step):
            run.psi_state, value = next(theta_steps)
        last = step == config.outer_steps
        logged, kept = (step % every == 0 or last for every in (config.log_every, config.checkpoint_every))
        if logged or kept:
            with _named(step, run.step):
                check_psi(run.psi_state, rule)
                run.check_finite(value)
        if logged:
            if team:
                sums = [values.detach().double().sum() for values in run.generator.parameters()]
                team.agree("the generator", torch.stack(sums).sum())
            run.log.append({"step": step} | _measure(run, problem, config))
            run.timing.append({"step": step, "seconds": time.perf_counter() - clock})
            last = last or run.collapsed(problem)
        if kept:
            run.step, run.seconds = step, time.perf_counter() - clock
            state = run.saved(checkpoint_digest)
            if team is None or team.rank == 0:
                checkpoints.save(state)
        if last:
            break
    run.finish()
    law = problem.semidual.law
    run.psi_state = ascend_psi(run.generator, problem, AsgdState.zeros(law), rule, config.final_steps, *batches)
    psi = law.whole(law.center(run.psi_state.average))
    log = [*run.log[:-1], run.log[-1] | _measure(run, problem, config)]
    return TrainedGenerator(run.generator, psi, log, run.timing)


def _problem(y: Tensor, lam: float, team: Team | None) -> Problem:
    target = DiscreteMeasure.from_atoms(y) if team is None else Shard.of(y, team)
    cost = Cost().normalized(y, target.nu)
    scale = float(target.total(torch.tensor(cost.scale, dtype=torch.float64, device=y.device)))
    return Problem(Uniform(LATENT_DIM), SemiDual(target, lam, replace(cost, scale=scale)))


@contextmanager
def _named(step: int, saved: int) -> Iterator[None]:
    """Say at which theta-step a number ceased to be finite, and from where one can go on."""
    try:
        yield
    except FloatingPointError as error:
        kept = f"the checkpoint of theta-step {saved} is kept" if saved else "there is no checkpoint yet"
        raise FloatingPointError(f"theta-step {step}: {error}; {kept}") from error


@torch.no_grad()
def _measure(run: TrainingState, problem: Problem, config: OTConfig) -> dict[str, float]:
    """One row of the log, on latents of their own that are the same in every row."""
    rng = torch.Generator(problem.semidual.law.y.device).manual_seed(config.seed + 1_000_003)
    x = sample_images(run.generator, problem.latent, config.eval_samples, rng)
    psi = run.variant.dual.everywhere() if run.variant else run.psi_state.average
    (value, grad), atoms = problem.semidual.value(x, psi), problem.semidual.effective_atoms(x[:100], psi)
    error, scale = marginal_error(grad, problem.semidual.law), problem.semidual.cost.scale
    found = {"value": float(value), "marginal_error": error, "effective_atoms": atoms}
    return found | {"variance": float(x.double().var(0, correction=0).sum()) / scale}


@torch.no_grad()
def sample_images(generator: nn.Module, latent: Sampler, count: int, rng: torch.Generator) -> Tensor:
    """Draw `count` images (count, h w) in evaluation mode; the generator's mode is left as it was."""
    training = generator.training
    generator.eval()
    images = generator(latent(count, rng))
    generator.train(training)
    return images
