import gzip
import hashlib
import socket
import time

import numpy as np
import pytest
import requests

from companion.data import mnist
from companion.data.datasets import resolve_dataset

IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.arange(4, dtype=np.int64)


def idx_bytes(array):
    magic = {3: 2051, 1: 2049}[array.ndim]
    header = b"".join(int(value).to_bytes(4, "big") for value in (magic, *array.shape))
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_mnist(monkeypatch):
    """Four small files, declared as the originals: name -> bytes."""
    contents = {
        name: gzip.compress(idx_bytes(IMAGES if "images" in name else LABELS), mtime=i)
        for i, name in enumerate(mnist.MNIST_FILES)
    }
    table = {name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in contents.items()}
    monkeypatch.setattr(mnist, "MNIST_FILES", table)
    return contents


@pytest.fixture
def fetched(monkeypatch, small_mnist):
    """Replace the download; the list holds the names asked for."""
    names = []

    def fetch(url, path, timeout):
        names.append(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_mnist[path.name])

    monkeypatch.setattr(mnist, "_fetch", fetch)
    return names


def put(contents, folder):
    (folder / "mnist").mkdir(parents=True)
    for name, raw in contents.items():
        (folder / "mnist" / name).write_bytes(raw)


# IDX


def zipped(content):
    """Without the time, which is in the name of a test and has to be the same in every process."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize("array", [IMAGES, LABELS])
def test_idx_round_trip(tmp_path, array):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    read = mnist.read_idx(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(("content", "fault"), [
    (zipped(b"\x00\x00\x08\x04" + idx_bytes(IMAGES)[4:]), "magic number 2052"), (zipped(b""), "magic number 0"),
    (zipped(idx_bytes(IMAGES)[:-1]), "truncated"), (zipped(idx_bytes(IMAGES)[:9]), "truncated"),
    (zipped(idx_bytes(IMAGES) + b"x"), "trailing bytes"), (zipped(idx_bytes(IMAGES))[:-9], "not a readable gzip"),
    (zipped(idx_bytes(IMAGES))[:-8] + b"\x00" * 8, "not a readable gzip"),
    (idx_bytes(IMAGES), "not a readable gzip"), (b"<html>\nNot found\n</html>", "not a readable gzip"),
    (None, "not a readable gzip"),
])  # fmt: skip
def test_idx_refusals(tmp_path, content, fault, refusal):
    path = tmp_path / "a.gz"
    if content is not None:
        path.write_bytes(content)
    message = refusal(mnist.read_idx, path)
    assert fault in message
    assert "a.gz" in message


# MNIST


def test_user_files_are_found(tmp_path, small_mnist, fetched):
    put(small_mnist, tmp_path)
    found = resolve_dataset("mnist", tmp_path, tmp_path / "cache", 0)
    np.testing.assert_array_equal(found.train.images, IMAGES)
    np.testing.assert_array_equal(found.test.labels, LABELS)
    assert found.record["source"] == "data_dir"
    assert fetched == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_user_file_with_wrong_sha256_is_refused_and_left(tmp_path, small_mnist, fetched, dataset, refusal):
    put(small_mnist, tmp_path)
    bad = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    same_size = small_mnist[bad.name][:-1] + b"\xff"
    bad.write_bytes(same_size)
    message = refusal(resolve_dataset, dataset, tmp_path, tmp_path / "cache", 0)
    assert bad.name in message
    assert "sha256" in message
    assert bad.read_bytes() == same_size
    assert fetched == []


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_incomplete_data_dir_is_refused(tmp_path, small_mnist, fetched, dataset, refusal):
    assert "train-images" in refusal(resolve_dataset, dataset, tmp_path, tmp_path / "cache", 0)
    put(small_mnist, tmp_path)
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    message = refusal(resolve_dataset, dataset, tmp_path, tmp_path / "cache", 0)
    assert "t10k-images" in message
    assert "train-images" not in message
    assert fetched == []


def test_corrupt_cached_file_is_fetched_again(tmp_path, small_mnist, fetched):
    put(small_mnist, tmp_path)
    bad = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    bad.write_bytes(b"half a fi")
    record = resolve_dataset("auto", None, tmp_path, 0).record
    assert record["source"] == "download"
    assert fetched == [bad.name]
    assert bad.read_bytes() == small_mnist[bad.name]
    assert resolve_dataset("auto", None, tmp_path, 0).record == record  # from the cache
    assert fetched == [bad.name]


def test_second_mirror_and_second_attempt(tmp_path, small_mnist, monkeypatch):
    calls = []

    def fetch(url, path, timeout):
        calls.append(url.rsplit("/", 1)[0])
        if "first" in url:
            raise requests.HTTPError("404")
        if calls.count("https://second") == 1:
            raise ValueError("checksum")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_mnist[path.name])

    monkeypatch.setattr(mnist, "_fetch", fetch)
    mnist.locate_mnist(None, tmp_path, ("https://first/", "https://second/"))
    assert calls == ["https://first"] * 2 + ["https://second"] * 5


def test_a_download_is_verified_before_it_takes_its_place(tmp_path, small_mnist, monkeypatch, refusal, response):
    served = dict.fromkeys(small_mnist, b"captive portal")

    def get(url, **options):
        return response(url, served[url.rsplit("/", 1)[1]])

    monkeypatch.setattr(requests, "get", get)
    message = refusal(mnist.locate_mnist, None, tmp_path, ("https://one/",), kind=mnist.DownloadError)
    assert "one (wrong sha256)" in message
    assert list((tmp_path / "mnist").iterdir()) == []
    served.update(small_mnist)
    for name, path in mnist.locate_mnist(None, tmp_path, ("https://one/",)).items():
        assert path.read_bytes() == small_mnist[name]


def test_silent_host_is_given_up(tmp_path, monkeypatch, refusal):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts and never speaks
        mirror = f"https://127.0.0.1:{server.getsockname()[1]}/"
        start = time.monotonic()
        refusal(mnist.locate_mnist, None, tmp_path, (mirror,), (0.2, 0.2), kind=mnist.DownloadError)
    assert time.monotonic() - start < 3


def test_http_is_refused(tmp_path, small_mnist, refusal):
    assert "https" in refusal(mnist.locate_mnist, None, tmp_path, ("http://localhost/",))
    assert all(mirror.startswith("https://") for mirror in mnist.MNIST_MIRRORS)
