"""The state of a solver as a dictionary of tensors and numbers, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from otgrad import checks
from otgrad.costs import Cost
from otgrad.semidual import SemiDual
from otgrad.solvers.stochastic import AsgdState

NEEDED = ("psi", "average", "k", "spread", "lam", "p", "scale")  # of a state; held_out and converged may be missing


@dataclass
class Solved:
    """What a solver has learnt: the steps' state, held-out points (b, d) of the last fit, whether it met its tol."""

    asgd: AsgdState
    held_out: Tensor | None = None
    converged: bool | None = None

    def moved(self, move: Callable[[Tensor], Tensor]) -> Solved:
        """Return the same with other tensors."""
        spread = move(self.asgd.spread) if isinstance(self.asgd.spread, Tensor) else self.asgd.spread
        asgd = AsgdState(move(self.asgd.psi), move(self.asgd.average), self.asgd.k, spread)
        return Solved(asgd, None if self.held_out is None else move(self.held_out), self.converged)

    def written(self, lam: float, cost: Cost) -> dict[str, Any]:
        """Return copies, with what the problem must have in common with another."""
        return {
            "psi": self.asgd.psi.clone(),
            "average": self.asgd.average.clone(),
            "k": self.asgd.k,
            "spread": float(self.asgd.spread),
            "lam": lam,
            "p": cost.p,
            "scale": cost.scale,
            "held_out": None if self.held_out is None else self.held_out.clone(),
            "converged": self.converged,
        }


def read(state: Mapping[str, Any], semidual: SemiDual) -> Solved:
    """Read what `written` has returned, perhaps as tensors throughout.

    Raises:
        ValueError: if it is no such thing, or was written for another number of atoms, lam or cost.
    """
    missing = [key for key in NEEDED if not isinstance(state, Mapping) or key not in state]
    if missing:
        raise ValueError(f"the state lacks {', '.join(missing)}: give what state_dict() returned")
    given = {"n": len(checks.array("psi", state["psi"]).reshape(-1))}
    given |= {key: checks.number(key, state[key]) for key in ("lam", "p", "scale")}
    target, cost = semidual.law, semidual.cost
    for key, own in {"n": target.n, "lam": semidual.lam, "p": cost.p, "scale": cost.scale}.items():
        if not math.isclose(given[key], own, rel_tol=0 if key == "n" else 1e-6):
            raise ValueError(f"state has {key} = {given[key]}, this solver {key} = {own}: build it alike")
    psi, average = (checks.potential(key, state[key], target.n, target.nu) for key in ("psi", "average"))
    k, spread = (checks.number(key, state[key]) for key in ("k", "spread"))
    held_out, converged = state.get("held_out"), state.get("converged")
    if held_out is not None:
        held_out = checks.array("held_out", held_out).detach().to(target.nu).clone()
        held_out = checks.points("held_out", held_out, target.y.shape[1], target.nu, least=1)
        if not bool(torch.isfinite(held_out).all()):
            raise ValueError("held_out has points that are not finite: give what state_dict() returned")
    return Solved(AsgdState(psi, average, int(k), spread), held_out, None if converged is None else bool(converged))


def as_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Write numbers as tensors (), for tools that go through the state of a whole model; leave out what is None."""
    found = {key: value for key, value in state.items() if value is not None}
    return {
        key: value
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=None if isinstance(value, bool) else torch.float64)
        for key, value in found.items()
    }
