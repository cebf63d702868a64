"""otgrad: semi-discrete entropic optimal transport and its gradient for learning generative models.

Names are loaded on first use, so that `import otgrad` costs nothing where torch is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otgrad.costs import Cost
    from otgrad.measures import DiscreteMeasure
    from otgrad.semidual import SemiDual
    from otgrad.solvers.certified import solve_certified, solve_fixed_source
    from otgrad.solvers.estimator import SemiDiscreteOT
    from otgrad.solvers.exact import solve_exact, solve_pool
    from otgrad.solvers.stochastic import StepRule

__version__ = "0.1.0"
__all__ = ["Cost", "DiscreteMeasure", "SemiDiscreteOT", "SemiDual", "StepRule"]
__all__ += ["solve_certified", "solve_exact", "solve_fixed_source", "solve_pool"]

_ROOMS = {
    "Cost": "costs",
    "DiscreteMeasure": "measures",
    "SemiDiscreteOT": "solvers.estimator",
    "SemiDual": "semidual",
    "StepRule": "solvers.stochastic",
    "solve_certified": "solvers.certified",
    "solve_exact": "solvers.exact",
    "solve_fixed_source": "solvers.certified",
    "solve_pool": "solvers.exact",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its room (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'otgrad' has no attribute {name!r}")
    return getattr(import_module(f"otgrad.{_ROOMS[name]}"), name)
