"""The frame around a script's work: expected failures become one line, everything goes to the job's log."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from companion.common import forks

forks.hand_over()  # scripts import this first: what they load besides takes longer than many of them

_EXPECTED = (
    *("ConfigError", "DataError", "DownloadError", "DeviceError", "RunError", "ProcessLost", "SentenceError"),
    *("FloatingPointError", "OSError", "MemoryError"),
)
_REMEDIES = {
    "OutOfMemoryError": "out of memory on the GPU: use a smaller batch_size or n_train, or device=cpu",
    "MemoryError": "out of memory: use a smaller batch_size or n_train",
}


@contextmanager
def job(name: str, log: str | Path) -> Iterator[None]:
    """Write to `log` how the job ended, with its core seconds; turn an expected error into SystemExit with one line.

    Args:
        name: what the line begins with, such as the rule's name.
        log: file to (over)write.

    Raises:
        SystemExit: for bad data, a run that cannot start, a number that is not finite, a full disk, out of memory.
    """
    forks.learn()
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        yield
    except Exception as error:
        log.write_text(traceback.format_exc(), encoding="utf-8")
        kinds = [kind.__name__ for kind in type(error).__mro__]
        remedy = next((text for kind, text in _REMEDIES.items() if kind in kinds), None)
        if remedy or any(kind in _EXPECTED for kind in kinds):
            raise SystemExit(f"{name}: {remedy or ' '.join(str(error).split())}") from None
        raise
    spent = time.perf_counter() - start, time.process_time()
    log.write_text("{}: done in {:.1f} s, {:.1f} core s\n".format(name, *spent), encoding="utf-8")
