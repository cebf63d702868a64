# The resolved settings, and which files a rule's result depends on.
import json
import os
import re
import sys
from pathlib import Path

from companion.data.datasets import expected_images, too_few_to_score
from companion.data.downloads import default_cache
from companion.data.mnist import cached
from companion.common.forks import serve
from companion.common.places import digest, place_of_images, tag, wanted_images
from companion.algorithms.runs import OTConfig
from companion.common.schema import ConfigError, read_config, read_studies
from companion.common.progress import begin, left_of
from companion.common.sources import sources
from companion.common.settings import expand_arms, resolve

if " " in sys.executable:
    raise SystemExit(
        f"Python at {sys.executable}: Snakemake cannot run scripts by an interpreter with spaces in its path; "
        "set UV_PROJECT_ENVIRONMENT=/a/path/without/spaces, then the same command again"
    )
sys.modules.setdefault("rfc3987_syntax", None)  # else jsonschema, which Snakemake imports, builds 38 grammars in 2 s
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every job compiles PyTorch's sources again: 2 to 5 s each
if workflow.is_main_process:
    begin()
ROOT = Path(workflow.basedir)
PYTHON = sys.executable
ENVIRONMENT = str(ROOT / "environment.yml")  # serves --lint only: see docs/evaluate.md

try:
    SCHEMA, PRESETS, _ = read_config(ROOT)
    STUDIES = read_studies(ROOT, SCHEMA)  # what each has in its settings.yaml
    SETTINGS = resolve(config, SCHEMA, PRESETS)
except ConfigError as error:
    raise SystemExit(str(error))
PRESET = SETTINGS.values
DATA, ASKED = place_of_images(ROOT, wanted_images(SETTINGS))
config["data_dir"] = SETTINGS.data_dir  # as the scripts read it: where images come from changes nothing in them
# What decides a training or a score beside what its own name says; a look with others goes to a folder beside.
IMAGE_KEYS = ("n_train", "batch_size", "outer_steps", "inner_steps", "lr_theta", "step_rule", "step_c")
IMAGE_TAG = tag(SETTINGS, IMAGE_KEYS, seed=False, images=DATA)
SCORE_TAG = tag(SETTINGS, IMAGE_KEYS, images=DATA)
PRESET_TAG = tag(SETTINGS, images=DATA)
PLANAR_TAG = tag(SETTINGS, ("planar_seeds", "planar_batch", "planar_steps"))


def figure(name):
    """The three files of a figure."""
    return multiext(f"figures/{name}", ".svg", ".pdf", ".png")


def alternatives(names):
    """A wildcard's constraint, a regular expression: one of these names, whatever signs they hold."""
    return "|".join(map(re.escape, names))


CATEGORIES = {}  # figure: the paper it belongs to


def drawn(name, category, caption=None):
    """The same as the output of the rule that draws it, with its place in `snakemake --report`."""
    CATEGORIES[name] = category
    vector, *others = figure(name)
    return [report(vector, caption=str(ROOT / f"paper/captions/{caption or name}.rst"), category=category), *others]


def each(outputs, names, **wildcards):
    """The outputs of several jobs, by the names the inputs are to have: {input: files}."""
    return {name: expand(outputs[key], **wildcards) for name, key in names.items()}


def listed(paths):
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str) else list(paths)


def enough_to_score(wildcards):
    """The held-out images; a file of the user's own with too few of them stops the run before anything is trained."""
    fault = too_few_to_score(SETTINGS.dataset) if SETTINGS.dataset.endswith(".npz") else None
    if fault:
        raise SystemExit(f"config: dataset = {SETTINGS.dataset!r}: {fault}")
    return rules.data.output.test


def common_settings():
    """What all image runs of this configuration share but the seed: fields of OTConfig."""
    shared = ("batch_size", "outer_steps", "inner_steps", "lr_theta", "n_train", "step_rule", "step_c")
    shared += ("log_every", "checkpoint_every", "eval_samples", "final_steps")
    return {key: PRESET[key] for key in shared}


SEEDS = [SETTINGS.seed + k for k in range(PRESET["image_seeds"])]  # of the first generator; the others have one


def run_configs(lams=None):
    """The image runs of this configuration: name of the run folder -> fields of OTConfig."""
    arms = []
    for k, generator in enumerate(SETTINGS.generators):
        own = lams or (
            PRESET["dcgan_lams"] if generator == "dcgan" and SETTINGS.asked["lams"] is None else SETTINGS.lams
        )
        arms.append({"generator": generator, "lam": list(map(float, own)), "seed": SEEDS if k == 0 else SEEDS[:1]})
    return named_runs(arms)


def variant_configs(arms):
    """Variants of Algorithm 1, each with a lam of its own: as run_configs, for the first generator."""
    return named_runs([{"generator": SETTINGS.generators[0], "seed": SEEDS} | arm for arm in arms])


def named_runs(arms):
    """Runs by the name of their folder; lists in an arm are multiplied out."""
    return joined(*named(OTConfig, "variants", {"common": common_settings(), "arms": arms}))


def named(kind, key, block):
    """The arms of a block of the preset, each by its name; settings that `kind` refuses stop the run in one line."""
    for arm in expand_arms(block):
        try:
            yield {kind(**arm).name(): arm}
        except (TypeError, ValueError) as error:
            raise SystemExit(f"config/presets/{SETTINGS.preset}.yaml: {key}: {arm}: {error}")


def joined(*groups):
    """Runs of several groups in one; a name leaves out lr_theta and outer_steps, and may stand for one run only."""
    found = {}
    for name, arm in (item for group in groups for item in group.items()):
        if found.setdefault(name, arm) != arm:
            raise SystemExit(f"preset {SETTINGS.preset}: two runs would be called {name}; leave one of them out")
    return found


def scripts():
    """Rule -> its script, relative to the root."""
    return {step.name: script_of(step) for step in workflow.rules if step.script}


def script_of(step):
    """The file that a rule runs, relative to the root."""
    return os.path.relpath(
        step.basedir.join(step.script.format(params=step.params)).get_path_or_uri(secret_free=True), ROOT
    )


def add_sources():
    """Add to the inputs of each step its script and all that it uses: editing any of these files reruns the step."""
    for step in workflow.rules:
        if step.script:
            step.input_modifier = step.input_modifier or workflow.modifier.path_modifier  # of one without inputs
            step.set_input(sources=sources(script_of(step)))


TIMES = ROOT / "figures/reference/times.json"


def first_lines():
    """What a run says before anything else: its images, its preset, device and time, and what was chosen for it."""
    record = ROOT / rules.data.output.record
    held = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    yield f"data: {expected_images(SETTINGS.dataset, SETTINGS.data_dir, Path(default_cache()), held)}"
    yield f"preset {SETTINGS.preset} on {SETTINGS.device}; {expected_time(held)}"
    yield from SETTINGS.notes


def expected_time(held):
    """The time the whole preset takes, as kept by the rule `times`, and what is left of it, by dataset.json or None."""
    kept = json.loads(TIMES.read_text(encoding="utf-8"))
    found = {name: kept[key] for name in likely_data(held) if (key := f"{SETTINGS.preset}-{name}") in kept}
    if not found:
        return f"expected time: not measured on {' or '.join(likely_data(held))}"
    texts = [f"{left_of(times, ROOT / 'results/benchmarks')} on {name}" for name, times in found.items()]
    return f"expected time, {next(iter(found.values()))['cores']} cores, the preset's own settings: {'; '.join(texts)}"


def likely_data(held):
    """Names of the data sets that this run may use: the one chosen, the one found before, or both."""
    if SETTINGS.dataset != "auto":
        return [Path(SETTINGS.dataset).name]
    if held:
        return [held["name"]]
    return ["mnist"] if SETTINGS.data_dir or cached(default_cache()) else ["digits", "mnist"]
