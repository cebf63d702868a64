"""What a solver of the semi-dual on a pool of points returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """Optimum of the semi-dual on a pool, exact (`solve_exact`) or near and certified (`solve_certified`).

    Attributes:
        psi: potential (n,), in units of the cost, gauge `<nu, psi> = 0`, 0 on atoms without mass. solve_exact: float64,
            on the device of y; solve_certified: dtype and device of nu.
        value: F(psi) on the pool, in units of the cost, a lower bound of OT_c^lam. solve_exact: OT_c^lam itself, up to
            rounding, but for lam == 0 and lam < 1e-8 of the cost's spread.
        gap: upper bound on OT_c^lam - value, in units of the cost, up to rounding. solve_exact: 0 where value is
            OT_c^lam; solve_certified: nan if no certificate was asked for.
        relative_gap: gap as solve_certified's tol bounds it: relative to |value|, or to 1e-3 of the cost's spread where
            that is larger.
        marginal_error: L1 error of the second marginal at psi. solve_exact: nan at lam == 0 and lam < 1e-8 of the
            cost's spread, where the plan is not smooth.
        work: solve_exact: number of linear systems solved. solve_certified: how often the pool was gone through,
            certificates included; may be a fraction.
        converged: whether what was asked for is reached. solve_exact: True, for else it raises. solve_certified:
            whether relative_gap <= tol.
    """

    psi: Tensor
    value: float
    gap: float
    relative_gap: float
    marginal_error: float
    work: float
    converged: bool

    @property
    def newton_steps(self) -> int:
        """The `work` of solve_exact, by its name before version 0.2.0."""
        return int(self.work)

    @property
    def passes(self) -> float:
        """The `work` of solve_certified, by its name before version 0.2.0."""
        return self.work


def size(value: float, spread: float) -> float:
    """What a gap is relative to: a value near 0 says nothing of the precision one can ask for."""
    return max(abs(value), 1e-3 * spread, 1e-30)
