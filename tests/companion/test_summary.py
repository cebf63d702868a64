from companion.reader import summary

ROWS = [
    {"compared_with": "POT", "claim": "a", "expected": "1", "measured": "1", "tolerance": "0", "verdict": "pass"},
    {"compared_with": "POT", "claim": "bb", "expected": "1", "measured": "2", "tolerance": "0", "verdict": "fail"},
    {"compared_with": "theory", "claim": "c", "expected": "-", "measured": "-", "tolerance": "-"}
    | {"verdict": "skipped: no data"},
]
CLAIMS = [
    {"id": "A-x", "statement": "It holds.", "verdict": "confirmed"},
    {"id": "B-y", "statement": "It is better.", "verdict": "refuted"},
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
    text = summary.short(ROWS, CLAIMS, PROVENANCE, {"report": "paper/report.pdf"}, ["figure1", "figure2"])
    assert "preset laptop on digits" in text
    assert "2 min 1 s of work" in text
    assert "1 of 2 with POT, 0 of 1 with theory" in text
    assert "no network" in text
    assert "paper/report.pdf" in text
    assert "figure1, figure2" in text
    assert "A-x" in text
    assert "It holds." not in text
    assert "B-y: It is better." in text
    assert "FAIL  bb" in text
    assert "ok  " not in text
    assert max(map(len, text.splitlines())) <= summary.WIDTH


def test_durations():
    assert [summary.duration(s) for s in (3.4, 61, 3660)] == ["3 s", "1 min 1 s", "1 h 1 min"]
