"""Algorithm 1 of the paper: alternate stochastic ascent on psi and one stochastic step on theta.

repeat

    psi   <- some steps of ASGD on the semi-dual, on fresh batches of the generator, from the last average
    theta <- theta - step * E_z[(d_theta g_theta(z))^T grad psi^{c,lam}(g_theta(z))]   on one fresh batch, psi fixed
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from otgrad.asgd import AsgdState, StepRule, asgd_round
from otgrad.costs import Cost
from otgrad.ctransform import c_transform_fixed_psi
from otgrad.measures import DiscreteMeasure, Sampler, Uniform
from otgrad.networks import LATENT_DIM, make_generator
from otgrad.problem import Problem
from otgrad.runs import CheckpointFolder, OTConfig, RunError
from otgrad.semidual import effective_atoms, marginal_error, objective
from otgrad.variants.build import build
from otgrad.variants.loops import VariantLoop


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

    return asgd_round(state, draw, steps, problem.target, problem.lam, problem.cost, rule)


def descend_theta(
    generator: nn.Module,
    problem: Problem,
    psi: Tensor,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    rng: torch.Generator,
) -> Tensor:
    """Take one step on theta with psi (n,) fixed, along the explicit gradient on a fresh batch.

    Returns:
        F(psi, theta) on that batch before the step (scalar tensor), in units of the cost.
    """
    x = generator(problem.latent(batch_size, rng))
    transform = c_transform_fixed_psi(x, problem.target, psi, problem.lam, problem.cost).mean()
    optimizer.zero_grad(set_to_none=True)
    transform.backward()
    optimizer.step()
    return transform.detach() + torch.dot(problem.target.nu, psi)


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
    """Train without end, yielding psi's state and F(psi, theta) on the batch after every theta-step."""
    while True:
        state = ascend_psi(generator, problem, state, rule, inner_steps, batch_size, rng)
        yield state, descend_theta(generator, problem, state.average, optimizer, batch_size, rng)


@dataclass
class TrainedGenerator:
    """Result of `train`.

    Attributes:
        generator: the trained generator.
        psi: potential (n,) in units of the normalised cost, after `final_steps` steps from 0 on the trained generator:
            the one that training leaves off with is noisy at small lam, since it chases a moving generator.
        log: value, marginal_error and effective_atoms at psi as it was during training, a row per entry; the last
            row is taken at the final psi.
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
) -> TrainedGenerator:
    """Train a generator of images by Algorithm 1 with Adam, resuming from the last checkpoint if there is one.

    The cost is ||x - y||^2 / mean ||y||^2. Stopped at any moment and called again, it gives bit for bit the same
    result on the same CPU with the same number of threads. Where the config asks for a variant, its loop is run.
    `# ASSUME:` the inner loop is warm-started from the average and its step counter restarts at every theta-step.

    Args:
        config: the run's settings.
        y: training images (n, h w) in [0, 1], float32, on the device to train on.
        shape: (h, w).
        checkpoints: where to keep the state; the caller holds its lock.
        checkpoint_digest: the configuration's digest, checked against the checkpoint's.
        track: wraps the iteration over theta-steps, for a progress bar.

    Returns:
        the trained generator in evaluation mode.

    Raises:
        FloatingPointError: if psi or the loss is no longer finite.
        RunError: if the checkpoint is damaged or of another configuration.
    """
    target = DiscreteMeasure.from_atoms(y)
    cost = Cost().normalized(y, target.nu)
    problem = Problem(Uniform(LATENT_DIM), target, cost, config.lam)
    rule = StepRule(config.step_rule, config.step_c)  # type: ignore[arg-type]
    run = _Run.start(config, problem, rule, shape, checkpoints.load(y.device), checkpoint_digest)

    clock = time.perf_counter() - run.seconds
    batches = config.batch_size, run.rng
    given = run.generator, problem, run.psi_state, run.optimizer, rule, config.inner_steps
    theta_steps = run.variant or algorithm1(*given, *batches)
    for step in track(range(run.step + 1, config.outer_steps + 1)):
        run.psi_state, value = next(theta_steps)
        last = step == config.outer_steps
        if step % config.log_every == 0 or last:
            if not math.isfinite(float(value)):
                raise FloatingPointError(f"the loss is not finite at theta-step {step}: lower lr_theta")
            run.log.append({"step": step} | _measure(run, problem, config))
            run.timing.append({"step": step, "seconds": time.perf_counter() - clock})
        if step % config.checkpoint_every == 0 or last:
            run.step, run.seconds = step, time.perf_counter() - clock
            checkpoints.save(run.state(checkpoint_digest))
    run.finish()
    run.psi_state = ascend_psi(run.generator, problem, AsgdState.zeros(target), rule, config.final_steps, *batches)
    psi = target.center(run.psi_state.average)
    log = [*run.log[:-1], run.log[-1] | _measure(run, problem, config)]
    return TrainedGenerator(run.generator, psi, log, run.timing)


@dataclass
class _Run:
    """All that changes during training: what a checkpoint holds."""

    generator: nn.Module
    optimizer: torch.optim.Optimizer
    psi_state: AsgdState
    rng: torch.Generator
    variant: VariantLoop | None
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)
    timing: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        config: OTConfig,
        problem: Problem,
        rule: StepRule,
        shape: tuple[int, int],
        saved: dict[str, Any] | None,
        digest: str,
    ) -> _Run:
        """Begin from the seed, or from a checkpoint."""
        device = problem.target.y.device
        generator = make_generator(config.generator, shape, config.seed).to(device)
        optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr_theta)
        # offset, because the seed itself would repeat the uniform numbers of the first layer's initial weights
        rng = torch.Generator(device).manual_seed(config.seed + 3_000_003)
        variant = build(config, generator, problem, optimizer, rule, rng)
        run = cls(generator, optimizer, AsgdState.zeros(problem.target), rng, variant)
        if saved is not None:
            if saved.get("digest") != digest:
                raise RunError("the checkpoint is of another configuration: delete its folder to start again")
            generator.load_state_dict(saved["generator"])
            optimizer.load_state_dict(saved["optimizer"])
            rng.set_state(saved["rng"].cpu())
            run.psi_state = AsgdState(saved["average"].clone(), saved["average"])
            run.step, run.seconds, run.log, run.timing = (saved[k] for k in ("step", "seconds", "log", "timing"))
            if variant:
                variant.load(saved["variant"])
        return run

    def state(self, digest: str) -> dict[str, Any]:
        return {
            "digest": digest,
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
            "timing": self.timing,
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "average": self.psi_state.average,
            "variant": self.variant and self.variant.state(),
        }

    def finish(self) -> None:
        if self.variant:
            self.generator, self.variant = self.variant.trained(), None
        self.generator.eval()


@torch.no_grad()
def _measure(run: _Run, problem: Problem, config: OTConfig) -> dict[str, float]:
    """One row of the log, on latents of their own that are the same in every row."""
    rng = torch.Generator(problem.target.y.device).manual_seed(config.seed + 1_000_003)
    x = sample_images(run.generator, problem.latent, config.eval_samples, rng)
    psi = run.variant.dual.everywhere() if run.variant else run.psi_state.average
    value, grad = objective(x, problem.target, psi, problem.lam, problem.cost)
    atoms = effective_atoms(x[:100], problem.target, psi, problem.lam, problem.cost)
    return {"value": float(value), "marginal_error": marginal_error(grad), "effective_atoms": atoms}


@torch.no_grad()
def sample_images(generator: nn.Module, latent: Sampler, count: int, rng: torch.Generator) -> Tensor:
    """Draw `count` images (count, h w) in evaluation mode; the generator's mode is left as it was."""
    training = generator.training
    generator.eval()
    images = generator(latent(count, rng))
    generator.train(training)
    return images
