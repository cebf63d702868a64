"""A file of the user's own: rounding is clamped, what cannot be used is refused when it is read, with what is wrong."""

import numpy as np
import pytest

from companion.data.datasets import resolve_dataset, too_few_to_score
from companion.data.images import DataError, ImageSet, load_npz, load_part, npz_counts, save_npz_atomic, split_holdout
from companion.scores.sets import choose_sets

RANDOM = np.random.default_rng(0).random((40, 3, 2))


@pytest.fixture
def own(tmp_path):
    def save(name="mine.npz", **fields):
        np.savez(tmp_path / name, **fields)
        return tmp_path / name

    return save


def resolved(path):
    return resolve_dataset(str(path), None, path.parent, 0)


@pytest.mark.parametrize(("dtype", "entry", "value"), [
    (np.float32, 1.0000001, 1), (np.float64, 1 + 2.3e-16, 1), (np.float64, -1e-9, 0), (np.float32, -1e-7, 0),
    (np.float64, 1.000005, 1), (np.float16, 1.001, 1), (np.longdouble, 1 + 1e-17, 1),
])  # fmt: skip
@pytest.mark.parametrize("field", ["images", "test_images"])
def test_what_rounding_left_is_clamped(own, dtype, entry, value, field):
    images = RANDOM.astype(dtype)
    images[3, 1, 1] = entry
    train, test = load_npz(own(**{"images": RANDOM, field: images}))
    found = (train if field == "images" else test).images
    assert (found.dtype, found[3, 1, 1]) == (np.float32, value)
    assert np.array_equal(np.delete(found, 3, 0), np.delete(images.astype(np.float32), 3, 0))


@pytest.mark.parametrize(("dtype", "entry", "shown"), [
    (np.float32, 1.001, "1.001"), (np.float64, 1.00002, "1.00002"), (np.float64, -2e-5, "-2e-05"),
    (np.float16, 2, ", 2]"),
])  # fmt: skip
def test_what_is_more_than_rounding_is_shown(own, refusal, dtype, entry, shown):
    images = RANDOM.astype(dtype)
    images[0, 0, 0] = entry
    line = refusal(load_npz, own(images=images))
    assert shown in line
    assert "rescale floats to [0, 1]" in line


@pytest.mark.parametrize("images", [
    np.full((60, 3, 3), 0.5), np.full((60, 3, 3), 200, dtype=np.uint8), np.repeat(RANDOM[:1], 60, axis=0),
    np.ones((2, 1, 1)),
    np.concatenate([np.ones((59, 2, 2)), np.zeros((1, 2, 2))])[np.random.default_rng(0).permutation(60).argsort()],
], ids=["grey", "bytes", "one repeated", "one pixel", "the different one is held out"])  # fmt: skip
def test_pictures_all_alike_are_refused(own, refusal, images):
    assert refusal(resolved, own(images=images)).endswith("all pictures to train on are equal; give different ones")


@pytest.mark.parametrize("test", [{}, {"test_images": RANDOM[:12]}])
def test_equal_training_images_are_refused_whatever_the_test_part(own, refusal, test):
    assert "equal" in refusal(resolved, own(images=np.ones((60, 3, 2)), **test))


@pytest.mark.parametrize("images", [
    np.where(np.arange(60)[:, None, None] % 2, 1.0, 0.5) * np.ones((60, 2, 2)), RANDOM[:, :, :1], RANDOM[:2],
    0.5 + 1e-6 * RANDOM,
], ids=["two pictures", "one column", "two", "nearly alike"])  # fmt: skip
def test_little_variety_is_taken(own, images):
    data = resolved(own(images=images))
    assert len(data.train.images) + len(data.test.images) == len(images)


def test_a_held_out_part_may_be_one_image_or_black(tmp_path):
    for images in (RANDOM[:1], np.zeros((3, 2, 2))):
        save_npz_atomic(tmp_path / "test.npz", ImageSet(images))
        assert len(load_part(tmp_path / "test.npz").images) == len(images)
    np.savez(tmp_path / "test.npz", images=np.zeros((3, 2, 2), dtype=int))
    with pytest.raises(DataError, match="dtype"):
        load_part(tmp_path / "test.npz")


@pytest.mark.parametrize("count", [2, 12, 20, 25, 60, 63, 64, 65, 70, 200])
def test_the_least_number_is_that_of_the_scores(own, count):
    train, test = split_holdout(ImageSet(np.zeros((count, 1, 1))), 0.15, 0)
    try:
        choose_sets(len(train.images), len(train.images), len(test.images), 2000, 4, 0)
        enough = True
    except ValueError:
        enough = False
    fault = too_few_to_score(own(images=np.zeros((count, 1, 1))))
    assert (fault is None) == enough == (count >= 64)
    if fault:
        assert f"{count} images" in fault
        assert "give at least 64, or 20 and 10 as test_images" in fault


@pytest.mark.parametrize(("n", "m", "enough"), [(20, 10, True), (19, 10, False), (20, 9, False), (1000, 1, False)])
def test_a_test_part_is_counted(own, n, m, enough):
    path = own(images=np.zeros((n, 1, 1)), test_images=np.zeros((m, 1, 1)))
    assert npz_counts(path) == (n, m)
    assert (too_few_to_score(path) is None) == enough


def test_what_is_no_such_file_is_left_to_the_reader(own, tmp_path):
    (tmp_path / "text.npz").write_text("text")
    for path in (
        own(other=RANDOM),
        own("scalar.npz", images=np.float64(1)),
        tmp_path / "text.npz",
        tmp_path / "none.npz",
    ):
        assert too_few_to_score(path) is None
