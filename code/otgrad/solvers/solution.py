"""What a solver of the semi-dual on a pool of points returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """Optimum of the semi-dual on a pool, exact (`solve_pool`) or near and certified (`solve_fixed_source`).

    Attributes:
        psi: potential (n,), in units of the cost, gauge `<nu, psi> = 0`, 0 on atoms without mass. solve_pool: float64,
            on the device of y; solve_fixed_source: dtype and device of nu.
        value: F(psi) on the pool, in units of the cost, a lower bound of OT_c^lam. solve_pool: OT_c^lam itself, up to
            rounding, but for lam == 0 and lam < 1e-8 of the cost's spread.
        gap: upper bound on what value lacks of OT_c^lam. solve_pool: in units of the cost; 0 where value is OT_c^lam.
            solve_fixed_source: relative to |value| (to 1e-3 of the cost's spread, where that is larger), up to
            rounding; nan if no certificate was asked for.
        marginal_error: L1 error of the second marginal at psi. solve_pool: nan at lam == 0 and lam < 1e-8 of the cost's
            spread, where the plan is not smooth.
        work: solve_pool: number of linear systems solved. solve_fixed_source: how often the pool was gone through,
            certificates included; may be a fraction.
        converged: whether what was asked for is reached. solve_pool: True, for else it raises. solve_fixed_source:
            whether gap <= tol.
    """

    psi: Tensor
    value: float
    gap: float
    marginal_error: float
    work: float
    converged: bool

    @property
    def newton_steps(self) -> int:
        """The `work` of solve_pool, by its name before version 0.2.0."""
        return int(self.work)

    @property
    def passes(self) -> float:
        """The `work` of solve_fixed_source, by its name before version 0.2.0."""
        return self.work
