"""One environment, three faces: pyproject.toml, requirements.lock and environment.yml agree with what is installed."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^(?P<name>[\w.-]+)(\[[^]]*])?==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+))? \\$", re.MULTILINE)


def locked(environment=None):
    """Pinned versions that apply in an environment (None: this one)."""
    found = {}
    for match in LINE.finditer((ROOT / "requirements.lock").read_text()):
        if not match["marker"] or Marker(match["marker"].strip()).evaluate(environment):
            found[match["name"].lower()] = match["version"]
    return found


def direct():
    """Names of the direct dependencies in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        lines for name, lines in project["dependency-groups"].items() if name not in ("peers", "slurm")
    ]  # optional
    lines = project["project"]["dependencies"] + sum(groups, [])
    return {Requirement(line).name.lower(): Requirement(line) for line in lines}


def conda_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip[-1] == "-e ."
    return {Requirement(line).name.lower(): str(Requirement(line).specifier) for line in pip[:-1]}


def test_installed_versions_are_the_locked_ones():
    pins = locked()
    wrong = {name: (version(name), pins[name]) for name in direct() if version(name) != pins[name]}
    assert not wrong


def test_conda_pins_are_the_locked_ones():
    python_312 = {"python_full_version": "3.12.0", "python_version": "3.12"}
    pins = locked(python_312)
    assert conda_pins() == {name: f"=={pins[name]}" for name in direct()}


def test_locked_versions_satisfy_the_project():
    pins = locked()
    assert all(requirement.specifier.contains(pins[name]) for name, requirement in direct().items())


def test_lock_has_hashes_and_no_hosts():
    text = (ROOT / "requirements.lock").read_text()
    assert text.count("--hash=sha256:") > len(locked())
    assert "://" not in text
