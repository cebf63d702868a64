"""Tracks B and C: the arms, how each may be tuned, and the end of the pipe that keeps their time.

A solver is (problem, lam, parameter, clock): it prepares (imports, compiles, copies), calls clock.start(), and gives
its best psi so far to clock(psi) after every step. The clock stands while the driver looks at the potential.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import pool_arms
import stochastic_arms
from problems import Problem
from worker import Pipe, peak_mib, reset_peak

FIRST_LOOK, LOOK_RATIO = 0.1, 1.3  # seconds until the first look at psi, and the factor between two looks


class Done(Exception):
    """The driver has seen enough."""


class Clock:
    """Count a solver's own seconds and steps; now and then, show its psi to the driver and hear whether to go on."""

    def __init__(self, pipe: Pipe, path: str, first_look: float = FIRST_LOOK) -> None:
        """Write what is looked at to `path`."""
        self.pipe, self.path = pipe, path
        self.seconds, self.steps, self.next_look = 0.0, 0, first_look

    def start(self) -> None:
        """Begin to count, or begin again at 0: a solver called anew for a smaller tolerance."""
        if self.steps == 0:
            self.pipe.send({"started": True})
        self.seconds, self.since = 0.0, time.perf_counter()

    def __call__(self, psi: object, steps: int = 1, look: bool = False) -> None:
        """Note that `psi` (n,), an array or a function that makes it, was reached after `steps` more steps."""
        self.seconds += time.perf_counter() - self.since
        self.steps += steps
        if look or self.seconds >= self.next_look:
            self.next_look = LOOK_RATIO * self.seconds
            np.save(self.path, np.asarray(psi() if callable(psi) else psi))
            self.pipe.send({"seconds": self.seconds, "steps": self.steps, "peak_mib": peak_mib()})
            answer = self.pipe.receive()
            if answer is None or not answer["go"]:
                raise Done
        self.since = time.perf_counter()


@dataclass(frozen=True)
class Arm:
    """One solver in one configuration.

    Attributes:
        kind: "ours" or "peer".
        solve: the solver.
        parameter: what it is run with, unless tuned.
        grid: values tried when it is tuned; empty: the arm is its library's default, or has nothing to tune.
        meaning: what the parameter is.
        stochastic: it draws points one batch at a time (else it sees the whole pool at once).
        options: further arguments of `solve`.
    """

    kind: str
    solve: Callable
    parameter: float | None = None
    grid: tuple[float, ...] = ()
    meaning: str = ""
    stochastic: bool = True
    options: tuple[tuple[str, object], ...] = ()


STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)  # multiples of n lam, the inverse curvature
N_LAM = "step / (n lam)"
OTT_DEFAULT = "step of optax.sgd, as in its tests; shown is the last iterate, as it averages only if told to"
sgd, pool = stochastic_arms, pool_arms
ARMS = {  # in the order in which they run: where time ends, the last are skipped
    "otgrad fixed source": Arm("ours", pool.fixed_source, stochastic=False),
    "otgrad estimator": Arm("ours", sgd.estimator),
    "SGD n lam / sqrt(k)": Arm("peer", sgd.decreasing_step, 1.0, STEPS, N_LAM),
    "POT DRAG, tuned": Arm("peer", sgd.pot_tuned, 1.0, STEPS, N_LAM, options=(("drag", True),)),
    "POT, tuned": Arm("peer", sgd.pot_tuned, 1.0, STEPS, N_LAM, options=(("drag", False),)),
    "OTT-JAX, tuned": Arm("peer", sgd.ott, 1.0, STEPS, N_LAM),
    "torch L-BFGS": Arm("peer", pool.torch_lbfgs, 1.0, (0.03, 0.1, 0.3, 1.0, 3.0), "unit of psi / (n lam)", False),
    "torch Sinkhorn": Arm("peer", pool.torch_sinkhorn, stochastic=False),
    "OTT-JAX Sinkhorn, stored, tuned": Arm(
        "peer", pool.ott_sinkhorn, 1.0, (1.0, 1.2, 1.4, 1.6, 1.8), "momentum", False, (("stored", True),)
    ),
    "POT Sinkhorn": Arm("peer", pool.pot_sinkhorn, stochastic=False),
    "GeomLoss stored, tuned": Arm(
        "peer", pool.geomloss, 0.5, (0.3, 0.5, 0.7, 0.9, 0.95), "scaling", False, (("backend", "tensorized"),)
    ),
    "authors' ASGD, tuned": Arm("peer", sgd.constant_step, 1.0, STEPS, N_LAM),
    "authors' ASGD": Arm("peer", sgd.constant_step, 5.0, (), "step", options=(("relative", False),)),
    "POT": Arm("peer", sgd.pot_default),
    "OTT-JAX": Arm("peer", sgd.ott, 1e-3, (), OTT_DEFAULT, options=(("default", True),)),
    "OTT-JAX Sinkhorn, online": Arm("peer", pool.ott_sinkhorn, 1.0, (), "momentum", False, (("stored", False),)),
    "GeomLoss online": Arm("peer", pool.geomloss, 0.5, (), "scaling", False, (("backend", "online"),)),
    "otgrad fixed source, certified": Arm("ours", pool.fixed_source, stochastic=False, options=(("certified", True),)),
}


def answer(pipe: Pipe, arm: str, folder: str, lam: float, parameter: float | None, psi: str) -> None:
    """Run one arm until it ends or the driver has seen enough."""
    chosen, clock = ARMS[arm], Clock(pipe, psi)
    reset_peak()
    try:
        chosen.solve(Problem.load(folder), lam, parameter, clock, **dict(chosen.options))
    except Done:
        return
    pipe.send({"ended": True})
