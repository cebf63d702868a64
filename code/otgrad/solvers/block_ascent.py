"""Passes of variance-reduced stochastic ascent on the semi-dual of a fixed pool of points.

The pool is cut at random into blocks. The first pass takes one online Sinkhorn step (or a few) on each block,

    psi_j -= L log(1 + eta_k (p_j / nu_j - 1)),   eta_k = (1 + k)^-1/2,

p the block's marginal, L decreasing to lam, and averages. The later passes take the same step with the pool's marginal
as SAGA estimates it (Defazio, Bach, Lacoste-Julien 2014): the block's, corrected by what all blocks were at their last
visits, with a constant eta. Where points outnumber atoms in a block too little for that step, a noise remains: when two
passes disagree on the way to go, blocks are joined in pairs. One block is left in the end, and Sinkhorn's algorithm,
which raises F at every step. Memory: one marginal (n,) per block, and the buffer of psi_step for one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import cost_spread

LEAST_RATIO = 1e-3  # of p_j / nu_j in the logarithm: SAGA's estimate may be negative, and a marginal may underflow

Watch = Callable[[Tensor, float], None]
"""Called after every step with the present psi, which it must not change, and the passes made so far."""


@dataclass(frozen=True)
class BlockRule:
    """The constants of the schedule; the defaults were chosen on MNIST at lam = 0.1, 0.02 and 0.005.

    Attributes:
        blocks: into which the pool is cut, if they then have least_rows points each. 15 need more passes, 60 no more.
        least_rows: of a block: below, the overhead of a step shows.
        eta: SAGA's step, in units of the inverse curvature; its theory allows 1/3. One block: 1.
        anneal: L = anneal * spread of the cost / sqrt(points seen per atom), falling twice as fast after two passes.
            0: L = lam.
        piece_lam: a block of the first pass is cut into lam / (piece_lam * spread) pieces: at large lam a few points
            reach all atoms.
        most_pieces: into how many at most.
        averaging: degree of the polynomial average of the first pass.
        window: length of the average over later steps, in passes.
        agree: cosine of the psi-gradients after two passes, in the norm of 1 / nu, below which blocks are joined.
        margin: of the active set, in units of the cost's spread (or 9 lam, if that is larger).
        most_pairs: of the active set, which takes 12 bytes each and as much again to work on; 0: no active set.
        saga: False leaves the correction out: every pass is of online Sinkhorn steps.
    """

    blocks: int = 30
    least_rows: int = 32
    eta: float = 0.3
    anneal: float = 0.13
    piece_lam: float = 0.1
    most_pieces: int = 4
    averaging: float = 3.0
    window: float = 0.5
    agree: float = 0.0
    margin: float = 0.7
    most_pairs: int = 2 * 10**7
    saga: bool = True


@dataclass(frozen=True, eq=False)
class Pool:
    """Weighted points and a semi-dual, all masses positive."""

    x: Tensor
    w: Tensor
    semidual: SemiDual


class BlockAscent:
    """State of the ascent.

    Attributes:
        psi: iterate (n,).
        average: its average, the one to use.
        seen: each block's share of the pool's marginal at its last visit (blocks, n).
        means: each block's share of the mean of psi^{c,lam} at its last visit (blocks,).
        passes: how often the pool was gone through.
        grad: psi-gradient nu - sum(seen) (n,) after the last pass.

    Args:
        pool: the problem.
        start: psi to begin with, whose first pass then moves nothing (None: 0).
        rule: constants of the schedule.
        generator: source of randomness, on the CPU.
        watch: called after every step, or None.

    Raises:
        FloatingPointError: for a cost that overflows, here or at a step.
    """

    def __init__(
        self, pool: Pool, start: Tensor | None, rule: BlockRule, generator: torch.Generator, watch: Watch | None
    ) -> None:
        """Cut the pool into blocks."""
        self.pool, self.rule, self.generator, self.watch = pool, rule, generator, watch
        self.law, self.lam = pool.semidual.law, pool.semidual.lam
        m, nu = len(pool.w), self.law.nu
        order = torch.randperm(m, generator=generator).to(nu.device)
        self.blocks: tuple[Tensor, ...] = order.chunk(max(1, min(rule.blocks, m // rule.least_rows)))
        self.psi = torch.zeros_like(nu) if start is None else start.to(nu).clone()
        self.average, self.still = self.psi.clone(), start is not None
        self.seen, self.means = nu.new_zeros(len(self.blocks), len(nu)), nu.new_zeros(len(self.blocks))
        self.spread = cost_spread(pool.x, self.law, pool.semidual.cost)
        if not math.isfinite(self.spread):
            raise FloatingPointError("the cost is not finite: rescale the points")
        self.grad, self.steps, self.passes = torch.zeros_like(nu), 0, 0.0
        self._since_join = 0
        self._points = 0  # visited by steps: passes counts those of certificates too

    @property
    def value(self) -> float:
        """F(psi) as far as the last visits tell: what to compare a gap to, not a bound."""
        return float(self.means.sum() + self.law.nu @ self.average)

    @torch.no_grad()
    def first_pass(self, max_passes: float = math.inf) -> None:
        """Take decreasing steps on pieces of the blocks; with a start, only look at them."""
        pieces = math.ceil(self.lam / max(self.rule.piece_lam * self.spread, 1e-30))
        for block, rows in enumerate(self.blocks):
            for piece in rows.chunk(1 if self.still else min(pieces, self.rule.most_pieces)):
                if self.passes >= max_passes:
                    return
                values, marginal, lam = self._visit(piece)
                mass = self.pool.w[piece].sum()
                self.seen[block] += mass * marginal
                self.means[block] += mass * values
                if self.still:
                    continue
                self.steps += 1
                self._move(marginal, lam, 1 / math.sqrt(1 + self.steps))
                self._record((self.rule.averaging + 1) / (self.rule.averaging + self.steps))
        self.psi = self.average.clone()
        self.grad = self.law.nu - self.seen.sum(0)

    @torch.no_grad()
    def next_pass(self, max_passes: float = math.inf) -> None:
        """Take a SAGA step on every block, in random order; then join blocks if their noise is what moves psi."""
        for block in torch.randperm(len(self.blocks), generator=self.generator).tolist():
            if self.passes >= max_passes:
                return
            self._step(block)
        before, self.grad = self.grad, self.law.nu - self.seen.sum(0)
        self._since_join += 1
        ends = torch.stack([before, self.grad]) / self.law.nu.sqrt()
        agree = float(torch.cosine_similarity(ends[0], ends[1], dim=0)) >= self.rule.agree
        if self.rule.saga and not agree and self._since_join > 1:
            self.join()

    def join(self) -> None:
        """Join blocks in pairs."""
        count, self._since_join = len(self.blocks), 0
        pairs = [slice(first, first + 2) for first in range(0, count, 2)]
        self.blocks = tuple(torch.cat(self.blocks[pair]) for pair in pairs)
        self.seen = torch.stack([self.seen[pair].sum(0) for pair in pairs])
        self.means = torch.stack([self.means[pair].sum() for pair in pairs])

    def _step(self, block: int) -> None:
        rows, count = self.blocks[block], len(self.blocks)
        values, marginal, lam = self._visit(rows)
        mass = float(self.pool.w[rows].sum())
        estimate = self.seen.sum(0) + count * (mass * marginal - self.seen[block])
        self.seen[block], self.means[block] = mass * marginal, mass * values
        self.steps += 1
        if self.rule.saga:  # a block of more than its share of the mass is noisier: a shorter step
            self._move(estimate, lam, max(self.rule.eta, 1 / count) / max(1.0, count * mass))
            self._record(min(1.0, 1 / (self.rule.window * count)))
        else:
            self._move(marginal, lam, 1 / math.sqrt(1 + self.steps))
            self._record((self.rule.averaging + 1) / (self.rule.averaging + self.steps))

    def restart(self, psi: Tensor) -> None:
        """Go back to psi (n,), with less noise from here on."""
        self.psi, self.average = psi.clone(), psi.clone()
        self.join()

    def _visit(self, rows: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mean of psi^{c,L} over the rows, their marginal (n,), and the L of now."""
        pool = self.pool
        self._points += len(rows)
        self.passes += len(rows) / len(pool.w)
        lam, w = self._annealed(), pool.w[rows]
        w = w / w.sum()
        values, grad = pool.semidual.at(lam).step(pool.x[rows], self.psi, w)
        return torch.dot(w, values), self.law.nu - grad, lam

    def _annealed(self) -> float:
        """L: the statistical error of the points seen so far makes a smaller one pointless."""
        if self.still:
            return self.lam
        m = len(self.pool.w)
        per_atom, done = self._points / min(m, self.law.n), self._points / m
        return max(self.lam, self.rule.anneal * self.spread / math.sqrt(per_atom * max(1.0, done / 2)))

    def _move(self, marginal: Tensor, lam: float, eta: float) -> None:
        ratio = (marginal / self.law.nu).clamp_(min=LEAST_RATIO)
        self.psi = self.psi - lam * torch.log1p(eta * (ratio - 1))
        if not bool(torch.isfinite(self.psi).all()):
            raise FloatingPointError("psi is not finite: rescale the points")

    def _record(self, weight: float) -> None:
        self.average = self.average.lerp(self.psi, weight)
        if self.watch is not None:
            self.watch(self.average, self.passes)
