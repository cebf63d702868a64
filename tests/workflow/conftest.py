import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environment(**extra):
    """The environment without what would steer the workflow, so that the embedded digits are used; a kernel stays."""
    dropped = {key for key in os.environ if key.startswith("OTGRAD_")} - {"OTGRAD_KERNEL"}
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return kept | {"OTGRAD_CACHE_DIR": "no-cache", "OMP_NUM_THREADS": "1"} | extra


def snakemake(folder, *arguments, **extra):
    """Run Snakemake in a folder and return the finished process, output as text."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=1200, check=False
    )


def copy_of_the_project(folder):
    """Copy the tracked files, as they are in the working tree, into a git repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "copy"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy in which nothing was run."""
    return copy_of_the_project(tmp_path_factory.mktemp("otgrad"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy in which the smoke preset was run to its end, and what the run printed."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("otgrad-run"))
    return folder, snakemake(folder, "--config", "preset=smoke", "dataset=digits")


@pytest.fixture(scope="session")
def copy_project():
    """Copy the project into a folder, as a git repository of its own: (folder) -> folder."""
    return copy_of_the_project


@pytest.fixture(scope="session")
def run_snakemake():
    """Run Snakemake in a folder: (folder, *arguments, **environment) -> finished process."""
    return snakemake


@pytest.fixture(scope="session")
def clean_environment():
    """Make the environment the copies run in."""
    return environment
