"""The workflow on SLURM, as docs/scale.md tells a lab to run it, on a SLURM of this machine alone."""

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
# What differs on the loopback SLURM: it has no GPU to give but a name, and is quick.
LOOPBACK = ["--set-resources", "train_ot:gpu=1", "--latency-wait", "10"]
LOOPBACK += ["--slurm-init-seconds-before-status-checks", "5"]
REASON = missing()
if REASON is None and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
    REASON = "no snakemake-executor-plugin-slurm: uv run --group slurm pytest"

# Who begins the jobs, and with what; not what they compute.
TOUCHED_BY = (
    "Snakefile",
    "code/companion/common/common.smk",
    "code/companion/data/rules.smk",
    "code/companion/images/rules.smk",
    "profiles",
    "tests/workflow/loopback_slurm.py",
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


def as_the_docs_say(folder, line):
    """A command of the block for a cluster, with what it says to add where there is no database."""
    text = (folder / "docs/scale.md").read_text().split("## A SLURM cluster")[1]
    words = text.split("```")[1].strip().splitlines()[line].split()
    assert words[:5] == ["uv", "run", "--group", "slurm", "snakemake"]
    (addition,) = re.findall(r"`(--slurm-status-command[^`]*)`", text)
    return [sys.executable, "-m", "snakemake", *words[5:], *addition.split()]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with Loopback(tmp_path_factory.mktemp("slurm")) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def run(slurm, tmp_path_factory, clean_environment, copy_project):
    """The smoke preset, run through SLURM: the folder, what Snakemake said, and what SLURM knows of the jobs."""
    folder = copy_project(tmp_path_factory.mktemp("otgrad-slurm"))
    profile = folder / "profiles/slurm/config.yaml"
    marked = profile.read_text()
    assert "# - slurm_partition=YOURS" in marked
    profile.write_text(marked.replace("# - slurm_partition=YOURS", "- slurm_partition=main"))
    done = subprocess.run(
        [*as_the_docs_say(folder, 0), *LOOPBACK],
        cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip
    return folder, done, slurm.say("scontrol", "show", "jobs")


def test_the_smoke_preset_ends_well(run):
    folder, done, jobs = run
    assert done.returncode == 0, done.stderr[-4000:] + jobs[-2000:]
    assert json.loads((folder / "results/verification.json").read_text())


def test_training_and_scoring_were_jobs_and_figures_were_not(run):
    _, _, jobs = run
    rules = {comment.split("_wildcards_")[0] for comment in re.findall(r"Comment=rule_(\S+)", jobs)}
    assert {"train_ot", "train_planar", "evaluate_run", "classifier"} <= rules
    drawn = {"figure1", "figure2", "counterexample_segment", "planar_flow", "interpolation", "report", "gallery"}
    assert not rules & drawn


def test_a_job_for_a_gpu_asks_slurm_for_one(run):
    _, _, jobs = run
    trained = [job for job in jobs.split("\n\n") if "train_ot" in job]
    assert trained
    assert all("gres/gpu=1" in job or "gres:gpu:1" in job for job in trained)
    others = [job for job in jobs.split("\n\n") if "evaluate_run" in job]
    assert not any("gpu" in job.replace("gres.conf", "") for job in others)


def test_the_tables_are_those_of_a_run_without_slurm(run, tmp_path_factory, copy_project, run_snakemake):
    folder, local = run[0], copy_project(tmp_path_factory.mktemp("otgrad-local"))
    assert run_snakemake(local, "train", "--config", "preset=smoke", "dataset=digits", "device=cpu").returncode == 0
    assert len(list((local / "results/runs/images").glob("*/*/log.csv"))) > 1
    for path in sorted((local / "results/runs/images").glob("*/*/log.csv")):
        (ours,) = folder.glob(f"results/runs/images/*/{path.parent.name}/log.csv")  # another device, another folder
        with path.open() as first, ours.open() as second:
            for row, other in zip(csv.DictReader(first), csv.DictReader(second), strict=True):
                assert float(row["value"]) == pytest.approx(float(other["value"]), rel=1e-5)


def test_a_job_without_its_device_says_so(slurm, run, clean_environment):
    folder = run[0]
    command = [*as_the_docs_say(folder, 1), *LOOPBACK, "--retries", "0"]
    command += ["--config", "preset=smoke", "dataset=digits", "device=cuda", "cluster=True", "seed=7", "--", "train"]
    begun = time.time()
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode != 0
    logs = [p for p in (folder / ".snakemake/slurm_logs").rglob("*.log") if p.stat().st_mtime > begun]
    said = "\n".join(path.read_text(errors="replace") for path in logs) + done.stderr
    assert "no NVIDIA driver here; ask for a machine with a GPU, or device=cpu" in said
