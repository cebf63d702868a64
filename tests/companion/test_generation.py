"""Generation of images: settings, the course of a run, the script and the figure. Claims: B-generation."""

import importlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from companion.persistence.arms import GenerationConfig
from companion.persistence.generation import GenerationRun, Images, references
from companion.scores.distances import exact_w1

SMALL = {"outer_steps": 5, "measure_every": 2, "n_train": 20, "batch_size": 8}
ARMS = {
    "wgan": GenerationConfig(method="wgan", critic_steps=2, **SMALL),
    "w1fe": GenerationConfig(method="w1fe", persistence=3, critic_steps=2, **SMALL),
    "ot": GenerationConfig(method="ot", lam=0.02, psi_steps=2, **SMALL),
}


def script(kind):
    return importlib.import_module(f"companion.persistence.{kind}_generation")


@pytest.fixture
def images():
    train, test = torch.rand(55, 16, generator=torch.Generator().manual_seed(0)).split((30, 25))
    return Images(train, test, (4, 4))


def test_names_tell_the_arms_apart():
    assert [config.name() for config in ARMS.values()] == ["wgan-gp-K1", "w1fe-gp-K3", "ot-lam0.02"]
    assert GenerationConfig(dt=0.5, penalty="lp").name() == "w1fe-lp-K1-dt0.5"


def test_batch_and_rate_are_the_methods_own_unless_given():
    assert [(c.batch_size, c.lr) for c in (GenerationConfig(), GenerationConfig(method="ot"))] == [
        (64, 1e-4),
        (200, 1e-3),
    ]
    assert replace(ARMS["ot"], lr=0.5).lr == 0.5


@pytest.mark.parametrize(
    "bad",
    [{"method": "gan"}, {"penalty": "clip"}, {"n_train": 0}, {"psi_steps": 1.5}, {"dt": -1}, {"lr": -1.0}],
    ids=str,
)
def test_bad_settings_are_refused_in_one_line(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} = .*: give [^\n]*$"):
        GenerationConfig(**bad)


@pytest.mark.parametrize("bad", [{"lam": -0.1}, {"lam": math.nan}, {"method": "ot", "persistence": 5}], ids=str)
def test_bad_settings_of_algorithm_1_are_refused_in_one_line(bad):
    with pytest.raises(ValueError, match="^[^\n]*: give a finite lam >= 0, and to 'ot' a persistence of 1$"):
        GenerationConfig(**bad)


@pytest.mark.parametrize("arm", ARMS)
def test_a_seed_fixes_a_run(arm, images):
    first, again, other = (GenerationRun(ARMS[arm], images, seed) for seed in (3, 3, 4))
    rows, seconds = first.follow(5, 2)
    assert [row["step"] for row in rows] == [0, 2, 4, 5]
    assert seconds == sorted(seconds)
    assert rows == again.follow(5, 2)[0]
    assert rows != other.follow(5, 2)[0]


@pytest.mark.parametrize("arm", ARMS)
def test_measuring_does_not_disturb_the_training(arm, images):
    watched, alone = (GenerationRun(ARMS[arm], images, 0) for _ in range(2))
    for _ in range(4):
        watched.measure()
        watched.advance(1)
    alone.advance(4)
    assert torch.equal(watched.samples(), alone.samples())


@pytest.mark.parametrize("arm", ARMS)
def test_rows_hold_costs_and_scores(arm, images):
    training = GenerationRun(ARMS[arm], images, 0)
    training.advance(2)
    samples = training.samples()
    assert samples.shape == (25, 16)
    expected = {"step": 2, "generator_updates": 2 * ARMS[arm].persistence}
    expected["gradients"] = expected["generator_updates"] + 2 * 2
    expected["w1"] = exact_w1(images.held_out(0), samples)[0]
    expected["diversity"] = float(samples.numpy().var(axis=0).sum())
    assert training.measure() == pytest.approx(expected, rel=1e-5)


def test_arms_start_from_the_same_generator_and_are_measured_on_the_same_images(images):
    first, *others = (GenerationRun(config, images, 0).measure() for config in ARMS.values())
    assert others == [first, first]


@pytest.mark.parametrize("arm", ARMS)
def test_only_the_first_images_are_trained_on(arm, images):
    images.train[20:] = torch.nan
    assert all(math.isfinite(row["w1"]) for row in GenerationRun(ARMS[arm], images, 0).follow(5, 2)[0])


@pytest.mark.parametrize("arm", ARMS)
def test_samples_approach_the_data(arm):
    """All images are alike: W1 is the distance to that one image, and falls."""
    image = torch.linspace(0, 1, 16).repeat(40, 1)
    config = replace(ARMS[arm], outer_steps=60, measure_every=60, lr=3e-3)
    before, after = GenerationRun(config, Images(image, image, (4, 4)), 0).follow(60, 60)[0]
    assert after["w1"] < 0.7 * before["w1"]


def test_references(images):
    found = references(images, 0)
    test = images.held_out(0)
    assert sorted(map(tuple, test.tolist())) == sorted(map(tuple, images.test.tolist()))
    expected = np.linalg.norm(test.numpy() - images.train.numpy().mean(axis=0), axis=1).mean()
    assert found["w1_mean_image"] == pytest.approx(expected, rel=1e-5)
    assert found["diversity_data"] == pytest.approx(float(images.train.numpy().var(axis=0).sum()), rel=1e-5)
    assert 0 < found["w1_data"] < 2


# The script and the figure


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 30), ("test", 25)):
        np.savez(tmp_path / f"{part}.npz", images=rng.integers(0, 256, (n, 4, 4), dtype=np.uint8))
    (tmp_path / "dataset.json").write_text(json.dumps({"label": "noise", "name": "noise"}))
    return [tmp_path / name for name in ("train.npz", "test.npz", "dataset.json")]


def test_a_run_leaves_its_tables_and_they_are_reproducible(tmp_path, data):
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        script("run").run(ARMS["w1fe"], *data, [0, 1], folder)
    for name in ("log.csv", "samples.npz"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    lines = (first / "log.csv").read_text().splitlines()
    assert lines[0] == "seed,step,generator_updates,gradients,w1,diversity"
    assert [line.split(",")[:2] for line in lines[1:]] == [[s, t] for s in "01" for t in "0245"]
    assert (first / "timing.csv").read_text().startswith("seed,step,seconds,measuring\n0,0,0.0,")
    record = json.loads((first / "run.json").read_text())
    assert (record["config"]["batch_size"], record["data"]["name"], record["seeds"]) == (8, "noise", [0, 1])
    with np.load(first / "samples.npz") as samples:
        assert samples["images"].shape == samples["data"].shape == (25, 4, 4)
        assert samples["images"].min() >= 0
        assert samples["images"].max() <= 1
        assert {"w1_data", "w1_mean_image", "diversity_data"} <= set(samples.files)


def test_the_figure_names_every_method(tmp_path, data):
    for name, config in ARMS.items():
        script("run").run(config, *data, [0, 1], tmp_path / name)
    names = ("run.json", "log.csv", "timing.csv", "samples.npz")
    paths = ([tmp_path / arm / name for arm in ARMS] for name in names)
    script("draw").draw(*paths, [tmp_path / "figure.png", tmp_path / "figure.svg"], "smoke")
    svg = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for text in ("WGAN, K = 1", "W1-FE, K = 3", "Algorithm 1", "held out", "data: noise; preset smoke"):
        assert text in svg
