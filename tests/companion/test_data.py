import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from companion.data import mnist, run_data
from companion.data.datasets import RETRY_COMMAND, expected_images, resolve_dataset

IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def test_unwritable_cache_is_not_a_failed_download(tmp_path, unreachable, refusal):
    (tmp_path / "cache").write_text("a file")
    message = refusal(resolve_dataset, "auto", None, tmp_path / "cache", 0)
    assert "cache" in message


def test_mnist_out_of_reach_names_hosts_and_remedy(tmp_path, unreachable, refusal):
    start = time.monotonic()
    message = refusal(resolve_dataset, "mnist", None, tmp_path, 0)
    assert time.monotonic() - start < 60  # generous: a busy machine, not a benchmark
    for part in ("127.0.0.1", "localhost", "<data_dir>/mnist", "OTGRAD_DATA_DIR"):
        assert part in message
    assert refusal(mnist.locate_mnist, None, tmp_path, unreachable, 1.0, kind=mnist.DownloadError) == message


def test_auto_falls_back_to_digits(tmp_path, unreachable):
    start = time.monotonic()
    found = resolve_dataset("auto", None, tmp_path, 0)
    assert time.monotonic() - start < 60  # generous: a busy machine, not a benchmark
    record = found.record
    assert record["name"] == "digits"
    assert record["label"] == "scikit-learn 8x8 digits (MNIST could not be had)"
    assert "127.0.0.1" in record["fallback_reason"]
    assert record["retry"] == "OTGRAD_DATA_DIR=/path/to/data uv run snakemake --cores all"
    assert str(tmp_path) not in json.dumps(record)
    np.testing.assert_array_equal(found.train.images, resolve_dataset("digits", None, tmp_path, 0).train.images)


def test_real_mnist(tmp_path):
    folder = os.environ.get("OTGRAD_DATA_DIR")
    if not folder:
        pytest.skip("OTGRAD_DATA_DIR is not set; set it to a folder that holds mnist/*.gz")
    found = resolve_dataset("mnist", Path(folder), tmp_path, 0)
    assert found.train.images.shape == (60000, 28, 28)
    assert found.test.images.shape == (10000, 28, 28)
    for part, images in (("train", found.train), ("test", found.test)):
        assert np.bincount(images.labels).tolist() == MNIST_COUNTS[part]
    assert found.record["label"] == "MNIST"
    assert found.record["shape"] == [28, 28]
    np.testing.assert_allclose(found.test.to_unit().mean(dtype=np.float64), 0.1325, atol=5e-5)


def test_digits_record(tmp_path):
    record = resolve_dataset("digits", None, tmp_path, 0).record
    assert record["label"] == "scikit-learn 8x8 digits"
    assert record["source"] == "embedded"
    assert record["n_train"] + record["n_test"] == 1797
    assert record["fallback_reason"] is None
    assert record["retry"] is None


def test_npz_record_names_the_file_but_no_folder(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, images=IMAGES, test_images=IMAGES[:2])
    found = resolve_dataset(str(path), None, tmp_path, 0)
    assert found.train.labels is None
    assert len(found.test.images) == 2
    assert found.record == {
        "name": "mine",
        "label": "mine.npz (user file)",
        "source": "file",
        "sha256": {
            "train": hashlib.sha256(IMAGES.tobytes()).hexdigest(),
            "test": hashlib.sha256(IMAGES[:2].tobytes()).hexdigest(),
        },
        "n_train": 4,
        "n_test": 2,
        "shape": [2, 3],
        "fallback_reason": None,
        "retry": None,
    }


def test_unknown_dataset(tmp_path, refusal):
    assert "'cifar'" in refusal(resolve_dataset, "cifar", None, tmp_path, 0)


def test_npz_fault_is_passed_on(tmp_path, refusal):
    assert "no such file" in refusal(resolve_dataset, str(tmp_path / "mine.npz"), None, tmp_path, 0)


def test_script_writes_the_same_files_twice(tmp_path, capsys):
    runs = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        paths = [folder / name for name in ("train.npz", "test.npz", "record.json")]
        record = run_data.prepare("digits", "", tmp_path, 5, *paths)
        assert json.loads(paths[2].read_text()) == record
        assert sorted(folder.iterdir()) == sorted(paths)
        runs.append([path.read_bytes() for path in paths])
    assert runs[0] == runs[1]
    assert capsys.readouterr().err == ""


def test_script_announces_the_fallback(tmp_path, capsys, unreachable):
    record = run_data.prepare("auto", None, tmp_path, 5, *(tmp_path / name for name in ("a.npz", "b.npz", "c.json")))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert record["fallback_reason"] in captured.err
    assert record["retry"] in captured.err


HELD = {"label": "MNIST", "fallback_reason": None, "retry": None}
MISSED = {"label": "digits (MNIST could not be had)", "fallback_reason": "no host", "retry": RETRY_COMMAND}


@pytest.mark.parametrize(
    ("dataset", "data_dir", "record", "text"),
    [
        ("auto", "", HELD, "MNIST, there already"),
        ("auto", "", MISSED, f"digits (MNIST could not be had), since no host; to retry: {RETRY_COMMAND}"),
        ("digits", "/a", None, "scikit-learn 8x8 digits, as asked"),
        ("auto", "/a", None, "MNIST from data_dir, /a"),
        ("some/where/mine.npz", "/a", None, "mine.npz, a file of your own"),
        ("mnist", "", None, "MNIST, to be downloaded; if that fails the run stops"),
        ("auto", "", None, "MNIST, to be downloaded; if that fails scikit-learn 8x8 digits stand in"),
    ],
)
def test_the_images_are_told_beforehand_without_a_network(tmp_path, dataset, data_dir, record, text):
    found = expected_images(dataset, data_dir, tmp_path, record)
    assert found in (text, f"{text} (no network: {RETRY_COMMAND}, with mnist/*.gz there)")


def test_earlier_downloads_are_told_of(tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in mnist.MNIST_FILES:
        (tmp_path / "mnist" / name).write_text("")
    assert expected_images("auto", "", tmp_path, None) == f"MNIST from earlier downloads, {tmp_path}"
