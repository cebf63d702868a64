"""A killed training goes on where it was, bit for bit, and two processes never train one run together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from companion.images import run_training as train_ot

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "code/companion/images/run_training.py"
STEPS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory, finished):
    return finished[0] / "results/data"


def command(data, folder):
    options = {"data": data, "out": folder / "runs", "checkpoints": folder / "checkpoints"}
    options |= {"device": "cpu", "threads": 1}
    options |= {"generator": "mlp", "lam": 0.01, "n-train": 300, "batch-size": 50, "inner-steps": 2}
    options |= {"outer-steps": STEPS, "checkpoint-every": 5, "log-every": 10, "eval-samples": 100}
    return [str(part) for key, value in options.items() for part in (f"--{key}", value)]


def start(data, folder):
    return subprocess.Popen([sys.executable, SCRIPT, *command(data, folder)], stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(folder, process):
    deadline = time.monotonic() + 300
    while not list((folder / "checkpoints").glob("*/checkpoint.pt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no checkpoint in five minutes"
        time.sleep(0.005)


def finish(data, folder):
    start = [sys.executable, SCRIPT, *command(data, folder)]
    return subprocess.run(start, capture_output=True, text=True, check=False, timeout=300)


def results(folder):
    (run,) = (folder / "runs").glob("ot-*-s0")
    weights = torch.load(run / "weights.pt", weights_only=True)
    with np.load(run / "samples.npz") as samples:
        return weights, samples["images"], (run / "log.csv").read_text()


def test_killed_training_resumes_bit_for_bit(data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_ot.main(command(data, whole))
    assert list((whole / "runs").glob("*/weights.pt"))
    process = start(data, broken)
    wait_for_checkpoint(broken, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((broken / "runs").glob("*/weights.pt")), "killed too late to test anything"
    train_ot.main(command(data, broken))
    assert list((broken / "runs").glob("*/weights.pt"))
    (weights, samples, log), (weights_2, samples_2, log_2) = results(whole), results(broken)
    assert log == log_2
    assert np.array_equal(samples, samples_2)
    assert torch.equal(weights["psi"], weights_2["psi"])
    for name, tensor in weights["generator"].items():
        assert torch.equal(tensor, weights_2["generator"][name]), name
    assert not list((broken / "checkpoints").glob("*/checkpoint.pt"))


def test_second_process_stops_in_one_line(data, tmp_path):
    first = start(data, tmp_path)
    try:
        wait_for_checkpoint(tmp_path, first)
        first.send_signal(signal.SIGSTOP)
        second = finish(data, tmp_path)
    finally:
        first.send_signal(signal.SIGCONT)
        first.kill()
        first.wait()
    assert second.returncode != 0
    (line,) = second.stderr.strip().splitlines()
    assert "another process is training this run" in line


def test_killed_snakemake_goes_on_after_unlock(tmp_path, copy_project, run_snakemake, clean_environment):
    project = copy_project(tmp_path)
    arguments = ["--config", "preset=smoke", "dataset=digits", "lams=0.05", "outer_steps=120", "inner_steps=2"]
    target = "train"
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", target, *arguments],
        cwd=project,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_checkpoint(project, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    locked = run_snakemake(project, target, *arguments)
    assert locked.returncode != 0
    assert "unlock" in locked.stderr
    assert run_snakemake(project, "--unlock").returncode == 0
    done = run_snakemake(project, target, *arguments)
    assert done.returncode == 0, done.stderr
    assert list(project.glob("results/runs/images/*/ot-mlp-lam0.05-s0/run.json"))
