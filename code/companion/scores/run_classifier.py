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
from companion.scores.classifier import BATCH, accuracy, to_state, train_classifier

MOST_EPOCHS = 40  # of few images, so that they take seconds
WEAK = 0.9  # held-out accuracy below which the features are not to be trusted


def train(train_path, test_path, steps, seed, weights_path, record_path):
    """Write the weights, {} if there are none, and a record with status, accuracy and seconds.

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
    else:
        begun, shape = time.perf_counter(), images.images.shape[1:]
        steps = min(steps, MOST_EPOCHS * math.ceil(len(images.images) / BATCH))
        arrays = torch.from_numpy(images.to_unit()), torch.from_numpy(images.labels)
        network = train_classifier(*arrays, shape, steps, seed, told(steps))
        found = held_out_accuracy(network, test)
        state, record = to_state(network), {"status": status(found), "accuracy": found, "steps": steps}
        record |= {"images": len(arrays[0]), "classes": len(network.classes), "shape": list(shape), "seed": seed}
        record["seconds"] = round(time.perf_counter() - begun, 3)
    if record["status"] != "trained":
        sys.stderr.write(f"classifier: {record['status']}\n")
    with replacing(weights_path) as stream:
        torch.save(state, stream)
    write_json(Path(record_path), record)
    return record


def unusable(labels):
    """Say why no classifier can be trained on these labels, or None."""
    if labels is None:
        return "no labels"
    return "labels of one kind only" if len(set(labels.tolist())) < 2 else None


def held_out_accuracy(network, test):
    """Accuracy on the held-out images, or None if they have no labels."""
    if test.labels is None:
        return None
    return accuracy(network, torch.from_numpy(test.to_unit()), torch.from_numpy(test.labels))


def status(found):
    """How far the features can be trusted."""
    if found is None:
        return "trained, but not tested: no labels of the held-out images"
    return "trained" if found >= WEAK else f"trained too little: accuracy {found:.2f}, so scores of features say little"


def told(steps):
    """Return a wrapper of the steps that says now and then how far they are."""

    def track(numbers):
        tell = Progress("classifier", steps, "steps")
        for number in numbers:
            yield number
            tell(number)

    return track


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(smk.threads)
        data = smk.input.train, smk.input.test
        train(*data, smk.params.steps, smk.params.seed, smk.output.weights, smk.output.record)
