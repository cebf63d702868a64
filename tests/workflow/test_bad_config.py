"""Every wrong setting is refused before any job starts, in one line that names field, value and remedy."""

from copy import deepcopy
from functools import reduce
from pathlib import Path

import pytest
from refusals import refused

from companion.common import settings
from companion.common.schema import ConfigError, check, read_config, read_studies
from companion.common.settings import resolve

ROOT = Path(__file__).parents[2]
SCHEMA, PRESETS, DEFAULT = read_config(ROOT)
STUDIES = read_studies(ROOT, SCHEMA)
SPECS, NAN, INF = SCHEMA["properties"], float("nan"), float("inf")
NOT_COUNTS = (0, -3, 2.5, "2.5", "all", "1e2.5", "nan", INF, [100], True)

# values that the schema refuses, with its description as the remedy
REFUSED = {
    "preset": ("fast", 3),
    "dataset": ("cifar", 3),
    "device": ("tpu",),
    "cluster": ("maybe",),
    "seed": (-1, 1.5, "one", "1e-3", "1e10", True),
    "threads": NOT_COUNTS,
    "lams": (-0.1, "0,x", "0.1,-1", [0.1, 0.1], "0.1,0.10", [], "[]", NAN, "inf", ["nan"], [[0.1]], "[0.1, x]", [True]),
    "generators": ("vae", ["mlp", "vae"], []),
    "n_train": (1, *NOT_COUNTS),
    "batch_size": NOT_COUNTS,
    "outer_steps": NOT_COUNTS,
    "inner_steps": NOT_COUNTS,
    "lr_theta": (0, INF, "1e-3x", ["1e-3"]),
    "step_rule": ("adam",),
    "step_c": (-1, 0, NAN),
    "image_seeds": (21, "2e1.0"),
    "planar_seeds": (21, 0),
    "planar_batch": (1, "1e0", 4097),
    "planar_steps": (0, 100001),
}
OTHERWISE = {  # what the machine, or another setting, refuses: the remedy
    "presett": ("smoke", "is not a setting: use one of preset, dataset,"),
    "dataset": ("missing.npz", "no such file; give"),
    "data_dir": ("nowhere/at/all", "no such folder; give"),
    "device": ("cuda", "use device=cpu"),
    "step_rule": ("sinkhorn", "give lams > 0"),
}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(settings, "cuda_state", lambda: "none")


def refusal(values, part="", **change):
    """The line with which a change is refused: of the configuration, of a preset or of a study's settings."""
    if part:
        return refused(check, values, SCHEMA, "x", part, kind=ConfigError)
    return refused(resolve, values | change, SCHEMA, PRESETS, {}, kind=ConfigError)


@pytest.mark.parametrize("field", SPECS)
def test_what_is_not_meant_is_refused_in_one_line_with_the_value_as_given(field):
    assert field in REFUSED or field in OTHERWISE
    for value in REFUSED.get(field, ()):
        assert refusal(DEFAULT, **{field: value}) == f"config: {field} = {value!r}: {SPECS[field]['description']}"


@pytest.mark.parametrize("field", OTHERWISE)
def test_what_cannot_be_is_refused_in_one_line(field):
    value, remedy = OTHERWISE[field]
    line = refusal(DEFAULT, **{field: value})
    assert line.startswith(f"config: {field} = {value!r}")
    assert remedy in line


def places(node, path=()):
    """The path of every value in settings."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("part", [*STUDIES, *PRESETS])
def test_settings_of_a_study_and_of_a_preset_are_refused_by_field_value_and_remedy(part):
    whole, name = ((STUDIES | PRESETS)[part], part if part in STUDIES else "preset")
    check(whole, SCHEMA, "x", name)
    for *inside, key in places(whole):
        if {"common", "arms"} & set(inside):
            continue  # fields of a dataclass, which refuses them
        for bad in ("?", NAN):
            changed = deepcopy(whole)
            node = reduce(dict.__getitem__, inside, changed)
            node[key] = bad
            line = refusal(changed, name)
            assert line.startswith(f"x: {'.'.join((*inside, key))}")
            assert "give " in line or "see config/schema.json" in line
        node[f"{key}s"] = 1
        assert f"x: {'.'.join((*inside, key))}s = 1 is not a setting: use one of " in refusal(changed, name)


def test_bad_environment_variable_is_named():
    with pytest.raises(ConfigError, match=r"OTGRAD_DATA_DIR = 'nowhere': no such folder"):
        resolve(DEFAULT, SCHEMA, PRESETS, {"OTGRAD_DATA_DIR": "nowhere"})


def test_default_configuration_resolves(monkeypatch, tmp_path):
    laptop = resolve(DEFAULT, SCHEMA, PRESETS, {"OTGRAD_DATA_DIR": str(tmp_path)})
    assert (laptop.preset, laptop.device, laptop.data_dir) == ("laptop", "cpu", str(tmp_path))
    assert 0 in laptop.lams
    assert "laptop (no CUDA)" in laptop.notes[0]
    monkeypatch.setattr(settings, "cuda_state", lambda: "usable")
    paper = resolve(DEFAULT, SCHEMA, PRESETS, {})
    assert (paper.preset, paper.device) == ("paper", "cuda")
    assert paper.generators == ("mlp", "dcgan")


def test_unusable_driver_is_a_warning(monkeypatch):
    monkeypatch.setattr(settings, "cuda_state", lambda: "torch cannot use the driver")
    found = resolve(DEFAULT, SCHEMA, PRESETS, {})
    assert (found.preset, found.device) == ("laptop", "cpu")
    assert found.notes[0] == "warning: torch cannot use the driver"


@pytest.mark.parametrize("given", ["0,0.01,0.1", [0, 0.01, 0.1]])
def test_lams_from_text_or_list(given):
    assert resolve(DEFAULT | {"lams": given, "device": "cpu"}, SCHEMA, PRESETS, {}).lams == (0, 0.01, 0.1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["lams=-1"], "lams = -1"), (["unknown=1"], "unknown = 1"), (["device=cuda:7"], "device = 'cuda:7'")],
)
def test_snakemake_prints_one_line_and_starts_nothing(project, run_snakemake, arguments, field):
    done = run_snakemake(project, "--config", "preset=smoke", *arguments)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("config: ")]
    assert len(lines) == 1
    assert field in lines[0]
    assert "Traceback" not in done.stderr
    assert not (project / "results").exists()
