# The resolved settings, and which files a rule's result depends on.
import ast
import json
import sys
from itertools import product
from pathlib import Path

import yaml

from otgrad.settings import ConfigError, resolve

ROOT = Path(workflow.basedir)
ENVIRONMENT = str(ROOT / "environment.yml")  # serves --lint only: see the README

try:
    SETTINGS = resolve(
        config,
        json.loads((ROOT / "config/schema.json").read_text(encoding="utf-8")),
        {p.stem: yaml.safe_load(p.read_text(encoding="utf-8")) for p in (ROOT / "config/presets").glob("*.yaml")},
    )
except ConfigError as error:
    raise SystemExit(str(error))
PRESET = SETTINGS.values

if workflow.is_main_process:
    for note in SETTINGS.notes:
        print(note, file=sys.stderr)


def sources(script):
    """The package files that a script imports, directly or not: editing one reruns the rule."""
    found, queue = set(), [ROOT / "code" / script]
    while queue:
        for name in imported_modules(queue.pop()):
            path = ROOT / "code" / Path(*name.split(".")).with_suffix(".py")
            if path.is_file() and path not in found:
                found.add(path)
                queue.append(path)
    return sorted(str(path.relative_to(ROOT)) for path in found)


def imported_modules(path):
    """Names under otgrad that a file imports: modules, and `from otgrad import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("otgrad"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("otgrad"))


def figure(name):
    """The three files of a figure."""
    return multiext(f"figures/{name}", ".svg", ".pdf", ".png")


def run_configs(lams=SETTINGS.lams):
    """The image runs of this configuration: name of the run folder -> fields of OTConfig."""
    shared = ("batch_size", "outer_steps", "inner_steps", "lr_theta", "n_train", "step_rule", "step_c")
    shared += ("log_every", "checkpoint_every", "eval_samples", "final_steps")
    common = {"seed": SETTINGS.seed} | {key: PRESET[key] for key in shared}
    return {
        f"ot-{generator}-lam{lam:g}-s{SETTINGS.seed}": {"generator": generator, "lam": float(lam)} | common
        for generator, lam in product(SETTINGS.generators, lams)
    }


def expand_arms(block):
    """The arms of an experiment of paper B: settings by name, every list in an entry of block["arms"] multiplied out."""
    arms = []
    for entry in block["arms"]:
        entry = block["common"] | entry
        choices = [value if isinstance(value, list) else [value] for value in entry.values()]
        arms += [dict(zip(entry, choice, strict=True)) for choice in product(*choices)]
    return arms
