"""Pictures of a run's generator: samples with the nearest training images, and ways between latents."""

from pathlib import Path

import numpy as np
import torch

from companion.algorithms.networks import LATENT_DIM, make_generator
from companion.common.files import replacing
from companion.common.readers import read_json
from companion.data.images import DataError, load_part
from companion.scores.pixels import nearest
from otgrad.measures import Uniform

SAMPLES = 8  # and as many held-out images
WAYS, STEPS = 3, 8  # between pairs of latents, and images on each, with both ends


def write_pictures(folder, train_path, test_path, seed, out_path):
    """Write images (.., h, w) in [0, 1] as float16, and Euclidean distances in units of a pixel's range.

    Keys: samples, held_out (8, h, w); for each of them `.._nearest` (8, h, w), the nearest of the images that were
    trained on, and `.._distance` (8,), how far that is; ways (3, 8, h, w), between pairs of latents.

    Args:
        folder: of the run: weights.pt, run.json.
        train_path: .npz of the training images.
        test_path: .npz of the held-out images, of which the first are taken.
        seed: of the latents, the same for every run.
        out_path: .npz, written.
    """
    config = read_json(Path(folder) / "run.json")["config"]
    train, test = (load_part(Path(path)) for path in (train_path, test_path))
    shape = train.images.shape[1:]
    if test.images.shape[1:] != shape:
        raise DataError(
            f"{test_path}: images of {test.images.shape[1:]}, not {shape} as in {train_path}; make it again"
        )
    generator = trained_generator(Path(folder) / "weights.pt", config, shape)
    z, ends = choose_latents(seed)
    with torch.no_grad():
        images = {"samples": generator(z), "held_out": torch.from_numpy(test.to_unit()[:SAMPLES])}
        found = images | beside(images, torch.from_numpy(train.to_unit()[: config["n_train"]]))
        found["ways"] = generator(between(*ends).flatten(0, 1)).unflatten(0, (WAYS, STEPS))
    with replacing(Path(out_path)) as stream:
        np.savez(stream, **{name: as_stored(values, shape) for name, values in found.items()})


def trained_generator(weights_path, config, shape):
    """Rebuild a run's generator, in evaluation mode."""
    generator = make_generator(config["generator"], shape, config["seed"])
    generator.load_state_dict(torch.load(weights_path, map_location="cpu", weights_only=True)["generator"])
    return generator.eval()


def choose_latents(seed):
    """Draw latents z (8, k) of the samples, and both ends (2, 3, k) of the ways."""
    rng = torch.Generator().manual_seed(seed + 13_000_027)
    z = Uniform(LATENT_DIM)(SAMPLES + 2 * WAYS, rng)
    return z[:SAMPLES], z[SAMPLES:].unflatten(0, (2, WAYS))


def between(start, end):
    """Latents (.., steps, k) on the straight line from start to end, both (.., k) and both on it.

    `# ASSUME:` a straight line: the cube is convex, so that it stays where latents are drawn. Its middle is nearer to
    the cube's centre than random latents are, which for a normal law would ask for another path.
    """
    share = torch.linspace(0, 1, STEPS)[:, None]
    return torch.lerp(start[..., None, :], end[..., None, :], share)


def beside(images, atoms):
    """Nearest atom to each of several sets of images, and its distance."""
    found = {}
    for name, x in images.items():
        rows, found[f"{name}_distance"] = nearest(x, atoms)
        found[f"{name}_nearest"] = atoms[rows]
    return found


def as_stored(values, shape):
    """Give images their shape and half the bytes: 2^-12 of a pixel's range is not seen."""
    values = values.numpy()
    return values.reshape(*values.shape[:-1], *shape).astype(np.float16) if values.ndim > 1 else values
