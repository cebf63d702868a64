"""The arms of gpu.py: this library's CUDA kernel, its reference, peers and floors, on tensors that are on the device.

A function here is Cell -> step; step() does the whole work that a solver repeats for a new psi and returns (values (b,)
or their mean, gradient), which are read before the next call. What depends on y alone may be prepared outside of step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from gpu_cells import Cell, Step
from gpu_peers import flash_arm, flash_hard_arm, jax_arm, keops_arm, ott_arm, pot_arm
from otgrad.costs import Cost
from otgrad.kernels import cuda, reference
from peers import explicit, explicit_x, transform


def kernel_arm(cell: Cell, module=cuda) -> Step:
    """A kernel's function; the gradient in psi is nu - marginal."""
    arguments = cell.x, cell.law, cell.psi, cell.lam, Cost(scale=cell.scale)
    w = cell.x.new_full((len(cell.x),), 1 / len(cell.x))
    if not module.covers(*arguments[:2], *arguments[3:]):
        raise RuntimeError("the kernel does not cover this device")
    if cell.quantity == "x":
        return lambda: module.x_grad(*arguments)

    def step():
        values, marginal = module.psi_step(*arguments, w)
        return values, cell.law.nu - marginal

    return step


def torch_arm(cell: Cell, compiled: str | None = None, tf32: bool = False) -> Step:
    """The explicit formula in torch: eager, or by torch.compile in a mode; with float32 products or tf32."""
    function = explicit if cell.quantity == "psi" else explicit_x
    if compiled is not None:
        function = compiled_function(function, compiled)
    tensors, lam = cell.peers, torch.tensor(cell.lam, device=cell.x.device)

    @torch.no_grad()
    def step():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            values, gradient = function(*tensors, cell.psi, lam)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
        return values, cell.unit * gradient

    return step


@cache
def compiled_function(function: Callable, mode: str) -> Callable:
    """Compile once, so that cells of the same shapes share it."""
    return torch.compile(function, mode=mode, dynamic=False)


def autograd_arm(cell: Cell) -> Step:
    """The definition, differentiated by autograd: the style of most research code."""
    x, y, y_sq = cell.peers
    x, psi = x.clone().requires_grad_(cell.quantity == "x"), cell.psi.clone().requires_grad_(cell.quantity == "psi")

    def step():
        _, values = transform(x, y, y_sq, psi, cell.lam)
        if cell.quantity == "x":
            return values.detach(), cell.unit * torch.autograd.grad(values.sum(), x)[0]
        return values.detach(), torch.autograd.grad(values.mean(), psi)[0] + 1 / cell.n

    return step


def graph_arm(cell: Cell, make: Callable[..., Step] = kernel_arm, **more) -> Step:
    """Another arm's step, captured in a CUDA graph and replayed."""
    if cell.x.device.type != "cuda":
        raise RuntimeError("needs a GPU")
    step = make(cell, **more)
    for _ in range(3):  # compiles, and sets libraries up, which cannot be captured
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay():
        graph.replay()
        return result

    return replay


def hard_arm(cell: Cell) -> Step:
    """The hard transform in eager torch (lam = 0)."""
    x, y, y_sq = cell.peers
    w = x.new_full((len(x),), 1 / len(x))

    @torch.no_grad()
    def step():
        best, cells = torch.addmm(cell.psi - y_sq, x, y.T, alpha=2).max(dim=1)
        values = x.square().sum(1) - best
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - y[cells])
        return values, 1 / cell.n - torch.zeros_like(cell.psi).index_add_(0, cells, w)

    return step


def floor_arm(cell: Cell, dtype: torch.dtype = torch.float32, times: int = 1, tf32: bool = False) -> Step:
    """Matrix products of the step's size alone (for x: the scores' and the barycentre's)."""
    x, y = (part.to(dtype) for part in cell.peers[:2])
    scores, means = x.new_empty(len(x), cell.n), torch.empty_like(x)

    def step():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for _ in range(times):
            torch.mm(x, y.T, out=scores)
            if cell.quantity == "x":
                torch.mm(scores, y, out=means)
        torch.backends.cuda.matmul.allow_tf32 = False
        return None, None

    return step


# name -> (kind, function, its further arguments)
ARMS: dict[str, tuple[str, Callable[..., Step], dict]] = {
    "otgrad cuda": ("ours", kernel_arm, {}),
    "otgrad cuda, graph": ("ours", graph_arm, {}),
    "otgrad reference": ("ours", kernel_arm, {"module": reference}),
    "torch explicit": ("peer", torch_arm, {}),
    "torch explicit, graph": ("peer", graph_arm, {"make": torch_arm}),
    "torch explicit, tf32, graph": ("peer", graph_arm, {"make": torch_arm, "tf32": True}),
    "torch autograd": ("peer", autograd_arm, {}),
    "torch.compile": ("peer", torch_arm, {"compiled": "default"}),
    "torch.compile, graph": ("peer", graph_arm, {"make": torch_arm, "compiled": "default"}),
    "torch.compile, tf32, graph": ("peer", graph_arm, {"make": torch_arm, "compiled": "default", "tf32": True}),
    "POT": ("peer", pot_arm, {}),
    "JAX": ("peer", jax_arm, {}),
    "OTT-JAX": ("peer", ott_arm, {}),
    "KeOps": ("peer", keops_arm, {}),
    "FlashSinkhorn": ("peer", flash_arm, {}),
    "FlashSinkhorn, tf32": ("peer", flash_arm, {"tf32": True}),
    "float32 product": ("floor", floor_arm, {}),
    "tf32 product": ("floor", floor_arm, {"tf32": True}),
    "bf16 product": ("floor", floor_arm, {"dtype": torch.bfloat16}),
    "two bf16 products": ("floor", floor_arm, {"dtype": torch.bfloat16, "times": 2}),
    "two fp16 products": ("floor", floor_arm, {"dtype": torch.float16, "times": 2}),
}
HARD_ARMS: dict[str, tuple[str, Callable[..., Step], dict]] = {  # at lam = 0
    "otgrad cuda": ("ours", kernel_arm, {}),
    "otgrad cuda, graph": ("ours", graph_arm, {}),
    "otgrad reference": ("ours", kernel_arm, {"module": reference}),
    "torch explicit": ("peer", hard_arm, {}),
    "torch explicit, graph": ("peer", graph_arm, {"make": hard_arm}),
    "FlashSinkhorn, hard": ("peer", flash_hard_arm, {}),
    "FlashSinkhorn, hard, tf32": ("peer", flash_hard_arm, {"tf32": True}),
    "float32 product": ("floor", floor_arm, {}),
    "two fp16 products": ("floor", floor_arm, {"dtype": torch.float16, "times": 2}),
}


def arms_of(cell: Cell) -> dict[str, tuple[str, Callable[..., Step], dict]]:
    """The arms that serve a cell."""
    return ARMS if cell.lam > 0 else HARD_ARMS
