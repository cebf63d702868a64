import bz2
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import requests

from companion.data import usps
from companion.data.downloads import DownloadError
from companion.data.images import DataError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/data/usps/usps.h5"
REAL_COUNTS = {
    "train": [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
    "test": [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
}
PARTS = {"train": 12, "test": 5}


@pytest.fixture(autouse=True)
def small_usps(monkeypatch):
    """Declare a USPS of a few images: field -> array."""
    monkeypatch.setattr(usps, "USPS_COUNTS", PARTS)
    rng = np.random.default_rng(0)
    fields = {}
    for part, n in PARTS.items():
        thousandths = rng.integers(0, 2001, (n, 256))
        fields[f"{part}/data"] = (thousandths / 2000).astype(np.float32)
        fields[f"{part}/target"] = (np.arange(n) % 10).astype(np.int32)
    return fields


def write_h5(path, fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in fields.items():
            if array is not None:
                file[name] = array
    return path


def libsvm_line(pixels, digit):
    """The values that are 0 on the scale from -1 to 1 left out, as sparse files may."""
    pairs = [f"{i}:{2 * float(v) - 1:.3f}" for i, v in enumerate(pixels, start=1) if v != 0.5]
    return " ".join([str(digit + 1), *pairs]) + "\n"


def libsvm_bytes(fields, part):
    lines = map(libsvm_line, fields[f"{part}/data"], fields[f"{part}/target"])
    return bz2.compress("".join(lines).encode())


# usps.h5


def test_h5_is_read(tmp_path, small_usps):
    write_h5(tmp_path / "usps/usps.h5", small_usps)
    for part, images in zip(PARTS, usps.load_usps(tmp_path, tmp_path / "cache"), strict=True):
        assert images.images.shape == (PARTS[part], 16, 16)
        assert images.images.dtype == np.float32
        assert images.labels.dtype == np.int64
        np.testing.assert_array_equal(images.images.reshape(-1, 256), small_usps[f"{part}/data"])
        np.testing.assert_array_equal(images.labels, small_usps[f"{part}/target"])
    assert not (tmp_path / "cache").exists()


def test_no_h5_is_no_fault(tmp_path, refusal):
    message = refusal(usps.load_usps, tmp_path, tmp_path / "cache", kind=DownloadError)
    assert "put usps.h5 in <data_dir>/usps" in message
    assert str(tmp_path) not in message


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("train/data", lambda a: None, "no data set train/data"),
        ("test/target", lambda a: None, "no data set test/target"),
        ("train/data", lambda a: a[:-1], "has shape (11, 256), not 12 rows"),
        ("train/data", lambda a: a[0, 0], "has shape (), not 12 rows"),
        ("test/data", lambda a: a[:, :-1], "of shape (5, 255), not float32 of shape (5, 256)"),
        ("test/data", lambda a: a.reshape(-1, 16, 16), "of shape (5, 16, 16)"),
        ("train/data", lambda a: (255 * a).astype(np.uint8), "are uint8"),
        ("train/data", lambda a: a.astype(np.float64), "are float64"),
        ("train/data", lambda a: np.full(len(a), "text", dtype="S4"), "are |S4"),
        ("train/data", lambda a: 2 * a - 1, "pixels range over [-"),
        ("test/data", lambda a: changed(a, (0, 0), 1.5), "1.5], not [0, 1]"),
        ("test/data", lambda a: changed(a, (0, 0), np.nan), "not finite"),
        ("test/data", lambda a: 0 * a, "zero everywhere"),
        ("train/target", lambda a: a[:-1], "has shape (11,), not 12 rows"),
        ("train/target", lambda a: a[:, None], "of shape (12, 1), not integers"),
        ("train/target", lambda a: a.astype(np.float32), "are float32"),
        ("train/target", lambda a: a + 1, "range from 1 to 10, not 0 to 9"),
        ("test/target", lambda a: a - 1, "range from -1 to 3, not 0 to 9"),
    ],
)
def test_h5_refusals(tmp_path, small_usps, refusal, name, change, fault):
    path = write_h5(tmp_path / "usps/usps.h5", small_usps | {name: change(small_usps[name])})
    message = refusal(usps.load_usps, tmp_path, tmp_path)
    assert message.startswith(f"{path}: ")
    assert name.partition("/")[0] in message
    assert fault in message
    assert "replace it" in message


def test_h5_with_a_data_set_for_a_group(tmp_path, small_usps, refusal):
    del small_usps["train/data"], small_usps["train/target"]
    path = write_h5(tmp_path / "usps.h5", small_usps | {"train": np.zeros(3)})
    assert "no data set train/data" in refusal(usps.read_h5, path)


def test_unreadable_h5_is_a_fault_not_an_absence(tmp_path, small_usps, refusal):
    path = tmp_path / "usps/usps.h5"
    whole = write_h5(path, small_usps).read_bytes()
    for content in (b"", b"<html>\nNot found\n</html>", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            usps.load_usps(tmp_path, tmp_path)
        assert not isinstance(caught.value, DownloadError)
        assert "not a readable HDF5 file" in str(caught.value)
    path.unlink()
    path.mkdir()
    assert "not a readable HDF5 file" in refusal(usps.load_usps, tmp_path, tmp_path)
    path.rmdir()
    path.symlink_to("gone.h5")
    assert "not a readable HDF5 file" in refusal(usps.load_usps, tmp_path, tmp_path)


# LIBSVM


def test_libsvm_is_the_same_data(tmp_path, small_usps):
    small_usps["train/data"][0, 3:9] = 0.5
    for part in PARTS:
        path = tmp_path / usps.USPS_FILES[part][0]
        path.write_bytes(libsvm_bytes(small_usps, part))
        images = usps.read_libsvm(path, part)
        assert images.images.dtype == np.float32
        np.testing.assert_allclose(images.images.reshape(-1, 256), small_usps[f"{part}/data"], rtol=0, atol=1e-7)
        np.testing.assert_array_equal(images.labels, small_usps[f"{part}/target"])


@pytest.mark.parametrize(("line", "fault"), [
    ("1 0:1", "Invalid index 0"), ("1 257:1", "257 features"), ("1 2:1 1:1", "sorted"), ("1 1:1 1:1", "sorted"),
    ("1 1:", "not a readable"), ("1 1", "not a readable"), ("1 99999999999999999999:1", "not a readable"),
    ("1:1", "not a readable"), ("<html>", "not a readable"), ("1 1:nan", "not finite"),
    ("1 1:1.001", "pixels range"), ("0 1:1", "labels are not the integers 1 to 10"),
    ("11 1:1", "labels are not the integers 1 to 10"), ("1.5 1:1", "labels are not the integers 1 to 10"),
    ("nan 1:1", "labels are not the integers 1 to 10"), ("", "of shape (4, 256), not float32 of shape (5, 256)"),
    ("1 1:1\n1 1:1", "of shape (6, 256), not float32 of shape (5, 256)"),
])  # fmt: skip
def test_libsvm_refusals(tmp_path, small_usps, refusal, line, fault):
    path = tmp_path / "usps.t.bz2"
    rest = [libsvm_line(small_usps["test/data"][0], 3)] * 4
    path.write_bytes(bz2.compress("".join([f"{line}\n", *rest]).encode()))
    message = refusal(usps.read_libsvm, path, "test")
    assert message.startswith(f"{path}: ")
    assert fault in message


def test_libsvm_that_is_not_bz2(tmp_path, small_usps, refusal):
    path = tmp_path / "usps.t.bz2"
    for content in (b"", b"1 1:1\n", libsvm_bytes(small_usps, "test")[:-20]):
        path.write_bytes(content)
        assert str(path) in refusal(usps.read_libsvm, path, "test")


@pytest.fixture
def served(monkeypatch, small_usps, response):
    """What a host serves, declared as the originals: name -> bytes; and the names asked for."""
    contents = {usps.USPS_FILES[part][0]: libsvm_bytes(small_usps, part) for part in PARTS}
    table = {
        part: (name, f"md5:{hashlib.md5(contents[name]).hexdigest()}") for part, (name, _) in usps.USPS_FILES.items()
    }
    monkeypatch.setattr(usps, "USPS_FILES", table)
    asked = []

    def get(url, **options):
        asked.append(url.rsplit("/", 1)[1])
        return response(url, contents[asked[-1]])

    monkeypatch.setattr(requests, "get", get)
    return contents, asked


def test_libsvm_is_downloaded_once_and_again_if_corrupt(tmp_path, served, small_usps):
    _, asked = served
    train, test = usps.load_usps(None, tmp_path)
    np.testing.assert_array_equal(train.labels, small_usps["train/target"])
    assert len(test.images) == PARTS["test"]
    usps.load_usps(None, tmp_path)
    assert asked == ["usps.bz2", "usps.t.bz2"]
    (tmp_path / "usps/usps.t.bz2").write_bytes(b"half a fi")
    usps.load_usps(None, tmp_path)
    assert asked[2:] == ["usps.t.bz2"]


def test_a_download_with_another_md5_is_refused(tmp_path, served, refusal):
    contents, _ = served
    contents["usps.bz2"] = b"captive portal"
    message = refusal(usps.load_usps, None, tmp_path, kind=DownloadError)
    assert "www.csie.ntu.edu.tw (wrong md5)" in message
    assert list((tmp_path / "usps").iterdir()) == []


def test_unwritable_cache_is_not_a_failed_download(tmp_path, served):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="give another cache_dir") as caught:
        usps.load_usps(None, tmp_path / "cache")
    assert not isinstance(caught.value, DownloadError)


def test_usps_out_of_reach(tmp_path, unreachable, monkeypatch, refusal):
    monkeypatch.setattr(usps, "USPS_MIRRORS", unreachable)
    message = refusal(usps.load_usps, None, tmp_path, kind=DownloadError)
    for part in ("USPS", "127.0.0.1 (no connection)", "<data_dir>/usps", "OTGRAD_DATA_DIR"):
        assert part in message


def test_real_usps(monkeypatch):
    if not REAL.is_file():
        pytest.skip(f"no {REAL.name} beside the checkout")
    monkeypatch.undo()  # the real counts
    for part, images in zip(REAL_COUNTS, usps.load_usps(REAL.parents[1], Path("no-cache")), strict=True):
        assert images.images.shape == (sum(REAL_COUNTS[part]), 16, 16)
        assert np.bincount(images.labels).tolist() == REAL_COUNTS[part]
        assert images.images.min() == 0
        assert images.images.max() == 1
        corners = images.images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert np.median(corners) == 0  # bright ink on a dark ground, as MNIST
