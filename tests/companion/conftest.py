"""What the tests of the images, of MNIST and of the data sets share."""

import io
import socket
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from refusals import refused

from companion.algorithms.checkpoints import CheckpointFolder
from companion.data import mnist
from companion.data.images import DataError


@pytest.fixture
def refusal():
    """Give a function that calls another and returns the one-line message of its refusal."""

    def call(function, *args, kind=DataError):
        message = refused(function, *args, kind=kind)
        assert ";" in message or ": give" in message, f"no remedy in: {message}"
        return message

    return call


@pytest.fixture
def response():
    """Give the stand-in of a host's answer: (url, content) -> what requests.get would give."""

    def answer(url, content):
        stream = io.BytesIO(content)
        raw = SimpleNamespace(read1=lambda size, decode_content: stream.read1(size))
        return nullcontext(SimpleNamespace(url=url, history=[], raise_for_status=lambda: None, raw=raw))

    return answer


@pytest.fixture
def folder(tmp_path):
    """Give an empty checkpoint folder per name."""

    def make(name):
        (tmp_path / name).mkdir()
        return CheckpointFolder(tmp_path / name)

    return make


@pytest.fixture
def unreachable(monkeypatch):
    """Two mirrors on a loopback port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    mirrors = (f"https://127.0.0.1:{port}/mnist/", f"https://localhost:{port}/mnist/")
    monkeypatch.setattr(mnist, "MNIST_MIRRORS", mirrors)
    return mirrors
