import io
import json
import time
import zipfile

import numpy as np
import pytest

from companion.common.files import replacing, write_json
from companion.data.images import ImageSet, load_digits, load_npz, save_npz_atomic, split_holdout

IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.arange(4, dtype=np.int64)


# Digits, units and the split


def test_digits():
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.float32
    assert (digits.images.min(), digits.images.max()) == (0, 1)
    assert digits.labels.dtype == np.int64
    assert set(digits.labels) == set(range(10))


def test_to_unit():
    rows = ImageSet(np.array([[[0, 255, 51]]], dtype=np.uint8)).to_unit()
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0, 1, 0.2]], rtol=1e-6)
    floats = np.array([[[0.0, 1.0], [0.25, 0.5]]])
    assert floats.dtype == np.float64
    np.testing.assert_array_equal(ImageSet(floats).to_unit(), np.float32([[0, 1, 0.25, 0.5]]))


@pytest.mark.parametrize(("n", "expected"), [(2, 1), (3, 1), (20, 3), (100, 15), (1797, 270)])
def test_split_is_a_partition(n, expected):
    images = ImageSet(np.arange(n, dtype=np.float32).reshape(n, 1, 1) / n, np.arange(n))
    train, test = split_holdout(images, 0.15, seed=3)
    assert len(test.images) == expected
    assert sorted([*train.labels, *test.labels]) == list(range(n))
    for part in (train, test):
        np.testing.assert_array_equal(part.images[:, 0, 0], np.float32(part.labels / n))


def test_split_follows_the_seed_alone():
    images = ImageSet(np.zeros((50, 1, 1)), np.arange(50))
    first, again, other = (split_holdout(images, 0.15, seed)[1].labels for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    np.testing.assert_array_equal(first, np.random.default_rng(1).permutation(50)[-8:])


@pytest.mark.parametrize(("n", "fraction"), [(1, 0.15), (10, 0.0), (10, 1.0), (10, float("nan"))])
def test_split_refusals(n, fraction):
    with pytest.raises(ValueError, match="hold out"):
        split_holdout(ImageSet(np.zeros((n, 1, 1))), fraction, 0)


# A user's file

GOOD = np.linspace(0, 1, 24).reshape(4, 2, 3)


def damaged_archive():
    buffer = io.BytesIO()
    np.savez(buffer, images=GOOD)
    raw = bytearray(buffer.getvalue())
    raw[250] ^= 0xFF  # inside the array, after its header: the CRC of the member no longer fits
    return bytes(raw)


def archive_of_text():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images", "no array")
    return buffer.getvalue()


BAD_FILES = {
    "absent": (None, "no such file"),
    "empty": (b"", "not an .npz"),
    "text": (b"images\n1 2 3\n", "not an .npz"),
    "single array": (b"\x93NUMPY\x01\x00", "not an .npz"),
    "damaged": (damaged_archive(), "cannot be read"),
    "zip without arrays": (archive_of_text(), "give (n, h, w)"),
    "other key": ({"x": GOOD, "y_train": LABELS}, "['x', 'y_train']"),
    "flat": ({"images": GOOD.reshape(4, 6)}, "shape (4, 6)"),
    "colour": ({"images": np.zeros((4, 2, 3, 3))}, "shape (4, 2, 3, 3)"),
    "none": ({"images": GOOD[:0]}, "at least 2 images"),
    "one": ({"images": GOOD[:1]}, "at least 2 images"),
    "no pixels": ({"images": GOOD[:, :0]}, "at least 1 pixel"),
    "objects": ({"images": np.array([[[None]], [[{}]]], dtype=object)}, "cannot be read"),
    "int64": ({"images": IMAGES.astype(np.int64)}, "dtype int64"),
    "bool": ({"images": IMAGES > 3}, "dtype bool"),
    "complex": ({"images": GOOD.astype(complex)}, "dtype complex128"),
    "0 to 255 as float": ({"images": IMAGES.astype(np.float32)}, "range over [0, 23]"),
    "negative": ({"images": GOOD - 0.5}, "range over [-0.5, 0.5]"),
    "nan": ({"images": np.where(GOOD > 0.9, np.nan, GOOD)}, "not finite"),
    "inf": ({"images": np.where(GOOD > 0.9, np.inf, GOOD)}, "not finite"),
    "black": ({"images": np.zeros((4, 2, 3), dtype=np.uint8)}, "zero everywhere"),
    "few labels": ({"images": GOOD, "labels": LABELS[:3]}, "(4,)"),
    "one-hot labels": ({"images": GOOD, "labels": np.eye(4, dtype=int)}, "labels are int64 of shape (4, 4)"),
    "float labels": ({"images": GOOD, "labels": LABELS + 0.5}, "float64"),
    "test of another size": ({"images": GOOD, "test_images": GOOD[:, :1]}, "height or width"),
    "bad test": ({"images": GOOD, "test_images": GOOD * 2}, "test_images range"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_npz_refusals(tmp_path, case, refusal):
    content, fault = BAD_FILES[case]
    path = tmp_path / "mine.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    message = refusal(load_npz, path)
    assert fault in message
    assert "mine.npz" in message


@pytest.mark.parametrize("images", [IMAGES, GOOD, GOOD.astype(">f4"), GOOD.astype(np.float16)])
def test_npz_is_read(tmp_path, images):
    path = tmp_path / "mine.npz"
    np.savez(path, images=images, labels=LABELS.astype(np.uint8), note=np.array({"any": "thing"}))
    train, test = load_npz(path)
    assert test is None
    assert train.images.dtype == (np.uint8 if images is IMAGES else np.float32)
    np.testing.assert_array_equal(train.images, images.astype(train.images.dtype))
    assert train.labels.dtype == np.int64


# Writing


def test_written_bytes_depend_on_the_arrays_alone(tmp_path, monkeypatch):
    paths = [tmp_path / "a" / "x.npz", tmp_path / "b" / "y.npz"]
    save_npz_atomic(paths[0], ImageSet(IMAGES, LABELS))
    later = time.time() + 86400 * 400
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(later))
    save_npz_atomic(paths[1], ImageSet(IMAGES, LABELS))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_labels_are_omitted_when_there_are_none(tmp_path):
    save_npz_atomic(tmp_path / "x.npz", ImageSet(IMAGES))
    with np.load(tmp_path / "x.npz") as archive:
        assert archive.files == ["images"]


def test_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def write():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_and_whole(tmp_path):
    path = tmp_path / "new" / "x.json"
    write_json(path, {"b": [1], "a": {"d": None, "c": "é"}})
    written = path.read_bytes()
    assert json.loads(written) == {"a": {"c": "é", "d": None}, "b": [1]}
    write_json(path, {"a": {"c": "é", "d": None}, "b": [1]})
    assert path.read_bytes() == written
    assert written.startswith(b'{\n  "a": {\n    "c":')
    assert written.endswith(b"\n}\n")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == written
    assert list(path.parent.iterdir()) == [path]
