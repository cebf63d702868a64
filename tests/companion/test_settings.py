"""Every number of the configuration means itself, however it was given; what cannot be meant is refused at once."""

from pathlib import Path

import pytest
import yaml
from refusals import refused

from companion.common import settings
from companion.common.schema import ConfigError, read_config
from companion.common.settings import meant, resolve

ROOT = Path(__file__).parents[2]
SCHEMA, PRESETS, DEFAULT = read_config(ROOT)
SPECS = SCHEMA["properties"]
INTEGERS = [key for key, spec in SPECS.items() if "integer" in spec.get("type", ())]
NUMBERS = ["lr_theta", "step_c"]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(settings, "cuda_state", lambda: "none")


def resolved(**change):
    return resolve(DEFAULT | change, SCHEMA, PRESETS, {})


@pytest.mark.parametrize("key", INTEGERS)
@pytest.mark.parametrize("given", [20.0, "2e1", "20", " 20 "])
def test_integers_however_given(key, given):
    found = resolved(**{key: given}).values[key]
    assert (found, type(found)) == (20, int)


def test_there_are_integers_to_try():
    assert {"seed", "threads", "n_train", "batch_size", "image_seeds", "planar_seeds", "planar_steps"} <= set(INTEGERS)
    assert resolved(seed="1e3", threads=2e0).seed == 1000
    assert type(resolved(threads=2e0).threads) is int


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize(("given", "value"), [("1e-3", 0.001), (0.001, 0.001), ("5", 5), (1.0, 1)])
def test_numbers_however_given(key, given, value):
    found = resolved(**{key: given}).values[key]
    assert repr(found) == repr(value)  # one form of each number, so that equal settings rerun nothing


@pytest.mark.parametrize(("given", "lams"), [
    (["0.01", "0.1"], (0.01, 0.1)), ("[0.01, 0.1]", (0.01, 0.1)), ("0.01, 1e-1", (0.01, 0.1)),
    ([0, "1e-3"], (0, 0.001)), ("1e-3", (0.001,)), ("[0.2]", (0.2,)), (1e6, (1e6,)), (-0.0, (0.0,)),
])  # fmt: skip
def test_lams_however_given(given, lams):
    found = resolved(lams=given).lams
    assert [f"{lam:g}" for lam in found] == [f"{lam:g}" for lam in lams]


@pytest.mark.parametrize("text", ["lr_theta: 1e-3", "lr_theta: 0.001", "lr_theta: '1e-3'", "lr_theta: 1.0e-3"])
def test_a_configfile_says_the_same(text):
    assert resolved(**yaml.safe_load(text)).values["lr_theta"] == 0.001


@pytest.mark.parametrize("given", ["mlp, dcgan", ["mlp", "dcgan"], "mlp,dcgan"])
def test_generators_as_text_or_list(given):
    assert resolved(generators=given).generators == ("mlp", "dcgan")


def test_words_for_null_and_for_true():
    assert (
        resolved(n_train="null", generators="null", lams="null", data_dir="null", preset="smoke").values["n_train"]
        == 300
    )
    assert resolved(cluster="False").asked["cluster"] is False
    assert resolved(cluster="true", device="cpu").asked["cluster"] is True
    assert meant("null", SPECS["dataset"]) == "null"  # which has no null: a name like any other


@pytest.mark.parametrize("name", ["a{b}.npz", "{.npz", "a}/b.npz"])
def test_braces_in_a_path_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert "braces in a path cannot be used here; rename it" in refused(resolved, dataset=str(path), kind=ConfigError)
    if path.parent != tmp_path:
        with pytest.raises(ConfigError, match="data_dir = .*: braces"):
            resolved(data_dir=str(path.parent))


@pytest.mark.parametrize(
    "name", ["a b.npz", "Ba$$in & 'ink' 50%.npz", "a#b.npz", '"quoted".npz', "日本語 é.npz", "[1].npz"]
)
def test_other_signs_in_a_name_are_taken(tmp_path, name):
    (tmp_path / name).touch()
    assert resolved(dataset=str(tmp_path / name)).dataset == str(tmp_path / name)
