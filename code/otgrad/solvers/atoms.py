"""Atoms and masses as a solver's caller gave them: watched for changes, moved along, and differentiated in."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from otgrad import checks
from otgrad.kept import stamp
from otgrad.measures import DiscreteMeasure


class OnAtoms(nn.Module):
    """A module over a law of atoms y and masses nu, which may be tensors that require grad or change in place.

    Attributes:
        y: the atoms as given, a parameter if they are one; None where a law was given.
        nu: the masses as given; None: uniform.
        unit: atom j is the point unit * y_j.
    """

    y: Tensor | None
    nu: Tensor | None

    def __init__(self, y: Any, nu: Any, unit: float) -> None:
        """Check the data by making the law once."""
        super().__init__()
        self._law: DiscreteMeasure | None = None
        self._target: DiscreteMeasure | None = None
        self._seen: tuple[object, ...] = ()
        self._spent: set[str] = set()
        self.unit = checks.number("unit", unit, zero=False)
        if isinstance(y, DiscreteMeasure):
            if nu is not None or unit != 1:
                raise ValueError("nu and unit are those of the measure y: leave them out")
            self._law = y
        self._hold("y", None if self._law is not None else _read_atoms(y))
        self._hold("nu", None if nu is None else checks.numbers("nu", nu))
        _warn_if_far_from_origin(self.target)

    @property
    def target(self) -> DiscreteMeasure:
        """The law, without a graph, of the atoms and masses as they now are."""
        if self._law is not None:
            return self._law.now
        assert self.y is not None
        seen = (stamp(self.y), None if self.nu is None else stamp(self.nu))
        if self._target is None or seen != self._seen:
            law = DiscreteMeasure.from_atoms(self.y.detach(), None if self.nu is None else self.nu.detach(), self.unit)
            if self.nu is not None and self.nu.requires_grad and law.support is not None:
                raise ValueError(
                    "nu requires grad and has masses of 0, where it has no gradient: leave those atoms out"
                )
            self._target, self._seen = law, seen
        return self._target

    def update(self, y: Any = None, nu: Any = None) -> Self:
        """Go on with other atoms (n, d) or masses (n,), such as a network's output; what was learnt is kept.

        Changes in place, as by an optimizer, are noticed without this.

        Raises:
            ValueError: if they do not fit the former ones, or the solver was given a law.
        """
        if self._law is not None:
            raise ValueError("the atoms are those of a measure: make another solver for other atoms")
        former, shape = (self.y, self.nu), self.target.y.shape
        if y is not None:
            y = _read_atoms(y)
            if y.shape != shape or (y.dtype == torch.float64) != (self.target.nu.dtype == torch.float64):
                raise ValueError(
                    f"y has shape {tuple(y.shape)} and {y.dtype}: give {tuple(shape)}, in the same precision"
                )
            self._hold("y", y)
        if nu is not None:
            self._hold("nu", checks.numbers("nu", nu))
        try:
            _ = self.target
        except ValueError:
            self._hold("y", former[0])
            self._hold("nu", former[1])
            raise
        return self

    def live(self) -> tuple[Tensor | None, Tensor | None]:
        """Atoms as points (n, d) and masses (n,) of sum 1, each with its graph; None for what requires no grad.

        Raises:
            RuntimeError: if a backward has used up the graph by which they were computed.
        """
        y, nu = (
            t if t is not None and t.requires_grad and torch.is_grad_enabled() else None for t in (self.y, self.nu)
        )
        for name, tensor in (("y", y), ("nu", nu)):
            if tensor is not None and name in self._spent:
                raise RuntimeError(
                    f"{name} was computed, and a backward has used that graph: compute it anew for update({name}=...)"
                )
        like = self.target.nu
        if y is not None:
            y = self.unit * y.to(like.dtype) if self.unit != 1 else y.to(like.dtype)
        if nu is not None:
            wide = nu.to(like.device, torch.float64)
            nu = (wide / wide.sum()).to(like.dtype)
        return y, nu

    def live_law(self) -> DiscreteMeasure:
        """The law for the definitions, which differentiate in its atoms and masses where these require grad."""
        y, nu = self.live()
        if y is None and nu is None:
            return self.target
        return _with_graph(self.target.points if y is None else y, self.target.nu if nu is None else nu)

    def _hold(self, name: str, tensor: Tensor | None) -> None:
        if tensor is not None and tensor.is_inference():
            with torch.inference_mode(False):
                tensor = tensor.clone()
        for store in (self.__dict__, self._parameters):
            store.pop(name, None)
        setattr(self, name, tensor)
        self._spent.discard(name)
        if tensor is not None and tensor.requires_grad and not tensor.is_leaf:
            spent = self._spent
            tensor.register_hook(lambda _: spent.add(name))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move along, as to(device) and double() do; what is no parameter stays at least as precise as it is."""
        super()._apply(fn, recurse)
        if self._law is not None:
            self._law = _moved_law(self._law, fn)
        elif not isinstance(self.y, nn.Parameter) and self.y is not None:
            self._hold("y", moved(self.y.detach(), fn))
        if self.nu is not None and not isinstance(self.nu, nn.Parameter):
            self._hold("nu", moved(self.nu.detach(), fn))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle without what is made of the atoms, and without the graph by which they were computed."""
        state = self.__dict__ | {"_target": None, "_seen": (), "_spent": set()}
        for name in ("y", "nu"):
            if isinstance(state.get(name), Tensor) and not state[name].is_leaf:
                state[name] = state[name].detach()
        return state


def moved(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a module's change of device or dtype, but not one below float32."""
    found = fn(tensor)
    return found if found.dtype in (tensor.dtype, *checks.MASS_DTYPES) else tensor.to(found.device)


def _with_graph(y: Tensor, nu: Tensor) -> DiscreteMeasure:
    """Make the law of points y (n, d) and masses nu (n,), which were checked without their graph."""
    law = object.__new__(DiscreteMeasure)
    law.__setstate__({"y": y, "nu": nu, "unit": 1.0})
    if law.support is not None:
        law.__dict__["_positive"] = _with_graph(y[law.support], nu[law.support])
    return law


def _moved_law(law: DiscreteMeasure, fn: Callable[[Tensor], Tensor]) -> DiscreteMeasure:
    nu = moved(law.nu, fn)
    if nu.dtype == law.nu.dtype and nu.device == law.nu.device:
        return law
    if type(law) is not DiscreteMeasure:
        raise TypeError(f"the atoms of a {type(law).__name__} do not move: make the law anew where it belongs")
    return DiscreteMeasure.from_atoms(moved(law.y, fn), law.nu.double(), law.unit)


def _read_atoms(y: Any) -> Tensor:
    """Floats and bytes as they are, other integers as float32."""
    if isinstance(y, str | Path):
        raise ValueError(f"y is a path: give StreamedMeasure.open({str(y)!r}), or the array in that file")
    found = checks.numbers("y", y)
    as_it_is = found.is_floating_point() or found.is_complex() or found.dtype == torch.uint8
    return found if as_it_is else found.float()


def _warn_if_far_from_origin(target: DiscreteMeasure) -> None:
    """Warn where ||x||^2 + ||y||^2 - 2 <x, y> would cancel in y's precision: float32 loses 1e-4 at this offset."""
    mean = torch.stack([block.sum(dim=0) for block in target.blocks()]).sum(dim=0) / target.n
    offset = float(mean.square().sum())
    spread = float(target.y_sq.mean()) - offset
    if target.nu.dtype != torch.float64 and target.n > 1 and offset > 100 * max(spread, 0.0):
        warnings.warn(
            "y lies far from the origin for float32: subtract its mean from y and from the samples, or use float64",
            stacklevel=4,
        )
