"""Algorithm 1 with what a variant changes: the same two halves of a step, psi's and theta's.

    psi   <- some steps on the semi-dual at lam_t, on fresh batches of the generator
    theta <- theta - step_t * mean_i (d_theta x_i)^T (grad psi^{c,lam_t}(x_i) - w grad psi_self^{c,lam_t}(x_i))

What psi is, and how it moves, is a `Dual`: a vector (here), a network or a vector on a batch of the data.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from companion.algorithms.problem import Problem
from companion.algorithms.variants.anchor import Anchor
from companion.algorithms.variants.minibatch import BatchSelfTerm
from companion.algorithms.variants.schedules import WeightAverage, lam_at, rate_at
from companion.algorithms.variants.self_term import SelfTerm
from companion.algorithms.variants.settings import Variant
from otgrad.measures import DiscreteMeasure
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step


class Dual(Protocol):
    """What the loop asks of psi.

    Attributes:
        asgd: its state where psi is a vector, else zeros.
    """

    asgd: AsgdState

    def ascend(self, batch: Tensor, lam: float) -> None:
        """Take one step on the semi-dual with a batch (b, d) of the model."""
        ...

    def begin_round(self) -> None:
        """Prepare for the psi-steps of one theta-step."""
        ...

    def law(self, x: Tensor, lam: float) -> tuple[DiscreteMeasure, Tensor]:
        """Return the data law, or a part of it, and psi on its atoms, for the theta-step at points x (b, d)."""
        ...

    def everywhere(self) -> Tensor:
        """Return psi on all atoms (n,)."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        ...

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        ...


class VectorDual:
    """psi (n,) by averaged stochastic ascent; of its counter the share `carry` is kept from round to round."""

    def __init__(self, semidual: SemiDual, rule: StepRule, carry: float) -> None:
        """Start from psi = 0."""
        self.semidual, self.rule, self.carry = semidual, rule, carry
        self.asgd = AsgdState.zeros(semidual.law)

    def begin_round(self) -> None:
        """Restart from the average, or go on from iterate and average with a smaller counter."""
        if self.carry == 0:
            self.asgd = self.asgd.restarted()
        else:
            self.asgd = AsgdState(self.asgd.psi, self.asgd.average, int(self.carry * self.asgd.k))

    def ascend(self, batch: Tensor, lam: float) -> None:
        """Take one step of ASGD."""
        asgd_step(batch, self.semidual.at(lam), state=self.asgd, rule=self.rule)

    def law(self, x: Tensor, lam: float) -> tuple[DiscreteMeasure, Tensor]:
        """Return all of the data law with the average."""
        return self.semidual.law, self.asgd.average

    def everywhere(self) -> Tensor:
        """Return the average."""
        return self.asgd.average

    def state(self) -> dict[str, Any]:
        """Return iterate, average and counter."""
        return {"psi": self.asgd.psi, "average": self.asgd.average, "k": self.asgd.k}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.asgd = AsgdState(saved["psi"], saved["average"], saved["k"])


class VariantLoop:
    """Endless iterator over theta-steps, as `training.ot.algorithm1`.

    Each yields psi's state, and F(psi, theta) on the batch before the step, without the self term. Claims: A-beyond.
    """

    def __init__(
        self,
        variant: Variant,
        generator: nn.Module,
        problem: Problem,
        dual: Dual,
        optimizer: torch.optim.Optimizer,
        steps: tuple[int, int],
        batch_size: int,
        rng: torch.Generator,
    ) -> None:
        """Prepare for training.

        Args:
            variant: what is changed.
            generator: g_theta, a module z (b, k) -> x (b, d).
            problem: latent law, data law, cost and the last lam.
            dual: psi.
            optimizer: of theta, its rate the one before any decay.
            steps: how many theta-steps there will be, and psi-steps before each.
            batch_size: generated points per step.
            rng: of the latents and of the atoms drawn.

        Raises:
            ValueError: if lam_start is below lam, or lam is 0 and decreasing.
        """
        lam, start = problem.semidual.lam, variant.lam_start
        if start > 0 and not 0 < lam <= start:
            raise ValueError(f"lam_start = {start}: give at least lam = {lam}, which must be > 0")
        self.variant, self.generator, self.problem, self.dual = variant, generator, problem, dual
        self.optimizer, self.lr_theta = optimizer, [group["lr"] for group in optimizer.param_groups]
        self.outer_steps, self.inner_steps = steps
        self.batch_size, self.rng, self.done = batch_size, rng, 0
        self.weights = WeightAverage(generator, variant.weight_average) if variant.weight_average > 0 else None
        self.self_term = self._self_term(variant) if variant.self_atoms > 0 else None
        anchored = variant.anchor > 0
        self.anchor = Anchor(generator, problem.semidual, variant.anchor, variant.anchor_batches) if anchored else None

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> tuple[AsgdState, Tensor]:
        """Take one round of psi-steps and one theta-step."""
        done = self.done / self.outer_steps
        lam = lam_at(done, self.problem.semidual.lam, self.variant)
        for group, lr in zip(self.optimizer.param_groups, self.lr_theta, strict=True):
            group["lr"] = rate_at(done, lr, self.variant)
        value = self._descend(self._ascend(lam), lam)
        if self.weights is not None:
            self.weights.update(self.generator)
        self.done += 1
        return self.dual.asgd, value

    @torch.no_grad()
    def _ascend(self, lam: float) -> Tensor:
        """Move psi; return the latents of the theta-step."""
        self.dual.begin_round()
        latents = [self._latents() for _ in range(self.inner_steps)]
        for z in latents:
            self.dual.ascend(self.generator(z), lam)
        return torch.cat(latents[-self.variant.reuse :]) if self.variant.reuse else self._latents()

    def _descend(self, z: Tensor, lam: float) -> Tensor:
        x, cost = self.generator(z), self.problem.semidual.cost
        points = x.detach()
        law, psi = self.dual.law(points, lam)
        if self.anchor is not None:
            self.anchor.renew(self.generator, psi, lam, self._latents)
        values, slopes = SemiDual(law, lam, cost).x_grad(points, psi)
        if self.self_term is not None:
            slopes = slopes - self.variant.self_weight * self.self_term.slopes(points, lam, cost)[1]
        self.optimizer.zero_grad(set_to_none=True)
        x.backward(slopes / len(x))
        if self.anchor is not None:
            self.anchor.correct(self.generator.parameters(), z)
        self.optimizer.step()
        return values.mean() + law.mean(psi)

    def trained(self) -> nn.Module:
        """Return the generator to keep: the average of the weights, if there is one."""
        return self.generator if self.weights is None else self.weights.average

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides generator, optimizer and random numbers."""
        averaged = self.weights and {"average": self.weights.average.state_dict(), "k": self.weights.k}
        parts = {name: part and part.state() for name, part in self._parts().items()}
        return {"done": self.done, "dual": self.dual.state(), "weights": averaged} | parts

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.done = saved["done"]
        self.dual.load(saved["dual"])
        if self.weights is not None:
            self.weights.average.load_state_dict(saved["weights"]["average"])
            self.weights.k = saved["weights"]["k"]
        for name, part in self._parts().items():
            if part is not None:
                part.load(saved[name])

    def _parts(self) -> dict[str, SelfTerm | BatchSelfTerm | Anchor | None]:
        return {"self_term": self.self_term, "anchor": self.anchor}

    def _self_term(self, variant: Variant) -> SelfTerm | BatchSelfTerm:
        if variant.potential == "minibatch":
            return BatchSelfTerm(partial(self._samples, variant.self_atoms))
        return SelfTerm(self._samples(variant.self_atoms))

    def _latents(self) -> Tensor:
        return self.problem.latent(self.batch_size, self.rng)

    @torch.no_grad()
    def _samples(self, count: int) -> Tensor:
        return self.generator(self.problem.latent(count, self.rng))
