"""Three kernels behind one interface, chosen by the device: `reference` (plain torch), `cpu` (C++), `cuda` (Triton).

Each is a module with `covers`, `psi_step` and `x_grad`; what a fast one does not cover the reference serves. The
environment variable OTGRAD_KERNEL asks for one of them by name (auto: the fast one of the device).
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels import build, reference
from otgrad.measures import DiscreteMeasure
from otgrad.scale.shards import Shard
from otgrad.scale.streams import StreamedMeasure

if TYPE_CHECKING:  # imported by name below; said here for whoever reads the imports, as the workflow does
    from otgrad.kernels import cpu, cuda  # noqa: F401

_WHAT = {"reference": "plain torch", "cpu": "compiled, AVX-512 VNNI", "cuda": "Triton"}
NAMES = ("auto", "reference", "cpu", "cuda")
_ELSEWHERE = {Shard: "sharded", StreamedMeasure: "streamed"}  # where not all of the atoms are in memory


def choose(x: Tensor, law: DiscreteMeasure, lam: float, cost: Cost) -> ModuleType:
    """Return the kernel for these arguments (law: all masses positive).

    Raises:
        ValueError: if OTGRAD_KERNEL has an unknown value.
        RuntimeError: if it asks for the compiled kernel where that cannot run.
    """
    if type(law) in _ELSEWHERE:
        return importlib.import_module(f"otgrad.kernels.{_ELSEWHERE[type(law)]}")
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
