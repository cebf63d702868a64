"""What test_sharding starts as teams of processes: the same problems as in one, on each one's part of the atoms."""

import multiprocessing
import os
import socket
import sys
from contextlib import contextmanager

import torch

from otgrad import Cost, DiscreteMeasure
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad
from otgrad.kernels import cpu, reference
from otgrad.scale.shards import Shard, Team
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step, cost_spread

LAMS = (0.0, 0.02, 0.5, 1e4)
CASES = {  # name: atoms, dtype of the atoms, powers of the cost, where the atoms are cut for two and for four processes
    "even": (40, torch.float64, 2.0, None),
    "uneven": (41, torch.float64, 2.0, {2: (3,), 4: (1, 2, 30)}),
    "distance": (30, torch.float64, 1.0, {2: (20,), 4: (5, 6, 20)}),
    "float32": (700, torch.float32, 2.0, {2: (100,), 4: (100, 300, 699)}),
    "bytes": (3000, torch.uint8, 2.0, {2: (1000,), 4: (600, 1300, 2400)}),
}


def problem(name):
    """Points, atoms, masses (two of them zero), psi and a cost."""
    n, dtype, p, _ = CASES[name]
    rng = torch.Generator().manual_seed(n)
    y = torch.rand(n, 6, generator=rng, dtype=torch.float64)
    nu = torch.rand(n, generator=rng, dtype=torch.float64) + 0.1
    nu[[n // 2, n - 2]] = 0
    psi = 0.3 * torch.randn(n, generator=rng, dtype=torch.float64)
    x = torch.rand(23, 6, generator=rng, dtype=torch.float64)
    if dtype == torch.uint8:
        y = (255 * y).round()
    number = torch.float64 if dtype == torch.float64 else torch.float32
    return x.to(number), y.to(dtype), nu, psi.to(number), Cost(p)


def results(x, target, psi, cost):
    """All that a training asks for, as numbers of the whole law."""
    found = {"spread": torch.tensor(cost_spread(x, target, cost)), "mean_square": torch.tensor(target.mean_square)}
    found["center"] = target.whole(target.center(psi))
    for lam in LAMS:
        values, grad = psi_step(x, target, psi, lam, cost)
        slopes = x_grad(x, target, psi, lam, cost)
        found |= {f"values {lam}": values, f"grad {lam}": target.whole(grad), f"values' {lam}": slopes[0]}
        found |= {f"slopes {lam}": slopes[1], f"objective {lam}": SemiDual(target, lam, cost).value(x, psi)[0]}
        found[f"error {lam}"] = torch.tensor(marginal_error(grad, target))
        found[f"atoms {lam}"] = torch.tensor(SemiDual(target, lam, cost).effective_atoms(x, psi))
        pi = assignment(x, target, psi, lam, cost)
        found[f"assignment {lam}"] = torch.stack([target.whole(row) for row in pi])
        state = AsgdState.zeros(target)
        for _ in range(5):
            asgd_step(x, SemiDual(target, lam, cost), state=state, rule=StepRule())
        found[f"psi after steps {lam}"] = target.whole(state.average)
    return found


def law(name, team):
    """The data law, or this process's part of it."""
    unit = 1 / 255 if name == "bytes" else 1.0
    _, y, nu, psi, _ = problem(name)
    if team is None:
        return DiscreteMeasure.from_atoms(y, nu, unit), psi
    cuts = CASES[name][3]
    atoms = team.share_of(len(y))
    if cuts is not None:
        ends = (0, *cuts[team.size], len(y))
        atoms = slice(ends[team.rank], ends[team.rank + 1])
    return Shard.of(y[atoms], team, nu[atoms], unit), psi[atoms]


@contextmanager
def one_row_at_a_time():
    """Let kernels take a few points at once, so that the processes exchange often."""
    whole = reference.TILE_ELEMENTS, cpu.LEAST_ROWS, cpu.BUFFER_BYTES
    reference.TILE_ELEMENTS, cpu.LEAST_ROWS, cpu.BUFFER_BYTES = 2**12, 6, 1
    yield
    reference.TILE_ELEMENTS, cpu.LEAST_ROWS, cpu.BUFFER_BYTES = whole


def refusals(team):
    """Messages of what cannot be done."""
    x, y, nu, psi, cost = problem("even")
    said = []
    for call in (
        lambda: Shard.of(y[:2], team, torch.tensor([1.0, 1.0]) * (team.rank != 1)),
        lambda: team.agree("the seed", torch.tensor(float(team.rank))),
        lambda: c_transform(x, law("even", team)[0], law("even", team)[1], 0.1, cost),
        lambda: team.share_of(team.size - 1),
    ):
        try:
            call()
        except (ValueError, RuntimeError, TypeError) as error:
            said.append(str(error))
    return said


def all_results(team):
    """Give {case: results} of the whole law."""
    found = {}
    for name in CASES:
        x, *_, cost = problem(name)
        found[name] = results(x, *law(name, team), cost)
    x, *_, cost = problem("float32")
    target, psi = law("float32", team)
    psi_step(x, target, psi, 0.02, cost)  # exchanges sizes and masses once
    before = team.sent if team else 0
    psi_step(x, target, psi, 0.02, cost)
    found["sent by a psi-step"] = (team.sent - before) if team else 0
    if team:
        found["refusals"] = refusals(team)
    with one_row_at_a_time():
        for name in ("float32", "bytes"):
            x, *_, cost = problem(name)
            found[f"{name} by small tiles"] = results(x, *law(name, team), cost)
    return found


def work(out, processes, rank, port):
    """Be one process of a team, as torchrun would start it; the first writes the results with each kernel."""
    place = {"WORLD_SIZE": processes, "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    with Team.start(torch.device("cpu")) as team:
        for kernel in ("reference", "auto"):
            os.environ["OTGRAD_KERNEL"] = kernel
            found = all_results(team)
            if rank == 0:
                torch.save(found, f"{out}/{kernel}-{processes}.pt")


def run_team(out, processes):
    """Fork the processes of a team, which all have torch imported already, and wait for them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    team = [context.Process(target=work, args=(out, processes, rank, port)) for rank in range(processes)]
    for process in team:
        process.start()
    for process in team:
        process.join()
    return all(process.exitcode == 0 for process in team)


if __name__ == "__main__":
    sys.exit(not all([run_team(sys.argv[1], int(processes)) for processes in sys.argv[2:]]))
