"""Print the test files of the slow group that what changed since they last passed can touch.

tests/slow-passed.json names the commit at which the whole group passed, and that of each file that was skipped then. A
test file is touched by what it imports, directly or not, by the sources it runs (named in its strings, or programs in
them) and by the conftest.py files above it. One that runs the workflow is touched by all that the workflow reads. Where
a file says TOUCHED_BY, that counts besides, and instead of the whole workflow. An unknown commit touches everything.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

from companion.common.sources import imported

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PASSED = TESTS / "slow-passed.json"
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
FOLDERS = [ROOT / name for name in ("code", *OPTIONS["pythonpath"])]
EQUATIONS = ("tests/equations", "tests/instances.py")
WORKFLOW = ("Snakefile", "code", "config", "paper", "profiles", "figures/reference", *EQUATIONS)
ALWAYS = ("pyproject.toml", "requirements.lock", "tests/conftest.py", "code/otgrad/__init__.py")
ALWAYS += ("code/companion/__init__.py", "code/companion/common/compiler.py")
FIXTURES = re.compile(r"\b(finished|project|copy_project|run_snakemake)\b")


def slow_files():
    """Test files with a test of the slow group."""
    return [path for path in sorted(TESTS.rglob("test_*.py")) if "mark.slow" in path.read_text(encoding="utf-8")]


def commits(tests):
    """Test file -> the commit at which it last passed, or None."""
    kept = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.is_file() else {}
    skipped = kept.get("skipped", {})
    return {test: skipped.get(str(test.relative_to(ROOT)), kept.get("commit")) for test in tests}


@cache
def changed(commit):
    """Paths that differ between a commit and the working tree, or None where that is not known."""
    found = []
    for command in (["diff", "--name-only", str(commit)], ["ls-files", "--others", "--exclude-standard"]):
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        found += done.stdout.splitlines()
    return found


def touched(test, names):
    """Whether a change of these files can change what a test file finds."""
    if names is None:
        return True
    reach = {str(path.relative_to(ROOT)) for path in sources(test)} | set(ALWAYS) | set(above(test))
    runs_it = FIXTURES.search(test.read_text(encoding="utf-8"))
    reach |= set(declared(test) or (WORKFLOW if runs_it else ()))
    return any(name in reach or any(name.startswith(f"{folder}/") for folder in reach) for name in names)


def above(test):
    """The conftest.py files of a test."""
    return [str((folder / "conftest.py").relative_to(ROOT)) for folder in test.parents if folder.is_relative_to(TESTS)]


def declared(test):
    """Its TOUCHED_BY, or None."""
    for node in ast.parse(test.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "TOUCHED_BY":
            return ast.literal_eval(node.value)
    return None


def sources(test):
    """A test file and the sources it imports or runs, directly or not."""
    found, queue = {test}, [test]
    while queue:
        new = set(used_by(queue.pop())) - found
        found |= new
        queue += [path for path in new if path.suffix == ".py"]
    return found


@cache
def used_by(path):
    """Sources that a file imports or names; what is compiled beside it; all beside it if it imports by a string."""
    text = path.read_text(encoding="utf-8")
    tree, found = ast.parse(text), list(path.parent.glob("*.cpp"))
    modules = list(imported(tree, ""))
    if "import_module(" in text and path.name != "__init__.py":
        found += path.parent.glob("*.py")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += named(node.value, path.parent)
            modules += imported_in(node.value)
    for name in modules:
        found += [place for folder in FOLDERS for place in places(folder, name.split(".")) if place.is_file()]
    return found


def places(folder, parts):
    """Where a module may lie, and the __init__.py of the packages it is in, but for the outermost (see ALWAYS)."""
    packages = [parts[:end] for end in range(2, len(parts))] + [parts]
    return [folder.joinpath(*parts).with_suffix(".py"), *(folder.joinpath(*p, "__init__.py") for p in packages)]


def imported_in(text):
    """The same of a string that is a program."""
    if "import " not in text:
        return []
    try:
        return list(imported(ast.parse(text), ""))
    except SyntaxError:
        return []


def named(text, folder):
    """The file or the package that a string names, from the root or from a folder."""
    if len(text) > 200 or not re.search(r"\.py$|^code/", text):
        return []
    found = [place for place in (ROOT / text, folder / text) if place.exists()]
    return [path for place in found for path in (place.rglob("*.py") if place.is_dir() else [place])]


if __name__ == "__main__":
    for test, commit in commits(slow_files()).items():
        if touched(test, changed(commit)):
            sys.stdout.write(f"{test.relative_to(ROOT)}\n")
