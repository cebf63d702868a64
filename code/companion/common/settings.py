"""From the user's configuration to settings that are complete and checked, before any work starts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from companion.common.devices import cuda_state
from companion.common.schema import ConfigError, check


@dataclass(frozen=True)
class Settings:
    """What the workflow runs, with nothing left open.

    Attributes:
        preset: "smoke", "laptop" or "paper".
        device: "cpu", "cuda" or `"cuda:<number>"`.
        dataset: "auto", "mnist", "digits" or the path of an .npz file.
        data_dir: folder with mnist/*.gz, absolute, or "" for none.
        lams: regularisations of the image runs, in units of mean ||y||^2.
        generators: "mlp" and / or "dcgan".
        asked: the user's configuration, every value as it was meant.
        values: the remaining keys of the preset, overridden by the user's.
        changed: what of `values` is not the preset's own.
        notes: lines to tell the user about choices made for them.
    """

    preset: str
    device: str
    dataset: str
    data_dir: str
    seed: int
    threads: int
    lams: tuple[float, ...]
    generators: tuple[str, ...]
    asked: Mapping[str, Any]
    values: Mapping[str, Any]
    changed: Mapping[str, Any]
    notes: tuple[str, ...]


def resolve(
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Any]],
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Check a configuration and fill in what it leaves to the preset, the machine and the environment.

    Args:
        config: keys as in config/default.yaml.
        schema: JSON schema of those keys; a key's description is its remedy.
        presets: values of each preset by its name.
        environ: environment variables; OTGRAD_DATA_DIR stands in for a data_dir that is null.

    Raises:
        ConfigError: naming the field, the value and the remedy.
    """
    given, specs = config, schema["properties"]
    config = {key: meant(value, specs.get(key, {})) for key, value in given.items()}
    check(config, schema, "config", given=given)
    elsewhere = config.get("cluster", False)
    asked = not elsewhere and ("auto" in (config["preset"], config["device"]) or config["device"] != "cpu")
    cuda = cuda_state() if asked else "none"
    device = _resolve_device(config["device"], cuda, elsewhere)
    preset = config["preset"]
    if preset == "auto":
        preset = "paper" if device != "cpu" else "laptop"
    check(presets[preset], schema, f"config/presets/{preset}.yaml", "preset")
    values = dict(presets[preset]) | {key: value for key, value in config.items() if value is not None}
    lams, rule = _read_lams(values["lams"], given["lams"]), values["step_rule"]
    if rule == "sinkhorn" and 0 in lams:
        raise ConfigError("config: step_rule = 'sinkhorn' with a lam of 0: give lams > 0, or step_rule=scaled")
    return Settings(
        preset=preset,
        device=device,
        dataset=_resolve_dataset(config["dataset"]),
        data_dir=_resolve_data_dir(config.get("data_dir"), environ),
        seed=config["seed"],
        threads=config["threads"],
        lams=lams,
        generators=tuple(values["generators"].split(",")),
        asked=config,
        values=values,
        changed={key: value for key, value in values.items() if value != presets[preset].get(key, value)},
        notes=_notes(config, preset, device, cuda),
    )


def meant(value: Any, spec: Mapping[str, Any]) -> Any:
    """Return a value as its key's schema means it, however it was given, or as it is if it means nothing there.

    1e2 and "100" are the integer 100, "1e-3" (a string in YAML 1.1) is 0.001, "null" is null, a list of names is one
    text. Numbers have one form, 1 for 1.0, so that equal settings are equal to the workflow.
    """
    kinds = spec.get("type", [])
    if isinstance(value, str) and value.strip().lower() in ("null", "~") and ("null" in kinds or None in _names(spec)):
        return None
    if "array" in kinds:
        return _meant_list(value)
    if "integer" in kinds or "number" in kinds:
        return _meant_number(value)
    if "boolean" in kinds and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if _names(spec) and isinstance(value, list | str):
        parts = value.split(",") if isinstance(value, str) else map(str, value)
        return ",".join(part.strip() for part in parts)
    return value


def _names(spec: Mapping[str, Any]) -> list[Any]:
    return spec.get("enum", [])


def _meant_number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _meant_list(value: Any) -> Any:
    if isinstance(value, str):
        inside = value.strip().removeprefix("[").removesuffix("]")
        value = inside.split(",") if "," in inside else _meant_number(inside)
    return [_meant_number(item) for item in value] if isinstance(value, list) else value


def _read_lams(lams: Any, given: Any) -> tuple[float, ...]:
    found = tuple(float(lam) + 0.0 for lam in (lams if isinstance(lams, list) else [lams]))  # no -0
    if any(not 0 <= lam < math.inf for lam in found) or len({f"{lam:g}" for lam in found}) < len(found):
        raise ConfigError(f'config: lams = {given!r}: give numbers >= 0, none twice: one, or several as "0,0.01,0.1"')
    return found


def _resolve_device(device: str, cuda: str, elsewhere: bool) -> str:
    if elsewhere and device == "auto":
        raise ConfigError("config: device = 'auto' with cluster = True: the nodes cannot be asked; give cuda or cpu")
    if elsewhere:
        return device
    if device == "auto":
        return "cuda" if cuda == "usable" else "cpu"
    if device != "cpu" and cuda != "usable":
        reason = "this machine has no NVIDIA driver" if cuda == "none" else cuda
        raise ConfigError(f"config: device = {device!r}: {reason}; use device=cpu or device=auto")
    if device.startswith("cuda:"):
        import torch

        count = torch.cuda.device_count()
        if int(device[5:]) >= count:
            raise ConfigError(f"config: device = {device!r}: this machine has {count} GPU(s), numbered from 0")
    return device


def _resolve_dataset(dataset: str) -> str:
    if not dataset.endswith(".npz"):
        return dataset
    path = Path(dataset).expanduser()
    if not path.is_file():
        raise ConfigError(f"config: dataset = {dataset!r}: no such file; give the path of a .npz file with images")
    _refuse_braces("dataset", dataset, str(path))
    return str(path)


def _refuse_braces(field: str, given: str, path: str) -> None:
    """Snakemake takes braces in the name of an input for wildcards, and knows no way to write them."""
    if set("{}") & set(path):
        raise ConfigError(
            f"config: {field} = {given!r}: braces in a path cannot be used here; rename it, or link to it"
        )


def _resolve_data_dir(data_dir: str | None, environ: Mapping[str, str]) -> str:
    field, given = ("data_dir", data_dir) if data_dir else ("OTGRAD_DATA_DIR", environ.get("OTGRAD_DATA_DIR"))
    if not given:
        return ""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"config: {field} = {given!r}: no such folder; give the one that holds mnist/*.gz, or unset it"
        )
    _refuse_braces(field, given, str(folder.resolve()))
    return str(folder.resolve())


def _notes(config: Mapping[str, Any], preset: str, device: str, cuda: str) -> tuple[str, ...]:
    notes = []
    if cuda not in ("none", "usable"):
        notes.append(f"warning: {cuda}")
    if config["preset"] == "auto":
        why = "CUDA is there" if preset == "paper" else "no CUDA"
        notes.append(f"preset auto: {preset} ({why}), on {device}; choose with --config preset=smoke|laptop|paper")
    if preset == "paper" and device == "cpu":
        notes.append("warning: the paper preset on a CPU takes many hours; --config preset=laptop takes minutes")
    return tuple(notes)


def expand_arms(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return an experiment's arms: the "common" settings with those of each of its "arms", lists multiplied out."""
    arms: list[dict[str, Any]] = []
    for entry in block["arms"]:
        merged = {**block["common"], **entry}
        choices = [value if isinstance(value, list) else [value] for value in merged.values()]
        arms += [dict(zip(merged, choice, strict=True)) for choice in product(*choices)]
    return arms
