"""What can befall a training, and how it goes on."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from companion.algorithms import training_state
from companion.algorithms.algorithm1 import train
from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.runs import OTConfig
from companion.common.files import write_json
from companion.images import run_training as train_ot
from otgrad import Cost, DiscreteMeasure
from otgrad.ctransform import psi_step

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "code/companion/images/run_training.py"
OPTIONS = {"generator": "mlp", "lam": 0.01, "n-train": 300, "batch-size": 50, "inner-steps": 2, "device": "cpu"}
OPTIONS |= {"threads": 1, "checkpoint-every": 3, "log-every": 10, "eval-samples": 100, "final-steps": 20}
CONFIG = OTConfig("mlp", 0.05, 0, 8, 7, 3, 1e-3, 12, log_every=2, checkpoint_every=3, eval_samples=16, final_steps=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as rule data writes it."""
    folder = tmp_path_factory.mktemp("data")
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(folder / "train.npz", images=images)
    write_json(folder / "dataset.json", {"name": "noise", "sha256": {"train": "0"}})
    return folder


def command(data, folder, steps, **options):
    given = {"data": data, "out": folder / "runs", "checkpoints": folder / "checkpoints", "outer-steps": steps}
    given |= OPTIONS | options
    return [str(part) for key, value in given.items() for part in (f"--{key}", value)]


def finish(data, folder, steps, start=(sys.executable,), limits=None, **options):
    return subprocess.run(
        [*start, str(SCRIPT), *command(data, folder, steps, **options)],
        capture_output=True, text=True, check=False, timeout=300, preexec_fn=limits,
    )  # fmt: skip


def trained(data, folder, steps):
    """Train in this process; return what the run left."""
    train_ot.main(command(data, folder, steps))
    return results(folder)


def results(folder):
    (run,) = (folder / "runs").glob("ot-*-s0")
    weights = torch.load(run / "weights.pt", weights_only=True)
    return (run / "log.csv").read_text(), weights["psi"], *weights["generator"].values()


def same(first, second):
    return first[0] == second[0] and all(torch.equal(*pair) for pair in zip(first[1:], second[1:], strict=True))


# Kills


def killed(data, folder, steps, kills, seed):
    """Start again and again, killing at random moments; return how many kills found it at work."""
    chance, hits = random.Random(seed), 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *command(data, folder, steps)], stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(2, 9))
        process.send_signal(chance.choice((signal.SIGKILL, signal.SIGTERM)))
        hits += process.wait() < 0
    return hits


@pytest.mark.slow
@pytest.mark.parametrize("kills", [20, 2])
def test_training_killed_at_random_moments_ends_bit_for_bit_as_if_it_was_not(data, tmp_path, kills):
    steps = 300 * kills
    whole = trained(data, tmp_path / "whole", steps)
    assert len(whole[0].splitlines()) > steps / 10
    assert killed(data, tmp_path / "broken", steps, kills, seed=kills) >= kills / 2
    broken = trained(data, tmp_path / "broken", steps)
    assert len(broken[0].splitlines()) > steps / 10
    assert same(whole, broken)
    assert not list((tmp_path / "broken/checkpoints").rglob("*.pt"))


def test_a_truncated_checkpoint_is_named_and_training_goes_on_from_the_one_before(data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert trained(data, whole, 60)
    process = subprocess.Popen([sys.executable, str(SCRIPT), *command(data, broken, 60, **{"inner-steps": 2})])
    while not list((broken / "checkpoints").glob("*/previous.pt")):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    (newest,) = (broken / "checkpoints").glob("*/checkpoint.pt")
    newest.write_bytes(newest.read_bytes()[:-1000])
    done = finish(data, broken, 60)
    assert done.returncode == 0
    assert f"{newest}: damaged" in done.stderr
    assert "going on from previous.pt, of step" in done.stderr
    assert same(results(whole), results(broken))


# The disk


def one_line(done, *words):
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert all(word in last for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_grow_ends_in_one_line_and_leaves_nothing_half_written(data, tmp_path):
    """As a full disk does: writing fails in the middle of the first checkpoint."""

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = finish(data, tmp_path, 60, limits=small_files)
    one_line(done, "ot-mlp-lam0.01-s0:", "File too large")
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.part"))
    assert trained(data, tmp_path, 60)


def mounted(folder, size):
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("cannot mount a small disk here")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root, to mount a small disk")
def test_a_full_disk_ends_in_one_line_and_keeps_the_checkpoint(data, tmp_path):
    disk = tmp_path / "disk"
    mounted(disk, "32m")
    filler = disk / "filler"
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *command(data, disk, 3000)], stderr=subprocess.PIPE, text=True
    )
    try:
        while not list((disk / "checkpoints").glob("*/previous.pt")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        with filler.open("wb", buffering=0) as stream, suppress(OSError):
            while stream.write(bytes(2**12)):
                pass
        _, said = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "No space left on device" in said.strip().splitlines()[-1]
        filler.unlink()
        kept = [CheckpointFolder(path.parent) for path in (disk / "checkpoints").glob("*/checkpoint.pt")]
        assert kept[0].load(torch.device("cpu"))["step"] >= 3
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, so that root too respects permissions")
def test_a_folder_that_cannot_be_written_to_ends_in_one_line(data, tmp_path):
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
    if subprocess.run([*without, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot give up root's right to pass over permissions here")
    for name in ("runs", "checkpoints"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoints").chmod(0o555)
    done = finish(data, tmp_path, 30, start=(*without, sys.executable))
    one_line(done, "Permission denied", "checkpoints")
    (tmp_path / "checkpoints").chmod(0o755)
    (tmp_path / "runs").chmod(0o555)
    assert finish(data, tmp_path, 30, start=(*without, sys.executable)).returncode != 0
    (tmp_path / "runs").chmod(0o755)
    assert trained(data, tmp_path, 30)


# Numbers that are not finite


def images():
    return torch.rand(12, 16, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(("where", "words"), [
    ("data", "y has entries that are not finite"), ("potential", "theta-step 4: psi is not finite"),
    ("network", "theta-step 4: psi is not finite after inner step 1: the points are not finite"),
    ("gradient", "theta-step"),
])  # fmt: skip
def test_a_number_that_is_not_finite_is_named_with_the_step_and_the_last_checkpoint(tmp_path, where, words, bad):
    folder, y = CheckpointFolder(tmp_path), images()
    if where == "data":
        y[3, 5] = bad
        with pytest.raises(ValueError, match=words):
            train(CONFIG, y, (4, 4), folder, "d")
        return
    run = {}

    def track(steps):
        for step in steps:
            if step == 4:
                spoil(run["state"], where, bad)
            yield step

    with pytest.MonkeyPatch.context() as patch:
        start = training_state.TrainingState.start.__func__
        keep = classmethod(lambda cls, *given: run.setdefault("state", start(cls, *given)))
        patch.setattr(training_state.TrainingState, "start", keep)
        with pytest.raises(FloatingPointError, match=words) as caught:
            train(CONFIG, y, (4, 4), folder, "d", track)
    assert "the checkpoint of theta-step 3 is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert folder.load(torch.device("cpu"))["step"] == 3


def spoil(state, where, bad):
    with torch.no_grad():
        if where == "potential":
            state.psi_state.average[2] = bad
        elif where == "network":
            next(state.generator.parameters()).fill_(bad)
        else:  # on its way back to the weights
            last = list(state.generator.parameters())[-1]
            last.register_hook(lambda grad: torch.full_like(grad, bad))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0])
def test_a_cost_that_is_not_finite_is_refused(scale):
    with pytest.raises(ValueError, match="cost scale = .*: give a positive finite number"):
        Cost(scale=scale)


# Memory

CRAMPED = """
import resource, sys, warnings, torch
from otgrad.costs import Cost
from otgrad.ctransform import psi_step, x_grad
from otgrad.measures import DiscreteMeasure
torch.set_num_threads(1)
y = torch.rand(20000, 8, generator=torch.Generator().manual_seed(0))
x, psi = torch.rand(2000, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(20000)
law = DiscreteMeasure.from_atoms(y)
expected = psi_step(x[:50], law, psi, 0.1, Cost())[0], x_grad(x[:50], law, psi, 0.1, Cost())[1]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20, -1))
law = DiscreteMeasure.from_atoms(y)
values, grads = psi_step(x, law, psi, 0.1, Cost())[0], x_grad(x, law, psi, 0.1, Cost())[1]
assert float((values[:50] - expected[0]).abs().max()) < 1e-5  # torch.testing would import more than fits
assert float((grads[:50] - expected[1]).abs().max()) < 1e-4
"""


def test_where_memory_does_not_suffice_the_tile_is_halved_and_that_is_said():
    done = subprocess.run(
        [sys.executable, "-c", CRAMPED], capture_output=True, text=True, check=False,
        env=os.environ | {"OTGRAD_KERNEL": "reference"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "out of memory for 2000 points with 20000 atoms at once: going on with 1000 points at a time" in done.stderr


def test_a_halved_tile_stays_halved_and_other_errors_pass(monkeypatch):
    from otgrad.kernels import reference

    asked, step = [], reference.psi_step

    def cramped(x, *given):
        asked.append(len(x))
        if len(x) > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return step(x, *given)

    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(10, 2, generator=rng), torch.rand(5, 2, generator=rng)
    law, psi = DiscreteMeasure.from_atoms(y), torch.rand(5, generator=rng)
    expected = psi_step(x, law, psi, 0.1, Cost())
    monkeypatch.setattr(reference, "psi_step", cramped)
    with pytest.warns(UserWarning, match="going on with 2 points at a time"):
        found = psi_step(x, law, psi, 0.1, Cost())
    assert asked == [10, 5, 2, 2, 2, 2, 2]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    psi_step(x, law, psi, 0.1, Cost())
    assert asked[7:] == [2] * 5

    def broken(*given):
        raise RuntimeError("something else")

    monkeypatch.setattr(reference, "psi_step", broken)
    with pytest.raises(RuntimeError, match="something else"):
        psi_step(x, law, psi, 0.1, Cost())


# Several processes


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "others"), [(200, (1,)), (400, (1, 4))])
def test_a_process_that_dies_ends_the_run_which_then_goes_on_with_another_number_of_them(data, tmp_path, steps, others):
    def torchrun(processes):
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]

    process = subprocess.Popen(
        [*torchrun(2), str(SCRIPT), *command(data, tmp_path, steps)], stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "checkpoints").glob("*/previous.pt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "another process of this run has ended" in said or "Signal 9 (SIGKILL)" in said
    for processes in others:
        folder = tmp_path / str(processes)
        shutil.copytree(tmp_path / "checkpoints", folder / "checkpoints")
        start = (sys.executable,) if processes == 1 else torchrun(processes)
        done = finish(data, folder, steps, start=start)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "theta-steps" in done.stdout + done.stderr
    whole = trained(data, tmp_path / "whole", steps)
    # not bit for bit: the sums over atoms are taken in another order, which training makes larger
    assert len(whole[0].splitlines()) > steps / 10
    for found in (results(tmp_path / str(processes)) for processes in others):
        assert [line.split(",")[0] for line in found[0].splitlines()] == [
            line.split(",")[0] for line in whole[0].splitlines()
        ]
        value, expected = (float(text[0].splitlines()[-1].split(",")[1]) for text in (found, whole))
        assert value == pytest.approx(expected, rel=0.02)
