"""The arms of gpu.py: this library's CUDA kernel, its reference, peers and floors, on tensors that are on the device.

A function here is Cell -> step; step() does the whole work that a solver repeats for a new psi and returns (values (b,)
or their mean, gradient), which are read before the next call. What depends on y alone may be prepared outside of step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from otgrad.costs import Cost
from otgrad.kernels import cuda, reference
from otgrad.measures import DiscreteMeasure
from peers import explicit, explicit_x, transform
from worker import need

Step = Callable[[], tuple[Tensor | None, Tensor | None]]


@dataclass(eq=False)
class Cell:
    """What one cell of the table computes: points x (b, d) float32 in [0, 1], atoms y (n, d) of bytes, psi (n,)."""

    quantity: str
    x: Tensor
    law: DiscreteMeasure
    psi: Tensor
    lam: float
    scale: float
    source: str

    @property
    def n(self) -> int:
        """Number of atoms."""
        return self.law.n

    @cached_property
    def peers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Points, atoms and their squared norms in units in which the cost is ||x - y||^2, as peers expect."""
        x, y = self.x / self.scale**0.5, self.law.points / self.scale**0.5
        return x, y, y.square().sum(1)

    @property
    def unit(self) -> float:
        """What the peers' x-gradient is multiplied by."""
        return self.scale**-0.5 if self.quantity == "x" else 1.0


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


def pot_arm(cell: Cell) -> Step:
    """POT's semi-discrete functions: weights (or map), and the c-transform for the value."""
    pot = need("ot.semidiscrete")
    x, y, _ = cell.peers

    def step():
        values = pot.semidiscrete_c_transform(y, x, cell.psi, reg=cell.lam)
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - pot.semidiscrete_ot_map(y, x, cell.psi, reg=cell.lam))
        return values, 1 / cell.n - pot.semidiscrete_atom_weights(y, x, cell.psi, reg=cell.lam).mean(0)

    return step


def ott_arm(cell: Cell) -> Step:
    """OTT-JAX's jitted semi-discrete loss with its gradient (the value is the batch's mean); for x, jax.grad."""
    jax, jnp = need("jax"), need("jax.numpy")
    loss = need("ott.solvers.linear.semidiscrete")._semidiscrete_loss
    pointcloud, linear = need("ott.geometry.pointcloud"), need("ott.problems.linear.linear_problem")
    x, y, psi = (jnp.asarray(part.cpu().numpy()) for part in (*cell.peers[:2], cell.psi))

    def of(points, atoms):
        return linear.LinearProblem(pointcloud.PointCloud(points, atoms, epsilon=cell.lam))

    def total(points, atoms, g):
        each, _ = of(points, atoms)._c_transform(g, axis=1)
        return each.sum(), each

    if cell.quantity == "x":
        run, arguments = jax.jit(jax.value_and_grad(total, has_aux=True)), (x, y, psi)
    else:
        run = jax.jit(jax.value_and_grad(lambda g, points, atoms: loss(g, of(points, atoms))))
        arguments = (psi, x, y)

    def step():
        value, gradient = jax.block_until_ready(run(*arguments))
        values, sign = (value[1], cell.unit) if cell.quantity == "x" else (-value - psi.mean(), -1)
        return values, sign * gradient

    return step


def keops_arm(cell: Cell) -> Step:
    """Lazy reductions of KeOps (what GeomLoss's "online" solvers are made of): nothing of size b x n is kept."""
    lazy = need("pykeops.torch").LazyTensor
    x, y, _ = cell.peers

    def step():
        gaps = lazy(cell.psi[None, :, None]) - lazy(x[:, None, :]).sqdist(lazy(y[None, :, :]))
        log_z = (gaps / cell.lam).logsumexp(1)
        values = -cell.lam * (log_z[:, 0] - math.log(cell.n))
        pi = (gaps / cell.lam - lazy(log_z[:, None, :])).exp()
        if cell.quantity == "x":
            return values, 2 * cell.unit * (x - pi @ y)
        return values, 1 / cell.n - pi.sum(0)[:, 0] / len(x)

    return step


def flash_arm(cell: Cell, tf32: bool = False) -> Step:
    """FlashSinkhorn's transform of few rows (split over the atoms) and its plan-vector or plan-matrix product."""
    flash = "flash_sinkhorn.kernels."
    transform_rows = need(flash + "sinkhorn_splitn_sqeuclid").flashsinkhorn_lse_splitn
    apply = need(flash + "apply_flash")
    x, y, y_sq = cell.peers
    b, log_a, log_b = len(x), -math.log(len(x)), -math.log(cell.n)
    log_masses, x_sq = (x.new_full((b,), log_a), x.new_full((cell.n,), log_b)), x.square().sum(1)
    splits = max(1, 264 // math.ceil(b / 128))  # two programs for each of 132 processors

    def step():
        g_hat = cell.psi - y_sq
        f_hat = transform_rows(x, y, g_hat / cell.lam + log_b, cell.lam, num_splits=splits, allow_tf32=tf32)
        plan = x, y, f_hat, g_hat, *log_masses
        if cell.quantity == "x":
            means = b * apply.apply_plan_mat_flashstyle(*plan, y, eps=cell.lam, axis=1, allow_tf32=tf32)
            return f_hat + x_sq, 2 * cell.unit * (x - means)
        marginal = apply.apply_plan_vec_flashstyle(*plan, torch.ones_like(x_sq), eps=cell.lam, axis=0, allow_tf32=tf32)
        return f_hat + x_sq, 1 / cell.n - marginal

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
