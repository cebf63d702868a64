"""The map of claims: every entry leads somewhere, nothing that is tested or measured is without an entry."""

import ast
import json
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

from companion.common.checks import TOO_FEW, UNTESTED
from companion.reader.claims_map import by_tests, function_file, judge, outcomes, read_map
from companion.reader.keep import keep
from companion.reader.standing import settled, stand

ROOT = Path(__file__).parents[2]
ENTRIES = read_map(ROOT / "paper/claims.yaml")
EMPIRICAL, KINDS = "empirical", {"exact identity", "inequality", "convergence", "empirical"}
KNOWN_PLACES = {"not located", "abstract", "Theorem 1", "Proposition 1", "Algorithm 1", "Figure 1", "Figure 2"}
KNOWN_PLACES |= {"Proposition 2", "Theorem 2"}  # and of paper B, as its ICLR 2025 version counts
KNOWN_PLACES |= {"Proposition 4.1", "Remark 4.2", "Theorem 4.1", "reviews"}
SLOW = {"tests/equations/test_mutants.py"}  # tests the tests
RULES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "code").rglob("*.smk"))


def test_no_id_is_used_twice():
    ids = [entry["id"] for entry in ENTRIES]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_an_entry_leads_to_function_test_and_figure(entry):
    judged = {"not_tested"} if "not_tested" in entry else {"judged"}
    if "decide" in entry:
        (how,) = {"target", "command", "nothing"} & set(entry["decide"])
        assert set(entry["decide"]) == {how} | ({"jobs"} if how == "command" else set())
        assert how != "target" or f"\nrule {entry['decide'][how]}:" in RULES or f'"{entry["decide"][how]}",' in RULES
    assert set(entry) - {"decide"} == {"id", "statement", "where", "kind", "function", "tests", "shown"} | judged
    assert entry["kind"] in KINDS
    assert entry["where"] in KNOWN_PLACES
    assert (entry.get("judged") == "results") == (entry["kind"] == EMPIRICAL)
    assert callable(pkgutil.resolve_name(entry["function"]))
    for test in entry["tests"]:
        path, _, function = test.partition("::")
        assert not function or function in functions(ROOT / path)
        assert entry.get("judged") != "tests" or path.startswith("tests/equations/")
    folder, _, name = entry["shown"].partition("/")
    assert folder in ("figures", "results")
    assert (ROOT / f"paper/captions/{name}.rst").is_file() if folder == "figures" else entry["shown"] in RULES


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_equation_test_belongs_to_a_claim():
    claimed = {test.partition("::")[0] for entry in ENTRIES for test in entry["tests"]}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/equations").glob("test_*.py")}
    assert files - SLOW <= claimed


def test_each_study_names_the_claims_that_it_judges_and_no_other_does():
    empirical, named = {entry["id"] for entry in ENTRIES if entry.get("judged") == "results"}, Counter()
    for path in (ROOT / "code/companion").glob("*/verdicts.py"):
        doc = ast.get_docstring(ast.parse(path.with_name("__init__.py").read_text(encoding="utf-8")))
        own, judged = tags(doc), set(re.findall(r'"([AB]-[a-z0-9-]+)"', path.read_text(encoding="utf-8")))
        assert doc.count("\n") < 10
        assert own <= {entry["id"] for entry in ENTRIES}
        assert own & empirical == judged, path
        named.update(own)
    assert empirical <= named.keys()
    assert set(named.values()) == {1}


def tags(doc):
    """The ids that a docstring names after "Claims:"."""
    found = re.findall(r"Claims: ((?:[AB]-[a-z0-9-]+[,\s]*)+)\.", doc or "")
    return {key for line in found for key in re.findall(r"[^\s,]+", line)}


def test_functions_and_tests_name_the_claims_that_lead_to_them_and_the_reverse():
    led, named = {}, {}
    for entry in ENTRIES:
        function = entry["function"]
        for place in (f"{function_file(function)}::{function.rpartition('.')[2]}", *entry["tests"]):
            led.setdefault(place, set()).add(entry["id"])
    for path in (path for folder in ("code", "tests") for path in (ROOT / folder).rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        if "Claims: " in text and path.name != "__init__.py":  # which speaks of a whole study
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and tags(ast.get_docstring(node)):
                    named[name + (f"::{node.name}" if hasattr(node, "name") else "")] = tags(ast.get_docstring(node))
    assert named == led


CASES = """<testsuites><testsuite>
<testcase classname="tests.equations.test_a" name="test_x[1]"/>
<testcase classname="tests.equations.test_a" name="test_x[2]"/>
<testcase classname="tests.equations.test_a" name="test_y"><failure/></testcase>
<testcase classname="tests.equations.test_b" name="test_z"><skipped/></testcase>
<testcase classname="tests.equations.test_b" name="test_w"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("tests", "verdict", "evidence"),
    [
        (["tests/equations/test_a.py::test_x"], "confirmed", "2 tests passed"),
        (["tests/equations/test_a.py"], "refuted", "failed: tests/equations/test_a.py::test_y"),
        (["tests/equations/test_b.py"], "undecided", "1 of 2 tests ran"),
        (["tests/equations/test_b.py::test_w"], "confirmed", "1 test passed"),
        (["tests/equations/test_b.py::test_w", "tests/equations/test_a.py::test_y"], "refuted", "failed: "),
        (["tests/equations/test_gone.py"], "undecided", "0 of 0 tests ran"),
    ],
)
def test_verdicts_follow_the_outcomes_of_tests(tmp_path, tests, verdict, evidence):
    path = tmp_path / "equations.xml"
    path.write_text(CASES, encoding="utf-8")
    found, why = by_tests(tests, outcomes(path))
    assert found == verdict
    assert why.startswith(evidence)


def test_verdicts_follow_results():
    entries = [{"id": f"A-{k}", "judged": "results"} for k in range(5)] + [{"id": "A-5", "not_tested": "too hard"}]
    entries.append({"id": "A-6", "judged": "results"})
    measured = {"A-0": (True, "a"), "A-1": (False, "b"), "A-2": (None, "c"), "A-3": (UNTESTED, "not run: no data")}
    *judged, few = judge(entries, measured | {"A-6": (TOO_FEW, "two seeds")}, {})
    assert (few["verdict"], few["why"]) == ("undecided", TOO_FEW)
    verdicts = ["confirmed", "refuted", "undecided", "not tested", "not tested", "not tested"]
    assert [entry["why"] for entry in judged] == [None, None, "left open", UNTESTED, UNTESTED, UNTESTED]
    assert [entry["verdict"] for entry in judged] == verdicts
    assert [entry["evidence"] for entry in judged[3:]] == [
        "not run: no data",
        "what it compares is not among this preset's runs",
        "too hard",
    ]
    with pytest.raises(KeyError, match="A-9"):
        judge(entries, {"A-9": (True, "")}, {})


TIMES = {"cores": 4, "seconds": {"a/x.tsv": 600.0, "b.tsv": 60.0}}
KEPT = {
    "plane": {"date": "2026-11-30", "data": "", "core_seconds": 1200, "verdicts": {
        "A-0": {"verdict": "refuted", "evidence": "worse"}, "A-1": {"verdict": "undecided", "evidence": "even"}
    }},
}  # fmt: skip


@pytest.mark.parametrize(("key", "verdict", "why", "decide", "standing", "told"), [
    ("A-0", "confirmed", None, {"target": "plane"}, "confirmed", None),
    ("A-0", "undecided", TOO_FEW, {"target": "plane"}, "refuted earlier",
     "refuted by the target plane on 2026-11-30: worse; again: snakemake --cores all plane, about 10 min on 2 cores"),
    ("A-1", UNTESTED, UNTESTED, {"target": "plane"}, "left open", "undecided by the target plane"),
    ("A-1", UNTESTED, UNTESTED, {"target": "other"}, UNTESTED, "not run; snakemake --cores all other decides it"),
    ("A-2", "undecided", TOO_FEW, {"command": "a --config b=2", "jobs": {"a/*": 2}}, TOO_FEW,
     "these runs are too few to decide it; snakemake --cores all a --config b=2 may, about 10 min on 2 cores"),
    ("A-2", "undecided", "left open", {"nothing": "they differ"}, "left open",
     "these runs neither confirm nor refute it: they differ"),
    ("A-2", "undecided", "left open", None, "left open", "no run of ours decides it"),
])  # fmt: skip
def test_a_claim_that_is_open_says_why_and_what_decides_it(key, verdict, why, decide, standing, told):
    entry = {"id": key, "verdict": verdict, "why": why, "evidence": ""} | ({"decide": decide} if decide else {})
    (found,) = stand([entry], KEPT, TIMES, 2)
    assert found["standing"] == standing
    assert found["open"] is None if told is None else told in found["open"]
    assert settled(found) == (standing.split()[0] if standing.startswith(("confirmed", "refuted")) else verdict)


def test_what_targets_found_is_kept_with_their_core_seconds(tmp_path):
    target = {"verdicts": str(tmp_path / "verdicts.csv"), "logs": str(tmp_path / "logs"), "dataset": None}
    with pytest.raises(OSError, match="none of plane was run here"):
        keep({"plane": target}, tmp_path / "kept.json")
    (tmp_path / "logs").mkdir()
    for k in range(2):
        (tmp_path / f"logs/{k}.log").write_text(f"arm: done in 9.0 s, 1{k}.5 core s\n", encoding="utf-8")
    (tmp_path / "verdicts.csv").write_text("id,verdict,evidence\nA-0,refuted,worse\n", encoding="utf-8")
    (tmp_path / "kept.json").write_text(json.dumps({"adapt": {"data": "x"}}), encoding="utf-8")
    keep({"plane": target, "other": target | {"verdicts": "none"}}, tmp_path / "kept.json")
    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert list(kept) == ["adapt", "plane"]
    assert kept["plane"]["core_seconds"] == 22
    assert kept["plane"]["verdicts"] == {"A-0": {"verdict": "refuted", "evidence": "worse"}}


def test_the_kept_verdicts_are_those_of_the_map():
    verdicts = json.loads((ROOT / "figures/reference/claims.json").read_text(encoding="utf-8"))
    assert verdicts.keys() == {entry["id"] for entry in ENTRIES}
