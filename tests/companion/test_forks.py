import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from companion.common import forks

BEGIN = """\
import os, sys
__real_file__ = __file__; snakemake = None
known = "numpy" in sys.modules
from companion.common.job import job
"""


@pytest.fixture(scope="module")
def server():
    """A server for this module's scripts, which ends as a run's does."""
    with pytest.MonkeyPatch.context() as patch:
        ends = []
        patch.setattr(atexit, "register", ends.append)
        patch.setenv(forks.ADDRESS, "")
        forks.serve()
        address = os.environ[forks.ADDRESS]
        yield address
        ends[0]()
    assert not Path(address).parent.exists()


@pytest.fixture
def start(tmp_path, server):
    def started(text, **environment):
        """Start a script as Snakemake does."""
        script = tmp_path / "script.py"
        script.write_text(BEGIN + text, encoding="utf-8")
        given = os.environ | {"OMP_NUM_THREADS": "1", forks.ADDRESS: server} | environment
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-u", str(script)], cwd=tmp_path, env=given, **streams)

    return started


@pytest.mark.parametrize(("text", "status", "out", "err"), [
    ("print(os.getcwd(), sys.argv, os.environ['COLOUR'])", 0, "{0} ['{0}/script.py'] blue\n", ""),
    ("raise SystemExit('a line')", 1, "", "a line\n"),
    ("print('said', end=''); sys.exit(3)", 3, "said", ""),
    ("sys.stderr.write('x'); os.kill(os.getpid(), 9)", 137, "", "x"),
    ("with job('name', 'a/log'): raise FloatingPointError('psi')", 1, "", "name: psi\n"),
])  # fmt: skip
def test_a_script_ends_as_by_itself(start, tmp_path, text, status, out, err):
    process = start(text, COLOUR="blue")
    assert process.communicate() == (out.format(tmp_path), err)
    assert process.returncode == status


def test_an_unexpected_error_is_shown_where_it_was_raised(start):
    process = start("def inner():\n    raise KeyError('lam')\ninner()")
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.endswith("in inner\n    raise KeyError('lam')\nKeyError: 'lam'\n".replace("\\", ""))


@pytest.mark.parametrize(("environment", "shared"), [
    ({}, True), ({"OMP_NUM_THREADS": "2"}, False), ({forks.ADDRESS: "/nowhere"}, False),
])  # fmt: skip
def test_who_asks_for_threads_or_finds_no_server_runs_by_itself(start, environment, shared):
    process = start("print(os.getppid() != int(os.environ['ASKED']))", ASKED=str(os.getpid()), **environment)
    assert process.communicate() == (f"{shared}\n", "")


def test_where_no_socket_can_be_jobs_run_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    monkeypatch.delenv(forks.ADDRESS, raising=False)
    Path(tempfile.tempdir).mkdir()
    forks.serve()
    assert forks.ADDRESS not in os.environ
    assert not list(Path(tempfile.tempdir).iterdir())


def test_what_one_job_loads_the_next_finds_loaded(start):
    text = "print(known)\nimport numpy\nwith job('name', 'log'): pass"
    assert start(text).communicate()[0] == "False\n"
    said = {start(text).communicate()[0] for _ in range(10)}
    assert "True\n" in said


def test_a_job_whose_process_is_killed_ends_too(start, tmp_path):
    tidy = (
        "try:\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(60)\nfinally:\n    open('end', 'w').close()"
    )
    process = start(f"import time\n{tidy}")
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        time.sleep(0.05)
    assert (tmp_path / "end").is_file()
