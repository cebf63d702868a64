"""From images and a run's folder to the table: classifier, evaluation, aggregation over seeds, bad data."""

import json
import math

import numpy as np
import pytest
import torch

from companion.algorithms.networks import make_generator
from companion.common.readers import read_table
from companion.data.images import DataError, load_digits, split_holdout
from companion.scores import run_classifier as classifier_script
from companion.scores import run_evaluation as evaluate_script
from companion.scores import run_table as evaluation_table
from companion.scores.classifier import from_state

SETTINGS = {"size": 20, "count": 2, "seed": 0}


def write_images(path, n, labels=True, side=6, seed=0):
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 2
    images = rng.integers(0, 60, (n, side, side), dtype=np.uint8)
    images[kinds == 0, :, 2] = 255
    images[kinds == 1, 2, :] = 255
    np.savez(path, images=images, **({"labels": kinds} if labels else {}))
    return path


def write_run(folder, seed, lam=0.1, n_train=40, side=6):
    folder.mkdir()
    config = {"generator": "mlp", "lam": lam, "seed": seed, "n_train": n_train}
    weights = make_generator("mlp", (side, side), seed).state_dict()
    torch.save({"generator": weights, "psi": torch.zeros(n_train)}, folder / "weights.pt")
    told = {"name": folder.name, "setting": f"ot-mlp-lam{lam:g}", "changes": []}
    (folder / "run.json").write_text(json.dumps(told | {"config": config}))
    (folder / "log.csv").write_text("step,value,marginal_error,effective_atoms\n1,9,9,9\n2,0.5,0.25,3.5\n")
    return folder


@pytest.fixture
def data(tmp_path):
    return {name: write_images(tmp_path / f"{name}.npz", n, seed=n) for name, n in (("train", 80), ("test", 45))}


def trained(data, tmp_path, steps=10):
    outputs = tmp_path / "classifier.pt", tmp_path / "classifier.json"
    record = classifier_script.train(data["train"], data["test"], steps, 0, *outputs)
    assert json.loads(outputs[1].read_text()) == record
    return record, data | {"classifier": outputs[0]}


def test_the_classifier_is_kept_with_its_accuracy(data, tmp_path, capsys):
    record, paths = trained(data, tmp_path, steps=30)
    assert (record["status"], record["accuracy"], record["images"], record["classes"]) == ("trained", 1.0, 80, 2)
    network = from_state(torch.load(paths["classifier"], weights_only=True))
    assert network.shape == (6, 6)
    assert trained(data, tmp_path, steps=999)[0]["steps"] == 40  # one batch an epoch
    assert "steps" in capsys.readouterr().err


@pytest.mark.parametrize(("steps", "enough"), [(20, False), (160, True)])
def test_a_classifier_is_judged_by_what_its_images_allow(tmp_path, steps, enough):
    """On digits of which one label in ten is drawn anew nobody reaches the 0.9 that is easy without."""
    rng, paths = np.random.default_rng(0), [tmp_path / f"{name}.npz" for name in ("train", "test", "pt", "json")]
    for path, part in zip(paths, split_holdout(load_digits(), 0.15, 0), strict=False):
        drawn = rng.random(len(part.labels)) < 0.1
        np.savez(path, images=part.images, labels=np.where(drawn, rng.integers(0, 10, len(drawn)), part.labels))
    record = classifier_script.train(*paths[:2], steps, 0, *paths[2:])
    assert record["accuracy"] < 0.9
    assert record["status"] == ("trained" if enough else "trained too little")
    lead, _, numbers = record["judgement"].partition(": ")
    assert "enough to judge by" in lead if enough else "scores in its features say little" in lead
    assert f"{record['accuracy']:.1%}" in numbers
    assert f"(1-NN) do {record['nearest_neighbour']:.1%}." in numbers
    assert [look["step"] for look in record["curve"]] == [math.ceil(steps * k / 4) for k in range(1, 5)]
    assert record["curve"][-1]["accuracy"] == record["accuracy"]


def looks(*shares, n=1000):
    """Hits of the first so many of n held-out images, after each of some steps."""
    return {step: (torch.arange(n) < round(share * n)).double() for step, share in enumerate(shares, 1)}


@pytest.mark.parametrize(
    ("shares", "pixels", "status"),
    [
        ((0.5, 0.72, 0.73, 0.735), 0.6, "trained"),
        ((0.5, 0.72, 0.74, 0.76), 0.6, "trained too little"),  # still rising
        ((0.5, 0.72, 0.73, 0.735), 0.75, "trained"),  # the pixels lead by less than the margin
        ((0.5, 0.72, 0.73, 0.735), 0.8, "trained too little"),
        ((0.7,), 0.6, "trained"),
    ],
)
def test_a_classifier_that_still_learns_or_that_pixels_beat_is_named(shares, pixels, status):
    nearest = looks(pixels)[1]
    assert classifier_script.judged(looks(*shares), torch.arange(1000), nearest)["status"] == status


def test_few_images_are_no_reason_to_warn():
    shares, few = (0.5, 0.6, 0.7, 0.7), 10
    found = classifier_script.judged(looks(*shares, n=few), torch.arange(few), looks(0.7, n=few)[1])
    assert found["status"] == "trained"


def test_the_nearest_neighbours_are_looked_for_among_so_many_as_time_allows(monkeypatch):
    monkeypatch.setattr(classifier_script, "QUERIES", 10)
    monkeypatch.setattr(classifier_script, "WORK", 10 * 2 * 30)
    seen = []
    monkeypatch.setattr(classifier_script, "nearest_neighbour_hits", lambda *sets: seen.extend(map(len, sets)))
    rows, _ = classifier_script.beside(*((torch.zeros(n, 2), torch.zeros(n)) for n in (100, 50)))
    assert (len(rows), int(rows[0]), int(rows[-1])) == (10, 0, 49)
    assert seen == [30, 30, 10, 10]


def test_labels_may_be_missing_or_useless(data, tmp_path, capsys):
    write_images(data["test"], 45, labels=False)
    assert trained(data, tmp_path)[0]["accuracy"] is None
    write_images(data["train"], 80, labels=False)
    record, paths = trained(data, tmp_path)
    assert (record["status"], record["accuracy"]) == ("not run: no labels", None)
    assert f"classifier: {record['judgement']}\n" in capsys.readouterr().err
    assert torch.load(paths["classifier"], weights_only=True) == {}
    np.savez(data["train"], images=np.ones((30, 6, 6)), labels=np.full(30, 7))
    assert trained(data, tmp_path)[0]["status"] == "not run: labels of one kind only"


def test_a_run_is_judged_on_sets_that_its_seed_fixes(data, tmp_path):
    paths, outputs = trained(data, tmp_path)[1], [tmp_path / "a.json", tmp_path / "b.json"]
    folder = write_run(tmp_path / "ot-mlp-lam0.1-s3", 3)
    for output in outputs:
        evaluate_script.evaluate_run(folder, paths, SETTINGS, output)
    found, again = (json.loads(output.read_text()) for output in outputs)
    assert found["sets"] == again["sets"]
    assert found["sets"][0] != found["sets"][1]
    assert (found["run"], found["size"], len(found["sets"])) == ("ot-mlp-lam0.1-s3", 20, 2)
    assert found["training"] == {"value": 0.5, "marginal_error": 0.25, "effective_atoms": 3.5}
    assert set(evaluation_table.SCORES) - {"semidual_real", "marginal_error", "effective_atoms"} <= set(
        found["sets"][0]
    )


def table_of(runs, data, tmp_path, labels=True):
    paths = trained(data, tmp_path)[1]
    results = [tmp_path / f"{run.name}.json" for run in runs]
    for run, result in zip(runs, results, strict=True):
        evaluate_script.evaluate_run(run, paths, SETTINGS, result)
    evaluate_script.evaluate_controls(paths, 40, [0.0, 0.1], SETTINGS, tmp_path / "controls.json")
    outputs = tmp_path / "table.csv", tmp_path / "table.md"
    evaluation_table.table(results, tmp_path / "controls.json", tmp_path / "classifier.json", "smoke, bars", *outputs)
    return evaluation_table.read_json(results[0]), evaluation_table_rows(outputs[0]), outputs[1].read_text()


def evaluation_table_rows(path):
    return {row["name"]: row for row in read_table(path)}


def test_seeds_of_one_setting_share_a_row(data, tmp_path):
    runs = [write_run(tmp_path / f"ot-mlp-lam0.1-s{seed}", seed) for seed in (0, 1)]
    runs.append(write_run(tmp_path / "ot-mlp-lam0-s0", 0, lam=0.0))
    first, rows, text = table_of(runs, data, tmp_path)
    assert list(rows) == [*evaluation_table.CONTROLS, "ot-mlp-lam0.1", "ot-mlp-lam0"]
    assert (rows["ot-mlp-lam0.1"]["seeds"], rows["ot-mlp-lam0"]["seeds"], rows["real"]["sets"]) == ("2", "1", "2")
    second = json.loads((tmp_path / "ot-mlp-lam0.1-s1.json").read_text())
    w2 = [sum(one["w2"] for one in run["sets"]) / 2 for run in (first, second)]
    row = rows["ot-mlp-lam0.1"]
    assert float(row["w2"]) == pytest.approx(sum(w2) / 2)
    assert float(row["w2_pm"]) == pytest.approx(12.706205 * abs(w2[0] - w2[1]) / 2, rel=1e-6)
    assert float(row["marginal_error"]) == 0.25
    assert float(rows["copies"]["copied_share"]) == 1
    controls = json.loads((tmp_path / "controls.json").read_text())
    assert float(row["semidual_real"]) == pytest.approx(sum(one["semidual"] for one in controls["floors"]["0.1"]) / 2)
    assert "# Scores of samples: smoke, bars" in text
    assert "W2 to held-out images is" in text


def test_without_labels_scores_of_features_stay_empty(data, tmp_path):
    write_images(data["train"], 80, labels=False)
    _, rows, text = table_of([write_run(tmp_path / "ot-mlp-lam0.1-s0", 0)], data, tmp_path)
    row = rows["ot-mlp-lam0.1"]
    assert math.isnan(float(row["fid"]))
    assert float(row["w2"]) > 0
    assert "half of the classes" not in rows
    assert "There is no classifier, and no score in its features: no labels. Mean" in text
    assert "| MLP, λ = 0.1 | – | – |" in text


def test_bad_images_are_refused_in_one_line(data, tmp_path):
    paths, folder = trained(data, tmp_path)[1], write_run(tmp_path / "ot-mlp-lam0.1-s0", 0)
    write_images(data["test"], 45, side=7)
    with pytest.raises(DataError, match=r"test.npz: for images of \(7, 7\), not \(6, 6\) as in [^\n]*make it again$"):
        evaluate_script.evaluate_run(folder, paths, SETTINGS, tmp_path / "out.json")
    write_images(data["train"], 80, side=7)
    with pytest.raises(DataError, match=r"classifier.pt: for images of \(6, 6\), not \(7, 7\)"):
        evaluate_script.evaluate_run(folder, paths, SETTINGS, tmp_path / "out.json")
    write_images(data["train"], 12)
    write_images(data["test"], 45)
    with pytest.raises(DataError, match=r"train.npz: 12 training and 45 held-out images: give at least 20 and 10$"):
        evaluate_script.evaluate_run(folder, paths, SETTINGS, tmp_path / "out.json")
