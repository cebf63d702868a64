"""Verification of paper B's experiments on made-up logs: what passes, what fails, what is skipped and why."""

import json

import pytest

from companion.persistence.verdicts import check_adaptation, check_generation, check_planar, claims
from companion.reader.references import planar_ranges


def write(folder, column, values_by_seed, **told):
    folder.mkdir(parents=True)
    config = {"method": "w1fe", "penalty": "lp", "persistence": 1, "dt": 1, "lam": 0} | told.pop("config", {})
    record = {"name": folder.name, "config": config, "source": "usps", "target": "mnist"} | told
    lines = [f"seed,step,{column}"]
    for seed, values in values_by_seed.items():
        lines += [f"{seed},{10 * k},{value}" for k, value in enumerate(values)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def verdicts(rows):
    return [row.verdict.partition(":")[0] for row in rows]


def planar(root, name, ends, start=1.0):
    curves = {seed: [start, *[end] * 12] for seed, end in enumerate(ends)}
    config = {"law": "ring", "batch_size": 256, "outer_steps": 9}
    return write(root / name, "w1", curves, data={"sampling_floor": 0.04}, config=config)


def test_planar_arms_must_start_alike_and_end_between_floor_and_half_the_start(tmp_path):
    good = [planar(tmp_path / "a", "ring-w1fe-lp-K1", [0.1, 0.2]), planar(tmp_path / "a", "ring-ot", [0.1, 0.2])]
    assert verdicts(check_planar(good, "laptop", tmp_path)) == ["pass"] * 3
    for ends in ([0.1, 0.6], [0.01, 0.1], [0.1, float("nan")]):
        bad = planar(tmp_path / str(ends), "ring-ot", ends)
        assert verdicts(check_planar([good[0], bad], "laptop", tmp_path)) == ["pass", "pass", "fail"]
    other = planar(tmp_path / "c", "ring-ot", [0.1, 0.2], start=0.9)
    assert verdicts(check_planar([good[0], other], "laptop", tmp_path))[0] == "fail"
    assert verdicts(check_planar(good, "smoke", tmp_path)) == ["pass", "skipped"]


def test_planar_ranges_are_used_for_the_settings_they_were_kept_for(tmp_path):
    arm = planar(tmp_path, "ring-ot", [0.1, 0.2])
    cases = ((0.21, 256, 9, "pass"), (0.19, 256, 9, "fail"), (0.19, 512, 9, "pass"), (0.19, 256, 8, "pass"))
    for high, batch, steps, expected in cases:
        kept = {
            "kept_on": "2026-11-27",
            "config": {"batch_size": batch, "outer_steps": steps},
            "ranges": {"ring-ot": [0.09, high]},
        }
        (tmp_path / "planar-laptop.json").write_text(json.dumps(kept), encoding="utf-8")
        rows = list(check_planar([arm], "laptop", tmp_path))
        assert rows[1].verdict == expected
        known = (batch, steps) == (256, 9)
        assert rows[1].compared_with == ("an earlier run of ours" if known else "this run itself")
        assert ("2026-11-27 in planar-laptop.json" in rows[1].tolerance) == known


def test_kept_ranges_follow_the_spread_of_the_seeds(tmp_path):
    lines = ["arm,seeds,w1_mean,w1_std", "wide,10,0.2,0.02", "narrow,10,0.2,0.001", "alone,1,0.2,nan"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ranges = planar_ranges(tmp_path / "table.csv")
    assert ranges == {"wide": [0.1, 0.3], "narrow": [0.14, 0.26], "alone": [0.14, 0.26]}


def test_adaptation_is_skipped_with_its_reason_or_must_beat_chance(tmp_path):
    absent = write(tmp_path / "a", "accuracy", {}, not_run="no USPS", study="adaptation")
    (row,) = check_adaptation([absent])
    assert row.verdict == "skipped: not run: no USPS"
    paths = {"paper_b_records": [absent / "run.json"], "paper_b": [absent / "log.csv"]}
    assert claims(paths, "laptop") == {"B-adaptation": ("not tested", "not run: no USPS")}
    good = write(tmp_path / "b", "accuracy", {0: [0.4, 0.6]}, not_run=None)
    collapsed = write(tmp_path / "c", "accuracy", {0: [0.4, 0.6], 1: [0.4, 0.1]}, not_run=None)
    assert verdicts(check_adaptation([good, collapsed])) == ["pass", "fail"]


@pytest.mark.parametrize(("end", "expected"), [(9.0, "pass"), (11.0, "fail"), (float("nan"), "fail")])
def test_generation_must_improve(tmp_path, end, expected):
    folder = write(tmp_path / "w1fe", "w1", {0: [10.0, end]})
    assert verdicts(check_generation([folder], "laptop")) == [expected]
    assert verdicts(check_generation([folder], "smoke")) == ["skipped"]
