"""Work that is recorded once in a CUDA graph and replayed: on a GPU some tens of launches then cost as much as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

EAGER_CALLS = 2  # before recording: they compile programs, fill caches and set libraries up, which cannot be recorded


def recorded(step: Callable[[], None], device: torch.device, *generators: torch.Generator) -> Callable[[], None]:
    """Make a call of `step` cheap to repeat: on a CUDA device record its third call in a graph, and replay it later.

    Args:
        step: changes tensors in place, always the same ones, and returns nothing; it may not read a number back, and
            what it decides in Python it decides once and for all.
        device: on any other than CUDA the step itself is returned.
        generators: the random generators that it draws from: every replay goes on with their draws, as a call would.

    Returns:
        a function that does what `step` does. Where the recording fails it warns, and goes on calling `step`.
    """
    return _Recorded(step, device, generators) if device.type == "cuda" else step


class _Recorded:
    """The states of a step: called as it is, recorded, or given up."""

    def __init__(self, step: Callable[[], None], device: torch.device, generators: tuple[torch.Generator, ...]) -> None:
        self.step, self.device, self.generators, self.calls = step, device, generators, 0
        self.stream, self.replay = torch.cuda.Stream(device), None

    def __call__(self) -> None:
        if self.replay is not None:
            self.replay()
            return
        if self.calls == EAGER_CALLS:
            self.replay = self._record() or self._aside
        self.calls += 1
        (self.replay or self._aside)()

    def _aside(self) -> None:
        """Call the step on the stream that is recorded later, so that autograd meets its tensors there alone."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            self.step()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def _record(self) -> Callable[[], None] | None:
        graph = torch.cuda.CUDAGraph()
        try:
            for generator in self.generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, stream=self.stream):
                self.step()
        except RuntimeError as error:
            reason = str(error).split("\n")[0]
            warnings.warn(f"no CUDA graph, so that every step is launched piece by piece: {reason}", stacklevel=4)
            return None
        return graph.replay
