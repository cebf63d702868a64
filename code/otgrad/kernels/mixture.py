"""A law in parts: psi^{c,lam} of the whole from those of the parts.

Part r has mass m_r; v_r(x) is the transform under its atoms alone, their masses divided by m_r. Then

    psi^{c,lam}(x) = -lam log sum_r m_r exp(-v_r(x) / lam),   share_r(x) = m_r exp((psi^{c,lam}(x) - v_r(x)) / lam)

and the assignments within part r, times share_r, are those of the whole law: shares sum to 1. At lam = 0 the value is
the least of the v_r and the share 1 for the first part that has it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Shares = Callable[[Tensor], Tensor]
"""From a part's values (b,) to its shares (b,), by which a kernel multiplies the points' weights."""


def combine(values: Tensor, masses: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Put the parts together.

    Args:
        values: v_r(x_i) (parts, b), in units of the cost.
        masses: m_r (parts,), summing to 1.
        lam: regularisation >= 0, in units of the cost.

    Returns:
        psi^{c,lam}(x_i) (b,) and share_r(x_i) (parts, b).

    Raises:
        FloatingPointError: if a value is not finite.
    """
    v, m = values.double(), masses.double()[:, None]
    if not bool(torch.isfinite(v).all()):
        part = int((~torch.isfinite(v)).any(1).nonzero()[0])
        raise FloatingPointError(f"psi^c of the points is not finite in part {part} of the atoms: psi or x is not")
    least = v.amin(0)
    if lam == 0:
        shares = torch.zeros_like(values).scatter_(0, v.argmin(0, keepdim=True), 1.0)
        return least.to(values.dtype), shares
    excess = (m * torch.expm1((least - v) / lam)).sum(0)  # the masses sum to 1: the digits of a large lam are kept
    shares = m * torch.exp((least - v) / lam) / (1 + excess)
    return (least - lam * torch.log1p(excess)).to(values.dtype), shares.to(values.dtype)
