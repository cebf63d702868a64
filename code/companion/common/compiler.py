"""PyTorch's compiler is left out until something compiles.

Every optimizer of torch loads it, for as long as torch itself takes, to tell it that a step is not to be compiled. Most
jobs of the workflow are shorter than that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class Absent(ModuleType):
    """Stands for `torch._dynamo`: answers what optimizers ask; whoever asks for more gets the module itself."""

    @staticmethod
    def disable(fn: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        """Return the function, which nothing compiles."""
        return fn

    @staticmethod
    def graph_break() -> None:
        """Do nothing: there is no graph."""

    def __getattr__(self, name: str) -> Any:
        """Let the module take this one's place."""
        if name in ("__spec__", "__file__"):  # asked of whatever lies in sys.modules, as by inspect
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        import torch._dynamo

        return getattr(torch._dynamo, name)


def leave_out() -> None:
    """From now on optimizers do without the compiler, unless it is loaded already."""
    sys.modules.setdefault(NAME, Absent(NAME))
