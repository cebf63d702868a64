"""Figure 1, left, with its ties broken as the paper's figure shows: the one thing about it that is not known.

At lam = 0 and psi* the point of the Dirac instance ties at every step, and theta's second coordinate y takes one of two
steps: to (1 - 2 step) y + 2 step where the point goes to y_2 ("up"), to (1 - 2 step) y where it goes to y_1 ("down").
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from companion.counterexample.descent import Instance, Trajectory, Translation, descend, optimal_psi

ATOMS = {"up": 1, "down": 0}  # the atom that the point goes to; theta moves towards the other
NUDGE = 1e-9  # of psi, in units of the cost: what breaks a tie


def run_tied(instance: Instance, ties: Sequence[str], step: float, iterations: int) -> Trajectory:
    """Run Algorithm 1 at lam = 0 with psi*, each tie broken as `ties` say and, after the last of them, in turn.

    Args:
        instance: the Dirac instance.
        ties: "up" or "down", one for each of the first steps.
        step: constant step on theta.
        iterations: steps on theta.
    """
    order = [ATOMS[tie] for tie in ties]
    order += [(order[-1] + k) % 2 for k in range(1, iterations - len(order) + 1)]
    left = iter(order)

    def next_psi(generator: Translation) -> Tensor:
        psi = optimal_psi(instance, generator.theta.detach())
        psi[next(left)] += NUDGE
        return psi

    return descend(instance, instance.problem(0.0), next_psi, step, iterations, 1, torch.Generator())
