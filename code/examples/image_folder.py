"""Train a generator on a folder of your own pictures (PNG or JPEG), by Algorithm 1.

    python code/examples/image_folder.py my_pictures --size 28 --steps 2000 --out mine
    python code/examples/image_folder.py --demo

Every picture is turned upright, laid on white, made grey, cut to its central square and resized. Written to --out:
mine.npz (images (n, h, w) uint8, which the workflow takes as `--config dataset=mine/mine.npz`), image_folder.png
(real pictures beside generated ones) and, while training, a checkpoint from which a stopped run goes on.
Needs torch, numpy, Pillow and otgrad; matplotlib only for the sheet. Colour is not modelled.
"""

import argparse
import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from companion.algorithms.algorithm1 import sample_images, train
from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.networks import LATENT_DIM
from companion.algorithms.runs import OTConfig, RunError
from companion.common.files import replacing
from companion.data.images import DataError, ImageSet, load_npz, save_npz_atomic
from otgrad.measures import Uniform

SUFFIXES = (".png", ".jpg", ".jpeg")
SIZES = range(8, 129)  # pixels per side
FEWEST = 20  # pictures
DEMO_PICTURES = 400
SHEET = 6  # pictures per side of each half of the sheet
UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)  # of Pillow


# --- From files to an array -------------------------------------------------------------------------------------------


def read_folder(folder, size, skip=False):
    """Read all pictures of a folder and its subfolders, in order of their paths.

    Args:
        folder: files that begin with a dot are passed over.
        size: pixels per side.
        skip: pass over what is no picture or cannot be read, instead of refusing it.

    Returns:
        images (n, size, size) uint8, and how many of them were in colour.

    Raises:
        DataError: if there is something else than pictures, a broken one, or too few.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one that holds PNG or JPEG files, or --demo")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in SUFFIXES]
    if others and not skip:
        raise DataError(f"{others[0]}: not PNG or JPEG ({len(others)} such in the folder); remove them or give --skip")
    images, coloured = [], 0
    for path in pictures:
        try:
            image, colour = read_picture(path, size)
        except UNREADABLE as error:
            if not skip:
                raise DataError(f"{path}: cannot be read ({error}); repair or remove it, or give --skip") from error
            continue
        images.append(image)
        coloured += colour
    if len(images) < FEWEST:
        raise DataError(f"{folder}: {len(images)} PNG or JPEG pictures; give at least {FEWEST}")
    return np.stack(images), coloured


def read_picture(path, size):
    """Read one picture: (size, size) uint8, and whether it was in colour."""
    with Image.open(path, formats=("PNG", "JPEG")) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
            picture = Image.fromarray((np.asarray(picture).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        flat = Image.alpha_composite(paper, picture).convert("RGB")
    channels = np.asarray(flat).astype(int)
    colour = bool(np.ptp(channels, axis=2).max() > 16)  # grey pictures stored as JPEG are off by a little
    grey = ImageOps.fit(flat.convert("L"), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(grey), colour


def make_demo(folder, count, seed):
    """Fill a folder with pictures of several sizes, formats and modes: scikit-learn's digits, or discs and squares."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(demo_images(count, rng)):
        side = int(rng.integers(24, 48))
        picture = Image.fromarray(image).resize((side + 8 * (k % 3), side), Image.Resampling.BICUBIC)
        mode, suffix = (("L", "png"), ("RGB", "jpg"), ("P", "png"), ("LA", "png"))[k % 4]
        if mode == "RGB":
            picture = ImageOps.colorize(picture, "#0072B2", "white")
        with replacing(folder / f"{k:04d}.{suffix}") as stream:
            picture.convert(mode).save(stream, format="JPEG" if suffix == "jpg" else "PNG")


def demo_images(count, rng):
    """Make count images of 32 x 32, uint8, dark on white."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return [shape(rng) for _ in range(count)]
    digits = load_digits().images[rng.permutation(1797)[:count]]
    ink = (np.pad(digits, ((0, 0), (1, 1), (1, 1))) / 16 * 255).astype(np.uint8)
    return [np.asarray(Image.fromarray(255 - image).resize((32, 32), Image.Resampling.BICUBIC)) for image in ink]


def shape(rng):
    """Draw a disc or a square, of a random place and size."""
    x, y, radius = rng.uniform(10, 22), rng.uniform(10, 22), rng.uniform(4, 9)
    rows, columns = np.mgrid[:32, :32]
    distance = np.hypot(rows - y, columns - x) if rng.random() < 0.5 else np.maximum(abs(rows - y), abs(columns - x))
    return (255 * np.clip(distance - radius, 0, 1)).astype(np.uint8)


# --- Training and the sheet -------------------------------------------------------------------------------------------


def own_unit(images):
    """Compute the pictures' variance over mean ||y||^2.

    companion.algorithms.algorithm1 divides the cost by mean ||y||^2, which for pictures on white is mostly the white:
    a lam in that unit would mean much more for them than for the same pictures on black.
    """
    rows = ImageSet(images).to_unit().astype(np.float64)
    variance = rows.var(axis=0).sum()
    if variance == 0:
        raise DataError("all pictures are equal; give different ones")
    return float(variance / np.square(rows).sum(axis=1).mean())


def fit(images, config, checkpoints, count):
    """Train by Algorithm 1, or go on from the checkpoint; return count samples (count, h, w) in [0, 1], and the log."""
    y = torch.from_numpy(ImageSet(images).to_unit())
    digest = config.digest(hashlib.sha256(images.tobytes()).hexdigest())
    checkpoints = CheckpointFolder(checkpoints / digest)
    with checkpoints.locked():
        result = train(config, y, images.shape[1:], checkpoints, digest, tell)
        checkpoints.clear()
    rng = torch.Generator().manual_seed(config.seed + 1)
    samples = sample_images(result.generator, Uniform(LATENT_DIM), count, rng)
    return samples.numpy().reshape(count, *images.shape[1:]), result.log


def tell(steps):
    """Wrap the iteration over steps on theta to say every tenth how far it is."""
    for step in steps:
        yield step
        if step % max(steps[-1] // 10, 1) == 0:
            print(f"step {step} of {steps[-1]}", flush=True)


def draw(real, samples, path):
    """Draw real pictures (left) beside generated ones (right), each (n, h, w) in [0, 1]."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.92), layout="constrained")
    for axis, images, title in zip(axes, (real, samples), ("Your pictures", "Generated"), strict=True):
        axis.imshow(tiled(images, SHEET), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    with replacing(path) as stream:
        fig.savefig(stream, format="png", dpi=200, metadata={"Software": None})
    plt.close(fig)


def tiled(images, side):
    """Lay the first images out as at most side x side, two pixels of mid-grey apart; missing ones stay mid-grey."""
    h, w = images.shape[1:]
    sheet = np.full((side, side, h + 2, w + 2), 0.6)
    for k, image in enumerate(images[: side**2]):
        sheet[k // side, k % side, 1:-1, 1:-1] = image
    return sheet.transpose(0, 2, 1, 3).reshape(side * (h + 2), side * (w + 2))


def run(folder, out, size=28, lam=0.02, steps=2000, seed=0, skip=False, picture=True, demo=False):
    """Read, write mine.npz, train and draw; return the samples and the log of the training."""
    out = Path(out)
    if size not in SIZES:
        raise DataError(f"--size = {size}: give an integer from {SIZES[0]} to {SIZES[-1]}")
    if demo:
        folder = out / "demo_pictures"
        make_demo(folder, DEMO_PICTURES, seed)
    images, coloured = read_folder(folder, size, skip)
    print(f"{folder}: {len(images)} pictures, {coloured} of them in colour and made grey; {size} x {size} pixels")
    save_npz_atomic(out / "mine.npz", ImageSet(images))
    load_npz(out / "mine.npz")  # refuses, as the workflow would, what cannot be learned from
    unit = own_unit(images)
    print(f"lam = {lam:g} of the pictures' variance is {lam * unit:.3g} of mean ||y||^2, the workflow's unit")
    settings = {"batch_size": 100, "outer_steps": steps, "inner_steps": 5, "lr_theta": 1e-3, "n_train": len(images)}
    samples, log = fit(images, OTConfig("mlp", lam * unit, seed, **settings), out / "checkpoints", SHEET**2)
    first, last = (f"{row['value'] / unit:.3f} at step {row['step']}" for row in (log[0], log[-1]))
    print(f"transport cost over the pictures' variance: {first}, {last}")
    if picture:
        order = np.random.default_rng(seed).permutation(len(images))
        draw(images[order] / 255, samples, out / "image_folder.png")
        print(f"written: {out / 'mine.npz'}, {out / 'image_folder.png'}")
    return samples, log


def main(arguments=None):
    """Run from the command line; what the user can repair ends in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="your pictures; left out: as --demo")
    parser.add_argument("--demo", action="store_true", help="make a folder of pictures first, and use it")
    parser.add_argument("--out", type=Path, default=Path("results/examples"))
    parser.add_argument("--size", type=int, default=28, help="pixels per side")
    parser.add_argument("--lam", type=float, default=0.02, help="regularisation >= 0, over the pictures' variance")
    parser.add_argument("--steps", type=int, default=2000, help="steps on the generator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", action="store_true", help="pass over files that are no pictures or are broken")
    parser.add_argument("--no-picture", action="store_true", help="do without matplotlib")
    given = parser.parse_args(arguments)
    try:
        if given.steps < 1:
            raise DataError(f"--steps = {given.steps}: give an integer >= 1")
        if not 0 <= given.lam < math.inf:
            raise DataError(f"--lam = {given.lam:g}: give a number >= 0")
        options = given.size, given.lam, given.steps, given.seed, given.skip, not given.no_picture
        run(given.folder, given.out, *options, demo=given.demo or given.folder is None)
    except (DataError, RunError, FloatingPointError, OSError) as error:
        raise SystemExit(f"image_folder: {' '.join(str(error).split())}") from None


if __name__ == "__main__":
    main()
