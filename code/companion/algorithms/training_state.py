"""All that changes while a generator is trained by Algorithm 1: what a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from companion.algorithms.networks import make_generator
from companion.algorithms.problem import Problem
from companion.algorithms.runs import OTConfig, RunError
from companion.algorithms.variants.build import build
from companion.algorithms.variants.loops import VariantLoop
from otgrad.measures import DiscreteMeasure
from otgrad.solvers.stochastic import AsgdState, StepRule

IN_A_ROW = 3  # entries of the log over which a generator must have collapsed to train no further
AT_REST = 1e-3  # share of the value by which these entries may differ
ONE_POINT = 1e-3  # total variance of samples, in units of mean ||y||^2, up to which they are one point


@dataclass
class TrainingState:
    """Network, optimizer, psi, random numbers and log after `step` theta-steps and `seconds` of work."""

    generator: nn.Module
    optimizer: torch.optim.Optimizer
    psi_state: AsgdState
    rng: torch.Generator
    variant: VariantLoop | None
    target: DiscreteMeasure
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
    ) -> TrainingState:
        """Begin from the seed, or from a checkpoint.

        Raises:
            RunError: if the checkpoint is of another configuration, or a variant is asked for in several processes.
        """
        target = problem.semidual.law
        device = target.y.device
        generator = make_generator(config.generator, shape, config.seed).to(device)
        optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr_theta, fused=device.type == "cuda")
        # offset, because the seed itself would repeat the uniform numbers of the first layer's initial weights
        rng = torch.Generator(device).manual_seed(config.seed + 3_000_003)
        if config.changes() and target.size != target.n:
            raise RunError(f"{', '.join(config.changes())}: variants are trained in one process; leave torchrun out")
        variant = build(config, generator, problem, optimizer, rule, rng)
        state = cls(generator, optimizer, AsgdState.zeros(target), rng, variant, target)
        if saved is not None:
            if saved.get("digest") != digest:
                raise RunError("the checkpoint is of another configuration: delete its folder to start again")
            state._go_on(saved)
        return state

    def _go_on(self, saved: dict[str, Any]) -> None:
        self.generator.load_state_dict(saved["generator"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.set_state(saved["rng"].cpu())
        average = self.target.part(saved["average"])
        self.psi_state = AsgdState(average.clone(), average)
        self.step, self.seconds, self.log, self.timing = (saved[k] for k in ("step", "seconds", "log", "timing"))
        if self.variant:
            self.variant.load(saved["variant"])

    def collapsed(self, problem: Problem) -> bool:
        """Whether over the last IN_A_ROW entries all samples were one point, and that is where theory says they stay.

        Below the critical lam a generator may pass through such a point, and leave it again.
        """
        last = self.log[-IN_A_ROW:]
        values = [row["value"] for row in last]
        return (
            len(last) == IN_A_ROW
            and max(values) - min(values) <= AT_REST * abs(values[-1])
            and all(row["variance"] <= ONE_POINT for row in last)
            and self._beyond(problem)
        )

    def _beyond(self, problem: Problem) -> bool:
        """Whether lam is beyond twice the data's first eigenvalue; atoms in several processes are not asked."""
        if self.target.size != self.target.n:
            return False
        y = self.target.y.double()
        covariance = (y - y.mean(0)).mT @ (y - y.mean(0)) / len(y)
        return problem.semidual.lam * problem.semidual.cost.scale > 2 * float(torch.linalg.eigvalsh(covariance)[-1])

    def check_finite(self, value: Tensor) -> None:
        """Raise FloatingPointError if the generator, or the loss, is not finite."""
        for name, parameter in self.generator.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise FloatingPointError(f"the generator's {name} is not finite: lower lr_theta")
        if not math.isfinite(float(value)):
            raise FloatingPointError("the loss is not finite: lower lr_theta")

    def saved(self, digest: str) -> dict[str, Any]:
        """Return what a checkpoint holds; it does not depend on the number of processes."""
        return {
            "digest": digest,
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
            "timing": self.timing,
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "average": self.target.whole(self.psi_state.average),
            "variant": self.variant and self.variant.state(),
        }

    def finish(self) -> None:
        """Leave the generator that is to be kept, in evaluation mode."""
        if self.variant:
            self.generator, self.variant = self.variant.trained(), None
        self.generator.eval()
