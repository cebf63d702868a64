"""The classifier: accuracy on scikit-learn's digits, any size of image, seeds, bad input."""

import io

import pytest
import torch

from companion.data.images import load_digits, split_holdout
from companion.scores.classifier import Classifier, embed, from_state, hits, to_state, train_classifier


@pytest.fixture(scope="module")
def digits():
    parts = split_holdout(load_digits(), 0.2, 0)
    return [(torch.from_numpy(part.to_unit()), torch.from_numpy(part.labels)) for part in parts]


@pytest.fixture(scope="module")
def trained(digits):
    return train_classifier(*digits[0], (8, 8), steps=150, seed=0)


def bars(n, h, w, seed=0):
    """Images with a bright bar, standing (label 3) or lying (label 7)."""
    rng = torch.Generator().manual_seed(seed)
    images, labels = 0.3 * torch.rand(n, h, w, generator=rng), torch.arange(n) % 2
    images[labels == 0, :, w // 2] = 1
    images[labels == 1, h // 2, :] = 1
    return images.flatten(1), 3 + 4 * labels


def test_digits_are_learned(digits, trained):
    assert float(hits(trained, *digits[1]).mean()) > 0.9  # after a dozen epochs
    assert not trained.training


def test_a_seed_fixes_the_weights(digits):
    images, labels = digits[0]
    state = torch.random.get_rng_state()
    first, again, other = (train_classifier(images, labels, (8, 8), 3, seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("shape", [(16, 16), (5, 9), (3, 2)])
def test_any_size_and_any_labels(shape):
    network = train_classifier(*bars(64, *shape), shape, steps=40, seed=0)
    assert network.classes.tolist() == [3, 7]
    images, labels = bars(40, *shape, seed=1)
    assert hits(network, images, labels).all()
    assert not hits(network, images, labels + 1).any()  # labels never seen


def test_embedding(digits, trained):
    images = digits[1][0]
    found = embed(trained, images)
    assert found.features.shape == (len(images), 64)
    assert float(found.features.min()) >= 0
    assert torch.allclose(found.probabilities.sum(dim=1), torch.ones(len(images)))
    assert torch.allclose(found.probabilities, trained(images).softmax(dim=1), atol=1e-6)


def test_it_can_be_kept_and_read_back(digits, trained):
    file = io.BytesIO()
    torch.save(to_state(trained), file)
    file.seek(0)
    again = from_state(torch.load(file, weights_only=True))
    images = digits[1][0]
    assert torch.equal(embed(again, images).features, embed(trained, images).features)
    assert torch.equal(again.classes, trained.classes)


def test_bad_input_is_refused_in_one_line(digits, trained):
    images, labels = digits[0]
    with pytest.raises(ValueError, match=r"^[^\n]*give \(n, 64\), the classifier's 8 x 8$"):
        embed(trained, images[:, :49])
    with pytest.raises(ValueError, match=r"labels \(2,\)[^\n]*give steps >= 1"):
        train_classifier(images, labels[:2], (8, 8), 1, 0)
    with pytest.raises(ValueError, match="at least two kinds"):
        train_classifier(images, torch.full_like(labels, 4), (8, 8), 1, 0)
    with pytest.raises(FloatingPointError, match="not finite at step 1"):
        train_classifier(images * torch.nan, labels, (8, 8), 1, 0)


def test_seeds_leave_the_layout_alone():
    assert [tuple(p.shape) for p in Classifier((28, 28), torch.arange(10)).parameters()][4] == (64, 24 * 49)
