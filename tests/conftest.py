"""What holds for all tests: one thread, compiled sources kept, who runs beside whom, and what is kept of a run."""

import os

import pytest
from record import Record

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All that look at the finished smoke run go to one process, which begins with them; others by file."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("smoke" if "finished" in item.fixturenames else item.path.stem))
    items.sort(key=lambda item: "finished" not in item.fixturenames)
