"""Editing a file reruns exactly the rules whose scripts use it: what they load when they run, and what they name."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = ("--config", "preset=smoke", "dataset=digits")
ROOT = Path(__file__).parents[2]
DRAWN = {path.stem for path in (ROOT / "paper/captions").glob("*.rst")}  # every figure has its caption
TRAINED = {"train_ot", "train_planar", "train_adaptation", "train_generation"}


def wanted(listing):
    """The rules that a dry run would run, from its table of counts."""
    return set(re.findall(r"^(\w+) +\d+$", listing, re.MULTILINE)) - {"total"}


# Run in a process of its own, which loads what most scripts load once and then parts, a process for each script.
LOADED = """
import json, multiprocessing, sys
from pathlib import Path
import matplotlib.pyplot, torch

def loaded(script):
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    __import__(".".join(script.relative_to(root / "code").with_suffix("").parts))
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    files -= {script.with_name("__init__.py")}  # a script is in no package
    return [str(path.relative_to(root)) for path in files if path.is_relative_to(root / "code")]

root, *scripts = map(Path, sys.argv[1:])
with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    print(json.dumps({str(script): pool.apply(loaded, (script,)) for script in scripts}))
"""


def test_what_a_script_loads_is_an_input_of_its_rule(finished, run_snakemake):
    folder, _ = finished
    rules = json.loads((folder / "results/provenance.json").read_text())["rules"]
    scripts = {rule: ROOT / entry["script"] for rule, entry in rules.items() if entry["script"]}
    table = csv.DictReader(run_snakemake(folder, "--detailed-summary", *SMOKE).stdout.splitlines(), delimiter="\t")
    inputs = {row["rule"]: set(row["input-file(s)"].split(",")) for row in table}
    assert len(scripts) > 30
    command = [sys.executable, "-c", LOADED, str(ROOT), *map(str, scripts.values())]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    missing = {rule: set(loaded[str(script)]) - inputs[rule] for rule, script in scripts.items()}
    assert not any(missing.values()), missing


@pytest.mark.parametrize(
    ("file", "again", "not_again"),
    [
        ("code/companion/common/style.py", DRAWN, TRAINED),
        ("code/companion/crosscheck/comparison.py", {"crosscheck_table"}, TRAINED | {"theory_table", "equations"}),
        ("code/companion/reader/gallery/style.css", {"gallery"}, {"report", "provenance", "verification"}),
        ("code/companion/persistence/settings.yaml", TRAINED - {"train_ot"}, {"train_ot", "theory_table"}),
        ("code/companion/counterexample/settings.yaml", set(), {"figure1_table", "report"}),  # a param
        ("code/otgrad/kernels/reference.py", TRAINED | {"evaluate_run", "equations", "examples", "notebook"}, {"data"}),
    ],
)
def test_editing_a_file_reruns_what_depends_on_it(finished, run_snakemake, file, again, not_again):
    path = finished[0] / file
    original = path.read_text()
    path.write_text(original + "\n" + ("/* edited */" if path.suffix == ".css" else "# edited") + "\n")
    try:
        done = run_snakemake(finished[0], "-n", *SMOKE)
    finally:
        path.write_text(original)
    rerun = wanted(done.stdout)
    assert again <= rerun, again - rerun
    assert not rerun & not_again
