"""Train the classifier whose features samples are judged in; say so plainly where the images have no labels."""

from companion.common.job import job

import math
import sys
import time
from pathlib import Path

import torch

from companion.common.files import replacing, write_json
from companion.common.progress import Progress
from companion.data.images import load_part
from companion.scores.classifier import BATCH, hits, to_state, train_classifier
from companion.scores.distances import nearest_neighbour_hits

MOST_EPOCHS = 40  # of few images, so that they take seconds
LOOKS = 4  # at the held-out images, evenly over the training
# ASSUME: accuracies this near are as good. The falling rate alone brings MNIST half a point in the second half of 1900
# steps, 3.6 points in that of 120; on the 8 x 8 digits, where pixels do 99%, they lead a trained classifier by 1.
MARGIN = 0.02
SURE = 2  # standard errors by which a paired difference must clear the margin
QUERIES = 2000  # held-out images whose nearest training image is looked for
WORK = 10**11  # products of pixels at most in that: all of MNIST, some seconds


def train(train_path, test_path, steps, seed, weights_path, record_path):
    """Write the weights, {} if there are none, and a record with status, judgement, accuracy and seconds.

    Args:
        train_path: .npz of all training images, whatever part of them generators are trained on.
        test_path: .npz of the held-out images.
        steps: batches of 128, or fewer where 40 epochs take fewer.
        seed: of weights and order.
        weights_path: written.
        record_path: written as JSON; accuracy is null without labels of the held-out images.

    Returns:
        the record.
    """
    images, test = (load_part(Path(path)) for path in (train_path, test_path))
    reason = unusable(images.labels)
    if reason:
        state, record = {}, {"status": f"not run: {reason}", "accuracy": None}
        record["judgement"] = f"There is no classifier, and no score in its features: {reason}."
    else:
        begun, shape = time.perf_counter(), images.images.shape[1:]
        steps = min(steps, MOST_EPOCHS * math.ceil(len(images.images) / BATCH))
        arrays, looks = labelled(images), {}
        network = train_classifier(*arrays, shape, steps, seed, watching(steps, labelled(test), looks))
        state, record = to_state(network), judged(looks, *beside(arrays, labelled(test))) | {"steps": steps}
        record |= {"images": len(arrays[0]), "classes": len(network.classes), "shape": list(shape), "seed": seed}
        record["seconds"] = round(time.perf_counter() - begun, 3)
    if record["status"] != "trained":
        sys.stderr.write(f"classifier: {record['judgement']}\n")
    with replacing(weights_path) as stream:
        torch.save(state, stream)
    write_json(Path(record_path), record)
    return record


def unusable(labels):
    """Say why no classifier can be trained on these labels, or None."""
    if labels is None:
        return "no labels"
    return "labels of one kind only" if len(set(labels.tolist())) < 2 else None


def labelled(images):
    """Images (n, h w) in [0, 1] and their labels (n,), or None if they have none."""
    return None if images.labels is None else (torch.from_numpy(images.to_unit()), torch.from_numpy(images.labels))


def watching(steps, test, looks):
    """Return what is called at every step: it says how far they are, and adds {step: hits of the held-out images}."""
    tell, when = Progress("classifier", steps, "steps"), {math.ceil(steps * k / LOOKS) for k in range(1, LOOKS + 1)}

    def watch(step, network):
        tell(step)
        if test is not None and step in when:
            looks[step] = hits(network, *test)

    return watch


def beside(train, test):
    """Rows of held-out images, and whether the nearest training image has their label: what pixels alone can do."""
    if test is None:
        return None, None
    rows = spaced(len(test[0]), QUERIES)
    among = spaced(len(train[0]), WORK // (len(rows) * train[0].shape[1]))
    return rows, nearest_neighbour_hits(*(part[among] for part in train), *(part[rows] for part in test))


def spaced(count, most):
    """Rows of a set of `count`, all or evenly spaced, for a file may be sorted by label."""
    return torch.linspace(0, count - 1, max(1, min(count, most))).long()


def judged(looks, rows, nearest):
    """Tell how far the features can be trusted, by what can be reached on these images.

    Args:
        looks: step -> hits of the held-out images (m,), of at least one; {} if they have no labels.
        rows: those of them that were compared with training images.
        nearest: the hits of that (len(rows),).

    Returns:
        status for a stamp, judgement as a sentence, accuracy, curve and nearest_neighbour, the accuracy by pixels.
    """
    if not looks:
        text = "The classifier is trained, but not tested: the held-out images have no labels."
        return {"status": "trained, but not tested", "judgement": text, "accuracy": None}
    steps = sorted(looks)
    half, end = looks[steps[(len(steps) - 1) // 2]], looks[steps[-1]]
    middle, found, pixels = (float(right.mean()) for right in (half, end, nearest))
    told = f"it labels {found:.1%} of the held-out images rightly, and did {middle:.1%} after half of its training"
    told += f"; their nearest training images (1-NN) do {pixels:.1%}."
    weak = surely(nearest - end[rows]) or surely(end - half)
    lead = "is trained too little, and scores in its features say little" if weak else "is trained enough to judge by"
    return {
        "status": "trained too little" if weak else "trained",
        "judgement": f"The classifier {lead}: {told}",
        "accuracy": found,
        "curve": [{"step": step, "accuracy": float(looks[step].mean())} for step in steps],
        "nearest_neighbour": pixels,
    }


def surely(differences):
    """Whether a mean of paired differences is more than the margin, beyond its standard error."""
    error = float(differences.std(correction=0)) / math.sqrt(len(differences))
    return float(differences.mean()) - SURE * error > MARGIN


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(smk.threads)
        data = smk.input.train, smk.input.test
        train(*data, smk.params.steps, smk.params.seed, smk.output.weights, smk.output.record)
