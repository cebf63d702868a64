"""Rows and verdicts on the table of scores: each can fail. Claims: A-fidelity."""

import json

import pytest

from companion.common.checks import TOO_FEW
from companion.common.files import write_csv
from companion.reader import references as update_references
from companion.scores import verdicts as checks

REAL = {
    "lam": 0,
    "seeds": 3,
    "fid": 4,
    "fid_pm": 1,
    "recall": 0.94,
    "recall_pm": 0.04,
    "imbalance": 0.04,
    "w2": 5.9,
    "sharpness": 1.0,
}
REAL |= {"label": "real images", "generator": "", "changes": ""}
REAL |= {"copied_share": 0.5, "semidual_gap": 0.0, "precision": 0.95}
MLP = REAL | {"generator": "mlp"}
SETS = {
    "real": REAL,
    "blurred": REAL | {"fid": 125, "recall": 0.25, "w2": 5.2, "sharpness": 0.3},
    "mean image": REAL | {"fid": 1249, "recall": 0},
    "half of the classes": REAL | {"fid": 173, "recall": 0.56, "imbalance": 0.5},
    "copies": REAL | {"copied_share": 1.0},
    "ot-mlp-lam0": MLP | {"label": "MLP, λ = 0", "fid": 231, "fid_pm": 5, "recall": 0.12},
    "ot-mlp-lam0.01": MLP | {"lam": 0.01, "fid": 243, "fid_pm": 5, "recall": 0.16},
    "ot-mlp-lam0.1": MLP | {"lam": 0.1, "fid": 1104, "fid_pm": 20, "recall": 0},
    "ot-mlp-lam0.005-selfatoms200": MLP | {"changes": "self term of 200", "lam": 0.005, "fid": 50, "recall": 0.7},
}
SECONDS = {name: 100.0 for name, row in SETS.items() if row["generator"]}


@pytest.fixture
def write(tmp_path):
    def written(sets):
        rows = [[name, *scores.values()] for name, scores in sets.items()]
        write_csv(tmp_path / "table.csv", ["name", *next(iter(sets.values()))], rows)
        return tmp_path / "table.csv"

    return written


def rows_of(write, tmp_path, sets, accuracy=0.992, status="trained", preset="laptop"):
    told = {"classifier": {"accuracy": accuracy, "status": status, "judgement": f"It is {status}."}}
    told["dataset"] = {"name": "mnist", "sha256": {"train": "abc"}}
    for name, content in told.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = {"scores": write(sets)} | {name: tmp_path / f"{name}.json" for name in told}
    return list(checks.checks(paths, preset, tmp_path))


def test_scores_that_tell_the_controls_apart_pass(write, tmp_path):
    *rows, kept = rows_of(write, tmp_path, SETS)
    assert {row.verdict for row in rows} == {"pass"}
    assert kept.verdict == "skipped: no scores-laptop-mnist.json"


def test_scores_are_compared_with_the_kept_ranges(write, tmp_path):
    kept = update_references.score_ranges(write(SETS))
    assert kept["ot-mlp-lam0"] == {"fid": [105.0, 508.2], "recall": [0, 0.27]}
    path = tmp_path / "scores-laptop-mnist.json"
    path.write_text(json.dumps({"data_sha256": {"train": "abc"}, "ranges": kept}))
    assert {row.verdict for row in rows_of(write, tmp_path, SETS)} == {"pass"}
    off = SETS | {"ot-mlp-lam0": SETS["ot-mlp-lam0"] | {"fid": 509}}
    failed = [row.claim for row in rows_of(write, tmp_path, off) if row.verdict == "fail"]
    assert failed == ["MLP, λ = 0: Fréchet distance"]
    path.write_text(json.dumps({"data_sha256": {"train": "other"}, "ranges": kept}))
    assert rows_of(write, tmp_path, off)[-1].verdict.endswith("made on other data")


@pytest.mark.parametrize(("name", "change", "claim"), [
    ("real", {"fid": 130}, "real images below every other set"),
    ("half of the classes", {"recall": 0.95}, "without half of the classes"),
    ("half of the classes", {"imbalance": 0.01}, "imbalance"), ("blurred", {"w2": 6.0}, "W2 alone rewards blur"),
    ("blurred", {"sharpness": 1.1}, "sharpness"), ("blurred", {"recall": 0.99}, "recall: blurred"),
    ("copies", {"copied_share": 0.4}, "memorisation"), ("ot-mlp-lam0.1", {"semidual_gap": 0.02}, "certified gap"),
])  # fmt: skip
def test_each_row_can_fail(write, tmp_path, name, change, claim):
    rows = rows_of(write, tmp_path, SETS | {name: SETS[name] | change})
    assert [row.claim for row in rows if row.verdict == "fail" and claim in row.claim]


def test_a_poor_classifier_fails_and_a_missing_one_is_named(write, tmp_path):
    assert rows_of(write, tmp_path, SETS, accuracy=0.98)[0].verdict == "fail"
    rows = rows_of(write, tmp_path, SETS, status="not run: no labels")
    assert rows[0].verdict == "skipped: It is not run: no labels."
    assert rows[1].claim.startswith("sharpness")
    assert len(rows_of(write, tmp_path, SETS, preset="smoke")) == 1


def claims(write, sets, seconds=None, preset="laptop"):
    return checks.trade_off(write(sets), seconds or SECONDS, preset)


def test_fidelity_is_judged_beyond_the_intervals(write):
    verdict, evidence = claims(write, SETS)["A-fidelity"]
    assert verdict is True  # 231 + 5 < 243 - 5
    assert "231 ± 5 (λ = 0), 243 ± 5 (λ = 0.01)" in evidence
    level = SETS | {"ot-mlp-lam0": SETS["ot-mlp-lam0"] | {"fid": 240}}
    assert claims(write, level)["A-fidelity"][0] is None
    worse = SETS | {"ot-mlp-lam0": SETS["ot-mlp-lam0"] | {"fid": 300}}
    assert claims(write, worse)["A-fidelity"][0] is False
    assert claims(write, SETS, preset="smoke")["A-fidelity"][0] is TOO_FEW


def test_one_training_seed_decides_nothing(write):
    found = claims(write, {name: row | {"seeds": 1} for name, row in SETS.items()})
    assert {verdict for verdict, _ in found.values()} == {TOO_FEW}
    assert all(evidence.endswith("training seeds: 1") for _, evidence in found.values())


def test_a_variant_must_win_at_the_same_time_and_without_losing_recall(write):
    verdict, evidence = claims(write, SETS)["A-beyond"]
    assert verdict is True
    assert "0.22 (0.21 to 0.23)" in evidence  # (50 - 1) / (231 + 5), (50 + 1) / (231 - 5)
    assert evidence.endswith("training seeds: 3")
    name = "ot-mlp-lam0.005-selfatoms200"
    for change in ({"fid": 150}, {"recall": 0.03}):
        assert claims(write, SETS | {name: SETS[name] | change})["A-beyond"][0] is False
    slow = claims(write, SETS, SECONDS | {name: 120.0})["A-beyond"]
    assert slow[0] is None
    assert "100 s" in slow[1]
    unscored = SETS | {name: SETS[name] | {"fid": float("nan")}}
    assert claims(write, unscored)["A-beyond"][0] is TOO_FEW


@pytest.mark.parametrize(
    "change",
    [{"fid_pm": 90}, {"fid": 136}, {"recall": 0.15}, {"fid_pm": float("nan")}],
    ids=["wide interval", "0.59 of the distance", "recall within the intervals", "one sample set"],
)
def test_what_the_intervals_leave_open_is_undecided(write, change):
    name = "ot-mlp-lam0.005-selfatoms200"
    assert claims(write, SETS | {name: SETS[name] | change})["A-beyond"][0] is None


def test_a_second_variant_can_win_and_an_interval_down_to_zero_decides_nothing(write):
    losing = {"ot-mlp-lam0.005-lrdecay0.7": SETS["ot-mlp-lam0.005-selfatoms200"] | {"fid": 40, "recall": 0}}
    assert claims(write, SETS | losing, SECONDS | dict.fromkeys(losing, 100.0))["A-beyond"][0] is True
    vague = {"ot-mlp-lam0": SETS["ot-mlp-lam0"] | {"fid_pm": 240}}
    assert claims(write, SETS | vague)["A-beyond"][0] is None


def test_plain_rows_are_told_from_variants():
    assert checks.is_plain({"generator": "dcgan", "changes": ""})
    assert not checks.is_plain({"generator": "mlp", "changes": "carry0.5"})
    assert not checks.is_plain({"generator": "", "changes": ""})
