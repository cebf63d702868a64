"""Go on with fewer points at a time where memory does not suffice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch

from otgrad.measures import DiscreteMeasure

T = TypeVar("T")
_fits: WeakKeyDictionary[DiscreteMeasure, int] = WeakKeyDictionary()


def in_tiles(call: Callable[[slice], T], b: int, law: DiscreteMeasure) -> list[T]:
    """Call on all b points; where memory runs out, on tiles of half as many, and so on, from then on for this law.

    Args:
        call: does the work on some of the points; may be called again on the same.
        b: number of points.
        law: what the size that fits is remembered for.

    Returns:
        the results of the tiles, in order; one if all went at once.

    Raises:
        MemoryError, RuntimeError: if not even one point fits, or anything else is wrong.
    """
    while True:
        rows = min(_fits.get(law, b), b)
        try:
            return [call(slice(start, min(start + rows, b))) for start in range(0, b, rows)]
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or rows <= 1:
                raise
        # outside of the except clause, so that what the traceback holds is freed
        _fits[law] = rows // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        done = f"{rows} points with {law.n} atoms at once"
        warnings.warn(f"out of memory for {done}: going on with {rows // 2} points at a time", stacklevel=3)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory could not be had, on a CPU or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory"))
