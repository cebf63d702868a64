"""One process per arm, driven over pipes: the driver says "go", the arm answers with its time.

The driver holds a `Worker`; `python code/benchmarks/worker.py` is the other end. A message is one line of JSON. An arm
whose package is missing answers with {"missing": name}, one that fails with {"error": text}; neither ends the driver.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path

CALLS = {"kernel": "kernel_arms", "solve": "solver_arms", "train": "training_arms"}  # what is asked: module


class NotInstalled(Exception):
    """A peer's package is missing."""


def need(module: str):
    """Import a peer's module by name, or raise NotInstalled with the package's name."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalled(f"{module.partition('.')[0]} ({error})") from error


class Worker:
    """The driver's end: a process of its own, with its own threads and environment."""

    def __init__(self, threads: int, **environment: str) -> None:
        """Start the process on the first `threads` cores."""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        limits = dict.fromkeys(names, str(threads)) | {"BENCHMARK_THREADS": str(threads)}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | limits | environment,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def ask(self, message: dict, timeout: float) -> dict:
        """Send a message and wait for one answer."""
        self.tell(message)
        return self.hear(timeout)

    def tell(self, message: dict) -> None:
        """Send a message; to a process that ended, in vain."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def hear(self, timeout: float) -> dict:
        """Wait for one answer; a process that is late is ended, and the answer says so."""
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            self.close()
            return {"error": f"no answer within {timeout:.0f} s"}
        return json.loads(line) if line else {"error": f"the process ended: {self.last_words()}"}

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """Last line of the process's errors, or its exit code."""
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.wait(10)}"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


class Pipe:
    """The arm's end."""

    def __init__(self) -> None:
        """Keep the real output for answers; whatever else prints goes to the errors."""
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def receive(self) -> dict | None:
        """Read the next message; None when the driver is gone."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def send(self, answer: dict) -> None:
        """Answer."""
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()


def peak_mib() -> int:
    """Peak resident size of this process in MiB since the last reset."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20


def reset_peak() -> None:
    """Begin to count the peak anew, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def serve(pipe: Pipe) -> None:
    """Answer until the driver is gone."""
    threads = int(os.environ.get("BENCHMARK_THREADS", "2"))
    if hasattr(os, "sched_setaffinity"):  # some peers take every core they see
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    while (message := pipe.receive()) is not None:
        try:
            module = importlib.import_module(CALLS[message.pop("call")])
            module.answer(pipe, **message)
        except NotInstalled as error:
            pipe.send({"missing": str(error)})
        except Exception as error:
            traceback.print_exc()
            pipe.send({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})


if __name__ == "__main__":
    # Under its own name too, so that an arm's NotInstalled is the one caught here.
    sys.modules["worker"] = sys.modules["__main__"]
    serve(Pipe())
