"""Every kernel against the float64 definitions, on random and on adversarial inputs."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from instances import in_float64, pixels

from otgrad import Cost, DiscreteMeasure
from otgrad.ctransform import assignment, c_transform, c_transform_fixed_psi, heights, psi_step, x_grad
from otgrad.kernels import build, cpu, dispatch, reference

needs_cpu = pytest.mark.skipif(build.unavailable() is not None, reason=f"compiled kernel: {build.unavailable()}")
KERNELS = [pytest.param(reference, id="reference"), pytest.param(cpu, id="cpu", marks=needs_cpu)]


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch):
    monkeypatch.setattr(cpu, "LEAST_ATOMS", 1)


def make(n=700, d=50, b=37, seed=0, density=0.3):
    x, w, law, cost, psi, _ = pixels(b, n, d, seed, density)
    return x, law, psi, cost, w


def compare(kernel, x, law, psi, lam, cost, w):
    """Value and gradients of a kernel agree with float64 to what 16 bits of x allow (lam = 0: up to ties)."""
    values, marginal, slopes = in_float64(x, law, psi, lam, cost, w)
    size = float(values.abs().max()) + float(psi.abs().max())
    # float32, or the 16 bits of x, leave about 2e-6 of mean ||y||^2 in a score's numerator
    tolerance = 6e-6 * law.mean_square / cost.scale / lam if lam > 0 else 0.0
    got, p = kernel.psi_step(x, law, psi, lam, cost, w)
    torch.testing.assert_close(got.double(), values, rtol=0, atol=1e-5 * size)
    assert float((p.double() - marginal).abs().sum()) <= tolerance + 2e-6
    got, grads = kernel.x_grad(x, law, psi, lam, cost)
    torch.testing.assert_close(got.double(), values, rtol=0, atol=1e-5 * size)
    # the weights of the barycentre are rounded to 16 bits: 2e-4 of an atom's range [0, 1] at most on these sizes
    error = (grads.double() - slopes).abs().max() * cost.scale / 2
    assert float(error) <= 2 * tolerance + 2e-4 + 1e-6 * float(x.abs().max())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.0, 2e-4, 1e-3, 0.01, 0.1, 1.0])
def test_agrees_with_float64(kernel, lam):
    x, law, psi, cost, w = make()
    assert kernel.covers(x, law, lam, cost)
    compare(kernel, x, law, psi, lam, cost, w)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.0, 0.01, 0.3])
@pytest.mark.parametrize(("n", "d", "b"), [(1, 1, 1), (2, 3, 1), (31, 4, 7), (33, 5, 6), (257, 17, 13), (513, 31, 97)])
def test_sizes_that_are_multiples_of_nothing(kernel, n, d, b, lam):
    compare(kernel, *problem_with_lam(make(n, d, b, seed=n), lam))


def problem_with_lam(problem, lam):
    x, law, psi, cost, w = problem
    return x, law, psi, lam, cost, w


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.002, 0.1])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_tiny_and_huge_costs(kernel, lam, scale):
    x, law, psi, cost, w = make()
    compare(kernel, x, law, psi / scale, lam / scale, Cost(2.0, cost.scale * scale), w)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.0, 0.02])
@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
def test_empty_and_full_atoms(kernel, density, lam):
    x, law, psi, cost, w = make(density=density)
    if density > 0 or lam == 0:
        compare(kernel, x, law, psi, lam, cost, w)
    else:  # all atoms at 0: mean ||y||^2 is 0, and the fast kernels leave it to the reference
        compare(dispatch.choose(x, law, lam, cost), x, law, psi, lam, cost, w)


@pytest.mark.parametrize("kernel", KERNELS)
def test_heights_are_potential_minus_cost_up_to_a_term_per_row(kernel, monkeypatch):
    monkeypatch.setattr(reference, "HEIGHTS_ELEMENTS", 10 * 700)
    monkeypatch.setattr(cpu, "LEAST_ROWS", 12)
    monkeypatch.setattr(cpu, "BUFFER_BYTES", 1)
    x, law, psi, cost, _ = make()
    tiles = []
    for tile, order in kernel.heights(x, law, psi, cost):
        place = torch.arange(law.n) if order is None else order
        tiles.append(torch.empty_like(tile).index_copy_(1, place, tile))
    difference = torch.cat(tiles).double() - (psi.double() - cost.matrix(x.double(), law.points.double()))
    assert len(tiles) > 1
    assert float((difference - difference.mean(dim=1, keepdim=True)).abs().max()) < 2e-5


@pytest.mark.parametrize("kernel", KERNELS)
def test_duplicate_atoms_share_their_mass(kernel):
    x, law, psi, cost, w = make(n=40)
    twice = DiscreteMeasure.from_atoms(law.y.repeat(20, 1), law.nu.repeat(20), unit=1 / 255)
    values, p = kernel.psi_step(x, twice, psi.repeat(20), 0.05, cost, w)
    once, q = kernel.psi_step(x, law, psi, 0.05, cost, w)
    torch.testing.assert_close(values, once, atol=1e-5, rtol=0)
    torch.testing.assert_close(p.view(20, 40).sum(0), q, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_heavy_row_and_nearly_massless_atoms(kernel):
    x, law, psi, cost, w = make()
    nu = law.nu.clone()
    nu[::3] = 1e-20
    law = DiscreteMeasure.from_atoms(law.y, nu, unit=1 / 255)
    w = torch.full_like(w, 1e-6)
    w[5] = 1 - 1e-6 * (len(w) - 1)
    compare(kernel, x, law, psi, 0.02, cost, w)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_points_beyond_the_atoms(kernel, lam):
    x, law, psi, cost, w = make()
    compare(kernel, 3 * x - 2, law, psi, lam, cost, w)
    compare(kernel, torch.full_like(x, 0.25), law, psi, lam, cost, w)  # all alike: no range to cut into steps


@pytest.mark.parametrize("kernel", KERNELS)
def test_points_that_are_not_contiguous(kernel):
    x, law, psi, cost, w = make()
    wide = torch.zeros(len(x), 2 * x.shape[1])
    wide[:, ::2] = x
    strided = wide[:, ::2]
    assert not strided.is_contiguous()
    for got, expected in zip(
        kernel.psi_step(strided, law, psi, 0.05, cost, w), kernel.psi_step(x, law, psi, 0.05, cost, w), strict=True
    ):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_twice(kernel, threads):
    x, law, psi, cost, w = make(n=3000, b=250)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first = [*kernel.psi_step(x, law, psi, 0.02, cost, w), *kernel.x_grad(x, law, psi, 0.02, cost)]
        again = [*kernel.psi_step(x, law, psi, 0.02, cost, w), *kernel.x_grad(x, law, psi, 0.02, cost)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@needs_cpu
def test_threads_change_no_bit_of_the_compiled_kernel():
    x, law, psi, cost, w = make(n=3000, b=250)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ((_, step),) = cpu._steps(x, cpu._of(law), psi, 0.02, cost)
            top, z, sums = step.exponentials()
            results.append([top, sums.clone(), step.weighted_means(z, sums), step.columns(sums, w / z)])
    finally:
        torch.set_num_threads(before)
    # z is a sum by torch, which may add in another order; it is the same here, and so all else must be
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@needs_cpu
def test_tiles_of_rows_change_nothing(monkeypatch):
    x, law, psi, cost, w = make(b=100)
    whole = cpu.psi_step(x, law, psi, 0.02, cost, w), cpu.x_grad(x, law, psi, 0.02, cost)
    monkeypatch.setattr(cpu, "LEAST_ROWS", 12)
    monkeypatch.setattr(cpu, "BUFFER_BYTES", 1)
    tiled = cpu.psi_step(x, law, psi, 0.02, cost, w), cpu.x_grad(x, law, psi, 0.02, cost)
    for one, other in zip([*whole[0], *whole[1]], [*tiled[0], *tiled[1]], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("where", ["x", "psi"])
def test_what_is_not_finite_shows(kernel, where):
    x, law, psi, cost, w = make()
    (x if where == "x" else psi)[3] = torch.nan
    values, grad = psi_step(x, law, psi, 0.02, cost, w)
    assert not torch.isfinite(values).all()
    assert not torch.isfinite(grad).all()


@needs_cpu
def test_only_what_the_compiled_kernel_can_do_reaches_it(monkeypatch):
    x, law, psi, cost, _ = make()
    floats = DiscreteMeasure.from_atoms(law.points, law.nu)
    assert cpu.covers(x, floats, 0.1, cost)  # multiples of 1 / 255
    assert cpu.covers(x, DiscreteMeasure.from_atoms(law.points / 3, law.nu), 0.1, cost)  # of their least entry
    others = {
        "real": DiscreteMeasure.from_atoms(floats.y + 0.123 * torch.rand_like(floats.y), law.nu),
        "negative": DiscreteMeasure.from_atoms(-floats.y, law.nu),
        "zero": DiscreteMeasure.from_atoms(0 * floats.y, law.nu),
        "beyond a byte": DiscreteMeasure.from_atoms(300 * floats.y, law.nu),
    }
    assert [name for name, other in others.items() if cpu.covers(x, other, 0.1, cost)] == []
    assert not cpu.covers(x, law, 0.1, Cost(1.0))
    assert not cpu.covers(x, law, 1e-6, cost)
    assert not cpu.covers(x, law, 100.0, cost)
    assert not cpu.covers(x.double(), law, 0.1, cost)
    monkeypatch.setattr(cpu, "LEAST_ATOMS", 10_000)
    assert not cpu.covers(x, law, 0.1, cost)


@needs_cpu
@pytest.mark.parametrize("lam", [0.0, 0.01, 0.1])
def test_slopes_at_atoms_in_floats_are_those_at_atoms_in_bytes(lam):
    x, law, psi, cost, _ = make()
    floats = DiscreteMeasure.from_atoms(law.points, law.nu)  # their unit is 1, that of the packed integers 1 / 255
    torch.testing.assert_close(
        cpu.x_grad(x, floats, psi, lam, cost)[1], cpu.x_grad(x, law, psi, lam, cost)[1], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("lam", [0.0, 1e-6, 0.05, 1e6])
def test_atoms_of_every_dtype(dtype, lam):
    x, law, psi, cost, w = make()
    y = law.y if dtype == torch.uint8 else (law.y // 2).to(dtype)  # 7 bits: exact in all of them
    law = DiscreteMeasure.from_atoms(y, law.nu, unit=1 / 255)
    x, psi, w = (t.to(law.nu.dtype) for t in (x, psi, w))
    assert torch.equal(law.points, law.unit * law.y.to(law.nu.dtype))
    values, marginal, slopes = in_float64(x, law, psi, lam, cost, w)
    got, grad = psi_step(x, law, psi, lam, cost, w)
    torch.testing.assert_close(got.double(), values, rtol=0, atol=1e-5)
    if lam != 1e-6:  # where float32's own rounding decides
        torch.testing.assert_close(law.nu.double() - grad.double(), marginal, rtol=0, atol=1e-4)
        torch.testing.assert_close(x_grad(x, law, psi, lam, cost)[1].double(), slopes, rtol=0, atol=1e-3)
    else:
        assert abs(float(grad.sum())) < 1e-5


@needs_cpu
def test_like_atoms_are_put_together_and_none_is_lost():
    _, law, *_ = make(n=1000, d=40)
    packed = cpu.packed(law)
    assert packed.order.sort().values.tolist() == list(range(1000))
    # two kinds of atoms that share no coordinate: half of all blocks are empty, if the kinds are told apart
    y = torch.zeros(1024, 64, dtype=torch.uint8)
    kind = torch.rand(1024, generator=torch.Generator().manual_seed(1)) < 0.5
    y[kind, :32], y[~kind, 32:] = 9, 7
    packed = cpu.packed(DiscreteMeasure.from_atoms(y))
    assert len(packed.ks) < 0.55 * packed.groups * packed.fours


def run_python(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | variables
    )


def test_a_name_nobody_knows_is_refused(monkeypatch):
    x, law, psi, cost, w = make()
    monkeypatch.setenv("OTGRAD_KERNEL", "fastest")
    with pytest.raises(ValueError, match=r"OTGRAD_KERNEL = 'fastest': give one of auto, reference, cpu, cuda"):
        psi_step(x, law, psi, 0.1, cost, w)


def test_the_reference_can_be_forced(monkeypatch):
    x, law, _, cost, _ = make()
    monkeypatch.setenv("OTGRAD_KERNEL", "reference")
    assert dispatch.choose(x, law, 0.1, cost) is reference


class Elsewhere(DiscreteMeasure):
    """A law that brings products of its own, and does not give its atoms away."""

    in_memory = False
    points = property(lambda law: pytest.fail("the atoms are elsewhere"))


class Further(Elsewhere):
    """Brings what its parent brings."""


@pytest.fixture
def calls(monkeypatch):
    """Names of the products that were called, which compute twice what the law in memory gives."""
    made = []

    def twice(name):
        def call(x, law, *given):
            made.append(name)
            found = getattr(reference, name, assignment)(x, DiscreteMeasure(law.y, law.nu), *given)
            return 2 * found if isinstance(found, torch.Tensor) else tuple(2 * part for part in found)

        return call

    monkeypatch.setattr(dispatch, "_BROUGHT", dict(dispatch._BROUGHT))
    names = ("psi_step", "x_grad", "assignment")
    dispatch.register(Elsewhere, SimpleNamespace(**{name: twice(name) for name in names}))
    return made


@pytest.mark.parametrize("kind", [Elsewhere, Further])
def test_a_law_brings_its_own_products(calls, kind):
    x, y, psi, cost = torch.rand(4, 2), torch.rand(3, 2), torch.rand(3), Cost()
    law, whole = kind.from_atoms(y), DiscreteMeasure.from_atoms(y)
    values, grad = psi_step(x, law, psi, 0.1, cost)
    expected, expected_grad = psi_step(x, whole, psi, 0.1, cost)
    torch.testing.assert_close(values, 2 * expected)
    torch.testing.assert_close(law.nu - grad, 2 * (whole.nu - expected_grad))
    for function in (x_grad, lambda *given: [assignment(*given)]):
        for found, single in zip(function(x, law, psi, 0.1, cost), function(x, whole, psi, 0.1, cost), strict=True):
            torch.testing.assert_close(found, 2 * single)
    assert calls == ["psi_step", "x_grad", "assignment"]


def test_what_needs_the_atoms_in_memory_asks_the_law(calls):
    x, law, psi = torch.rand(4, 2), Elsewhere.from_atoms(torch.rand(3, 2)), torch.rand(3)
    with pytest.raises(TypeError, match="c_transform is the definition, for atoms in memory: use psi_step or x_grad"):
        c_transform(x, law, psi, 0.1, Cost())
    with pytest.raises(TypeError, match="heights are for atoms in memory: the solvers of a fixed source need all"):
        next(heights(x, law, psi, Cost()))
    values = c_transform_fixed_psi(x.requires_grad_(), law, psi, 0.1, Cost())
    (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives are for atoms in memory: give them as a Disc"):
        slope.sum().backward()
    assert calls == ["x_grad"]


def test_a_law_that_brings_nothing_is_served_by_the_kernels():
    law = type("Plain", (DiscreteMeasure,), {}).from_atoms(torch.rand(3, 2))
    assert dispatch.brought(law) is None


def test_the_choice_is_said_with_its_reason(monkeypatch):
    cpu_device = torch.device("cpu")
    monkeypatch.delenv("OTGRAD_KERNEL", raising=False)
    monkeypatch.setattr(build, "unavailable", lambda: None)
    assert dispatch.choice(cpu_device) == "cpu (compiled, AVX-512 VNNI)"
    monkeypatch.setattr(build, "unavailable", lambda: "no C++ compiler found")
    assert dispatch.choice(cpu_device) == "reference (plain torch: no C++ compiler found)"
    monkeypatch.setenv("OTGRAD_KERNEL", "reference")
    assert dispatch.choice(cpu_device) == "reference (plain torch)"


def test_without_a_compiler_plain_torch_serves_and_says_so(tmp_path):
    code = "from otgrad.kernels import build; print(build.unavailable())"
    done = run_python(code, PATH=str(tmp_path), CXX="", OTGRAD_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("no C++ compiler found", "this processor has no AVX-512 VNNI"))
    code = "from otgrad.kernels import dispatch; dispatch.requested()"
    done = run_python(code, PATH=str(tmp_path), CXX="", OTGRAD_CACHE=str(tmp_path), OTGRAD_KERNEL="cpu")
    assert done.returncode != 0
    assert "OTGRAD_KERNEL = 'cpu': " in done.stderr
    assert "unset it to use plain torch" in done.stderr


@needs_cpu
def test_a_compiler_that_fails_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "bad").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "bad").chmod(0o755)
    cache = tmp_path / "cache"
    code = "from otgrad.kernels import build; print(build.unavailable())"
    done = run_python(code, CXX=str(tmp_path / "bad"), OTGRAD_CACHE=str(cache))
    assert "failed: broken" in done.stdout
    assert list(cache.iterdir()) == []


@needs_cpu
def test_compiled_once_and_with_torchs_own_threads(tmp_path):
    code = (
        "from otgrad.kernels import build; build.library();"
        "print(len({l.split()[-1] for l in open('/proc/self/maps') if 'gomp' in l.rsplit('/', 1)[-1]}))"
    )
    first = run_python(code, OTGRAD_CACHE=str(tmp_path))
    assert first.stdout.strip() in ("0", "1"), first.stderr  # one OpenMP runtime, not two
    (library,) = Path(tmp_path).iterdir()
    made = library.stat().st_mtime_ns
    assert run_python(code, OTGRAD_CACHE=str(tmp_path)).returncode == 0
    assert library.stat().st_mtime_ns == made


def spoil_cut(file):
    file.write_bytes(file.read_bytes()[:1000])


def spoil_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def spoil_longer(file):
    file.write_bytes(file.read_bytes() + b"more")


def spoil_empty(file):
    file.write_bytes(b"")


@needs_cpu
@pytest.mark.parametrize("spoil", [spoil_cut, spoil_bit, spoil_longer, spoil_empty], ids=lambda f: f.__name__)
def test_a_spoilt_library_is_compiled_anew_and_never_reaches_the_loader(spoil, tmp_path, monkeypatch):
    """The compiler is a stand-in that writes a harmless text, and the loader only tells what it was given."""
    loaded, compiled = [], []

    def compile_(command, **_):
        compiled.append(command)
        Path(command[command.index("-o") + 1]).write_bytes(b"a library" * 1000)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("OTGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_version", lambda _: b"")
    monkeypatch.setattr(build.subprocess, "run", compile_)
    monkeypatch.setattr(build.ctypes, "CDLL", lambda path: loaded.append(Path(path).read_bytes()))
    build.library.__wrapped__()
    (kept,) = tmp_path.iterdir()
    build.library.__wrapped__()
    assert (len(compiled), len(loaded)) == (1, 2)
    spoil(kept)
    build.library.__wrapped__()
    assert len(compiled) == 2
    assert len(set(loaded)) == 1  # what was spoilt is not among them
    assert list(tmp_path.iterdir()) == [kept]


@needs_cpu
def test_the_kept_library_ends_with_its_checksum(tmp_path):
    assert run_python("from otgrad.kernels import build; build.library()", OTGRAD_CACHE=str(tmp_path)).returncode == 0
    (library,) = tmp_path.iterdir()
    content = library.read_bytes()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
