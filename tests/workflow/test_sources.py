"""Editing a file reruns exactly the rules whose scripts use it: what they load when they run, and what they name."""

import csv
import json
import multiprocessing
import re
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


def loaded(script):
    """The project's files that a script has loaded once its imports are done; in a process of its own."""
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    __import__(script.relative_to(ROOT / "code").with_suffix("").as_posix().replace("/", "."))
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {Path(file) for file in files if file} - {script.with_name("__init__.py")}  # a script is in no package
    return {path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT / "code")}


def test_what_a_script_loads_is_an_input_of_its_rule(finished, run_snakemake):
    folder, _ = finished
    rules = json.loads((folder / "results/provenance.json").read_text())["rules"]
    scripts = {rule: ROOT / entry["script"] for rule, entry in rules.items() if entry["script"]}
    table = csv.DictReader(run_snakemake(folder, "--detailed-summary", *SMOKE).stdout.splitlines(), delimiter="\t")
    inputs = {row["rule"]: set(row["input-file(s)"].split(",")) for row in table}
    assert len(scripts) > 30
    import matplotlib.pyplot  # noqa: F401 (what most load: once, before the processes part)
    import torch  # noqa: F401

    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        missing = {rule: pool.apply(loaded, (script,)) - inputs[rule] for rule, script in scripts.items()}
    assert not any(missing.values()), missing


@pytest.mark.parametrize(
    ("file", "again", "not_again"),
    [
        ("code/companion/common/style.py", DRAWN, TRAINED),
        ("code/companion/crosscheck/comparison.py", {"crosscheck_table"}, TRAINED | {"theory_table", "equations"}),
        ("code/companion/reader/gallery/style.css", {"gallery"}, {"report", "provenance", "verification"}),
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
