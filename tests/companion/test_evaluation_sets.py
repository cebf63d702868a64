"""Sets of images, the control sets, and how each score moves on them."""

import pytest
import torch

from companion.scores.classifier import train_classifier
from companion.scores.fixed import CONTROLS
from companion.scores.scores import Judge
from companion.scores.sets import blur, choose_sets, controls, draw_rows
from otgrad.costs import Cost

SHAPE = (12, 12)
SIZE = 120


def ramps(n, seed):
    """Images of four kinds, a slope in each direction, under noise: a blur keeps the slope and takes the noise."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (n,), generator=rng)
    slope = torch.linspace(0, 0.3, SHAPE[0]).expand(SHAPE)
    kinds = torch.stack([slope, slope.flip(1), slope.T, slope.T.flip(0)])
    return (kinds[labels] + 0.7 * torch.rand(n, *SHAPE, generator=rng)).flatten(1), labels


@pytest.fixture(scope="module")
def found():
    """Scores of every control, averaged over two sets, of a judge at lam = 0."""
    (images, labels), (test, _) = ramps(600, 0), ramps(240, 1)
    sets = choose_sets(len(images), 300, len(test), SIZE, 2, 0)
    network = train_classifier(images, labels, SHAPE, 60, 0)
    judge = Judge(
        SHAPE, Cost(scale=float(images.square().sum(1).mean())), network, images[sets.memory], test[sets.fresh]
    )
    made = controls(images, labels, SHAPE, sets, 0)
    scores = {}
    for name, parts in made.items():
        rows = [judge.scores(part, test[k], 0) for part, k in zip(parts, sets.held_out, strict=True)]
        scores[name] = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    return scores


def test_real_images_score_as_perfect_samples(found):
    real = found["real"]
    assert real["classes"] == 4
    assert real["imbalance"] < 0.15
    assert min(real["precision"], real["recall"], real["density"], real["coverage"], real["confidence"]) > 0.7
    assert real["sharpness"] == pytest.approx(1, abs=0.15)
    assert real["diversity"] == pytest.approx(1, abs=0.15)
    assert 0.3 < real["copied_share"] < 0.7
    assert real["semidual_gap"] == 0


def test_w2_alone_rewards_blur_and_the_others_do_not(found):
    real, blurred = found["real"], found["blurred"]
    assert blurred["w2"] < real["w2"]
    assert blurred["semidual"] < real["semidual"]
    assert blurred["fid"] > 2 * real["fid"]
    assert blurred["sharpness"] < 0.5
    assert blurred["diversity"] < 0.7
    assert max(blurred["recall"] - real["recall"], blurred["density"] - real["density"]) < -0.1


def test_the_mean_image_has_no_diversity(found):
    mean = found["mean image"]
    assert mean["w2"] < found["real"]["w2"]
    assert mean["diversity"] == pytest.approx(0, abs=1e-6)
    assert mean["recall"] == 0
    assert mean["classes"] == 1
    assert mean["fid"] > 5 * found["real"]["fid"]


def test_missing_classes_lower_recall_and_coverage_not_precision(found):
    half, real = found["half of the classes"], found["real"]
    assert half["classes"] == 2
    assert half["imbalance"] == pytest.approx(0.5, abs=0.1)
    assert half["coverage"] < 0.7 * real["coverage"]
    assert half["recall"] < real["recall"]
    assert half["precision"] > real["precision"] - 0.1
    assert half["fid"] > 2 * real["fid"]
    assert half["w2"] > real["w2"]


def test_copies_are_told_by_memorisation_alone(found):
    copies, real = found["copies"], found["real"]
    assert (copies["copied_share"], copies["copied_ratio"]) == (1, 0)
    assert copies["fid"] < 2 * real["fid"]
    assert copies["coverage"] > 0.7
    assert copies["w2"] == pytest.approx(real["w2"], rel=0.2)


def test_without_a_classifier_or_labels_the_rest_works():
    images, _ = ramps(80, 0)
    sets = choose_sets(80, 80, 40, 20, 1, 0)
    made = controls(images, None, SHAPE, sets, 0)
    assert list(made) == [name for name in CONTROLS if name != "half of the classes"]
    judge = Judge(SHAPE, Cost(scale=5.0), None, images[sets.memory], images[:40])
    scores = judge.scores(made["real"][0], images[:20], 0.1)
    assert "fid" not in scores
    assert {"semidual", "w2", "divergence", "sharpness", "diversity", "copied_share"} <= set(scores)
    assert 0 <= scores["semidual_gap"] <= 0.01


def test_sets_are_disjoint_where_there_are_enough_images():
    sets = choose_sets(1000, 300, 400, 100, 3, 0)
    assert sets.size == 100
    assert len(torch.cat(sets.held_out).unique()) == len(torch.cat(sets.real).unique()) == 300
    assert len(sets.memory) == len(sets.fresh) == 300
    assert int(sets.memory.max()) < 300
    assert not set(torch.cat(sets.real).tolist()) & set(sets.memory.tolist())
    again, other = choose_sets(1000, 300, 400, 100, 3, 0), choose_sets(1000, 300, 400, 100, 3, 1)
    assert torch.equal(sets.real[2], again.real[2])
    assert not torch.equal(sets.real[2], other.real[2])


def test_sets_are_cut_to_the_images_there_are():
    sets = choose_sets(60, 60, 50, 2000, 3, 0)
    assert (sets.size, len(sets.memory)) == (30, 30)
    assert all(len(part.unique()) == 30 for part in sets.real + sets.held_out)
    with pytest.raises(ValueError, match="^19 training and 50 held-out images: give at least 20 and 10$"):
        choose_sets(19, 19, 50, 100, 1, 0)


def test_few_rows_are_repeated():
    (drawn,) = draw_rows(torch.tensor([4, 9]), 5, 1, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) in ([4, 4, 4, 9, 9], [4, 4, 9, 9, 9])


def test_a_blur_is_a_mean_of_neighbours():
    image = torch.zeros(1, 12)
    image[0, 5] = 9  # in row 1 and column 1 of 3 x 4
    assert torch.allclose(blur(image, (3, 4)).reshape(3, 4)[:, :3], torch.ones(3, 3))
    flat = torch.full((2, 12), 0.3)
    assert torch.allclose(blur(flat, (3, 4)), flat)
