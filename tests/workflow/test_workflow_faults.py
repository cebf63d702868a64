"""What can befall the workflow: a second one, an odd place, a bare environment. The end is always the same."""

import signal
import sys
import time

import pytest
from whole_runs import SMOKE, start, tables


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
    first = start(folder, clean_environment(), "results/data/train.npz", *SMOKE)
    try:
        while not list((folder / ".snakemake/locks").glob("*")):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        second = run_snakemake(folder, "results/data/train.npz", *SMOKE)
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.returncode != 0
    assert "--unlock" in second.stdout + second.stderr
    first.communicate(timeout=300)
    assert first.returncode == 0
