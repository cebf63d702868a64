"""The package by itself: what its wheel holds, and that it works where the workflow's packages are not."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import otgrad

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # what pip and uv call
TOUCHED_BY = ("code/otgrad", "code/examples")
# What only the workflow, its figures and its data need.
ABSENT = ("snakemake", "yaml", "ot", "matplotlib", "sklearn", "pooch", "jsonschema", "h5py", "scipy", "pdoc")
WITHOUT = f"""
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in {ABSENT!r} else self.finder.find_spec(name, *rest)

sys.meta_path[:] = map(Without, sys.meta_path)
import otgrad
assert otgrad.__file__.startswith(sys.argv[1]), otgrad.__file__
"""
USE_ALL_NAMES = "print(*(getattr(otgrad, name).__name__ for name in otgrad.__all__))"
RUN = "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because building leaves folders beside the sources."""
    if find_spec("setuptools") is None:
        pytest.skip("no setuptools here to build a wheel with, and fetching it needs a network")
    folder = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "notebooks")
    for name in ("code", "tests"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(
        command, cwd=folder / "source", capture_output=True, text=True, timeout=120, env=bare(), check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the package without its dependencies: a wheel of pure Python is installed by unpacking it."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def bare(**extra):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OTGRAD_"))}
    return kept | {"OMP_NUM_THREADS": "1"} | extra


def run(installed, program, *arguments):
    """Run a program on the unpacked wheel, without the workflow's packages, in its folder; return what it printed."""
    command = [sys.executable, "-c", WITHOUT + program, str(installed), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=installed,
        env=bare(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_it_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"otgrad-{PROJECT['version']}.dist-info/"
    assert {name for name in names if not name.startswith(("otgrad/", about))} == set()
    sources = {path.relative_to(ROOT / "code").as_posix() for path in (ROOT / "code/otgrad").rglob("*.py")}
    assert {name for name in names if name.startswith("otgrad/")} == sources | {
        "otgrad/py.typed",
        "otgrad/kernels/cpu.cpp",
    }
    assert about + "licenses/LICENSE" in names
    assert wheel.name == f"otgrad-{PROJECT['version']}-py3-none-any.whl"


def test_its_metadata_is_the_projects(wheel):
    with zipfile.ZipFile(wheel) as archive:
        about = f"otgrad-{PROJECT['version']}.dist-info/METADATA"
        metadata = Parser().parsestr(archive.read(about).decode())
    assert (metadata["Name"], metadata["Version"]) == ("otgrad", PROJECT["version"])
    assert metadata["Version"] == otgrad.__version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == "MIT"
    required = {Requirement(line).name for line in metadata.get_all("Requires-Dist")}
    assert required == {"numpy", "torch", "tqdm", "filelock"}
    assert metadata["Summary"] == PROJECT["description"]


def test_every_public_name_is_there_without_the_workflows_packages(installed):
    assert run(installed, USE_ALL_NAMES).split() == otgrad.__all__


@pytest.mark.slow
def test_the_drop_in_loss_runs(installed):
    printed = run(installed, RUN, ROOT / "code/examples/drop_in_loss.py", "--steps", "30")
    before, after, _ = (float(number) for number in re.findall(r": +([\d.]+)$", printed, re.MULTILINE))
    assert after < before


@pytest.mark.slow
def test_the_toy_runs_without_a_picture(installed, tmp_path):
    options = ("--steps", "50", "--pool", "100", "--no-picture", "--out", tmp_path / "out")
    printed = run(installed, RUN, ROOT / "code/examples/toy_2d.py", *options)
    assert "marginal error" in printed
    assert len(printed.splitlines()) == 3
    assert not (tmp_path / "out").exists()
