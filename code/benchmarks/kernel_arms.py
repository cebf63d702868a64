"""Track A's arms: this library, its peers and the floors; and the end of the pipe that times them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from peers import Step, autograd_arm, keops_arm, numpy_arm, ott_arm, pot_arm, torch_arm
from problems import Problem
from worker import Pipe, peak_mib, reset_peak


def otgrad_arm(problem: Problem, psi: np.ndarray, lam: float, quantity: str) -> Step:
    """The library's function, on bytes."""
    import torch

    from otgrad.costs import Cost
    from otgrad.ctransform import psi_step, x_grad
    from otgrad.measures import DiscreteMeasure

    target = DiscreteMeasure.from_atoms(torch.from_numpy(problem.y), unit=1 / 255)
    points, potential = torch.from_numpy(problem.x), torch.from_numpy(psi)
    function, cost = {"psi": psi_step, "x": x_grad}[quantity], Cost(scale=problem.scale)
    return lambda: function(points, target, potential, lam, cost)


def floor_arm(
    problem: Problem, psi: np.ndarray, lam: float, quantity: str, kind: str = "torch", times: int = 1
) -> Step:
    """The matrix product alone: float32 by torch or numpy, bfloat16 by torch."""
    import torch

    x, y = problem.in_cost_units()
    if kind == "numpy":
        out = np.empty((len(x), len(y)), np.float32)
        return lambda: (None, np.matmul(x, y.T, out=out)[:0])
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    left, right = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype).T
    scores = torch.empty(len(x), len(y), dtype=dtype)

    def step():
        for _ in range(times):
            torch.mm(left, right, out=scores)
        return None, scores[:0].float()

    return step


# name -> (kind, function, its further arguments, environment)
ARMS: dict[str, tuple[str, Callable, dict, dict]] = {
    "otgrad": ("ours", otgrad_arm, {}, {}),
    "otgrad reference": ("ours", otgrad_arm, {}, {"OTGRAD_KERNEL": "reference"}),
    "numpy": ("peer", numpy_arm, {}, {}),
    "numpy, clamped": ("peer", numpy_arm, {"clamp": True}, {}),
    "torch explicit": ("peer", torch_arm, {}, {}),
    "torch autograd": ("peer", autograd_arm, {}, {}),
    "torch.compile": ("peer", torch_arm, {"compiled": "default"}, {}),
    "torch.compile, autotuned": ("peer", torch_arm, {"compiled": "max-autotune-no-cudagraphs"}, {}),
    "POT": ("peer", pot_arm, {}, {}),
    "POT, weights alone": ("peer", pot_arm, {"values_too": False}, {}),
    "OTT-JAX": ("peer", ott_arm, {}, {}),
    "KeOps": ("peer", keops_arm, {}, {}),
    "sgemm, torch": ("floor", floor_arm, {}, {}),
    "sgemm, numpy": ("floor", floor_arm, {"kind": "numpy"}, {}),
    "bf16 product": ("floor", floor_arm, {"kind": "bfloat16"}, {}),
    "two bf16 products": ("floor", floor_arm, {"kind": "bfloat16", "times": 2}, {}),
}
STEADY = 0.15  # seconds
_state: dict[str, Step] = {}  # the step that "go" repeats


def answer(pipe: Pipe, do: str, **given) -> None:
    """Serve Track A: "prepare" a cell (first call apart, result kept), "go", "memory"."""
    if do == "prepare":
        prepare(pipe, **given)
        return
    pipe.send({"ms": steady_ms(_state["step"]), "peak_mib": peak_mib()})


def steady_ms(step: Step) -> float:
    """Milliseconds of a step among others like it: one to fill the caches again, then the mean of what fits in STEADY.

    A step that takes longer than that by itself is timed alone.
    """
    start = time.perf_counter()
    step()
    first, count, start = time.perf_counter() - start, 0, time.perf_counter()
    if first > STEADY:
        return 1e3 * first
    while (spent := time.perf_counter() - start) < STEADY:
        step()
        count += 1
    return 1e3 * spent / count


def prepare(pipe: Pipe, arm: str, folder: str, psi: str, lam: float, quantity: str, result: str) -> None:
    """Build the arm's step, call it twice, and leave its result for the driver to judge."""
    _state.clear()
    reset_peak()
    _, make, more, _ = ARMS[arm]
    start = time.perf_counter()
    step = _state["step"] = make(Problem.load(folder), np.load(psi), lam, quantity, **more)
    values, gradient = step()
    first = time.perf_counter() - start
    np.savez(result, values=np.nan if values is None else np.asarray(values), gradient=np.asarray(gradient))
    del values, gradient
    start = time.perf_counter()
    step()
    pipe.send({"first_ms": 1e3 * first, "ms": 1e3 * (time.perf_counter() - start)})
