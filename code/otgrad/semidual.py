"""The semi-dual `F(psi) = E_x[psi^{c,lam}(x)] + <nu, psi>`, the value every solver maximises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from otgrad import checks, ctransform
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure


@dataclass(frozen=True)
class SemiDual:
    """The data law, lam and the cost: what F is made of, and all that a solver is told beside the points.

    The methods are the functions of `otgrad.ctransform` at these three; what is said of shapes there holds here.

    Attributes:
        law: the data law nu, n atoms.
        lam: regularisation >= 0, in units of the cost; at 0 the transform is the hard one.
        cost: ground cost.

    Raises:
        ValueError: if law is no law, or lam no finite number >= 0.
    """

    law: DiscreteMeasure
    lam: float
    cost: Cost = Cost()

    def __post_init__(self) -> None:
        """Refuse what is no semi-dual."""
        if not isinstance(self.law, DiscreteMeasure):
            raise ValueError(f"law is of type {type(self.law).__name__}: give a DiscreteMeasure, or use SemiDual.of")
        object.__setattr__(self, "lam", checks.number("lam", self.lam))

    @classmethod
    def of(cls, y: Any, nu: Any, lam: float, cost: str | float | Cost = "sqeuclidean") -> Self:
        """Make a semi-dual of atoms y (n, d), a tensor, an array or a law, and masses nu (n,) of any positive total.

        nu None: uniform, or the law's. The cost may be a name or an exponent. A graph of y or nu is left behind.

        Raises:
            ValueError: on bad shapes, masses, lam or cost, in one line.
        """
        if not isinstance(y, DiscreteMeasure):
            nu = None if nu is None else checks.numbers("nu", nu).detach()
            y = DiscreteMeasure.from_atoms(checks.array("y", y).detach(), nu)
        elif nu is not None:
            raise ValueError("nu is that of the measure y: leave it out")
        return cls(y.now, lam, Cost.from_name(cost))

    def at(self, lam: float) -> Self:
        """Return the same at another lam."""
        return replace(self, lam=lam)

    def transform(self, x: Tensor, psi: Tensor) -> Tensor:
        """Compute psi^{c,lam}(x) (b,) by its definition, differentiable in x and psi; see `ctransform.c_transform`."""
        return ctransform.c_transform(x, self.law, psi, self.lam, self.cost)

    def fixed_psi(self, x: Tensor, psi: Tensor, y: Tensor | None = None, nu: Tensor | None = None) -> Tensor:
        """Compute psi^{c,lam}(x) (b,) in one pass, psi held fixed; see `ctransform.c_transform_fixed_psi`."""
        return ctransform.c_transform_fixed_psi(x, self.law, psi, self.lam, self.cost, y, nu)

    def assignment(self, x: Tensor, psi: Tensor) -> Tensor:
        """Compute pi_j(x) (b, n), rows summing to 1; see `ctransform.assignment`."""
        return ctransform.assignment(x, self.law, psi, self.lam, self.cost)

    def barycentric_map(self, x: Tensor, psi: Tensor) -> Tensor:
        """Compute sum_j pi_j(x) y_j (b, d); see `ctransform.barycentric_map`."""
        return ctransform.barycentric_map(x, self.law, psi, self.lam, self.cost)

    def step(self, x: Tensor, psi: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute psi^{c,lam}(x_i) (b,) and the psi-gradient nu - p (n,); see `ctransform.psi_step`."""
        return ctransform.psi_step(x, self.law, psi, self.lam, self.cost, weights)

    def x_grad(self, x: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Compute psi^{c,lam}(x_i) (b,) and its gradients in x (b, d); see `ctransform.x_grad`."""
        return ctransform.x_grad(x, self.law, psi, self.lam, self.cost)

    def value(self, x: Tensor, psi: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute F(psi) on the weighted points x (b, d) and its psi-gradient (explicit form).

        F is concave, invariant under psi -> psi + t, and at most OT_c^lam(sum_i w_i delta_{x_i}, nu), with equality at
        psi*. Arguments as `step`. Claims: A-duality.

        Returns:
            F (scalar tensor), in units of the cost, and dF/dpsi (n,).
        """
        values, grad = self.step(x, psi, weights)
        mean = values.mean() if weights is None else torch.dot(weights, values)
        return mean + self.law.mean(psi), grad

    def effective_atoms(self, x: Tensor, psi: Tensor) -> float:
        """Mean perplexity exp(-sum_j pi_j log pi_j) of the assignment: how many atoms one sample averages over."""
        pi = self.assignment(x, psi)
        return float(self.law.total(torch.special.entr(pi).sum(dim=1)).exp().mean())


def marginal_error(grad: Tensor, target: DiscreteMeasure | None = None) -> float:
    """L1 distance between nu and the model's second marginal, sum_j |nu_j - E pi_j|, from the psi-gradient (n,).

    target: the data law, needed where its atoms lie in several processes.
    """
    error = grad.abs().sum()
    return float(error if target is None else target.total(error))
