"""What is computed once of a law, and anew where its atoms were changed in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

import torch
from torch import Tensor

T = TypeVar("T", covariant=True)


class Law(Protocol):
    """What has a present state."""

    @property
    def now(self) -> Law:
        """Itself, or what it has become."""
        ...


def stamp(tensor: Tensor) -> tuple[object, ...]:
    """What changes with a tensor's entries: torch counts the operations in place, also those of an optimizer."""
    return tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device


class kept(Generic[T]):
    """A property of a law that is computed once, of the atoms as they now are, for use in any grad mode."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        """Take over the documentation."""
        self.compute, self.name, self.__doc__ = compute, f"_{compute.__name__}", compute.__doc__

    @overload
    def __get__(self, law: None, owner: type) -> kept[T]: ...
    @overload
    def __get__(self, law: Law, owner: type) -> T: ...
    def __get__(self, law: Law | None, owner: type) -> kept[T] | T:
        """Compute at the first call."""
        if law is None:
            return self
        found = law.now.__dict__
        if self.name not in found:
            with torch.inference_mode(False), torch.no_grad():
                found[self.name] = self.compute(law.now)
        return found[self.name]
