"""What can befall the workflow: kills, a second one, an odd place, a bare environment. The end is always the same."""

import csv
import random
import signal
import subprocess
import sys
import time

import pytest

TIMED = {"seconds", "s", "cpu_s", "peak_mib"}  # columns that no two runs share


def tables(folder):
    """The cells of all tables of a run but measured times."""
    found = {}
    for path in sorted((folder / "results").rglob("*.csv")):
        name = str(path.relative_to(folder))
        if path.name != "timing.csv":
            with path.open(encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            found[name] = [{key: cell for key, cell in row.items() if key not in TIMED} for row in rows]
    return found


def start(folder, environment, *arguments, python=sys.executable):
    command = [python, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


SMOKE = ("--config", "preset=smoke", "dataset=digits")


@pytest.mark.slow
def test_two_runs_give_the_same_tables_anywhere(finished, tmp_path_factory, copy_project, clean_environment):
    """One in a path with spaces and letters beyond ASCII, without HOME, in locale C, with python -O."""
    folder = copy_project(tmp_path_factory.mktemp("a dépôt — ö") / "")
    bare = {key: value for key, value in clean_environment().items() if key not in ("HOME", "LANG", "XDG_CACHE_HOME")}
    process = start(folder, bare | {"LC_ALL": "C", "PYTHONOPTIMIZE": "1"}, *SMOKE)
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said[-4000:]
    ours, others = tables(folder), tables(finished[0])
    assert ours.keys() == others.keys()
    assert len(ours) > 10
    different = [name for name in ours if ours[name] != others[name]]
    assert not different


def test_an_interpreter_with_spaces_in_its_path_is_refused_in_one_line(project, tmp_path, clean_environment):
    """Snakemake does not quote it; that is said before anything starts, with the remedy."""
    (tmp_path / "a venv").symlink_to(sys.prefix)
    process = start(project, clean_environment(), "-n", python=str(tmp_path / "a venv/bin/python"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    (line,) = [line for line in said.splitlines() if "UV_PROJECT_ENVIRONMENT" in line]
    assert "a venv" in line
    assert "Traceback" not in said


def test_a_second_workflow_in_the_same_folder_is_refused_with_the_remedy(
    tmp_path_factory, copy_project, clean_environment, run_snakemake
):
    folder = copy_project(tmp_path_factory.mktemp("twice"))
    first = start(folder, clean_environment(), "figures/figure1.png", *SMOKE)
    try:
        while not list((folder / ".snakemake/locks").glob("*")):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        second = run_snakemake(folder, "figures/figure1.png", *SMOKE)
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.returncode != 0
    assert "--unlock" in second.stdout + second.stderr
    first.communicate(timeout=300)
    assert first.returncode == 0


@pytest.mark.slow
def test_the_workflow_killed_at_random_moments_ends_as_if_it_was_not(
    finished, tmp_path_factory, copy_project, clean_environment, run_snakemake
):
    """SIGKILL leaves a lock, whose remedy is printed, and jobs that go on by themselves; SIGTERM leaves neither."""
    folder, chance, hits = copy_project(tmp_path_factory.mktemp("killed")), random.Random(0), 0
    for _ in range(20):
        process = start(folder, clean_environment(), *SMOKE)
        time.sleep(chance.uniform(3, 30))
        kind = chance.choice((signal.SIGKILL, signal.SIGTERM))
        process.send_signal(kind)
        said, _ = process.communicate(timeout=600)
        hits += process.returncode != 0
        if "--unlock" in said:
            assert run_snakemake(folder, "--unlock").returncode == 0
    assert hits > 5
    done = run_snakemake(folder, *SMOKE)
    if "--unlock" in done.stdout + done.stderr:
        assert run_snakemake(folder, "--unlock").returncode == 0
        done = run_snakemake(folder, *SMOKE)
    assert done.returncode == 0, done.stderr[-4000:]
    ours, others = tables(folder), tables(finished[0])
    assert ours.keys() == others.keys()
    assert not [name for name in ours if ours[name] != others[name]]
    left = [path for path in folder.rglob(".*.tmp") if ".snakemake" not in path.parts and ".git" not in path.parts]
    assert not left
