"""The map of claims, paper/claims.yaml: each statement of the papers, its verdict, and where to put the finger.

A verdict is computed. `judged: tests` follows the outcome of the entry's equation tests: confirmed if all passed (they
could have failed; they prove nothing), refuted if one failed. `judged: counterexample`: its tests state one, so
that it is refuted if all passed. `judged: results` follows the numbers of the runs, by the rules in the verdicts.py of
its study. `not_tested` holds the reason why there is neither. `decide` says what would decide it where it is open: see
standing.py.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import yaml

from companion.common.checks import UNTESTED, WORDS

LEFT_OPEN = "left open"
WHY = {True: None, False: None, "confirmed": None, "refuted": None, None: LEFT_OPEN, "undecided": LEFT_OPEN}
UNRUN = "what it compares is not among this preset's runs"


def read_map(path):
    """Entries of claims.yaml in their order: dicts with id, statement, where, kind, function, tests, shown, judged."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def outcomes(junit_path):
    """Outcome of every test of a pytest run: {"tests/equations/test_x.py::test_name": [True, False, None for a skip]}.

    A test with parameters has one outcome for each.
    """
    found = {}
    for case in ElementTree.parse(junit_path).iter("testcase"):
        name = f"{case.get('classname').replace('.', '/')}.py::{case.get('name').partition('[')[0]}"
        failed = case.find("failure") is not None or case.find("error") is not None
        found.setdefault(name, []).append(None if case.find("skipped") is not None else not failed)
    return found


def by_tests(tests, found):
    """Verdict and evidence of an entry from its tests: names, or files for all tests in them."""
    cases = [
        (name, outcome)
        for name, results in found.items()
        if name in tests or name.partition("::")[0] in tests
        for outcome in results
    ]
    failed = sorted({name for name, outcome in cases if outcome is False})
    if failed:
        return "refuted", f"failed: {', '.join(failed)}"
    passed = sum(outcome is True for _, outcome in cases)
    if passed < len(cases) or not cases:
        return "undecided", f"{passed} of {len(cases)} tests ran"
    return "confirmed", f"{passed} test{'s' if passed > 1 else ''} passed"


def judge(entries, measured, found):
    """Add to every entry its verdict, evidence, and why: LEFT_OPEN, TOO_FEW or UNTESTED, where it is not decided.

    Args:
        entries: of `read_map`.
        measured: id -> (True, False, None, TOO_FEW or UNTESTED, evidence), read off results.
        found: of `outcomes`.

    Raises:
        KeyError: if something was measured that no entry claims.
    """
    orphans = measured.keys() - {entry["id"] for entry in entries}
    if orphans:
        raise KeyError(f"measured, but not in paper/claims.yaml: {', '.join(sorted(orphans))}")
    verdicts = [_judge(entry, measured, found) for entry in entries]
    return [
        entry | {"verdict": WORDS.get(found, found), "evidence": evidence, "why": WHY.get(found, found)}
        for entry, (found, evidence) in zip(entries, verdicts, strict=True)
    ]


def _judge(entry, measured, found):
    if "not_tested" in entry:
        return UNTESTED, entry["not_tested"]
    if entry["judged"] == "tests":
        return by_tests(entry["tests"], found)
    if entry["judged"] == "counterexample":
        verdict, evidence = by_tests(entry["tests"], found)
        return ("refuted", f"a counterexample: {evidence}") if verdict == "confirmed" else ("undecided", evidence)
    return measured.get(entry["id"], (UNTESTED, UNRUN))


def markdown(entries, up=""):
    """Render entries as a table with links; `up` leads from the file to the repository's root."""
    lines = ["| claim | verdict | where it stands; kind | function; tests; shown in |", "|" + "---|" * 4]
    for entry in entries:
        function = _link(function_file(entry["function"]), entry["function"].removeprefix("otgrad."), up)
        tests = dict.fromkeys(test.partition("::")[0] for test in entry["tests"])
        links = [_link(test, Path(test).stem, up) for test in tests]
        stands = entry.get("standing", entry["verdict"]) + (f": {entry['open']}" if entry.get("open") else "")
        cells = [f"**{entry['id']}** {entry['statement']}", stands, f"{entry['where']}; {entry['kind']}"]
        lines.append("| " + " | ".join([*cells, "<br>".join([function, *links, f"`{entry['shown']}`"])]) + " |")
    return "\n".join(lines) + "\n"


def function_file(function):
    """The file of a function of the package, given as otgrad.room.function[.method], relative to the root."""
    parts, root = function.split("."), Path(__file__).resolve().parents[3]
    paths = [Path("code", *parts[:end]).with_suffix(".py") for end in range(len(parts), 1, -1)]
    return next(path.as_posix() for path in paths if (root / path).is_file())


def _link(path, text, up):
    return f"[{text}]({up}{path})"
