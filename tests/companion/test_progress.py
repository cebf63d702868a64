from companion.common import progress
from companion.common.progress import Progress


def test_a_line_for_every_tenth_with_the_time_left(capsys, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    tell = Progress("run", 20, "steps")
    for done in range(21):
        tell(done)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0] == "run: 2 of 20 steps, about 90 s left"
    assert lines[-1].startswith("run: 18 of 20 steps")


def test_a_resumed_run_counts_only_its_own_steps(capsys, monkeypatch):
    clock = iter([0, 10])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    tell = Progress("run", 100, "steps", start=50)
    tell(60)
    assert capsys.readouterr().err == "run: 60 of 100 steps, about 40 s left\n"


def test_a_job_shorter_than_its_lines(capsys):
    tell = Progress("run", 3, "steps")
    for done in (0, 1, 2, 3):
        tell(done)
    assert len(capsys.readouterr().err.splitlines()) == 2
