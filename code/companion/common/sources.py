"""Which files of this project a file uses: what it imports, and what it names in a string, directly or not.

Found and never listed, so that editing any of them reruns exactly the rules whose scripts use it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
ROOT = CODE.parent
# Files that text may name: what is compiled, templates and what they include, settings that code reads.
NAMED = re.compile(r"""["'`]([\w./-]+\.(?:py|cpp|j2|css|js|mplstyle|typ|yaml))["'`]""")


def sources(*paths: str | Path) -> list[str]:
    """The files that these use and themselves, relative to the root, in order."""
    found: set[Path] = set()
    queue = [ROOT / path for path in paths]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            queue += used_by(path)
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@cache
def used_by(path: Path) -> list[Path]:
    """The files that one file uses itself."""
    text = path.read_text(encoding="utf-8")
    named = [place for name in NAMED.findall(text) for place in (path.parent / name, ROOT / name)]
    if path.suffix != ".py":
        return within(named)
    parts = [place for name in imported(ast.parse(text), package(path)) for place in places(name, path.parent)]
    return within(named + parts)


def within(places: list[Path]) -> list[Path]:
    """Those that are files of the project."""
    return [place.resolve() for place in places if place.is_file() and place.resolve().is_relative_to(ROOT)]


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that a syntax tree imports: modules, and what is taken from them, which may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def package(path: Path) -> str:
    """The package a file of code/ lies in."""
    return ".".join(path.parent.relative_to(CODE).parts) if path.is_relative_to(CODE) else ""


def places(name: str, folder: Path) -> Iterator[Path]:
    """Where a module may lie, and the __init__.py of the packages it is in: in code/, or beside the file itself."""
    parts = name.split(".")
    for root in (CODE, folder):
        yield root.joinpath(*parts).with_suffix(".py")
        yield from (root.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1))
