"""Who may import whom, and other promises of the layout, read from the source by `ast`."""

import ast
import importlib.util
import os
import subprocess
import sys
import sysconfig
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "code"
PACKAGE = CODE / "otgrad"
PYTHON_FILES = sorted(CODE.rglob("*.py"))
ONLY_POT = {PACKAGE / "crosscheck.py", PACKAGE / "evaluate.py", PACKAGE / "evaluation/transport.py"}
PLOT_MODULES = {"numpy", "matplotlib", "mpl_toolkits", "networkx", "style", "otgrad.joblog"}

# The rooms a room may call. A room that is not listed may call none.
ROOMS = {
    "checks": set(),
    "kept": set(),
    "measures": {"checks", "kept"},
    "derivatives": {"costs"},
    "sharding": {"checks", "kept", "measures"},
    "streaming": {"checks", "measures"},
    "kernels.mixture": set(),
    "kernels.memory": {"measures"},
    "kernels.sharded": {"costs", "kernels.dispatch", "kernels.mixture", "sharding"},
    "kernels.streamed": {"costs", "kernels.reference", "kernels.mixture", "streaming"},
    "kernels.reference": {"costs", "measures", "kernels.mixture"},
    "kernels.build": set(),
    "kernels.integers": {"measures"},
    "kernels.packing": {"measures", "kernels.build", "kernels.integers"},
    "kernels.cuda_parts": set(),
    "kernels.cuda_programs": {"kernels.cuda_parts"},
    "kernels.cuda_atoms": {"measures", "kernels.integers"},
    "kernels.cuda_blocks": set(),
    "kernels.cuda": {"costs", "measures", "kernels.mixture", "kernels.reference"}
    | {"kernels.cuda_atoms", "kernels.cuda_blocks", "kernels.cuda_programs"},
    "kernels.cpu": {"costs", "measures", "kernels.build", "kernels.mixture", "kernels.packing", "kernels.reference"},
    "kernels.dispatch": {"costs", "measures", "kernels.build", "kernels.cpu", "kernels.cuda", "kernels.reference"}
    | {"sharding", "streaming"},
    "block_ascent": {"costs", "measures", "ctransform", "asgd"},
    "active_set": {"ctransform", "block_ascent"},
    "certificate": {"costs", "measures", "ctransform", "semidual", "kernels.reference"},
    "fixed_source": {"asgd", "checks", "costs", "measures", "semidual", "block_ascent", "active_set", "certificate"}
    | {"pool"},
    "ctransform": {"costs", "measures", "kernels.dispatch", "kernels.memory", "kernels.mixture", "kernels.reference"}
    | {"derivatives", "sharding", "streaming"},
    "semidual": {"costs", "measures", "ctransform"},
    "asgd": {"costs", "measures", "ctransform"},
    "pool": {"checks", "costs", "measures"},
    "gradient": {"costs", "measures", "ctransform"},
    "atoms": {"checks", "kept", "measures"},
    "solver_state": {"checks", "asgd", "costs", "measures"},
    "estimator": {"checks", "costs", "measures", "ctransform", "semidual", "asgd", "atoms", "solver_state"},
    "problem": {"costs", "measures"},
    "graphs": set(),
    "variants.settings": set(),
    "variants.schedules": {"variants.settings"},
    "variants.self_term": {"costs", "measures", "ctransform"},
    "variants.anchor": {"ctransform", "problem"},
    "variants.minibatch": {"costs", "measures", "ctransform", "asgd", "problem"},
    "variants.network": {"measures", "ctransform", "asgd", "networks", "problem"},
    "variants.loops": {"measures", "ctransform", "asgd", "problem"}
    | {"variants.settings", "variants.schedules", "variants.self_term", "variants.minibatch"}
    | {"variants.anchor"},
    "variants.build": {"asgd", "runs", "problem", "variants.loops", "variants.minibatch", "variants.network"},
    "checkpoints": {"runs"},
    "training_state": {"asgd", "measures", "networks", "problem", "runs", "variants.build", "variants.loops"},
    "training.ot": {"costs", "measures", "ctransform", "semidual", "asgd", "networks", "runs", "problem"}
    | {"checkpoints", "graphs", "sharding", "training_state"},
    "counterexample": {"costs", "measures", "asgd", "pool", "problem", "training.ot"},
    "lockstep": {"asgd", "counterexample"},
    "shrinkage": set(),
    "stability": {"asgd", "costs", "ctransform", "measures", "networks", "problem", "semidual", "training.ot"}
    | {"evaluation.transport"},
    "potentials": {"costs", "measures", "ctransform", "asgd", "networks", "pool"},
    "theory": {"costs", "measures", "ctransform", "semidual", "pool", "counterexample"},
    "training.w1fe": {"measures", "potentials"},
    "training.wgan": {"measures", "potentials"},
    "evaluate": {"costs"},
    "evaluation.points": set(),
    "evaluation.classifier": set(),
    "evaluation.features": {"evaluation.points"},
    "evaluation.pixels": {"costs", "evaluation.points"},
    "evaluation.transport": {"costs", "measures", "fixed_source", "evaluation.points"},
    "evaluation.sets": {"images"},
    "evaluation.statistics": set(),
    "evaluation.scores": {"costs"}
    | {f"evaluation.{name}" for name in ("classifier", "features", "pixels", "transport")},
    "arms": set(),
    "experiments": {"arms", "measures", "potentials", "training.w1fe", "training.wgan"},
    "planar": {"arms", "costs", "measures", "asgd", "networks", "potentials", "evaluate", "experiments", "training.ot"}
    | {"problem", "training.w1fe", "training.wgan"},
    "stacked": set(),
    "planar_kinds": {"arms", "experiments", "networks", "planar", "potentials", "stacked"},
    "planar_stacked": {"arms", "evaluate", "networks", "planar", "planar_kinds"},
    "places": {"settings"},
    "downloads": {"images"},
    "mnist": {"downloads", "images"},
    "usps": {"downloads", "images"},
    "adaptation_data": {"images"},
    "adaptation": {"arms", "networks", "evaluate", "experiments"},
    "generation": {"arms", "costs", "measures", "asgd", "networks", "evaluate", "experiments", "problem", "training.ot"}
    | {"evaluation.pixels"},
}


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


def room(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@cache
def modules():
    """Room -> rooms that it imports, of every file of the package but the lazy otgrad/__init__.py."""
    files = {room(path): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    used = {name: imported(path) for name, path in files.items()}
    return {name: {other for other in files if f"otgrad.{other}" in used[name]} for name in files}


def test_there_are_files_to_judge():
    assert {"costs", "ctransform", "training.ot"} <= modules().keys()
    assert modules()["semidual"] == ROOMS["semidual"]


def test_rooms_import_each_other_without_a_circle():
    assert len(tuple(TopologicalSorter(modules()).static_order())) == len(modules())


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_call_only_whom_they_may(name):
    assert modules()[name] <= ROOMS[name]


@pytest.mark.parametrize("name", ["checks", "costs", "kept", "networks", "runs", "joblog", "devices", "atomic"])
def test_rooms_that_stand_alone(name):
    assert modules()[name] <= {"atomic", "variants.settings"}


def test_training_loops_never_import_each_other():
    loops = {name for name in modules() if name.startswith("training.")}
    assert all(not (modules()[name] & loops) for name in loops)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(CODE)))
def test_the_package_knows_no_workflow_and_no_figures(path):
    assert not tops(path) & {"snakemake", "yaml", "matplotlib"}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(CODE)))
def test_pot_is_imported_where_it_judges_and_nowhere_else(path):
    if path not in ONLY_POT:
        assert "ot" not in tops(path)
        return
    inside = {id(n) for f in ast.walk(parse(path)) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    pot = [node for node, name in names(parse(path)) if name.partition(".")[0] == "ot"]
    assert pot
    assert all(id(node) in inside for node in pot), "POT must be imported inside functions"


@pytest.mark.parametrize("path", sorted((CODE / "scripts/plot").glob("*.py")), ids=lambda path: path.name)
def test_plot_scripts_import_only_what_draws(path):
    for _, name in names(parse(path)):
        top = name.partition(".")[0]
        assert (
            top in sys.stdlib_module_names
            or any(f"{name}.".startswith(f"{m}.") for m in PLOT_MODULES)
            or (
                name == "otgrad"  # of `from otgrad import joblog`, whose other half is judged by itself
            )
        ), name


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


@pytest.mark.parametrize("name", ["joblog", "devices", "atomic"])
def test_rooms_that_the_workflow_reads_do_without_torch(name):
    assert not loaded_by(f"import otgrad.{name}") & {"torch", "numpy"}


def test_the_rules_do_without_torch():
    """Every job of the workflow reads them: 2 core seconds each."""
    rules = [ROOT / "Snakefile", *sorted((CODE / "rules").glob("*.smk"))]
    imports = [
        line
        for path in rules
        for line in path.read_text(encoding="utf-8").splitlines()
        if "import otgrad" in line or line.startswith("from otgrad")
    ]
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
    loaded = loaded_by(program, str(CODE / "scripts/run/train_ot.py"))
    assert {"torch", "numpy", "filelock", "otgrad"} <= loaded
    assert not loaded & {"snakemake", "ot", "sklearn", "matplotlib", "pooch", "jsonschema"}
