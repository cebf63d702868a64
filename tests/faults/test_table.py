"""The table of faults names tests that exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_fault_has_its_test():
    named = set(re.findall(r"`(test_\w+)`", (TESTS.parent / "docs/develop.md").read_text(encoding="utf-8")))
    functions = (
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    assert len(named) > 20
    assert named <= set(functions), named - set(functions)
