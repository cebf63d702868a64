"""Optimizers do without PyTorch's compiler; what compiles has it."""

import subprocess
import sys

import pytest

STEPS = """
import sys
import companion, torch

found = []
for make in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make([weight], lr=0.5)
    weight.grad = torch.ones(3)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    found.append(weight.detach())
assert all(bool((weight < 0.6).all()) for weight in found), found
"""
WITHOUT = "assert 'torch._dynamo.eval_frame' not in sys.modules"
COMPILED = """
double = torch.compile(lambda x: 2 * x, backend="eager")
assert double(torch.ones(2)).tolist() == [2, 2]
import torch._dynamo.config
assert torch._dynamo is sys.modules["torch._dynamo"]
assert torch._dynamo.config is sys.modules["torch._dynamo.config"]
assert "torch._dynamo.eval_frame" in sys.modules
optimizer.step()
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stderr


def test_optimizers_do_not_load_it():
    status, said = run(STEPS + WITHOUT)
    assert status == 0, said


@pytest.mark.slow
def test_what_compiles_loads_it():
    status, said = run(STEPS + COMPILED)
    assert status == 0, said
