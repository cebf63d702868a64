"""What a run is stands in its run.json: no code reads it from the name of a folder or a file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "code"
FILES = sorted(path for room in ("companion", "notebooks", "benchmarks") for path in (CODE / room).rglob("*.py"))

WHAT_NAMES = {"name", "arm", "run", "setting", "direction", "folder", "evidence"}  # variables and keys that hold a name
CUTTING = {"split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix", "startswith", "endswith"}
CUTTING |= {"count", "find", "index", "strip", "lstrip", "rstrip"}
PATTERNS = {"match", "fullmatch", "search", "findall", "finditer", "sub", "fnmatch"}
ALLOWED = {  # file: expression: what it is, since it is no run's identity
    "benchmarks/gpu_data.py": {
        "name.endswith('.npz')": "a file to be packed",
        "name.endswith('-none-any.whl')": "a wheel to be packed",
    },
    "benchmarks/gpu_keep.py": {"folder.glob('plane-*.npz')": "all looks at the plane; arms and seeds are told within"},
    "benchmarks/gpu_offline.py": {"name.startswith('BLOCK')": "a constant of a kernel"},
    "benchmarks/gpu_pass.py": {"stage.name.partition('-')": "a stage, asked for by its first letter"},
    "benchmarks/problems.py": {"path.stem": "the user's own file is the name of its data set"},
    "companion/common/schema.py": {
        "path.stem": "a preset is called as its file",
        "path.parent.name": "a study is called as its folder",
    },
    "companion/common/sources.py": {"name.split('.')": "a module"},
    "companion/algorithms/networks.py": {"name.endswith('bias')": "a parameter of a network"},
    "companion/data/datasets.py": {"path.stem": "the user's own file is the name of its data set"},
    "companion/data/run_adaptation_data.py": {"name.endswith('_labels')": "an array in an .npz file"},
    "companion/common/places.py": {"name.endswith('.npz')": "a data set of the user's own is given by its file"},
    "companion/reader/gallery.py": {"Path(path).stem": "the title of a notebook"},
    "companion/reader/claims_map.py": {
        "name.partition('::')": "a test, as pytest tells it",
        "Path(test).stem": "the text of a link to a test",
    },
    "companion/reader/references.py": {"figure.stem": "a figure's name, for its thumbnail"},
    "companion/reader/run_notebook.py": {
        "Path(source).stem": "the title of a notebook",
        "given.stem": "the files written for a notebook",
    },
    "companion/reader/times.py": {
        "benchmark.parent.name": "a rule, by where Snakemake keeps its benchmarks",
        "benchmark.stem": "a job, compared whole",
        "path.stem": "a job, compared whole",
        "path.parent.name": "a job, compared whole",
    },
    "notebooks/01_counterexample.py": {"name.startswith('entropic')": "a panel of Figure 1, a column of its table"},
    "notebooks/04_mnist_results.py": {"path.stem": "a preset is called as its file"},
}


def holds_a_name(node):
    """Whether an expression is a name, or a path's: a variable, a key, an attribute, or a call that gives one."""
    if isinstance(node, ast.Name):
        return node.id in WHAT_NAMES
    if isinstance(node, ast.Attribute):
        return node.attr in ("name", "stem")
    if isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        return key in WHAT_NAMES if isinstance(key, str) else holds_a_name(node.value)
    if isinstance(node, ast.Call):
        made = isinstance(node.func, ast.Name) and node.func.id == "str"
        return any(map(holds_a_name, node.args)) if made else holds_a_name(node.func)
    return False


def of_a_folder(node):
    """Whether an attribute is the name of a folder, or of a file without its ending."""
    if node.attr == "name" and isinstance(node.value, ast.Attribute):
        return node.value.attr == "parent"
    if node.attr == "name" and isinstance(node.value, ast.Name):
        return "folder" in node.value.id
    called = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name) and node.value.func.id == "Path"
    return node.attr == "stem" or (node.attr == "name" and called and "folder" in ast.unparse(node.value.args[0]))


def cuts(call):
    """Whether a call cuts a name, tries it against a pattern, or looks for files by a part of their name."""
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr in CUTTING and holds_a_name(call.func.value):
        return True
    if call.func.attr == "replace" and holds_a_name(call.func.value):  # what is not taken away is only shown otherwise
        return isinstance(call.args[1], ast.Constant) and call.args[1].value == ""
    tried = call.args[ast.unparse(call.func.value) == "re" :]  # the first of re's functions is the pattern
    if call.func.attr in PATTERNS and any(map(holds_a_name, tried)):
        return True
    wanted = call.args[0] if call.func.attr in ("glob", "rglob") and call.args else None
    return isinstance(wanted, ast.Constant) and any(sign in wanted.value for sign in ("-*", "*-"))


def looks_into_a_path(node):
    """Whether a comparison asks for a part of a path written out: "/arm/" in str(path)."""
    return any(
        isinstance(sign, ast.In)
        and isinstance(whole, ast.Call)
        and isinstance(whole.func, ast.Name)
        and whole.func.id == "str"
        for sign, whole in zip(node.ops, node.comparators, strict=True)
    )


def offences(source):
    """Expressions that take something from a name."""
    for node in ast.walk(ast.parse(source)):
        bad = (
            (isinstance(node, ast.Attribute) and of_a_folder(node))
            or (isinstance(node, ast.Call) and cuts(node))
            or (isinstance(node, ast.Compare) and looks_into_a_path(node))
        )
        if bad:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CODE)))
def test_no_code_takes_a_name_apart(path):
    found = set(offences(path.read_text(encoding="utf-8")))
    assert found == ALLOWED.get(path.relative_to(CODE).as_posix(), {}).keys()


@pytest.mark.parametrize(
    "line",
    [
        "law = Path(path).parent.name.split('-')[0]",
        "name = Path(folder).name",
        "name = folder.name",
        "laws.setdefault(name.split('-')[0], [])",
        "source, target = config['direction'].split('-')",
        "source, target = direction.split('-')",
        "kept = runs.get(run['name'].rsplit('-s', 1)[0])",
        "key = run['run'].replace(f\"-s{run['config']['seed']}\", '', 1)",
        "key = name.replace(f\"-s{run['seed']}\", '', 1)",
        "plain = name.count('-') - name.count('e-') == 2",
        "chosen = [row for name, row in rows if name.startswith('ot-mlp-')]",
        "parts = re.fullmatch('ot-([a-z]+)-lam(.*)', name)",
        "folders = sorted(Path(root).glob('ot-*'))",
        "adapted = [path for path in paths if '/adaptation/' in str(path)]",
        "lams = entry['evidence'].split('lam ')[1:]",
        "label = arm.removeprefix(f'{law}-')",
        "name = config.name().removesuffix('-s0')",
        "seed = int(path.stem[-1])",
    ],
)
def test_the_rule_refuses_each_way_there_was(line):
    assert list(offences(line))


def test_the_rule_lets_names_be_told_and_compared():
    lines = ("record['name'] == config.name()", "kept.get(run['setting'])", "path.with_name('log.csv')", "field.name")
    assert not [found for line in lines for found in offences(line)]
