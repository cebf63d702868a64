"""Small networks of one shape trained as one: their weights stacked, their points as columns, one product for all.

A networks have weights (A, *shape), in the order of the plain module's parameters, and points (A, d, b). A layer is one
batched product W x with W (A, out, in), and the statistics of A batch normalisations are one call on (1, A out, b).
No arm enters another's numbers, not even where they are no longer finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
_masked = torch.ops.aten.threshold_backward  # (v, h, 0) -> v where h > 0, else 0: one call instead of two


def stack(networks: Sequence[nn.Module], device: str | torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Stack the parameters of networks of one shape, each as (A, *shape), on a device."""
    same = zip(*(network.parameters() for network in networks), strict=True)
    return [torch.stack([values.detach() for values in weights]).to(device, dtype) for weights in same]


@torch.no_grad()
def unstack(weights: Sequence[Tensor], arm: int, network: Module) -> Module:
    """Copy one arm's weights into a plain network of the same shape, and return it."""
    for values, stacked in zip(network.parameters(), weights, strict=True):
        values.copy_(stacked[arm])
    return network


def residual(weights: Sequence[Tensor], z: Tensor) -> Tensor:
    """Compute G(z) = z + net(z) of `networks.ResidualMlp` without scale, (A, d, b) -> (A, d, b).

    Of several batches, (A, d, B, b), each is normalised by itself. The biases before a normalisation, which takes them
    out again, are not read.
    """
    *hidden, weight, bias = weights
    h, batches = z.flatten(2), z.shape[2:-1].numel()
    for k in range(0, len(hidden), 4):
        linear, _, *affine = hidden[k : k + 4]
        scale, offset = (values[..., None].expand(-1, -1, batches).flatten() for values in affine)
        h = (linear @ h).view(1, -1, z.shape[-1])
        h = nn.functional.batch_norm(h, None, None, scale, offset, training=True).relu_().view(*linear.shape[:2], -1)
    return z + torch.baddbmm(bias[..., None], weight, h).view_as(z)


@torch.no_grad()
def slopes(weights: Sequence[Tensor], points: Tensor) -> Tensor:
    """Compute grad phi of `networks.CriticMlp` at the points, (A, d, b) -> (A, d, b)."""
    h = _activations(weights, points)
    return weights[0].mT @ _back(weights, h, weights[-2].mT.expand_as(h[-1]))[0]


def _activations(weights: Sequence[Tensor], points: Tensor) -> list[Tensor]:
    """h_0 = points and h_l = relu(W_l h_(l-1) + b_l), each (A, width, b)."""
    h = [points]
    for linear, shift in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h.append(torch.baddbmm(shift[..., None], linear, h[-1]).relu_())
    return h


def _back(weights: Sequence[Tensor], h: Sequence[Tensor], top: Tensor) -> list[Tensor]:
    """Derivatives s_l in W_l h_(l-1) + b_l, each (A, width, b), from the first on; `top` is that in the last h."""
    s = [_masked(top, h[-1], 0)]
    for linear, active in zip(weights[-4:0:-2], h[-2:0:-1], strict=True):
        s.insert(0, _masked(linear.mT @ s[0], active, 0))
    return s


def critic_points(x: Tensor, y: Tensor, t: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gather what `critic_gradients` asks for.

    Args:
        x: data (..., d, b).
        y: samples (..., d, b).
        t: places of the interpolates between y and x (..., 1, b); None: no penalty.

    Returns:
        y, x and the interpolates side by side, (..., d, 3b) or (..., d, 2b), and the factor of each column: 1 / b,
        -1 / b and 1.
    """
    b = x.shape[-1]
    factors = [x.new_full((b,), 1 / b), x.new_full((b,), -1 / b)]
    if t is None:
        return torch.cat([y, x], -1), torch.cat(factors)
    return torch.cat([y, x, torch.lerp(y, x, t)], -1), torch.cat([*factors, x.new_ones(b)])


@torch.no_grad()
def critic_gradients(
    weights: Sequence[Tensor], points: Tensor, factors: Tensor, floor: Tensor | None, weight: float = 10.0
) -> list[Tensor | None]:
    """Compute the gradients of every arm's `potentials.critic_loss` in its weights, by hand; None where there is none.

    Half the calls of differentiating twice: with s_l the derivatives of phi in layer l, grad phi = W_1' s_1, and with
    u_0 = d penalty / d grad phi and u_l = relu'(.) W_l u_(l-1) forward through the same layers,

        d loss / d W_l = sum_y s_l h_(l-1)' / b - sum_x s_l h_(l-1)' / b + sum_interpolates s_l u_(l-1)'.

    Args:
        weights: of the critics.
        points: samples, data and interpolates (A, d, 3b), or samples and data (A, d, 2b); see `critic_points`.
        factors: of the columns of points.
        floor: of ||grad phi|| - 1 in the penalty (A, 1, 1): 0 for "lp"; -1, which is none, for "gp". None: no penalty.
        weight: of the penalty.
    """
    both = points.shape[2] if floor is None else points.shape[2] // 3 * 2  # columns of samples and data
    h = _activations(weights, points)
    s = _back(weights, h, weights[-2].mT * factors)
    if floor is not None:
        u = _pull(weights[0].mT @ s[0][..., both:], floor, 2 * weight / both)
        h[0] = torch.cat([points[..., :both], u], 2)
        _put_tangents(weights, [columns[..., both:] for columns in h])
    gradients: list[Tensor | None] = []
    for below, derivative in zip(h, s, strict=False):
        gradients += [derivative @ below.mT, derivative[..., :both].sum(2)]
    last = (h[-1] @ factors).unsqueeze(1)
    return [*gradients, last, None]  # a constant in phi cancels


def _pull(slope: Tensor, floor: Tensor, weight: float) -> Tensor:
    """Derivative of weight max(||slope|| - 1, floor)^2 in the slope (A, d, b), 0 at 0."""
    norm = torch.linalg.vector_norm(slope, dim=1, keepdim=True)
    excess = torch.maximum(norm - 1, floor)
    return slope * (2 * weight * excess / norm.clamp(min=torch.finfo(norm.dtype).tiny))


def _put_tangents(weights: Sequence[Tensor], h: Sequence[Tensor]) -> None:
    """Overwrite the interpolates' h_1, h_2, ... with u_1, u_2, ...; the first of h is u_0."""
    for linear, u, active in zip(weights[:-2:2], h, h[1:], strict=False):
        _masked.grad_input(linear @ u, active, 0, grad_input=active)


class StackedAdam:
    """Adam on stacked weights with a rate per arm: one group for each run of equal rates."""

    def __init__(self, weights: Sequence[Tensor], rates: Sequence[float]) -> None:
        """Begin with moments 0; `weights` are changed in place."""
        groups, start = [], 0
        self._arms: list[slice] = []
        for rate, run in groupby(rates):
            arms = slice(start, start + len(list(run)))
            self._arms.append(arms)
            groups.append({"params": [values.detach()[arms] for values in weights], "lr": rate})
            start = arms.stop
        # Without "capturable" a step cannot be part of a CUDA graph.
        self._optimizer = torch.optim.Adam(groups, fused=True, capturable=weights[0].is_cuda)

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Take one step along the gradients, stacked as the weights are; weights without one stay."""
        for group, arms in zip(self._optimizer.param_groups, self._arms, strict=True):
            for values, gradient in zip(group["params"], gradients, strict=True):
                values.grad = None if gradient is None else gradient[arms]
        self._optimizer.step()
