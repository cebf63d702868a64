"""What tracks B and C share: the certified optimum of a pool, the gap of a potential, and one race of all arms.

The gap is (P - F(psi)) / |P| with F the semi-dual on the whole pool and P the entropic cost of a feasible plan: it
bounds the true gap (F* - F(psi)) / |F*| from above, by at most the certificate (P - F(best psi)) / |P|.
"""

from __future__ import annotations

import hashlib
import json
import time
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pool_arms import ROWS, stored_costs, value_and_marginal
from problems import GAPS, Problem, rounded
from solver_arms import ARMS
from worker import Worker

CERTIFICATE = 1e-4  # relative width at which the optimum is good enough; its search ends there
TRIAL_SHARE = 0.25  # of the cap, for each trial of a tuning
SETUP_TIMEOUT = 90
NEVER = (np.inf, 0)  # seconds and steps to a gap that is not reached


class Pool:
    """The pool's costs, stored, and how good a potential is."""

    def __init__(self, problem: Problem, lam: float) -> None:
        """Form the costs (b, n) in float32."""
        self.costs, self.lam, self.problem = stored_costs(*map(torch.from_numpy, problem.in_cost_units())), lam, problem
        self.upper = self.certificate = np.nan

    def at(self, lam: float) -> Pool:
        """The same pool, and the same array of costs, at another lam."""
        other = copy(self)
        other.lam, other.upper, other.certificate = lam, np.nan, np.nan
        return other

    def value(self, psi: np.ndarray) -> float:
        """F(psi)."""
        if not np.isfinite(psi).all():
            return -np.inf
        return value_and_marginal(self.costs, torch.from_numpy(psi).float(), self.lam)[0]

    def gap(self, psi: np.ndarray) -> float:
        """Upper bound of the relative gap."""
        return (self.upper - self.value(psi)) / abs(self.upper)

    def plan_cost(self, psi: torch.Tensor) -> float:
        """Entropic cost of psi's plan rounded to both marginals (Altschuler, Weed, Rigollet 2017): at least F*."""
        (b, n), lam = self.costs.shape, self.lam
        _, marginal = value_and_marginal(self.costs, psi, lam)
        kept = (1 / (n * marginal.double())).clamp(max=1)
        column_rest = 1 / n - kept * marginal.double()
        total = 0.0
        for tile in self.costs.split(ROWS):
            plan = ((psi - tile) / lam).double().softmax(1).mul_(kept).div_(b)
            row_rest = (1 / b - plan.sum(1)).clamp(min=0)
            plan.addr_(row_rest, column_rest.clamp(min=0) / column_rest.clamp(min=0).sum().clamp(min=1e-300))
            total += float((plan * tile).sum() + lam * torch.xlogy(plan, plan * (b * n)).sum())
        return total

    def certify(self, cache: Path, seconds: float) -> None:
        """Find the optimum, or read it: annealed, then L-BFGS, until the certificate or for `seconds`."""
        key = hashlib.sha256(self.problem.x.tobytes() + self.problem.y.tobytes() + repr(self.lam).encode()).hexdigest()
        file = cache / f"optimum-{key[:16]}.npz"
        if file.is_file():
            self.upper, self.certificate = np.load(file)["found"].tolist()
            return
        psi = optimum(self, seconds)
        self.upper = self.plan_cost(psi)
        self.certificate = (self.upper - self.value(psi.numpy())) / abs(self.upper)
        if self.certificate <= CERTIFICATE:  # else a later run tries again
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(file, found=[self.upper, self.certificate], psi=psi.numpy())


def optimum(pool: Pool, seconds: float, certificate: float = CERTIFICATE, start=None) -> torch.Tensor:
    """Maximise F on the pool: Sinkhorn with lam lowered to its value, then L-BFGS between looks at the certificate.

    With a potential near the optimum as `start`, lam is its value from the beginning.
    """
    deadline, psi = time.monotonic() + seconds, torch.zeros(pool.problem.n) if start is None else start.clone()
    halvings = max(0, int(np.ceil(np.log2(0.5 / pool.lam)))) if start is None else 0
    for lam in (pool.lam * 2.0**k for k in range(halvings, -1, -1)):
        for _ in range(5):
            psi -= lam * (value_and_marginal(pool.costs, psi, lam)[1] * len(psi)).clamp(min=1e-30).log()
    unit = pool.lam * len(psi) * 0.3
    u = (psi / unit).requires_grad_()
    search = torch.optim.LBFGS([u], max_iter=20, history_size=30, line_search_fn="strong_wolfe")
    search.param_groups[0].update(tolerance_grad=0, tolerance_change=0)

    def closure():
        value, marginal = value_and_marginal(pool.costs, unit * u.detach(), pool.lam)
        u.grad = unit * (marginal - 1 / len(psi))
        return torch.tensor(-value, dtype=torch.float64)

    while True:
        best = unit * u.detach()
        upper = pool.plan_cost(best)
        if upper - pool.value(best.numpy()) <= certificate * abs(upper) or time.monotonic() > deadline:
            return best
        search.step(closure)


@dataclass
class Run:
    """One arm's trajectory: looks [(seconds, steps, gap)], and how it ended."""

    looks: list[tuple[float, int, float]]
    status: str
    peak_mib: int | str = ""

    def seconds_to(self, gap: float) -> tuple[float, int] | None:
        """Seconds and steps of the first look at which the gap was reached."""
        return min(((seconds, steps) for seconds, steps, found in self.looks if found <= gap), default=None)

    def to_gaps(self) -> list[tuple[float, int]]:
        """Seconds and steps to every gap, the smallest first."""
        return [self.seconds_to(gap) or NEVER for gap in sorted(GAPS)]

    @property
    def last_gap(self) -> float:
        """Smallest gap seen, nan without a look."""
        return min((found for _, _, found in self.looks), default=np.nan)


class Race:
    """One pool at one lam, and the arms' processes."""

    def __init__(self, pool: Pool, folder: str, threads: int) -> None:
        """Start no process yet; `folder` holds the problem's arrays."""
        self.pool, self.folder, self.threads = pool, folder, threads
        self.name, self.worker = "", None

    def worker_of(self, name: str) -> Worker:
        """The arm's process: the last one if it was this arm's, else a new one."""
        if name != self.name or self.worker is None or not self.worker.alive:
            self.close()
            self.name, self.worker = name, Worker(self.threads)
        return self.worker

    def close(self) -> None:
        """End the last arm's process."""
        if self.worker is not None:
            self.worker.close()

    def run(self, name: str, parameter: float | None, cap: float, gaps=GAPS) -> Run:
        """Let one arm solve, in a process of its own, until the smallest gap or the cap."""
        worker, path = self.worker_of(name), str(Path(self.folder, "psi.npy"))
        message = {"call": "solve", "arm": name, "folder": self.folder, "parameter": parameter, "psi": path}
        told = worker.ask(message | {"lam": self.pool.lam}, SETUP_TIMEOUT)
        result = Run([], "ok")
        if "started" in told:
            told = worker.hear(cap + 10)
        while "seconds" in told:
            result.looks.append((told["seconds"], told["steps"], self.pool.gap(np.load(path))))
            result.peak_mib = told["peak_mib"]
            if result.last_gap <= min(gaps) or told["seconds"] > cap:
                worker.tell({"go": False})
                break
            told = worker.ask({"go": True}, cap + 10)
        result.status = f"not installed: {told['missing']}" if "missing" in told else told.get("error", "ok")
        return result

    def tune(self, name: str, cap: float) -> dict:
        """Try every value of an arm's grid for a share of the cap; the best is the first at the gap, or the closest."""
        trials = []
        for value in ARMS[name].grid:
            found = self.run(name, value, TRIAL_SHARE * cap)
            reached = found.seconds_to(min(GAPS))
            trials.append((reached[0] if reached else np.inf, found.last_gap, value))
        usable = [trial for trial in trials if np.isfinite(trial[1])]
        best = min(usable)[2] if usable else ARMS[name].parameter
        return {
            "parameter": best,
            "trials": [[value, rounded(gap if np.isfinite(gap) else None, 3)] for _, gap, value in trials],
        }


def tuned(race: Race, name: str, cap: float, file: Path, again: bool) -> dict:
    """The tuning of one arm on this problem's sizes, from `file`, or made now and kept there."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    problem = race.pool.problem
    key = f"{name} | {len(problem.x)} x {problem.n} | lam {race.pool.lam:g} | {problem.source}"
    if key not in known or again:
        known[key] = race.tune(name, cap)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return known[key]


@dataclass
class Entrant:
    """One arm in the race: what it was tuned to, how many values were tried, and its runs, one a round."""

    name: str
    parameter: float | None
    trials: int
    runs: list[Run]

    @property
    def middle(self) -> Run:
        """The run of median time to the smallest gap (of an even number the slower)."""
        return sorted(self.runs, key=Run.to_gaps)[len(self.runs) // 2]

    def times(self, gap: float) -> dict[str, object]:
        """Median and quartiles over the rounds, each that of a run; "" where that run did not reach the gap."""
        found = sorted(run.seconds_to(gap) or NEVER for run in self.runs)
        seconds = [time for time, _ in found]
        low, high = np.quantile(seconds, [0.25, 0.75], method="inverted_cdf")
        median, steps = found[len(found) // 2]
        names = f"seconds_{gap:g}", f"seconds_{gap:g}_q25", f"seconds_{gap:g}_q75"
        shown = [rounded(value if np.isfinite(value) else None) for value in (median, low, high)]
        return dict(zip(names, shown, strict=True)) | {f"steps_{gap:g}": steps if np.isfinite(median) else ""}


def entry(race: Race, entrant: Entrant) -> dict[str, object]:
    """One arm's row."""
    arm, problem, found = ARMS[entrant.name], race.pool.problem, entrant.middle
    result = {"pool": len(problem.x), "n": problem.n, "lam": race.pool.lam, "arm": entrant.name, "kind": arm.kind}
    result |= {"status": found.status if found.looks or found.status != "ok" else "no potential"}
    result |= {"parameter": "" if entrant.parameter is None else entrant.parameter, "meaning": arm.meaning}
    result |= {"trials": entrant.trials, "rounds": sum(bool(run.looks) for run in entrant.runs)}
    for gap in GAPS:
        result |= entrant.times(gap)
    last = found.looks[-1][0] if found.looks else None
    result |= {"best_gap": rounded(None if np.isnan(found.last_gap) else found.last_gap, 3)}
    result |= {"seconds_run": rounded(last), "peak_mib": found.peak_mib}
    return result | {"optimum": rounded(race.pool.upper, 8), "certificate": rounded(race.pool.certificate, 2)}
