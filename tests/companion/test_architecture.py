"""Who may import whom, and other promises of the layout, read from the source by `ast`."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tokenize
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "code"
PYTHON_FILES = sorted(CODE.rglob("*.py"))
PACKAGES = {name: sorted((CODE / name).rglob("*.py")) for name in ("otgrad", "companion")}
ONLY_POT = {CODE / f"companion/{name}.py" for name in ("crosscheck/comparison", "scores/distances", "scores/transport")}
DRAWERS = [path for path in PYTHON_FILES if path.name.startswith("draw_")]
DRAWING = {"numpy", "matplotlib", "mpl_toolkits", "networkx", "companion"}

# The lowest first: a module imports those of its own room and of rooms in lower layers, and no others.
LAYERS = (
    ("otgrad.pairs",),
    ("otgrad.checks", "otgrad.kept", "otgrad.costs"),
    ("otgrad.measures",),
    ("otgrad.kernels",),
    ("otgrad.derivatives",),
    ("otgrad.ctransform",),
    ("otgrad.semidual", "otgrad.scale"),
    ("otgrad.gradient", "otgrad.solvers"),
    ("otgrad",),
    ("companion.common",),
    ("companion.data", "companion.algorithms"),
    ("companion.counterexample", "companion.crosscheck", "companion.images"),
    ("companion.scores",),
    ("companion.shrinkage", "companion.persistence"),
    ("companion.reader",),
    ("companion",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def names(tree):
    """(node, dotted module name) of every import; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def parse(path):
    """The same tree at every call, so that nodes can be compared by identity."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    return {name for _, name in names(parse(path))}


def tops(path):
    return {name.partition(".")[0] for name in imported(path)}


def module(path):
    return ".".join(path.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__")


def room(name):
    """The room of a module: the longest of its beginnings that is one."""
    parts = name.split(".")
    return next(start for end in range(len(parts), 0, -1) if (start := ".".join(parts[:end])) in LEVEL)


@cache
def modules():
    """Module -> modules of both packages that it imports."""
    files = {module(path): path for paths in PACKAGES.values() for path in paths}
    return {name: (imported(path) & files.keys()) - {name, *PACKAGES} for name, path in files.items()}


def test_tests_of_the_library_know_no_companion():
    files = sorted((ROOT / "tests/library").glob("*.py"))
    assert len(files) > 20
    assert not [path.name for path in files if tops(path) & {"companion", "benchmarks"}]


def test_there_are_files_to_judge():
    assert {"otgrad.costs", "otgrad.kernels.cpu", "companion.algorithms.algorithm1"} <= modules().keys()
    assert modules()["otgrad.gradient"] == {"otgrad.semidual"}


@pytest.mark.parametrize("name", modules())
def test_modules_import_their_own_room_and_lower_ones(name):
    own = room(name)
    assert {other for other in modules()[name] if room(other) != own and LEVEL[room(other)] >= LEVEL[own]} == set()


def test_modules_import_each_other_without_a_circle():
    assert set(TopologicalSorter(modules()).static_order()) == modules().keys()


def test_training_loops_never_import_each_other():
    loops = {f"companion.algorithms.{name}" for name in ("algorithm1", "w1fe", "wgan")}
    assert all(not (modules()[name] & loops) for name in loops)


@pytest.mark.parametrize("path", PACKAGES["otgrad"], ids=module)
def test_the_library_knows_no_companion_and_imports_what_it_declares(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert tops(path) - sys.stdlib_module_names <= declared | {"otgrad", "triton"}  # which torch brings along


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(CODE)))
def test_pot_is_imported_where_it_judges_and_nowhere_else(path):
    if path not in ONLY_POT:
        assert "ot" not in tops(path)
        return
    inside = {id(n) for f in ast.walk(parse(path)) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    pot = [node for node, name in names(parse(path)) if name.partition(".")[0] == "ot"]
    assert pot
    assert all(id(node) in inside for node in pot), "POT must be imported inside functions"


@pytest.mark.parametrize("path", DRAWERS, ids=module)
def test_what_draws_imports_only_what_draws(path):
    reach, queue, files = set(), [path], {module(file): file for file in PACKAGES["companion"]}
    while queue:
        file = queue.pop()
        assert tops(file) - sys.stdlib_module_names <= DRAWING, file
        new = imported(file) & files.keys() - reach
        reach |= new
        queue += [files[name] for name in new]


def test_code_is_still_the_standard_library_module():
    assert Path(importlib.util.find_spec("code").origin).parent == Path(sysconfig.get_path("stdlib"))
    assert not list(CODE.glob("*.py"))


@pytest.mark.parametrize("suffix", ["py", "smk"])
def test_files_stay_short(suffix):
    long = {
        str(path.relative_to(ROOT)): count
        for path in CODE.rglob(f"*.{suffix}")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 250
    }
    assert long == {}


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *sorted(CODE.rglob("*.smk"))], ids=lambda path: path.name)
def test_rule_files_hold_no_numbers(path):
    """But 0 and 1, which count threads, GPUs and places: the others stand in a preset or a settings.yaml."""
    with path.open("rb") as stream:
        tokens = list(tokenize.tokenize(stream.readline))
    assert {token.string for token in tokens if token.type == tokenize.NUMBER} <= {"0", "1"}
    assert not re.search(r"^[^#\n]*--[\w-]+ \d", path.read_text(encoding="utf-8"), re.MULTILINE)  # in options


def test_no_script_edits_the_search_path():
    for path in PYTHON_FILES:
        paths = [n for n in ast.walk(parse(path)) if isinstance(n, ast.Attribute) and n.attr == "path"]
        assert not any(isinstance(n.value, ast.Name) and n.value.id == "sys" for n in paths), path


def loaded_by(program, *arguments):
    """Top-level modules in sys.modules after `program` ran in a new process."""
    report = f"{program}\nimport sys\nsys.stderr.write(' '.join(sorted(m for m in sys.modules if '.' not in m)))"
    done = subprocess.run(
        [sys.executable, "-c", report, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(CODE)},
    )
    return set(done.stderr.split())


def test_importing_the_package_costs_nothing():
    loaded = loaded_by("import otgrad")
    assert "otgrad" in loaded
    assert not loaded & {"torch", "numpy"}


@pytest.mark.parametrize("name", ["job", "devices", "files", "sources"])
def test_what_every_job_reads_does_without_torch(name):
    assert not loaded_by(f"import companion.common.{name}") & {"torch", "numpy"}


def test_the_rules_do_without_torch():
    """Every job of the workflow reads them: 2 core seconds each."""
    lines = "\n".join(path.read_text(encoding="utf-8") for path in sorted(CODE.rglob("*.smk"))).splitlines()
    imports = [line for line in lines if re.match(r"(from|import) (otgrad|companion)", line)]
    assert len(imports) > 5
    assert "torch" not in loaded_by("\n".join(imports))


def test_training_runs_without_the_workflows_packages():
    program = (
        "import pathlib, runpy, sys\n"
        "sys.argv = sys.argv[1:] + ['--help']\n"
        "sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))\n"  # as Python does for a script
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0"
    )
    loaded = loaded_by(program, str(CODE / "companion/images/run_training.py"))
    assert {"torch", "numpy", "filelock", "otgrad"} <= loaded
    assert not loaded & {"snakemake", "ot", "sklearn", "matplotlib", "pooch", "jsonschema"}


@pytest.mark.parametrize("room", ["otgrad.kernels", "otgrad.ctransform", "otgrad.derivatives", "otgrad.semidual"])
def test_no_product_asks_of_which_kind_a_law_is(room):
    """The registry of `kernels.dispatch` says it, and the laws register there themselves."""
    for path in PACKAGES["otgrad"]:
        if f"{module(path)}.".startswith(f"{room}."):
            assert not re.search(r"\b(Shard|StreamedMeasure)\b", path.read_text(encoding="utf-8")), path
