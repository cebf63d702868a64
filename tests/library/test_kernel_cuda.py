"""The CUDA kernel against float64: on a GPU if there is one, else in Triton's interpreter, in a process of its own."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from otgrad import Cost, DiscreteMeasure, ctransform
from otgrad.kernels import cuda, cuda_atoms, cuda_blocks, reference

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SEED = int(os.environ.get("OTGRAD_TEST_SEED", "0"))  # other inputs where it is given
DEVICE = "cpu" if INTERPRETED else "cuda"
BENCHMARK = Path(__file__).parents[2] / "code/benchmarks/gpu.py"
LAMS = (1e-3, 0.01, 0.1, 1.0, 1e3, 0.0)
KINDS = ("bytes", "whole floats", "float16", "bfloat16", "float32")
needs_device = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="no GPU here: test_in_the_interpreter runs this one"
)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter():
    pytest.importorskip("triton", reason="Triton is not installed")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(INTERPRETED, reason="once is enough")
def test_without_triton_it_covers_nothing():
    program = """
import sys, torch
sys.modules["triton"] = None
from otgrad.kernels import cuda
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure
assert not cuda.covers(torch.ones(1, 2), DiscreteMeasure.from_atoms(torch.ones(1, 2)), 0.1, Cost())
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"TRITON_INTERPRET": "1"})


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="once is enough")
def test_the_benchmark_measures_every_cell(tmp_path):
    pytest.importorskip("triton", reason="Triton is not installed")
    table = tmp_path / "gpu.csv"
    command = [sys.executable, str(BENCHMARK), "--interpret-smoke", "--data", "none", "--output", str(table)]
    subprocess.run(command, check=True, capture_output=True)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    ours = [row for row in rows if row["arm"] == "otgrad cuda"]
    sizes = [(row["quantity"], row["n"], row["lam"]) for row in ours]
    small = [(quantity, "40", lam) for quantity in ("psi", "x") for lam in ("0.1", "0.0")]
    assert sizes == [*small, ("psi", "70", "0.1"), ("x", "70", "0.1")]
    measured = [row for row in rows if row["status"] == "ok"]
    assert {row["arm"] for row in measured} >= {"otgrad cuda", "otgrad reference", "torch autograd", "tf32 product"}
    assert all(float(row["median_ms"]) > 0 for row in measured)
    assert all(max(float(row["value_error"]), float(row["grad_error"])) < 1e-5 for row in ours)


@pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_the_benchmark_says_so_in_one_line(tmp_path):
    command = [sys.executable, str(BENCHMARK), "--output", str(tmp_path / "gpu.csv")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("no CUDA device: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fill memory that is handed out without a value with nan, so that nothing left unwritten passes."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """In the interpreter, blocks so small that small problems have several."""
    if INTERPRETED:
        for name in cuda_blocks.BLOCKS:
            monkeypatch.setitem(cuda_blocks.BLOCKS, name, {"BLOCK_B": 4, "BLOCK_N": 32, "BLOCK_D": 16})
        monkeypatch.setattr(cuda_blocks, "BY_KIND", dict.fromkeys(cuda_blocks.BY_KIND, {}))


def problem(kind, b=6, n=45, d=21, seed=SEED):
    """Points, law, psi, cost, w; atoms in [0, 1]^d of the given kind, on the device."""
    rng = torch.Generator().manual_seed(seed)
    u = torch.randint(256, (n, d), generator=rng)
    atoms = {
        "bytes": u.to(torch.uint8),
        "whole floats": u / 255,
        "float16": (u / 255).half(),
        "bfloat16": (u / 255 - 0.5).bfloat16(),
        "float32": torch.randn(n, d, generator=rng),
    }
    x, psi = torch.rand(b, d, generator=rng), 0.05 * torch.randn(n, generator=rng)
    nu, w = torch.rand(n, generator=rng) + 0.1, torch.rand(b, generator=rng) + 0.1
    law = DiscreteMeasure.from_atoms(atoms[kind].to(DEVICE), nu.to(DEVICE), 1 / 255 if kind == "bytes" else 1.0)
    cost = Cost().normalized(law.y, law.nu, law.unit)
    return x.to(DEVICE), law, psi.to(DEVICE), cost, (w / w.sum()).to(DEVICE)


def exact(x, law, psi, lam, cost, w):
    """Values, marginal and gradient in float64, with masses that sum to 1."""
    x, y, psi, w = x.double(), law.unit * law.y.double(), psi.double(), w.double()
    gaps = (x[:, None] - y[None]).square().sum(-1) / cost.scale - psi
    if lam == 0:
        values, cell = gaps.min(dim=1)
        pi = torch.zeros_like(gaps).scatter_(1, cell[:, None], 1.0)
    else:
        s = (law.nu.double() / law.nu.double().sum()).log() - gaps / lam
        values, pi = -lam * torch.logsumexp(s, dim=1), torch.softmax(s, dim=1)
    return values, w @ pi, 2 / cost.scale * (x - pi @ y)


def check(x, law, psi, lam, cost, w):
    """Compare with float64, up to a few roundings of the scores, of size (||x||^2 + ||y||^2) / (scale lam)."""
    assert cuda.covers(x, law, lam, cost)
    values, marginal = cuda.psi_step(x, law, psi, lam, cost, w)
    values_again, grads = cuda.x_grad(x, law, psi, lam, cost)
    exact_values, exact_marginal, exact_grads = exact(x, law, psi, lam, cost, w)
    size = float((x.square().sum(1).max() + law.y_sq.max()) / cost.scale + psi.abs().max())
    shift = 1e-6 * size / (lam or 1.0) + 2e-6
    torch.testing.assert_close(values.double(), exact_values, rtol=0, atol=1e-6 * size)
    torch.testing.assert_close(values_again, values, rtol=0, atol=1e-6 * size)
    assert float((marginal.double() - exact_marginal).abs().sum()) <= shift
    torch.testing.assert_close(grads.double(), exact_grads, rtol=0, atol=shift * size**0.5 * 2 / cost.scale**0.5)
    return values, marginal, grads


@needs_device
@pytest.mark.parametrize("recompute_below", [0, 10**6])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_float64(kind, recompute_below, monkeypatch):
    monkeypatch.setattr(cuda, "RECOMPUTE_BELOW", recompute_below)
    x, law, psi, cost, w = problem(kind)
    for lam in LAMS if kind == "whole floats" and recompute_below == 0 else (0.02,):
        check(x, law, psi, lam, cost, w)


@needs_device
@pytest.mark.parametrize("kind", ["bytes", "bfloat16", "float32"])
def test_no_copy_of_many_atoms(kind, monkeypatch):
    monkeypatch.setattr(cuda_atoms, "COPY_BYTES", 0)
    x, law, psi, cost, w = problem(kind)
    for lam in (0.01, 0.0):
        check(x, law, psi, lam, cost, w)
    assert cuda_atoms.prepared(law).kind == ("bytes" if kind == "bytes" else "split")


@needs_device
@pytest.mark.parametrize(("b", "n", "d"), [(1, 1, 1), (1, 40, 3), (9, 1, 17), (7, 33, 2), (4, 32, 16)])
def test_odd_shapes(b, n, d):
    x, law, psi, cost, w = problem("float32" if n > 1 else "bytes", b, n, d)
    for lam in (0.05, 0.0):
        check(x, law, psi, lam, cost, w)


@needs_device
def test_atoms_that_are_whole_multiples_are_kept_as_float16():
    for kind in ("bytes", "whole floats"):
        _, law, _, _, _ = problem(kind)
        atoms = cuda_atoms.prepared(law)
        assert (atoms.kind, atoms.y.dtype, atoms.unit) == ("half", torch.float16, 1 / 255)
        assert atoms is cuda_atoms.prepared(law)


@needs_device
def test_points_of_any_strides_and_sizes():
    x, law, psi, cost, w = problem("float32", b=5, n=40)
    wide = torch.zeros(2 * len(x), 2 * x.shape[1], device=DEVICE)
    wide[::2, ::2] = x
    expected = check(x, law, psi, 0.01, cost, w)
    for other in (wide[::2, ::2], x.T.contiguous().T):
        assert not other.is_contiguous()
        found = check(other, law, psi, 0.01, cost, w)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    check(1e-6 * x, law, psi, 0.01, cost, w)
    check(1e3 * x, law, psi, 100.0, cost, w)
    check(0 * x, law, psi, 0.01, cost, w)


@needs_device
def test_points_by_tiles(monkeypatch):
    x, law, psi, cost, w = problem("float16", b=300 if DEVICE == "cuda" else 10)
    monkeypatch.setattr(cuda, "RECOMPUTE_BELOW", 0)
    whole = check(x, law, psi, 0.02, cost, w), check(x, law, psi, 0.0, cost, w)
    monkeypatch.setattr(cuda, "SCORES_BYTES", 1)
    for lam, parts in zip((0.02, 0.0), whole, strict=True):
        for ours, theirs in zip(check(x, law, psi, lam, cost, w), parts, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@needs_device
@pytest.mark.parametrize("lam", [0.02, 0.0])
def test_same_numbers_twice(lam):
    x, law, psi, cost, w = problem("bytes", n=100)
    first, second = (cuda.psi_step(x, law, psi, lam, cost, w) + cuda.x_grad(x, law, psi, lam, cost) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@needs_device
def test_a_tie_goes_to_the_first_atom():
    y = torch.tensor([[5, 0], [0, 1], [9, 9]] * 20, dtype=torch.uint8, device=DEVICE)
    law, psi = DiscreteMeasure.from_atoms(y), torch.zeros(60, device=DEVICE)
    x = torch.tensor([[0.0, 1.0], [9.0, 9.0], [5.0, 0.0]], device=DEVICE)
    w = torch.tensor([0.2, 0.3, 0.5], device=DEVICE)
    values, marginal = cuda.psi_step(x, law, psi, 0.0, Cost(), w)
    torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1e-4)
    assert marginal[:3].tolist() == [w[2], w[0], w[1]]
    assert float(marginal[3:].abs().sum()) == 0
    soft = cuda.psi_step(x, law, psi, 0.5, Cost(), w)[1].view(20, 3)
    torch.testing.assert_close(soft, soft[:1].expand(20, 3), rtol=1e-6, atol=0)


@needs_device
def test_large_lam_keeps_the_digits_of_the_value():
    x, law, psi, cost, w = problem("bytes")
    for lam in (1e2, 1e4, 1e6):
        values, _ = cuda.psi_step(x, law, psi, lam, cost, w)
        expected = exact(x, law, psi, lam, cost, w)[0]
        torch.testing.assert_close(values.double(), expected, rtol=2e-6, atol=0)


@needs_device
@pytest.mark.filterwarnings("ignore:All-NaN")  # the interpreter's maxima
@pytest.mark.parametrize("lam", [0.01, 0.0])
@pytest.mark.parametrize("where", ["psi", "x"])
def test_nan_is_not_passed_over(where, lam):
    x, law, psi, cost, w = problem("bytes")
    (psi if where == "psi" else x[3])[1] = torch.nan
    values, _ = cuda.psi_step(x, law, psi, lam, cost, w)
    assert bool(values[3].isnan())
    assert bool(cuda.x_grad(x, law, psi, lam, cost)[0][3].isnan())


@needs_device
def test_what_it_leaves_to_the_reference():
    x, law, _, cost, _ = problem("float32")
    assert cuda.covers(x, law, 0.1, cost)
    assert not cuda.covers(x, law, 0.1, Cost(p=1))
    assert not cuda.covers(x.double(), law, 0.1, cost)
    assert not cuda.covers(x[:0], law, 0.1, cost)
    assert not cuda.covers(x.double(), DiscreteMeasure.from_atoms(law.y.double()), 0.1, cost)


@needs_device
def test_through_the_public_functions(monkeypatch):
    x, law, psi, cost, _ = problem("float32")
    nu = law.nu.clone()
    nu[::4] = 0
    law = DiscreteMeasure.from_atoms(law.y, nu)
    results = []
    for name in ("reference", "cuda"):
        monkeypatch.setenv("OTGRAD_KERNEL", name)
        calls = (f(x, law, psi, 0.1, cost) for f in (ctransform.psi_step, ctransform.x_grad))
        results.append([part for pair in calls for part in pair])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("lam", [0.02, 0.0])
def test_a_step_can_be_captured_in_a_graph(lam):
    x, law, psi, cost, w = problem("bytes", b=200, n=3000, d=784)
    expected = cuda.psi_step(x, law, psi, lam, cost, w) + cuda.x_grad(x, law, psi, lam, cost)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = cuda.psi_step(x, law, psi, lam, cost, w) + cuda.x_grad(x, law, psi, lam, cost)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
def test_agrees_with_the_reference_at_the_size_of_images():
    x, law, psi, cost, w = problem("bytes", b=200, n=5000, d=784)
    for lam in (0.01, 0.1):
        ours, theirs = cuda.psi_step(x, law, psi, lam, cost, w), reference.psi_step(x, law, psi, lam, cost, w)
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
        assert float((ours[1] - theirs[1]).abs().sum()) < 1e-3
