import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from companion.data import run_adaptation_data, usps
from companion.data.adaptation_data import prepare_adaptation, to_rows
from companion.data.images import DataError, ImageSet, save_npz_atomic

ROOT = Path(__file__).resolve().parents[2]
MNIST_RECORD = {"name": "mnist", "source": "data_dir", "label": "MNIST"}
SIZES = {"train": 12, "test": 5}


def usps_pair():
    rng = np.random.default_rng(0)
    return tuple(ImageSet(rng.random((n, 16, 16), dtype=np.float32), np.arange(n) % 10) for n in SIZES.values())


@pytest.fixture
def usps_file(tmp_path, monkeypatch):
    """Write usps/usps.h5 in tmp_path, declared as whole."""
    monkeypatch.setattr(usps, "USPS_COUNTS", SIZES)
    path = tmp_path / "usps/usps.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for part, images in zip(SIZES, usps_pair(), strict=True):
            file[f"{part}/data"], file[f"{part}/target"] = images.images.reshape(-1, 256), images.labels
    return path


def mnist_pair(labels=True):
    rng = np.random.default_rng(1)
    return tuple(
        ImageSet(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n) % 10 if labels else None)
        for n in (7, 4)
    )


def test_prepared_arrays():
    pair = usps_pair()
    arrays = prepare_adaptation(mnist_pair(), pair)
    assert {name: array.shape for name, array in arrays.items()} == {
        "usps_train": (12, 256),
        "usps_train_labels": (12,),
        "usps_test": (5, 256),
        "usps_test_labels": (5,),
        "mnist_train": (7, 256),
        "mnist_train_labels": (7,),
        "mnist_test": (4, 256),
        "mnist_test_labels": (4,),
    }
    for name, array in arrays.items():
        assert array.dtype == (np.int64 if name.endswith("_labels") else np.float32)
        assert name.endswith("_labels") or np.abs(array).max() <= 1
    np.testing.assert_array_equal(arrays["usps_test"], 2 * pair[1].images.reshape(-1, 256) - 1)
    with pytest.raises(DataError, match="mnist's train images have no labels"):
        prepare_adaptation(mnist_pair(labels=False), pair)


def test_resizing_keeps_constants_and_orientation():
    images = np.zeros((4, 28, 28), np.uint8)
    images[1] = 255
    images[2, :14] = 255  # the upper half
    images[3, :, :14] = 255  # the left half
    dark, bright, upper, left = to_rows(ImageSet(images)).reshape(4, 16, 16)
    assert (dark == -1).all()
    np.testing.assert_allclose(bright, 1, rtol=0, atol=1e-6)
    assert (upper[:6] > 0.99).all()
    assert (upper[10:] < -0.99).all()
    np.testing.assert_allclose(left, upper.T, rtol=0, atol=1e-6)


# The script


@pytest.fixture
def prepare(tmp_path):
    """Call the script's function on a small MNIST: (record of the data set, data_dir) -> record, bytes written."""
    for name, images in zip(("train", "test"), mnist_pair(), strict=True):
        save_npz_atomic(tmp_path / f"{name}.npz", images)

    def call(dataset, data_dir):
        (tmp_path / "dataset.json").write_text(json.dumps(dataset))
        inputs = [tmp_path / name for name in ("train.npz", "test.npz", "dataset.json")]
        outputs = [tmp_path / "out" / name for name in ("adaptation.npz", "adaptation.json")]
        record = run_adaptation_data.prepare(*inputs, data_dir, tmp_path / "cache", *outputs)
        assert sorted(outputs[0].parent.iterdir()) == sorted(outputs)
        assert json.loads(outputs[1].read_text()) == record
        assert str(tmp_path) not in outputs[1].read_text()
        return record, [path.read_bytes() for path in outputs]

    return call


def test_script_writes_the_same_files_twice(tmp_path, usps_file, prepare, capsys):
    record, files = prepare(MNIST_RECORD, str(tmp_path))
    assert prepare(MNIST_RECORD, str(tmp_path)) == (record, files)
    assert record["not_run"] is None
    assert record["usps_source"] == "data_dir"
    assert record["counts"] == {"usps_train": 12, "usps_test": 5, "mnist_train": 7, "mnist_test": 4}
    with np.load(tmp_path / "out/adaptation.npz") as data:
        assert {name: hashlib.sha256(data[name].tobytes()).hexdigest() for name in data.files} == record["sha256"]
    assert capsys.readouterr().err == ""


def test_script_names_a_download(tmp_path, prepare, monkeypatch):
    monkeypatch.setattr(usps, "locate_libsvm", lambda cache_dir: dict.fromkeys(SIZES, cache_dir))
    monkeypatch.setattr(usps, "read_libsvm", lambda path, part: dict(zip(SIZES, usps_pair(), strict=True))[part])
    assert prepare(MNIST_RECORD, "")[0]["usps_source"] == "download"


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (MNIST_RECORD, "put usps.h5 in <data_dir>/usps"),
        ({"name": "digits", "source": "embedded", "label": "the digits"}, "data set is the digits, not MNIST"),
        ({"name": "mnist", "source": "file", "label": "mnist.npz (user file)"}, "mnist.npz (user file), not MNIST"),
    ],
)
def test_script_does_without(tmp_path, prepare, capsys, dataset, reason):
    record, _ = prepare(dataset, str(tmp_path))
    assert reason in record["not_run"]
    assert (record["usps_source"], record["sha256"], record["counts"]) == (None, {}, {})
    with np.load(tmp_path / "out/adaptation.npz") as data:
        assert data.files == []
    captured = capsys.readouterr()
    assert captured.err == f"ADAPTATION: no data ({record['not_run']})\n"
    assert captured.out == ""


def test_script_stops_at_a_bad_file(tmp_path, usps_file, prepare):
    with h5py.File(usps_file, "a") as file:
        file["test/target"][...] = np.arange(7, 12)
    with pytest.raises(DataError, match=r"usps\.h5.*range from 7 to 11"):
        prepare(MNIST_RECORD, str(tmp_path))
    assert not (tmp_path / "out").exists()
