"""From a run's settings to the loop that trains it."""

from __future__ import annotations

import torch
from torch import nn

from companion.algorithms.problem import Problem
from companion.algorithms.runs import OTConfig
from companion.algorithms.variants.loops import Dual, VariantLoop, VectorDual
from companion.algorithms.variants.minibatch import MinibatchDual
from companion.algorithms.variants.network import NetworkDual
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import StepRule


def build(
    config: OTConfig,
    generator: nn.Module,
    problem: Problem,
    optimizer: torch.optim.Optimizer,
    rule: StepRule,
    rng: torch.Generator,
) -> VariantLoop | None:
    """Build the loop of a variant, or None where the settings are those of Algorithm 1.

    Raises:
        ValueError: if the settings exclude each other.
    """
    if not config.changes():
        return None
    inner_steps = 0 if config.potential == "minibatch" else config.inner_steps
    if config.reuse > inner_steps:
        raise ValueError(f"reuse = {config.reuse}: there are only inner_steps = {inner_steps} psi-batches in a round")
    if config.batch_atoms > problem.semidual.law.n:
        raise ValueError(f"batch_atoms = {config.batch_atoms}: there are only {problem.semidual.law.n} atoms")
    dual = _dual(config, problem.semidual, rule, rng)
    steps = config.outer_steps, inner_steps
    return VariantLoop(config, generator, problem, dual, optimizer, steps, config.batch_size, rng)


def _dual(config: OTConfig, semidual: SemiDual, rule: StepRule, rng: torch.Generator) -> Dual:
    if config.potential == "vector":
        return VectorDual(semidual, rule, config.carry)
    if config.potential == "minibatch":
        return MinibatchDual(semidual, config.batch_atoms or config.batch_size, rng)
    return NetworkDual(semidual, config.batch_atoms, config.seed + 7_000_003, rng)
