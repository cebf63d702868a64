"""Three kernels behind one interface, chosen by the device: `reference` (plain torch), `cpu` (C++), `cuda` (Triton).

Each is a module with `covers`, `psi_step` and `x_grad`; what a fast one does not cover the reference serves. The
environment variable OTGRAD_KERNEL asks for one of them by name (auto: the fast one of the device). They are for atoms
in memory; a law of another kind brings products of its own, which are registered here by its type.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels import build, reference
from otgrad.measures import DiscreteMeasure

if TYPE_CHECKING:  # imported by name below; said here for whoever reads the imports, as the workflow does
    from otgrad.kernels import cpu, cuda  # noqa: F401

_WHAT = {"reference": "plain torch", "cpu": "compiled, AVX-512 VNNI", "cuda": "Triton"}
NAMES = ("auto", "reference", "cpu", "cuda")
_BROUGHT: dict[type[DiscreteMeasure], Any] = {DiscreteMeasure: None}


def register(kind: type[DiscreteMeasure], products: Any) -> None:
    """Let laws of a type, and of its subclasses without products of their own, bring their products.

    Args:
        kind: the type; its `in_memory` is False, unless `points` gives all atoms nevertheless.
        products: a module or another object with functions of points x (b, d), law (all masses positive: the type
            overrides `positive` if it takes others), psi (n,), lam, cost:
            psi_step, with masses w (b,) besides: psi^{c,lam} (b,) and the marginal sum_i w_i pi_j(x_i) (n,);
            x_grad: psi^{c,lam} (b,) and its gradient (b, d); assignment: pi_j(x_i) (b, n). Optional are
            barycentric_map: sum_j pi_j(x_i) y_j (b, d), without which the law's `points` serve; and
            in_tiles, as kernels.memory.in_tiles, for products that cut the points themselves.
    """
    _BROUGHT[kind] = products


def brought(law: DiscreteMeasure) -> Any:
    """Return the products that a law brings, as registered; None for atoms in memory, which the kernels serve."""
    kind = type(law)
    return _BROUGHT[kind if kind in _BROUGHT else next(base for base in kind.__mro__ if base in _BROUGHT)]


def choose(x: Tensor, law: DiscreteMeasure, lam: float, cost: Cost) -> Any:
    """Return the kernel for these arguments (law: all masses positive), or the products that the law brings.

    Raises:
        ValueError: if OTGRAD_KERNEL has an unknown value.
        RuntimeError: if it asks for the compiled kernel where that cannot run.
    """
    if (own := brought(law)) is not None:
        return own
    name = requested()
    if name == "auto":
        name = "cuda" if x.device.type == "cuda" else "cpu"
    if name == "reference":
        return reference
    kernel = importlib.import_module(f"otgrad.kernels.{name}")
    return kernel if kernel.covers(x, law, lam, cost) else reference


def rows_at_once(n: int, device: torch.device) -> int:
    """Points that every kernel of a device takes as one tile, for n atoms."""
    names = ("reference", "cuda" if device.type == "cuda" else "cpu")
    return min(importlib.import_module(f"otgrad.kernels.{name}").rows_at_once(n) for name in names)


def requested() -> str:
    """Read OTGRAD_KERNEL, and refuse what cannot be had."""
    name = os.environ.get("OTGRAD_KERNEL", "auto")
    if name not in NAMES:
        raise ValueError(f"OTGRAD_KERNEL = {name!r}: give one of {', '.join(NAMES)}")
    reason = build.unavailable() if name == "cpu" else None
    if reason is not None:
        raise RuntimeError(f"OTGRAD_KERNEL = 'cpu': {reason}; unset it to use plain torch")
    return name


def choice(device: torch.device) -> str:
    """Say in one line which kernel serves a device, and if it is not the fast one, why."""
    name = requested()
    if name == "auto":
        name = "cuda" if device.type == "cuda" else "cpu"
        if name == "cpu" and build.unavailable() is not None:
            return f"reference ({_WHAT['reference']}: {build.unavailable()})"
    return f"{name} ({_WHAT[name]})"
