"""Domain adaptation: settings, the course of a run, the script and the figure. Claims: B-adaptation."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from companion.algorithms.runs import RunError
from companion.common.readers import not_run, read_table
from companion.data.adaptation_data import prepare_adaptation
from companion.data.mnist import load_mnist, locate_mnist
from companion.data.usps import load_usps
from companion.persistence import adaptation
from companion.persistence.adaptation import AdaptationRun, Domains
from companion.persistence.arms import DIRECTIONS, AdaptationConfig
from companion.persistence.experiments import rows_of
from companion.scores.distances import nearest_neighbour_accuracy

DATA = Path(__file__).resolve().parents[3] / "shared/data"
CONFIG = AdaptationConfig(persistence=2, outer_steps=5, measure_every=2, batch_size=8, critic_steps=2)
NOT_RUN = "no USPS $here$ <data_dir>; " + "put it there " * 12


def script(kind):
    return importlib.import_module(f"companion.persistence.{kind}_adaptation")


def arrays(n=30):
    """Both domains: in each, a row of 16 bright pixels per digit, in different places."""
    rng, found = np.random.default_rng(0), {}
    for shift, domain in enumerate(("usps", "mnist")):
        for part in ("train", "test"):
            labels = rng.permutation(np.arange(n) % 10)
            images = rng.uniform(-1, -0.5, (n, 16, 16)).astype(np.float32)
            images[np.arange(n), labels + 3 * shift] += 1
            found |= {f"{domain}_{part}": images.reshape(n, 256), f"{domain}_{part}_labels": labels}
    return found


@pytest.fixture
def domains():
    return Domains.read(arrays(), "usps", "mnist")


def test_domains_are_read_by_source_and_target():
    data = arrays()
    domains = Domains.read(data, "mnist", "usps")
    np.testing.assert_array_equal(domains.source, data["mnist_train"])
    np.testing.assert_array_equal(domains.source_labels, data["mnist_train_labels"])
    np.testing.assert_array_equal(domains.target, data["usps_train"])
    np.testing.assert_array_equal(domains.target_test, data["usps_test"])
    np.testing.assert_array_equal(domains.target_labels, data["usps_test_labels"])


def test_names_tell_the_arms_apart():
    assert AdaptationConfig().name() == "usps-mnist-w1fe-lp-K1"
    assert AdaptationConfig(direction="mnist-usps", persistence=5, dt=0.5).name() == "mnist-usps-w1fe-lp-K5-dt0.5"
    assert AdaptationConfig(method="wgan", penalty="gp", dt=0.5).name() == "usps-mnist-wgan-gp-K1"


@pytest.mark.parametrize("bad", [
    {"direction": "usps-usps"}, {"method": "ot"}, {"penalty": "clip"}, {"persistence": 0}, {"persistence": 2.0},
    {"outer_steps": "10"}, {"measure_every": 0}, {"dt": 0}, {"dt": float("nan")}, {"lr": float("inf")},
], ids=str)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} = .*: give [^\n]*$"):
        AdaptationConfig(**bad)


def test_rows_are_drawn_from_all_rows_by_the_generator_given():
    law, again = rows_of(torch.arange(5.0)[:, None]), torch.Generator().manual_seed(1)
    drawn = law(200, torch.Generator().manual_seed(1))
    assert drawn.shape == (200, 1)
    assert set(drawn.squeeze().tolist()) == set(range(5))
    assert torch.equal(drawn, law(200, again))


def test_the_first_row_is_the_accuracy_without_adaptation(domains):
    raw = nearest_neighbour_accuracy(domains.source, domains.source_labels, domains.target_test, domains.target_labels)
    training = AdaptationRun(CONFIG, domains, 0)
    expected = {"step": 0, "generator_updates": 0, "gradients": 0, "accuracy": raw, "drawn": raw}
    assert training.measure() == expected
    assert float((training.adapted() - domains.source).abs().max()) < 0.02


def test_the_authors_images_are_drawn_anew_at_every_look(domains, monkeypatch):
    monkeypatch.setattr(adaptation, "AUTHORS_TEST", 10)
    target = domains.target_test.clone()
    target[:15] = domains.source[:15]  # found
    labels = torch.cat([domains.source_labels[:15], torch.full((15,), 11)])  # the others are of no class
    training = AdaptationRun(CONFIG, replace(domains, target_test=target, target_labels=labels), 0)
    looks = [training.measure() for _ in range(20)]
    assert {look["accuracy"] for look in looks} == {0.5}
    drawn = [look["drawn"] for look in looks]
    assert len(set(drawn)) > 1
    # sd of a mean of 10 drawn from 30 without replacement: sqrt(.25 / 10 x 20 / 29) = .13; of 20 looks .03
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.12)


def test_all_of_the_source_is_mapped_in_one_batch(domains):
    training = AdaptationRun(CONFIG, domains, 0)
    sizes = []
    training.generator.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    training.measure()
    assert sizes == [30]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs MNIST and USPS beside the checkout")
def test_accuracies_without_adaptation_are_those_known():
    """Computed with PIL's own resizing, on all images; ours moves one pixel of a hundred by 1 / 255."""
    mnist, usps = load_mnist(locate_mnist(DATA, DATA)), load_usps(DATA, DATA)
    arrays = prepare_adaptation(mnist, usps)
    known = {"usps-mnist": 0.3331, "mnist-usps": 0.7005}
    for name, expected in known.items():
        domains = Domains.read(arrays, *DIRECTIONS[name])
        truth = domains.target_test, domains.target_labels
        found = nearest_neighbour_accuracy(domains.source, domains.source_labels, *truth)
        assert found == pytest.approx(expected, abs=0.002)  # four images of 2,007; seen: two


def test_the_table_stands_between_no_adaptation_and_the_ceiling(tmp_path, data):
    arms = [replace(CONFIG, direction=d, persistence=k) for d in DIRECTIONS for k in (1, 5)]
    paths, out = data(), tmp_path / "table.csv"
    folders = run_arms(tmp_path, paths, arms)
    records, logs = ([folder / name for folder in folders] for name in ("run.json", "log.csv"))
    importlib.import_module("companion.persistence.run_adaptation_table").table(paths[0], records, logs, out)
    rows = read_table(out)
    assert [row["arm"] for row in rows[:4]] == ["no adaptation", *(arm.name() for arm in arms[:2]), "ceiling"]
    assert [row["source"] for row in rows] == ["usps"] * 4 + ["mnist"] * 4
    last = [float(line["accuracy"]) for line in read_table(logs[3]) if line["step"] == "5"]
    assert float(rows[6]["accuracy"]) == pytest.approx(np.mean(last))
    assert (rows[6]["seeds"], float(rows[6]["std"])) == ("2", pytest.approx(np.std(last, ddof=1)))
    assert float(rows[3]["accuracy"]) == 1  # 30 images of ten rows: a digit's nearest is its own


def test_a_table_of_nothing_is_refused(tmp_path, data):
    paths = data(NOT_RUN)
    (folder,) = run_arms(tmp_path, paths, [CONFIG])
    with pytest.raises(RunError, match="no adaptation: no USPS"):
        importlib.import_module("companion.persistence.run_adaptation_table").table(
            paths[0], [folder / "run.json"], [folder / "log.csv"], tmp_path / "table.csv"
        )


def test_costs_are_counted(domains):
    training = AdaptationRun(CONFIG, domains, 0)
    training.advance(3)
    counts = training.measure()
    assert (counts["step"], counts["generator_updates"], counts["gradients"]) == (3, 6, 12)


@pytest.mark.parametrize("method", ["w1fe", "wgan"])
def test_a_seed_fixes_a_run(method, domains):
    config = replace(CONFIG, method=method)
    first, again, other = (AdaptationRun(config, domains, seed) for seed in (3, 3, 4))
    rows, seconds = first.follow(5, 2)
    assert [row["step"] for row in rows] == [0, 2, 4, 5]
    assert len(seconds) == 4
    assert seconds == sorted(seconds)
    assert rows == again.follow(5, 2)[0]
    assert torch.equal(first.adapted(), again.adapted())
    other.follow(5, 2)
    assert not torch.equal(first.adapted(), other.adapted())


def test_measuring_does_not_disturb_the_training(domains):
    watched, alone = (AdaptationRun(CONFIG, domains, 0) for _ in range(2))
    for _ in range(4):
        watched.measure()
        watched.advance(1)
    alone.advance(4)
    assert torch.equal(watched.adapted(), alone.adapted())


def test_arms_start_from_the_same_generator(domains):
    arms = CONFIG, replace(CONFIG, method="wgan", persistence=5)
    first, second = (AdaptationRun(config, domains, 0).adapted() for config in arms)
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", ["w1fe", "wgan"])
def test_images_move_towards_the_target(method):
    """Source near -0.5, target near 0.5, in every pixel."""
    noise = 0.1 * torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(64, dtype=torch.int64)
    domains = Domains(noise - 0.5, labels, noise + 0.5, noise + 0.5, labels)
    training = AdaptationRun(replace(CONFIG, method=method, lr=3e-3, batch_size=32), domains, 0)
    training.advance(30)
    assert -0.3 < float(training.adapted().mean()) < 0.9


# The script and the figure


@pytest.fixture
def data(tmp_path):
    """The two files of the data's rule, as (folder, not_run) -> their paths."""

    def write(not_run=None):
        np.savez(tmp_path / "adaptation.npz", **({} if not_run else arrays()))
        (tmp_path / "adaptation.json").write_text(json.dumps({"not_run": not_run, "sha256": {}}))
        return tmp_path / "adaptation.npz", tmp_path / "adaptation.json"

    return write


def run_arms(folder, data, arms):
    for config in arms:
        script("run").run(config, *data, [0, 1], folder / config.name())
    return [folder / config.name() for config in arms]


def draw(folders, out):
    paths = ([folder / name for folder in folders] for name in ("run.json", "log.csv", "samples.npz"))
    script("draw").draw(*paths, [out / "figure.png", out / "figure.svg"], "smoke")
    return (out / "figure.svg").read_text(encoding="utf-8")


def test_a_run_leaves_its_tables_and_they_are_reproducible(tmp_path, data):
    (first,) = run_arms(tmp_path / "first", data(), [CONFIG])
    (again,) = run_arms(tmp_path / "again", data(), [CONFIG])
    for name in ("log.csv", "samples.npz"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    lines = (first / "log.csv").read_text().splitlines()
    assert lines[0] == "seed,step,generator_updates,gradients,accuracy,drawn"
    assert [line.split(",")[:2] for line in lines[1:]] == [[s, t] for s in "01" for t in "0245"]
    assert (first / "timing.csv").read_text().startswith("seed,step,seconds,measuring\n0,0,0.0,")
    record = json.loads((first / "run.json").read_text())
    assert record["config"]["persistence"] == 2
    assert (record["seeds"], record["not_run"]) == ([0, 1], None)
    with np.load(first / "samples.npz") as samples:
        assert samples["source"].shape == samples["adapted"].shape == (10, 16, 16)
        bright = samples["source"].mean(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(bright, range(10))


def test_the_figure_shows_both_directions(tmp_path, data):
    arms = [replace(CONFIG, direction=d, method=m) for d in ("usps-mnist", "mnist-usps") for m in ("w1fe", "wgan")]
    svg = draw(run_arms(tmp_path, data(), arms), tmp_path)
    for text in ("USPS to MNIST", "MNIST to USPS", "W1-FE, K = 2", "WGAN, K = 2", "no adaptation"):
        assert text in svg


def test_without_data_the_reason_takes_the_place_of_the_results(tmp_path, data):
    arms = [CONFIG, replace(CONFIG, direction="mnist-usps")]
    folders = run_arms(tmp_path, data(NOT_RUN), arms)
    for folder in folders:
        assert (folder / "log.csv").read_text() == "seed,step,generator_updates,gradients,accuracy,drawn\n"
        assert (folder / "timing.csv").read_text() == "seed,step,seconds,measuring\n"
        assert np.load(folder / "samples.npz").files == []
        assert json.loads((folder / "run.json").read_text())["not_run"] == NOT_RUN
    svg = draw(folders, tmp_path)
    assert not_run(tmp_path / "figure.svg") == NOT_RUN
    assert "tables-sha256:" in svg
    drawn = svg.partition("</metadata>")[2]
    assert "not run: no USPS $here$" in drawn
    assert drawn.count("there") == 12
    assert "put it there " * 11 not in drawn, "the line is not wrapped"
