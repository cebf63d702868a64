import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environment(**extra):
    """The environment without what would steer the workflow, so that the embedded digits are used; a kernel stays."""
    dropped = {key for key in os.environ if key.startswith("OTGRAD_")} - {"OTGRAD_KERNEL"}
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return kept | {"OTGRAD_CACHE_DIR": "no-cache", "OMP_NUM_THREADS": "1"} | extra


def snakemake(folder, *arguments, **extra):
    """Run Snakemake in a folder and return the finished process, output as text."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=1200, check=False
    )


def forked(folder, *arguments, **extra):
    """The same from a fork of this process, which loads Snakemake once: that takes longer than most dry runs."""
    sys.modules.setdefault("rfc3987_syntax", None)  # see common.smk
    from snakemake import cli

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            in_the_fork(lambda: cli.main(["--cores", "2", *arguments]), folder, environment(**extra), out, err)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [stream.seek(0) or stream.read() for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, status, *texts)


def in_the_fork(main, folder, variables, out, err):
    """Run a program with nothing of pytest around it, as if it had been started, and end."""
    status = 1
    try:
        signal.alarm(1200)  # kills
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        for number, target in enumerate((os.open(os.devnull, os.O_RDONLY), out.fileno(), err.fileno())):
            os.dup2(target, number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.modules["snakemake.shell"].STDOUT = None  # of its jobs: pytest's, since it was loaded there
        logging.getLogger().handlers.clear()
        warnings.resetwarnings()
        main()
    except SystemExit as end:  # as Python ends
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stderr.write(end.code if isinstance(end.code, str) else "")
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def copy_of_the_project(folder):
    """Copy the tracked files, as they are in the working tree, into a git repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "copy"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy in which nothing was run."""
    return copy_of_the_project(tmp_path_factory.mktemp("otgrad"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy in which the smoke preset was run to its end, and what the run printed."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("otgrad-run"))
    return folder, snakemake(folder, "--config", "preset=smoke", "dataset=digits")


@pytest.fixture(scope="session")
def copy_project():
    """Copy the project into a folder, as a git repository of its own: (folder) -> folder."""
    return copy_of_the_project


@pytest.fixture(scope="session")
def run_snakemake():
    """Run Snakemake in a folder: (folder, *arguments, **environment) -> finished process."""
    return forked


@pytest.fixture(scope="session")
def clean_environment():
    """Make the environment the copies run in."""
    return environment
