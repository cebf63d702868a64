"""Checkpoints that survive a kill, a loss of power and a full disk, and that no damage gets past.

A file is one line, `otgrad checkpoint <format> <sha256>`, and what torch.save wrote. The one before is kept beside the
newest: where the newest is damaged training goes on from that, and says so.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from companion.algorithms.runs import CHECKPOINT_FORMAT, RunError

_MAGIC = "otgrad checkpoint"


@dataclass(frozen=True)
class CheckpointFolder:
    """One folder per run and configuration, held under a lock by the process that trains.

    The folder lies outside the workflow's outputs, because Snakemake deletes the outputs of a failed job.
    """

    path: Path

    @property
    def newest(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoint.pt"

    @property
    def previous(self) -> Path:
        """The one before it."""
        return self.path / "previous.pt"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock; the operating system frees it when the process dies, however it dies.

        A folder that holds no checkpoint at the end, as after a finished training, is removed.

        Raises:
            RunError: if another process holds it.
        """
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            with self._gate():
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except Timeout:
            raise RunError(
                f"{self.path}: another process is training this run; wait for it or stop it, then start again"
            ) from None
        try:
            yield
        finally:
            with self._gate():
                lock.release()
                self._remove_if_empty()

    def _gate(self) -> FileLock:
        """Lock of all folders beside, held for a moment: nobody opens a lock's file while another removes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.parent / ".lock")

    def _remove_if_empty(self) -> None:
        if {path.name for path in self.path.glob("*")} <= {"lock"}:
            (self.path / "lock").unlink(missing_ok=True)
            self.path.rmdir()

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; a kill at any moment leaves a whole checkpoint, a full disk the ones that were there.

        Raises:
            OSError: if the disk is full or the folder cannot be written to.
        """
        content = io.BytesIO()
        torch.save(state, content)
        line = f"{_MAGIC} {CHECKPOINT_FORMAT} {hashlib.sha256(content.getbuffer()).hexdigest()}\n"
        part = self.newest.with_suffix(".part")
        try:
            with part.open("wb") as stream:
                stream.write(line.encode())
                stream.write(content.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
            if self.newest.exists():
                self.newest.replace(self.previous)
            part.replace(self.newest)
        finally:
            part.unlink(missing_ok=True)
        self._sync()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Read the last checkpoint that is whole, or None if there is none. No code in a file is run.

        A damaged file is named in a warning and left out.

        Raises:
            RunError: if there are files and none can be used, or one is of another version.
        """
        faults = []
        for file in (self.newest, self.previous):
            if not file.exists():
                continue
            try:
                state = _read(file, device)
            except _Damaged as fault:
                faults.append(f"{file}: {fault}")
                continue
            if faults:
                warnings.warn(f"{faults[0]}; going on from {file.name}, of step {state.get('step')}", stacklevel=2)
            return state
        if faults:
            raise RunError(f"{'; '.join(faults)}; delete the folder to start again")
        return None

    def clear(self) -> None:
        """Delete the checkpoints of a run whose results are safely written."""
        for file in (self.newest, self.previous):
            file.unlink(missing_ok=True)

    def _sync(self) -> None:
        """Make the new names last through a loss of power, where the system can."""
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class _Damaged(Exception):
    pass


def _read(file: Path, device: torch.device) -> dict[str, Any]:
    line, _, content = file.read_bytes().partition(b"\n")
    words = line.decode("ascii", "replace").split(" ")
    if len(words) != 4 or " ".join(words[:2]) != _MAGIC:
        raise _Damaged("no checkpoint, or one that has lost its first line")
    if words[2] != str(CHECKPOINT_FORMAT):
        raise RunError(
            f"{file}: of format {words[2][:20]}, this version reads {CHECKPOINT_FORMAT}; delete it to start again"
        )
    if hashlib.sha256(content).hexdigest() != words[3]:
        raise _Damaged("damaged: its content is not what was written")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise _Damaged(f"cannot be read ({reason})") from error
    return state
