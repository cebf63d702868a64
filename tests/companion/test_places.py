"""What other settings made lies beside and is never replaced; images that are the same bytes are not made again."""

import json
from pathlib import Path

import pytest

from companion.common import settings
from companion.common.places import place_of_images, serves, tag, wanted_images
from companion.common.schema import read_config
from companion.common.settings import resolve

ROOT = Path(__file__).parents[2]
SCHEMA, PRESETS, DEFAULT = read_config(ROOT)
DEFAULT |= {"preset": "laptop", "device": "cpu"}
KEYS = ("n_train", "lr_theta", "step_c", "outer_steps")
FELL_BACK = {"name": "digits", "source": "embedded", "asked": {"dataset": "auto", "seed": 0}}
DIGITS = FELL_BACK | {"asked": {"dataset": "digits", "seed": 0}}
MNIST = {"name": "mnist", "source": "download", "asked": {"dataset": "auto", "seed": 0}}
FALSE_MNIST = {"name": "mnist", "source": "file", "asked": {"dataset": "own-01234567", "seed": 0}}


def resolved(**change):
    return resolve(DEFAULT | change, SCHEMA, PRESETS, {})


@pytest.mark.parametrize(
    ("held", "dataset", "seed", "same"),
    [
        (FELL_BACK, "auto", 0, True),
        (FELL_BACK, "digits", 0, True),
        (FELL_BACK, "digits", 1, False),
        (FELL_BACK, "mnist", None, False),
        (DIGITS, "digits", 0, True),
        (DIGITS, "auto", 0, False),  # MNIST was not tried
        (DIGITS, "digits", 2, False),
        (MNIST, "mnist", None, True),
        (MNIST, "auto", 3, True),  # its own test part: no split by seed
        (MNIST, "digits", 0, False),
        (FALSE_MNIST, "mnist", None, False),
        (FALSE_MNIST, "auto", 0, False),
        (FALSE_MNIST, "own-01234567", 0, True),
        (FALSE_MNIST, "own-76543210", 0, False),
        ({}, "digits", 0, False),
    ],
)
def test_images_that_are_there_serve_whoever_wants_the_same(held, dataset, seed, same):
    assert serves(held, {"dataset": dataset, "seed": seed}) is same


def test_images_that_do_not_serve_are_left_alone(tmp_path):
    digits, mnist = {"dataset": "digits", "seed": 0}, {"dataset": "mnist", "seed": None}
    assert place_of_images(tmp_path, mnist) == ("results/data", mnist)  # nothing is there
    (tmp_path / "results/data").mkdir(parents=True)
    record = tmp_path / "results/data/dataset.json"
    record.write_text(json.dumps(FELL_BACK))
    assert place_of_images(tmp_path, digits) == ("results/data", FELL_BACK["asked"])  # as they were asked for
    assert place_of_images(tmp_path, mnist) == ("results/data/mnist", mnist)
    assert place_of_images(tmp_path, digits | {"seed": 4}) == ("results/data/digits-s4", digits | {"seed": 4})
    (tmp_path / "results/data/mnist").mkdir()
    (tmp_path / "results/data/mnist/dataset.json").write_text(json.dumps(MNIST))
    assert place_of_images(tmp_path, mnist) == ("results/data/mnist", MNIST["asked"])
    for broken in ("", "[]", "{"):
        record.write_text(broken)
        assert place_of_images(tmp_path, mnist) == ("results/data", mnist)


def test_a_file_of_ones_own_goes_by_a_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "cuda_state", lambda: "none")
    (tmp_path / "a $b é.npz").touch()
    monkeypatch.chdir(tmp_path)
    found = [wanted_images(resolved(dataset=name)) for name in ("a $b é.npz", str(tmp_path / "a $b é.npz"))]
    assert found[0] == found[1]
    assert found[0]["dataset"].startswith("own-")
    assert str(tmp_path) not in str(found)
    assert wanted_images(resolved(data_dir=str(tmp_path))) == {"dataset": "mnist", "seed": None}


def test_a_place_is_named_after_what_decides_the_result():
    assert tag(resolved(), KEYS) == "laptop"
    assert tag(resolved(lams=0.5, threads=2, planar_steps=7), KEYS) == "laptop"
    assert tag(resolved(n_train=10000, lr_theta="1e-3", step_c=1.0), KEYS) == "laptop"  # the preset's own
    assert tag(resolved(preset="smoke"), KEYS) == "smoke"
    assert tag(resolved(seed=3), KEYS) == "laptop-s3"
    assert tag(resolved(seed=3), KEYS, seed=False) == "laptop"
    assert tag(resolved(), KEYS, images="results/data/digits-s4") == "laptop-digits-s4"
    changed = [tag(resolved(**{key: 7}), KEYS) for key in KEYS]
    assert len({*changed, "laptop"}) == 1 + len(KEYS)
    assert tag(resolved(n_train=7.0), KEYS) == changed[0]
    assert tag(resolved(preset="paper"), KEYS) == "paper-cpu"
