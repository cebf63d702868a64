"""What a cell of gpu.py's table computes, its inputs on the device, and the truth in float64."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from otgrad.measures import DiscreteMeasure
from problems import make_problem

Step = Callable[[], tuple[Tensor | None, Tensor | None]]
BLOCK = 50_000  # atoms at once, in float64


@dataclass(eq=False)
class Cell:
    """What one cell of the table computes: points x (b, d) float32 in [0, 1], atoms y (n, d) of bytes, psi (n,)."""

    quantity: str
    x: Tensor
    law: DiscreteMeasure
    psi: Tensor
    lam: float
    scale: float
    source: str

    @property
    def n(self) -> int:
        """Number of atoms."""
        return self.law.n

    @cached_property
    def peers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Points, atoms and their squared norms in units in which the cost is ||x - y||^2, as peers expect."""
        x, y = self.x / self.scale**0.5, self.law.points / self.scale**0.5
        return x, y, y.square().sum(1)

    @property
    def unit(self) -> float:
        """What the peers' x-gradient is multiplied by."""
        return self.scale**-0.5 if self.quantity == "x" else 1.0


def make_cell(options: argparse.Namespace, device: str, quantity: str, b: int, n: int, lam: float) -> Cell:
    """Blurred images as points, images as atoms; more than the images are drawn on the device, fainter at random."""
    problem = make_problem(options.data, b, min(n, options.n))
    y, source = torch.from_numpy(problem.y).to(device), problem.source
    if n > len(y):
        rng, few = torch.Generator(device).manual_seed(0), y
        y, source = torch.empty(n, y.shape[1], dtype=torch.uint8, device=device), f"{source}, made fainter at random"
        for block in y.split(BLOCK):
            chosen = few[torch.randint(len(few), (len(block),), generator=rng, device=device)]
            block.copy_(chosen * torch.rand(len(block), 1, generator=rng, device=device))
    law, rng = DiscreteMeasure.from_atoms(y, unit=1 / 255), torch.Generator().manual_seed(1)
    psi = (0.02 * torch.randn(n, generator=rng)).to(device)
    return Cell(quantity, torch.from_numpy(problem.x).to(device), law, psi, lam, law.mean_square, source)


def exact(cell: Cell) -> tuple[Tensor, Tensor]:
    """Values and gradient in float64, by blocks of atoms."""
    if cell.lam == 0:
        return exact_hard(cell)
    x, log_z = cell.x.double(), cell.x.new_full((len(cell.x),), -torch.inf, dtype=torch.float64)
    for scores, _ in score_blocks(cell, x):
        log_z = torch.logaddexp(log_z, scores.logsumexp(1))
    parts, means = [], torch.zeros_like(x)
    for scores, y in score_blocks(cell, x):
        pi = scores.sub_(log_z[:, None]).exp_()
        parts.append(pi.mean(0))
        if cell.quantity == "x":
            means += pi @ y
    values = -cell.lam * (log_z - np.log(cell.n))
    return values, 2 / cell.scale * (x - means) if cell.quantity == "x" else 1 / cell.n - torch.cat(parts)


def exact_hard(cell: Cell) -> tuple[Tensor, Tensor]:
    """The same at lam = 0; at a near tie another arm may rightly choose another cell, and its gradient differ."""
    x = cell.x.double()
    best, cells = x.new_full((len(x),), -torch.inf), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for k, (scores, _) in enumerate(score_blocks(cell, x)):
        top, place = scores.max(dim=1)
        cells = torch.where(top > best, place + k * BLOCK, cells)
        best = torch.maximum(top, best)
    if cell.quantity == "x":
        return -best, 2 / cell.scale * (x - cell.law.y[cells].double() / 255)
    return -best, 1 / cell.n - torch.bincount(cells, minlength=cell.n).double() / len(x)


def score_blocks(cell: Cell, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores (psi_j - c(x_i, y_j)) / lam, or over 1 at lam = 0, and atoms, block by block."""
    for start in range(0, cell.n, BLOCK):
        block = slice(start, start + BLOCK)
        y = cell.law.y[block].double() / 255
        gaps = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        yield (cell.psi[block].double() - gaps / cell.scale) / (cell.lam or 1.0), y


def errors(result: tuple, truth: tuple[Tensor, Tensor], quantity: str) -> tuple[float | None, float | None]:
    """Errors of an arm's values and gradient; None for a floor, which gives none."""
    if result[1] is None:
        return None, None
    arrays = (part.cpu() if isinstance(part, Tensor) else np.array(part) for part in result)
    values, gradient = map(torch.as_tensor, arrays)
    aims = [part.cpu() for part in truth]
    aim = aims[0] if values.ndim else aims[0].mean()
    total = aims[1].abs().sum() if quantity == "x" else 1.0
    value_error = (values.double() - aim).abs().max() / aim.abs().max()
    return float(value_error), float((gradient.double() - aims[1]).abs().sum() / total)
