"""Which files of this project a file uses: what it imports, and what it names in a string, directly or not.

Found and never listed, so that editing any of them reruns exactly the rules whose scripts use it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
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
    found = within([place for name in NAMED.findall(text) for place in (path.parent / name, ROOT / name)])
    if path.suffix == ".py":
        for name in set(imported(ast.parse(text), package(path))):
            found += [*places(name, CODE), *places(name, path.parent)]
    return found


def within(places: Iterable[Path]) -> list[Path]:
    """Those that are files of the project."""
    return [place.resolve() for place in places if place.is_file() and place.resolve().is_relative_to(ROOT)]


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that a syntax tree imports: modules, and what is taken from them, which may be modules."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements of a syntax tree, without their expressions, which are ten times as many."""
    queue = [tree]
    while queue:
        node = queue.pop()
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            queue += getattr(node, field, ())


def package(path: Path) -> str:
    """The package a file of code/ lies in."""
    return ".".join(path.parent.relative_to(CODE).parts) if path.is_relative_to(CODE) else ""


@cache
def places(name: str, root: Path) -> list[Path]:
    """The file of a module under a folder, and the __init__.py of the packages it is in."""
    parts = name.split(".")
    if not (root / parts[0]).is_dir() and not (root / f"{parts[0]}.py").is_file():
        return []  # most names: not of this project
    packages = [root.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)]
    return within([root.joinpath(*parts).with_suffix(".py"), *packages])
