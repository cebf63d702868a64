"""A training of Algorithm 1 that takes a second, and how tests interrupt it."""

import torch

from companion.algorithms.runs import OTConfig

CONFIG = OTConfig(
    "mlp", 0.05, 0, batch_size=8, outer_steps=7, inner_steps=3, lr_theta=1e-3, n_train=12,
    log_every=2, checkpoint_every=3, eval_samples=16,
)  # fmt: skip


class Interrupted(Exception):
    """What interrupts it."""


def until(last):
    """A `track` that is interrupted before theta-step last + 1."""

    def track(steps):
        for step in steps:
            if step > last:
                raise Interrupted
            yield step

    return track


def same(first, second):
    """Whether two trainings ended on the same weights, psi and log, to the bit."""
    states = first.generator.state_dict(), second.generator.state_dict()
    weights = states[0].keys() == states[1].keys() and all(map(torch.equal, states[0].values(), states[1].values()))
    return weights and torch.equal(first.psi, second.psi) and first.log == second.log
