"""Settings and the one schema that they all keep to: config/schema.json, whose descriptions are the remedies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """A configuration that is refused; the message is one line: field, value and remedy."""


def read_yaml(path: Path) -> Any:
    """Content of a settings file; the parser in C, where there is one, takes a tenth of the time."""
    import yaml

    try:
        return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}: write it as YAML") from None


def read_config(root: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The schema, the presets by their names, and the default configuration."""
    presets = {path.stem: read_yaml(path) for path in sorted(root.glob("config/presets/*.yaml"))}
    schema = json.loads((root / "config/schema.json").read_text(encoding="utf-8"))
    return schema, presets, read_yaml(root / "config" / "default.yaml")  # no source of what imports this


def read_studies(root: Path, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The settings.yaml of every study by its name, checked."""
    paths = [path for level in ("*", "companion/*") for path in (root / "code").glob(f"{level}/settings.yaml")]
    found = {path.parent.name: read_yaml(path) for path in sorted(paths)}
    for path in paths:
        check(found[path.parent.name], schema, path.relative_to(root).as_posix(), path.parent.name)
    return found


def check(values: Any, schema: Mapping[str, Any], where: str, part: str = "", given: Any = None) -> None:
    """Refuse values that a schema does not allow.

    Args:
        values: to check.
        schema: content of config/schema.json.
        where: what the line begins with.
        part: which of the schema's $defs is meant; "": the schema itself.
        given: the same values as they were given, where they differ.

    Raises:
        ConfigError: naming the field, the value and the remedy.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    numbers = Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite)
    checker = extend(Draft202012Validator, type_checker=numbers)(schema)
    node = schema["$defs"][part] if part else schema
    checker = checker.evolve(schema=node) if part else checker  # a root that names its dialect would undo the numbers
    for error in sorted(checker.iter_errors(values), key=str):
        raise ConfigError(f"{where}: {_told(error, schema, node, values if given is None else given)}")


def _is_finite(checker: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _told(error: Any, schema: Mapping[str, Any], node: Mapping[str, Any], given: Any) -> str:
    path, known = list(error.absolute_path), error.schema.get("properties", {})
    if error.validator == "additionalProperties":
        key = next(key for key in error.instance if key not in known)
        value = reduce(lambda part, step: part[step], [*path, key], given)
        return f"{_dotted([*path, key])} = {value!r} is not a setting: use one of {', '.join(known)}"
    field, remedy = _described(schema, node, path)
    if not field or error.validator == "required":
        return ": ".join([*filter(None, [_dotted(path)]), error.message, remedy or "see config/schema.json"])
    return f"{_dotted(field)} = {reduce(lambda part, step: part[step], field, given)!r}: {remedy}"


def _described(schema: Mapping[str, Any], node: Any, path: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """The longest beginning of a path that the schema describes, and the description."""
    found: tuple[Sequence[Any], str] = ([], "")
    for depth, key in enumerate(path, 1):
        inside = node.get("properties", {}).get(key) if isinstance(key, str) else node.get("items")
        node = inside or node.get("additionalProperties") or {}
        own = node.get("description")
        if "$ref" in node:
            node = reduce(lambda part, step: part[step], node["$ref"].split("/")[1:], schema)
        if own or "description" in node:
            found = path[:depth], own or node["description"]
    return found


def _dotted(path: Sequence[Any]) -> str:
    return ".".join(map(str, path))
