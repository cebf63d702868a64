"""Every wrong setting is refused before any job starts, in one line that names field, value and remedy."""

import json
from pathlib import Path

import pytest
import yaml

from companion.common import settings
from companion.common.settings import ConfigError, resolve

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "config/schema.json").read_text())
PRESETS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "config/presets").glob("*.yaml")}
DEFAULT = yaml.safe_load((ROOT / "config/default.yaml").read_text())

# changes to the default configuration -> the field, the value as shown, and a word of the remedy
REFUSED = [
    ({"presett": "smoke"}, "presett", "'smoke'", "use one of"),
    ({"preset": "fast"}, "preset", "'fast'", "smoke, laptop or paper"),
    ({"dataset": "cifar"}, "dataset", "'cifar'", ".npz"),
    ({"dataset": "missing.npz"}, "dataset", "missing.npz", "no such file"),
    ({"dataset": 3}, "dataset", "3", ".npz"),
    ({"data_dir": "nowhere/at/all"}, "data_dir", "nowhere/at/all", "no such folder"),
    ({"device": "tpu"}, "device", "'tpu'", "cpu, cuda"),
    ({"device": "cuda"}, "device", "'cuda'", "device=cpu"),
    ({"seed": -1}, "seed", "-1", "integer from 0"),
    ({"seed": 1.5}, "seed", "1.5", "integer"),
    ({"seed": "one"}, "seed", "'one'", "integer"),
    ({"threads": 0}, "threads", "0", ">= 1"),
    ({"lams": -0.1}, "lams", "-0.1", "numbers >= 0"),
    ({"lams": "0,x"}, "lams", "0,x", "numbers >= 0"),
    ({"lams": "0.1,-1"}, "lams", "0.1,-1", "numbers >= 0"),
    ({"lams": [0.1, 0.1]}, "lams", "[0.1, 0.1]", "none twice"),
    ({"lams": "0.1,0.10"}, "lams", "0.1,0.10", "none twice"),
    ({"lams": []}, "lams", "[]", "numbers >= 0"),
    ({"lams": float("nan")}, "lams", "nan", "numbers >= 0"),
    ({"lams": "inf"}, "lams", "inf", "numbers >= 0"),
    ({"generators": "vae"}, "generators", "'vae'", "mlp"),
    ({"n_train": 0}, "n_train", "0", ">= 2"),
    ({"planar_seeds": 21}, "planar_seeds", "21", "1 to 20"),
    ({"planar_batch": 1}, "planar_batch", "1", "2 to 4096"),
    ({"planar_steps": 0}, "planar_steps", "0", "1 to 100000"),
    ({"n_train": "all"}, "n_train", "'all'", ">= 2"),
    ({"batch_size": 0}, "batch_size", "0", ">= 1"),
    ({"outer_steps": -3}, "outer_steps", "-3", ">= 1"),
    ({"inner_steps": 2.5}, "inner_steps", "2.5", ">= 1"),
    ({"lr_theta": 0}, "lr_theta", "0", "> 0"),
    ({"lr_theta": float("inf")}, "lr_theta", "inf", "> 0"),
    ({"step_rule": "adam"}, "step_rule", "'adam'", "scaled"),
    ({"step_rule": "sinkhorn"}, "step_rule", "'sinkhorn'", "lams > 0"),
    ({"step_c": -1}, "step_c", "-1", "> 0"),
    ({"seed": True}, "seed", "True", "integer"),
]


@pytest.mark.parametrize(("change", "field", "value", "remedy"), REFUSED, ids=lambda item: str(item)[:40])
def test_refused_in_one_line(change, field, value, remedy, monkeypatch):
    monkeypatch.setattr(settings, "cuda_state", lambda: "none")
    with pytest.raises(ConfigError) as caught:
        resolve(DEFAULT | change, SCHEMA, PRESETS, {})
    line = str(caught.value)
    assert "\n" not in line
    assert field in line
    assert value in line
    assert remedy in line


def test_bad_environment_variable_is_named():
    with pytest.raises(ConfigError, match=r"OTGRAD_DATA_DIR = 'nowhere': no such folder"):
        resolve(DEFAULT, SCHEMA, PRESETS, {"OTGRAD_DATA_DIR": "nowhere"})


def test_default_configuration_resolves(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "cuda_state", lambda: "none")
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


def test_every_preset_sets_the_same_keys():
    keys = {name: set(values) for name, values in PRESETS.items()}
    assert keys["smoke"] == keys["laptop"] == keys["paper"]


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
