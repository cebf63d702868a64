"""The workflow killed again and again. The end is always the same."""

import random
import signal
import time

import pytest
from whole_runs import SMOKE, start, tables

# How jobs are begun, and leave their files whole; not what each of them computes.
TOUCHED_BY = (
    "Snakefile",
    "code/companion/common/common.smk",
    "profiles/default",
    "code/companion/common/files.py",
    "code/companion/algorithms/checkpoints.py",
)


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
