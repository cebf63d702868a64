import os

import pytest

from companion.common import progress
from companion.reader import summary

ROWS = [
    {"compared_with": "POT", "claim": "a", "expected": "1", "measured": "1", "tolerance": "0", "verdict": "pass"},
    {"compared_with": "POT", "claim": "bb", "expected": "1", "measured": "2", "tolerance": "0", "verdict": "fail"},
    {"compared_with": "theory", "claim": "c", "expected": "-", "measured": "-", "tolerance": "-"}
    | {"verdict": "skipped: no data"},
]
CLAIMS = [
    {"id": "A-x", "statement": "It holds.", "standing": "confirmed", "open": None},
    {"id": "B-y", "statement": "It is better.", "standing": "refuted", "open": None},
    {"id": "B-z", "statement": "It is worse.", "standing": "refuted earlier", "open": "refuted by the target plane"},
]
PROVENANCE = {
    "run": {
        "preset": "laptop",
        "dataset": {"label": "digits", "fallback_reason": "no network", "retry": "again"},
        "device": "cpu",
        "cores": 2,
        "seed": 0,
    },
    "rules": {"a": {"seconds": 61.0}, "b": {"seconds": 60.0}},
    "files": ["old.csv", "new.csv"],
    "figures": {"figure1": {"not_run": None}, "figure2": {"not_run": None}, "adaptation": {"not_run": "no USPS"}},
}


def test_verify_prints_every_row():
    text = summary.full(ROWS)
    assert "  ok    a   expected 1, measured 1 (tolerance 0)" in text
    assert "  FAIL  bb  expected 1, measured 2 (tolerance 0)" in text
    assert "  skip  c   no data" in text
    assert "  with POT\n  ok    a " in text
    assert "1 passed, 1 failed, 1 skipped" in text
    assert "1 of 2 with POT, 0 of 1 with theory" in text


def test_all_says_where_to_look_and_shows_only_what_did_not_pass():
    text = summary.short(ROWS, CLAIMS, PROVENANCE, {"report": "paper/report.pdf"})
    assert "preset laptop on digits" in text
    assert "2 min 1 s of work" in text
    assert "1 of 2 with POT, 0 of 1 with theory" in text
    assert "no network" in text
    assert "paper/report.pdf" in text
    assert "of figure1, figure2\n" in text
    assert "not run adaptation: no USPS" in " ".join(text.split())
    assert "A-x" in text
    assert "It holds." not in text
    assert "B-y: It is better." in text
    assert "B-z: It is worse. refuted by the target plane" in " ".join(text.split())
    assert "FAIL  bb" in text
    assert "ok  " not in text
    assert max(map(len, text.splitlines())) <= summary.WIDTH


@pytest.mark.parametrize(("begun", "text"), [
    (1000.0, "the whole run took 3 s, with 2 min 1 s of work in all jobs"),
    (4000.0, "this command took 3 s and made 1 of 2 files, the others were there; 2 min 1 s of work in all jobs"),
    (None, "2 min 1 s of work in all jobs"),
])  # fmt: skip
def test_the_clock_tells_a_whole_run_from_a_part_of_it(tmp_path, monkeypatch, begun, text):
    monkeypatch.chdir(tmp_path)
    for name, moment in (("old.csv", 2000), ("new.csv", 5000)):
        (tmp_path / name).write_text("")
        os.utime(name, (moment, moment))
    monkeypatch.setenv(progress.STARTED, "")
    monkeypatch.delenv(progress.STARTED)
    monkeypatch.setattr("time.time", lambda: begun)
    if begun:
        progress.begin()
        monkeypatch.setattr("time.time", lambda: begun + 3)
    assert f"  {text}" in list(summary.header(PROVENANCE))


def test_durations():
    assert [summary.duration(s) for s in (3.4, 61, 3660)] == ["3 s", "1 min 1 s", "1 h 1 min"]
