"""Short jobs as forks of one process that has loaded the libraries, which takes longer than most of these jobs.

Snakemake's main process starts the server with the run (`serve`). A job's process that asks for one thread hands its
script over at the import of `companion.common.job` and ends as that ends (`hand_over`); without a server it goes on by
itself. The server loads at first nothing: it learns from its forks which of LIBRARIES are in use (`learn`), and loads
them for those to come. The project's own modules are read anew by every job.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from socketserver import BaseRequestHandler, ForkingMixIn, UnixStreamServer

ADDRESS = "OTGRAD_FORKS"  # where the server listens: of this machine, and for the length of a run
LIBRARIES = ("numpy", "torch", "torch._dynamo", "matplotlib.pyplot", "ot", "scipy.stats", "jupytext", "nbconvert")
KILLED = 128 + signal.SIGKILL  # what a shell calls it
GRACE = 5  # seconds in which a job that is stopped may tidy up
_learned: list[int] = []  # in a fork: where to write what it has loaded


def serve() -> None:
    """Start the server of this run; it ends with this process, once its jobs have ended.

    Where there can be none, each job goes on by itself.
    """
    if not sys.platform.startswith("linux"):  # elsewhere the system's own libraries do not survive a fork
        return
    folder = tempfile.mkdtemp(prefix="otgrad-")
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(f"{folder}/jobs")
        except OSError:  # such as a TMPDIR of more than about a hundred letters
            os.rmdir(folder)
            return
        listening.listen(128)
        command = [sys.executable, "-P", "-m", __name__, folder, str(listening.fileno())]
        given = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=given, pass_fds=[listening.fileno()], start_new_session=True
        )
    os.environ[ADDRESS] = f"{folder}/jobs"
    atexit.register(server.communicate)  # closes its stdin, by which it knows, and waits


def hand_over() -> None:
    """Let the server run this process's script, and end as it ends; return where there is no server, or no script."""
    if _learned or not hasattr(sys.modules["__main__"], "snakemake"):
        return
    if ADDRESS not in os.environ or os.environ.get("OMP_NUM_THREADS") != "1":
        return
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(os.environ[ADDRESS])
        except OSError:
            return
        told = json.dumps({"script": sys.argv[0], "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
        socket.send_fds(server, [len(told).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(told)
        status = server.recv(1)
    os._exit(status[0] if status else KILLED)


def learn() -> None:
    """In a fork: tell the server which libraries this job has loaded."""
    if _learned:
        os.write(_learned[0], "".join(f"{name}\n" for name in LIBRARIES if name in sys.modules).encode())


class Server(ForkingMixIn, UnixStreamServer):
    """Forks at every connection, until stdin is closed."""

    max_children = 1 << 10

    def __init__(self, listening: socket.socket) -> None:
        """Take a socket that listens already, so that no job comes too early."""
        super().__init__("", Job, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.known, self.learned = os.pipe()

    def service_actions(self) -> None:
        """Load what the jobs have learned; end where nobody holds stdin any more."""
        super().service_actions()
        ready, _, _ = select.select([0, self.known], [], [], 0)
        if self.known in ready:
            for name in os.read(self.known, select.PIPE_BUF).decode().split():
                with suppress(Exception):  # then each job says so itself
                    importlib.import_module(name)
            gc.freeze()
        if 0 in ready:
            threading.Thread(target=self.shutdown).start()  # which waits for the loop that calls this


class Job(BaseRequestHandler):
    """One script, in a process of its own."""

    server: Server  # type: ignore[assignment]

    def handle(self) -> None:
        """Run it as `python -u script` would, with the folder, environment and streams of who asked."""
        size, streams, _, _ = socket.recv_fds(self.request, 4, 3)
        with self.request.makefile("rb") as stream:
            told = json.loads(stream.read(int.from_bytes(size, "big")))
        os.setpgid(0, 0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(told["folder"])
        os.environ.clear()
        os.environ.update(told["environment"])
        _learned.append(self.server.learned)
        threading.Thread(target=_end_with, args=[self.request], daemon=True).start()
        self.request.sendall(bytes([_status(told["script"])]))
        os._exit(0)


def _end_with(request: socket.socket) -> None:
    """Stop this job, and what it has started, when the process that asked for it is gone."""
    request.recv(1)
    os.killpg(0, signal.SIGINT)
    threading.Event().wait(GRACE)
    os.killpg(0, signal.SIGKILL)


def _status(script: str) -> int:
    """Run a script; return what its process would end with."""
    sys.argv = [script]
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    importlib.invalidate_caches()
    try:
        runpy.run_path(script, run_name="__main__")
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 255
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main(folder: str, listening: str) -> None:
    """Serve until the run has ended."""
    import companion.common.forks as shared  # by its name, as the jobs' modules find it

    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # as run_notebook does, for it
    with shared.Server(socket.socket(fileno=int(listening))) as server:
        server.serve_forever()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
