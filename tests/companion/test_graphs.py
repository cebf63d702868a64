"""Steps recorded in a CUDA graph: the order of calls on a stand-in for the device, and the same numbers on a GPU."""

import warnings
from contextlib import contextmanager

import pytest
import torch

from companion.algorithms import graphs
from companion.algorithms.algorithm1 import ascend_psi, psi_round
from companion.algorithms.problem import Problem
from otgrad import Cost, SemiDual
from otgrad.measures import DiscreteMeasure, Uniform
from otgrad.solvers.stochastic import AsgdState, StepRule

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Device:
    """Stands in for the parts of torch.cuda that are used; keeps what was done."""

    def __init__(self, monkeypatch, fails=False):
        self.done, self.fails = [], fails
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    def wait_stream(self, other):
        assert other is self

    def register_generator_state(self, generator):
        self.done.append(("registered", generator))

    def replay(self):
        self.done.append("replayed")

    @contextmanager
    def stream(self, stream):
        self.done.append("aside")
        yield

    @contextmanager
    def graph(self, graph, stream):
        self.done.append("recording")
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        yield


def test_on_a_cpu_the_step_itself_is_returned():
    def step():
        raise AssertionError

    assert graphs.recorded(step, CPU, torch.Generator()) is step


def test_the_third_call_records_and_later_ones_replay(monkeypatch):
    device, rng = Device(monkeypatch), torch.Generator()
    repeat = graphs.recorded(lambda: device.done.append("step"), CUDA, rng)
    for _ in range(4):
        repeat()
    eager = ["aside", "step"] * graphs.EAGER_CALLS
    assert device.done == [*eager, ("registered", rng), "recording", "step", "replayed", "replayed"]


def test_where_recording_fails_it_warns_once_and_goes_on(monkeypatch):
    device = Device(monkeypatch, fails=True)
    repeat = graphs.recorded(lambda: device.done.append("step"), CUDA)
    repeat()
    repeat()
    with pytest.warns(UserWarning, match="no CUDA graph, .*: operation not permitted$"):
        repeat()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repeat()
    assert device.done == ["aside", "step"] * 2 + ["recording"] + ["aside", "step"] * 2


def problem(device):
    rng = torch.Generator().manual_seed(0)
    law = DiscreteMeasure.from_atoms(torch.rand(300, 20, generator=rng).to(device))
    torch.manual_seed(0)
    generator = torch.nn.Sequential(torch.nn.Linear(5, 20), torch.nn.Sigmoid()).to(device)
    return generator, Problem(Uniform(5), SemiDual(law, 0.05, Cost().normalized(law.y, law.nu)))


def rounds(device, repeated):
    """psi after five rounds of three steps, by psi_round or by ascend_psi, with a draw of theta's between them."""
    generator, setting = problem(device)
    state, rng = AsgdState.zeros(setting.semidual.law), torch.Generator(device).manual_seed(1)
    given = StepRule(), 3, 50, rng
    ascend = psi_round(generator, setting, state, *given) if repeated else None
    for _ in range(5):
        if ascend:
            ascend()
        else:
            state = ascend_psi(generator, setting, state, *given)
        setting.latent(7, rng)
    return state


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_gpu)])
def test_rounds_in_place_give_the_same_psi_bit_for_bit(device):
    in_place, anew = rounds(device, repeated=True), rounds(device, repeated=False)
    assert torch.equal(in_place.average, anew.average)
    assert torch.equal(in_place.psi, anew.psi)
    assert in_place.k == anew.k == 3
    assert float(in_place.spread) == float(anew.spread) > 0
