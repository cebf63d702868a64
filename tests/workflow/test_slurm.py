"""The workflow on SLURM, as the README tells a lab to run it, on a SLURM of this machine alone."""

import csv
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback_slurm import Loopback, missing

ROOT = Path(__file__).parents[2]
LOOPBACK = ["--default-resources", "mem_mb=1500", "runtime=20", "slurm_partition=main", "--slurm-no-account"]
LOOPBACK += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]
REASON = missing()
if REASON is None and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
    REASON = "no snakemake-executor-plugin-slurm: uv run --group slurm pytest"

pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with Loopback(tmp_path_factory.mktemp("slurm")) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def run(slurm, tmp_path_factory, clean_environment, copy_project):
    """The smoke preset, run through SLURM: the folder, what Snakemake said, and what SLURM knows of the jobs."""
    folder = copy_project(tmp_path_factory.mktemp("otgrad-slurm"))
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
    command += ["--config", "preset=smoke", "dataset=digits", "device=cpu", "cluster=True"]
    command += LOOPBACK
    command += ["--set-resources", "train_ot:gpu=1", "--latency-wait", "10"]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=1700, check=False
    )
    return folder, done, slurm.say("scontrol", "show", "jobs")


def test_the_smoke_preset_ends_well(run):
    folder, done, jobs = run
    assert done.returncode == 0, done.stderr[-4000:] + jobs[-2000:]
    assert json.loads((folder / "results/verification.json").read_text())


def test_training_and_scoring_were_jobs_and_figures_were_not(run):
    _, _, jobs = run
    comments = re.findall(r"Comment=(\S+)", jobs)
    assert {name for name in ("train_ot", "evaluate_run", "classifier") if any(name in c for c in comments)} == {
        "train_ot",
        "evaluate_run",
        "classifier",
    }
    assert not any("figure" in comment for comment in comments)


def test_a_job_for_a_gpu_asks_slurm_for_one(run):
    _, _, jobs = run
    trained = [job for job in jobs.split("\n\n") if "train_ot" in job]
    assert trained
    assert all("gres/gpu=1" in job or "gres:gpu:1" in job for job in trained)
    others = [job for job in jobs.split("\n\n") if "evaluate_run" in job]
    assert not any("gpu" in job.replace("gres.conf", "") for job in others)


def test_the_tables_are_those_of_a_run_without_slurm(run, tmp_path_factory, copy_project, run_snakemake):
    folder, local = run[0], copy_project(tmp_path_factory.mktemp("otgrad-local"))
    assert run_snakemake(local, "--config", "preset=smoke", "dataset=digits", "device=cpu", "train").returncode == 0
    assert len(list((local / "results/runs/images").glob("*/log.csv"))) > 2
    for path in sorted((local / "results/runs/images").glob("*/log.csv")):
        ours = folder / path.relative_to(local)
        with path.open() as first, ours.open() as second:
            for row, other in zip(csv.DictReader(first), csv.DictReader(second), strict=True):
                assert float(row["value"]) == pytest.approx(float(other["value"]), rel=1e-5)


def test_a_job_without_its_device_says_so(slurm, run, clean_environment):
    folder = run[0]
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--retries", "0"]
    command += ["--config", "preset=smoke", "dataset=digits", "device=cuda", "cluster=True", "seed=7"]
    command += [*LOOPBACK, "train"]
    begun = time.time()
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode != 0
    logs = [p for p in (folder / ".snakemake/slurm_logs").rglob("*.log") if p.stat().st_mtime > begun]
    said = "\n".join(path.read_text(errors="replace") for path in logs) + done.stderr
    assert "no NVIDIA driver here; ask for a machine with a GPU, or device=cpu" in said
