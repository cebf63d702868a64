"""The semi-dual on the pairs of points and atoms that matter, and Newton's method on it, at small lam.

At psi an atom whose psi_j - c(x_i, y_j) is more than `margin` below the row's largest has less than exp(-margin / lam)
of the largest share of x_i. The other pairs, once found in one pass over the pool, are a sparse matrix on which steps
cost hundreds of times less. What they leave out is looked at by the certificate, over all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from otgrad.ctransform import heights
from otgrad.solvers.block_ascent import Pool

MARGINS_OF_LAM = 9.0  # margin / lam: e^-9 for each pair left out
SINKHORN_STEPS = 4  # before Newton's method, which sends atoms of little marginal too far
LEAST_FACTOR = 1e-2  # of p_j / nu_j in a Sinkhorn step, as an atom without pairs has p_j = 0
LEAST_CURVATURE = 0.2  # of nu_j in Newton's diagonal, for the same reason
LEAST_SHARE = 1e-6  # of the diagonal's curvature: below, that of a direction is rounding
CG_STEPS, CG_TOLERANCE = 12, 0.1
NEWTON_STEPS = 8  # at the last lam; 2 at each before
LEAST_EXPONENT = -60.0  # below, exp gives subnormal numbers, which are slow


@dataclass(eq=False)
class ActiveSet:
    """Pairs (i, j) in the order of the points.

    Attributes:
        pool: the problem.
        psi: potential (n,) at which they were found.
        margin: how far below the row's largest psi_j - c(x_i, y_j), in units of the cost.
        atoms: j of each pair, int32.
        points: i of each pair, int32.
        offsets: where each point's pairs begin, and the end (m + 1,).
        costs: c(x_i, y_j) of each pair, up to a term per point.
    """

    pool: Pool
    psi: Tensor
    margin: float
    atoms: Tensor
    points: Tensor
    offsets: Tensor
    costs: Tensor

    @classmethod
    def collect(cls, pool: Pool, psi: Tensor, margin: float, most: int) -> ActiveSet | None:
        """Find the pairs in one pass; None as soon as there are more than `most`."""
        atoms, costs, counts, total = [], [], [], 0
        for height, order in heights(pool.x, pool.semidual.law, psi, pool.semidual.cost):
            keep = height > height.amax(dim=1, keepdim=True) - margin
            found = keep.reshape(-1).nonzero().squeeze(1)
            total += len(found)
            if total > most:
                return None
            atom = found % pool.semidual.law.n
            height_found = height[found // pool.semidual.law.n, atom]
            atom = atom if order is None else order[atom]
            atoms.append(atom.int())
            costs.append(psi[atom] - height_found)
            counts.append(torch.bincount(found // pool.semidual.law.n, minlength=len(height)))
        count = torch.cat(counts)
        offsets = torch.cat([count.new_zeros(1), count.cumsum(0)])
        points = torch.repeat_interleave(torch.arange(len(count), dtype=torch.int32, device=count.device), count)
        return cls(pool, psi.clone(), margin, torch.cat(atoms), points, offsets, torch.cat(costs))

    def plan(self, psi: Tensor, lam: float) -> tuple[float, Tensor, Tensor]:
        """F restricted to the pairs, up to a constant, the marginal p (n,), float64, and each pair's mass."""
        law, w = self.pool.semidual.law, self.pool.w
        mass = (psi / lam + law.nu.log())[self.atoms].sub_(self.costs, alpha=1 / lam)
        top = self._row_reduce(mass, "max")
        mass.sub_(top[self.points]).clamp_(min=LEAST_EXPONENT).exp_()
        z = self._row_reduce(mass, "sum")
        mass.mul_((w / z)[self.points])
        value = -lam * (w.double() @ (top.double() + z.double().log())) + law.nu.double() @ psi.double()
        return float(value), self._on_atoms(mass), mass

    def sinkhorn_step(self, psi: Tensor, lam: float) -> Tensor:
        """Move to psi - lam log(p / nu)."""
        ratio = self.plan(psi, lam)[1] / self.pool.semidual.law.nu
        return self._inside(psi - lam * ratio.clamp(min=LEAST_FACTOR).log())

    def newton_step(self, psi: Tensor, lam: float) -> tuple[Tensor, float]:
        """One step of Newton's method by conjugate gradients; return psi and the L1 error of its marginal."""
        value, p, mass = self.plan(psi, lam)
        nu = self.pool.semidual.law.nu.double()
        grad = nu - p
        direction = lam * self._solve(grad, p, mass)
        slope = float(grad @ direction)
        for halvings in range(8):
            trial = self._inside(psi + 0.5**halvings * direction)
            new_value, new_p, _ = self.plan(trial, lam)
            if new_value >= value + 1e-4 * 0.5**halvings * slope:
                return trial, float((nu - new_p).abs().sum())
        return psi, float(grad.abs().sum())

    def maximise(self, psi: Tensor, error: float) -> Tensor:
        """Maximise from psi with lam decreasing from margin / MARGINS_OF_LAM, until the marginal's error is small."""
        lam = max(self.pool.semidual.lam, self.margin / MARGINS_OF_LAM)
        for _ in range(SINKHORN_STEPS):
            psi = self.sinkhorn_step(psi, lam)
        while True:
            for _ in range(2 if lam > self.pool.semidual.lam else NEWTON_STEPS):
                psi, reached = self.newton_step(psi, lam)
                if reached <= error:
                    break
            if lam == self.pool.semidual.lam:
                return psi
            lam = max(self.pool.semidual.lam, lam / 2)

    def _solve(self, grad: Tensor, p: Tensor, mass: Tensor) -> Tensor:
        """Solve (diag(max(p, LEAST_CURVATURE nu)) - P^T W^-1 P) v = grad roughly; P the plan, W its row masses."""
        diagonal = torch.maximum(p, LEAST_CURVATURE * self.pool.semidual.law.nu.double())
        v, r = torch.zeros_like(grad), grad.clone()
        z = r / diagonal
        step, size = z.clone(), r @ z
        enough = CG_TOLERANCE**2 * size
        for _ in range(CG_STEPS):
            rows = self._row_reduce(step.to(mass.dtype)[self.atoms].mul_(mass), "sum") / self.pool.w
            image = diagonal * step - self._on_atoms(rows[self.points].mul_(mass))
            curvature = step @ image
            if curvature <= LEAST_SHARE * (diagonal * step) @ step:  # psi moves as a whole, or a part by itself
                break
            length = size / curvature
            v, r = v + length * step, r - length * image
            z = r / diagonal
            before, size = size, r @ z
            if size <= enough:
                break
            step = z + size / before * step
        return v

    def _inside(self, psi: Tensor) -> Tensor:
        """Take out the common shift, and let no atom rise so far that pairs left out would lead their row.

        Nor may one fall without end: where the pairs leave points and atoms of unequal mass by themselves, F restricted
        to them has no maximum.
        """
        change = psi - self.psi
        change = change - torch.dot(self.pool.semidual.law.nu.to(change.dtype), change)
        return (self.psi + change.clamp(min=-2 * self.margin, max=self.margin)).to(self.psi.dtype)

    def _row_reduce(self, values: Tensor, reduce: str) -> Tensor:
        return torch.segment_reduce(values, reduce, offsets=self.offsets, unsafe=True)

    def _on_atoms(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.pool.semidual.law.n).index_add_(0, self.atoms, values).double()
