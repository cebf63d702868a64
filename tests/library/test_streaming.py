"""Atoms in a file give what atoms in memory give, in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, SemiDual
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad
from otgrad.scale import streams as streaming
from otgrad.scale.streams import StreamedMeasure
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step

LAMS = (0.0, 0.02, 0.5, 1e4)
# Images of 784 bytes: two psi-steps and a theta-step; KiB that the process had in memory before, and at most (VmHWM:
# ru_maxrss begins at what the process that started it had).
LARGE = """
import sys, torch
from pathlib import Path
from otgrad.costs import Cost
from otgrad.ctransform import psi_step, x_grad
from otgrad.scale import streams as streaming
from otgrad.scale.streams import StreamedMeasure
streaming.CHUNK_BYTES //= int(sys.argv[2])
before = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]
law = StreamedMeasure.open(Path(sys.argv[1]), unit=1 / 255)
x = torch.rand(200, 784, generator=torch.Generator().manual_seed(0))
psi = torch.zeros(law.n)
cost = Cost(scale=law.mean_square)
_, grad = psi_step(x, law, psi, 0.01, cost)
values, slopes = x_grad(x, law, psi, 0.01, cost)
print(float(grad.sum()), float(values.sum()), bool(slopes.isfinite().all()))
print(before, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.fixture(params=["uint8", "float16", "float32", "float64"])
def laws(request, tmp_path, monkeypatch):
    """The same atoms in a file, read in several chunks, and in memory; points and psi."""
    rng = np.random.default_rng(0)
    y = (255 * rng.random((103, 6))).round()
    y = (y if request.param == "uint8" else y / 255).astype(request.param)
    np.save(tmp_path / "atoms.npy", y)
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 20 * y[0].nbytes)
    nu, unit = torch.from_numpy(rng.random(103) + 0.1), 1 / 255 if request.param == "uint8" else 1.0
    streamed = StreamedMeasure.open(tmp_path / "atoms.npy", nu, unit)
    assert len(streamed.chunks) == 6
    whole = DiscreteMeasure.from_atoms(torch.from_numpy(y), nu, unit)
    return streamed, whole, *(torch.from_numpy(rng.random(shape)).to(whole.nu.dtype) for shape in ((17, 6), (103,)))


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("p", [2.0, 1.0])
def test_a_file_gives_what_memory_gives(laws, lam, p):
    streamed, whole, x, psi = laws
    cost = Cost(p)
    tolerance = 1e-10 if x.dtype == torch.float64 else 2e-5
    for call in (psi_step, x_grad, lambda *given: [assignment(*given)]):
        for found, expected in zip(call(x, streamed, psi, lam, cost), call(x, whole, psi, lam, cost), strict=True):
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    atoms = [SemiDual(law, lam, cost).effective_atoms(x, psi) for law in (streamed, whole)]
    assert atoms[0] == pytest.approx(atoms[1], rel=1e-4)


def test_ascent_on_a_file_is_that_in_memory(laws):
    streamed, whole, x, _ = laws
    states = [AsgdState.zeros(law) for law in (streamed, whole)]
    for state, law in zip(states, (streamed, whole), strict=True):
        for _ in range(5):
            asgd_step(x, SemiDual(law, 0.05), state=state, rule=StepRule())
    torch.testing.assert_close(states[0].average, states[1].average, rtol=1e-4, atol=1e-5)
    assert streamed.mean_square == pytest.approx(whole.mean_square, rel=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_the_estimator_takes_a_file(laws, lam):
    streamed, whole, *_ = laws
    fits = []
    for law in (streamed, whole):
        rng, dtype = torch.Generator().manual_seed(0), law.nu.dtype
        ot = SemiDiscreteOT(law, lam=lam, normalize=True)
        ot.fit(
            lambda b, g, dtype=dtype: torch.rand(b, 6, generator=g, dtype=dtype), 16, 20, progress=False, generator=rng
        )
        x = torch.rand(5, 6, generator=rng, dtype=dtype)
        fits.append((ot.psi, ot.assign(x), ot.barycentric_map(x), ot.c_transform(x)))
    for found, expected in zip(*fits, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="leave them out"):
        SemiDiscreteOT(streamed, unit=0.5)


def test_all_atoms_at_once_are_refused(laws):
    streamed, _, x, psi = laws
    with pytest.raises(TypeError, match="use psi_step"):
        c_transform(x, streamed, psi, 0.1, Cost())
    with pytest.raises(TypeError, match="stay in their file"):
        _ = streamed.points


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"no array"), "not an .npy file"),
        (lambda path: np.save(path, np.zeros(5)), "save atoms (n, d)"),
        (lambda path: np.save(path, np.zeros((3, 2), dtype=np.int64)), "save atoms (n, d)"),
        (lambda path: np.save(path, np.asfortranarray(np.zeros((3, 2)))), "Fortran"),
        (lambda path: (np.save(path, np.ones((9, 9))), path.write_bytes(path.read_bytes()[:300])), "ends before"),
        (lambda path: np.save(path, np.full((3, 2), np.nan)), "not finite"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, make, words):
    path = tmp_path / "atoms.npy"
    make(path)
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        StreamedMeasure.open(path)
    assert "\n" not in str(caught.value)


def test_masses_of_zero_are_refused(tmp_path):
    np.save(tmp_path / "atoms.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match="leave those atoms out"):
        StreamedMeasure.open(tmp_path / "atoms.npy", torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("tenths", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_million_images_take_less_than_two_gib(tmp_path, tenths):
    """A tenth of them, by chunks of a tenth, take a tenth of that beside what the process takes without them."""
    path, block = tmp_path / "atoms.npy", np.random.default_rng(0).integers(0, 256, (10_000, 784), dtype=np.uint8)
    atoms = np.lib.format.open_memmap(path, "w+", np.uint8, (100_000 * tenths, 784))
    for start in range(0, len(atoms), 10_000):
        atoms[start : start + 10_000] = block
    atoms.flush()
    del atoms
    command = [sys.executable, "-c", LARGE, str(path), str(10 // tenths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = done.stdout.splitlines()
    total, values, finite = first.split()
    assert abs(float(total)) < 1e-4
    assert np.isfinite(float(values))
    assert finite == "True"
    before, most = (int(number) * 1024 for number in second.split())
    assert most - (0 if tenths == 10 else before) < 0.2 * tenths * 2**30
    Path(path).unlink()
