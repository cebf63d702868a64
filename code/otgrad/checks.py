"""What the public entries ask of their arguments: each fault is one line with the field, the value and the remedy.

Looked at in this order: type, shape, dtype and device, values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

ATOM_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8)
MASS_DTYPES = (torch.float32, torch.float64)


def number(name: str, value: Any, *, zero: bool = True, finite: bool = True, hint: str = "") -> float:
    """Read a number >= 0 (zero=False: > 0); hint: what else to do where the value is 0.

    Raises:
        ValueError: for anything else.
    """
    wanted = f"{'finite ' if finite else ''}number {'>=' if zero else '>'} 0"
    try:
        carries = isinstance(value, Tensor) and value.requires_grad
        found = math.nan if carries or isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch's, of a tensor of several numbers
        found = math.nan
    if not (found >= 0 if zero else found > 0) or (finite and found == math.inf):
        raise ValueError(f"{name} = {_shown(value)}: give a {wanted}{hint if found == 0 else ''}")
    return found


def count(name: str, value: Any) -> int:
    """Read a whole number >= 1, written as one (10) or as a float (1e1).

    Raises:
        ValueError: for anything else.
    """
    try:
        whole = 0 if isinstance(value, bool | str | bytes) or int(value) != value else int(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = 0
    if whole < 1:
        raise ValueError(f"{name} = {_shown(value)}: give an integer >= 1")
    return whole


def array(name: str, value: Any) -> Tensor:
    """Read a tensor, which stays as it is, or an array, which is copied: torch would not notice that it changes.

    Raises:
        ValueError: for anything else, also for arrays that hold no numbers or are masked.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise ValueError(f"{name} has layout {value.layout}: give a dense tensor, {name}.to_dense()")
        return value
    if isinstance(value, np.ma.MaskedArray) or not hasattr(value, "__array__"):
        verb = "are" if name == "points" else "is"
        raise ValueError(f"{name} {verb} of type {type(value).__name__}: give a tensor or an array")
    found = np.array(value)
    try:
        return torch.from_numpy(found.astype(found.dtype.newbyteorder("="), order="C", copy=False))
    except TypeError:
        raise ValueError(f"{name} is an array of {found.dtype}: give numbers that torch has") from None


def numbers(name: str, value: Any) -> Tensor:
    """Read a tensor, an array or a list of numbers.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, list | tuple):
        return array(name, value)
    if any(isinstance(entry, Tensor) for entry in value):
        raise ValueError(f"{name} is a list of tensors: give torch.stack({name})")
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is a list that is no table of numbers: give a tensor or an array") from None


def cloud(name: str, value: Any, least: int = 1) -> Tensor:
    """Read finite points (b, d), b >= least, of any dtype of real numbers.

    Raises:
        ValueError: for anything else.
    """
    found = array(name, value)
    if found.ndim != 2 or found.shape[1] == 0 or len(found) < least:
        raise ValueError(f"{name} has shape {tuple(found.shape)}: give points (b, d), b >= {least}")
    if found.is_complex():
        raise ValueError(f"{name} has dtype {found.dtype}: give real numbers")
    return all_finite(name, found)


def all_finite(name: str, x: Tensor) -> Tensor:
    """Return points (b, d) that are finite.

    Raises:
        ValueError: if they are not.
    """
    if not is_finite(x):
        raise ValueError(f"{name} has entries that are not finite: remove or repair those points")
    return x


def is_finite(x: Tensor) -> bool:
    """Tell whether all entries are: by their sum, for isfinite(x) is as large as x, unless the sum overflows."""
    return math.isfinite(float(x.sum())) or bool(torch.isfinite(x).all())


def points(name: str, value: Any, d: int, like: Tensor, least: int = 0) -> Tensor:
    """Read points (b, d), b >= least, of like's dtype and device.

    Raises:
        ValueError: for anything else.
    """
    have = "have" if name == "points" else "has"
    x, found = None, array(name, value)
    if found.ndim == 2 and found.shape[1] == d:
        x = found
    if x is None or len(x) < least:
        rows = f"(b, {d}), as wide as y" if x is None else f"at least {least}, ({least}, {d})"
        raise ValueError(f"{name} {have} shape {tuple(found.shape)}: give a tensor {rows}")
    if x.dtype != like.dtype or x.device != like.device:
        are = "are" if name == "points" else "is"
        raise ValueError(f"{name} {are} {x.dtype} on {x.device}: give {like.dtype} on {like.device}, like psi")
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def atoms(value: Any) -> Tensor:
    """Read atoms y (n, d) of one of ATOM_DTYPES, without a graph.

    Raises:
        ValueError: for anything else.
    """
    y = array("y", value)
    if y.ndim != 2 or 0 in y.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}: give n >= 1 atoms as (n, d)")
    if y.dtype not in ATOM_DTYPES:
        raise ValueError(f"y has dtype {y.dtype}: convert it to float32, float64, float16, bfloat16 or uint8")
    return without_graph("y", y)


def masses(name: str, value: Any, n: int, device: torch.device) -> Tensor:
    """Read masses (n,) >= 0 of any positive total (None: uniform), and divide them by it, in float64.

    Raises:
        ValueError: for anything else.
    """
    if value is None:
        nu = torch.ones(n, dtype=torch.float64, device=device)
    else:
        nu = numbers(name, value).to(device, torch.float64)
    if nu.shape != (n,):
        raise ValueError(f"{name} has shape {tuple(nu.shape)}: give one mass per point, ({n},)")
    total = nu.sum()
    if not bool(torch.isfinite(total)) or float(total.detach()) <= 0:
        raise ValueError(f"{name} sums to {float(total.detach())}: give masses >= 0 with a positive finite total")
    if not bool((nu >= 0).all()):
        raise ValueError(f"{name} has a negative or non-finite mass: give masses >= 0")
    return nu / total


def normal_masses(nu: Tensor, y: Tensor, total: float) -> None:
    """Check masses (n,) that should sum to 1 and fit atoms y (n, d); total: their sum, over all processes.

    Raises:
        ValueError: if they do not.
    """
    if nu.shape != y.shape[:1]:
        raise ValueError(f"nu has shape {tuple(nu.shape)}: give one mass per atom, ({len(y)},)")
    if nu.dtype not in MASS_DTYPES or nu.device != y.device:
        raise ValueError(f"nu is {nu.dtype} on {nu.device}: give float32 or float64 on {y.device}, like y")
    if not bool(torch.isfinite(nu).all()) or bool((nu < 0).any()):
        raise ValueError("nu has a negative or non-finite mass: give masses >= 0")
    if abs(total - 1) > 1e-4:
        raise ValueError(f"nu sums to {total:.6g}: divide it by its sum")
    tiny = torch.finfo(nu.dtype).tiny
    if bool(((nu > 0) & (nu < tiny)).any()):
        raise ValueError(f"nu has a positive mass below {tiny:.1e}: set it to 0 or use float64")


def potential(name: str, value: Any, n: int, like: Tensor) -> Tensor:
    """Read finite values per atom (n,), as a copy of like's dtype and device.

    Raises:
        ValueError: for anything else.
    """
    psi = array(name, value)
    if psi.shape != (n,) or psi.is_complex() or not bool(torch.isfinite(psi).all()):
        raise ValueError(f"{name} has shape {tuple(psi.shape)}: give finite values, one per atom, ({n},)")
    return psi.detach().to(like).clone()


def without_graph(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor that requires no grad.

    Raises:
        ValueError: if it does.
    """
    if tensor.requires_grad:
        raise ValueError(
            f"{name} requires grad: give {name}.detach(), or {name} itself to SemiDiscreteOT for a gradient"
        )
    return tensor


def _shown(value: Any) -> str:
    """A value in at most 60 signs of one line."""
    text = " ".join(repr(value).split()) if not isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
