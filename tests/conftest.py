"""What holds for all tests: one thread, compiled sources kept, who runs beside whom, and what is kept of a run."""

import os
import re
from functools import cache

from record import ROOT, Record
from xdist.scheduler import LoadScopeScheduling

# One thread: small tensors gain nothing from more, and a busy machine loses much at every barrier.
os.environ["OMP_NUM_THREADS"] = "1"
# Else every process that a test starts compiles PyTorch's sources again: 2 to 5 s each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser):
    parser.addoption(
        "--keep-times", action="store_true", help="write the core seconds of each file to tests/times.json"
    )


def pytest_configure(config):
    config.pluginmanager.register(Record(config), "record")


class ByFile(LoadScopeScheduling):
    """A file goes to one process, which makes its fixtures once; all that look at a finished run go to the same."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return "smoke" if looks_at_the_finished_run(file) else file


@cache
def looks_at_the_finished_run(file):
    return re.search(r"\bfinished\b", (ROOT / file).read_text(encoding="utf-8")) is not None


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """Begin with the smoke run, which takes longest."""
    items.sort(key=lambda item: "finished" not in item.fixturenames)
