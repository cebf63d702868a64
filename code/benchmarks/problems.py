"""The problems that the tracks share, and what is written beside every number: errors, hardware, versions.

Atoms are images of bytes, points are images blurred 3 x 3 that are not among the atoms (or a generator's samples). The
cost is ||x - y||^2 / mean ||y||^2 on pixels in [0, 1], the masses are uniform. Needs numpy alone, so that an arm's
process holds what the arm needs and no more.
"""

from __future__ import annotations

import csv
import json
import os
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

PACKAGES = ("numpy", "torch", "jax", "ott-jax", "optax", "POT", "pykeops", "geomloss")
SIDE = 28
GAPS = (1e-2, 3e-3, 1e-3)  # relative duality gaps, to which times are told


@dataclass(frozen=True)
class Problem:
    """Points x (b, d) float32 in [0, 1], atoms y (n, d) uint8, and where they are from."""

    x: np.ndarray
    y: np.ndarray
    source: str

    @cached_property
    def scale(self) -> float:
        """Mean ||y||^2, the cost's divisor."""
        squares = np.arange(256, dtype=np.float64) ** 2
        blocks = (
            np.bincount(self.y[k : k + 10_000].ravel(), minlength=256) @ squares for k in range(0, self.n, 10_000)
        )
        return float(sum(blocks)) / 255**2 / self.n

    @property
    def n(self) -> int:
        """Number of atoms."""
        return len(self.y)

    def in_cost_units(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and atoms (float32) over the root of the scale: the cost is then ||x - y||^2, as peers expect."""
        root = np.float32(self.scale**0.5)
        return self.x / root, self.y * (1 / (255 * root))

    def save(self, folder: Path) -> str:
        """Write the arrays for the arms' processes; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "x.npy", self.x)
        np.save(folder / "y.npy", self.y)
        (folder / "source.txt").write_text(self.source, encoding="utf-8")
        return str(folder)

    @classmethod
    def load(cls, folder: str) -> Problem:
        """Read what `save` wrote."""
        x, y = (np.load(Path(folder, f"{name}.npy")) for name in "xy")
        return cls(x, y, Path(folder, "source.txt").read_text(encoding="utf-8"))


def make_problem(data: str, b: int, n: int, samples: str | None = None) -> Problem:
    """Take the first n images of `data` as atoms and b others, blurred, or a generator's samples, as points.

    Args:
        data: train.npz with images (m, 28, 28) uint8; a test.npz beside it gives points too. Where there are too few
            images, `source` says what was made up: atoms from moved images, or everything from random blots.
        b: points.
        n: atoms.
        samples: .npz with images (m, 28, 28) in [0, 1] to be used as points, in turn.
    """
    images, others, source = load_images(data)
    if n > len(images):
        y, source = moved(images, n), f"{source}, atoms moved at random"
    else:
        y, others = images[:n], np.concatenate([others, images[n:]])
    if samples is not None:
        drawn = np.load(samples)["images"].reshape(-1, SIDE * SIDE).astype(np.float32)
        return Problem(np.resize(drawn, (b, SIDE * SIDE)), y, f"{source}, points from {Path(samples).name}")
    if b > len(others):
        others, source = moved(images, b), f"{source}, points moved at random"
    return Problem(blurred(others[:b]), y, source)


def load_images(data: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images (m, 784) of the training file, of the test file beside it, and their name; random blots without a file."""
    path = Path(data)
    images = np.load(path)["images"] if path.is_file() else np.empty((0, 1, 1), np.uint8)
    if len(images) < 10_000 or images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8:
        return blots(20_000, 0), blots(2_000, 1), "random blots"
    test = path.with_name("test.npz")
    others = np.load(test)["images"] if test.is_file() else images[:0]
    return images.reshape(len(images), -1), others.reshape(len(others), -1), path.stem


def blots(count: int, seed: int) -> np.ndarray:
    """Images (count, 784) of bytes with a dark bump at a random place: as empty at the border as digits are."""
    rng = np.random.default_rng(seed)
    grid = np.arange(SIDE, dtype=np.float32)
    centre, width = rng.uniform(8, 20, (2, count, 1)).astype(np.float32), rng.uniform(1, 4, (2, count, 1)).astype("f4")
    rows, columns = (np.exp(-(((grid - c) / w) ** 2)) for c, w in zip(centre, width, strict=True))
    return (255 * rows[:, :, None] * columns[:, None, :]).astype(np.uint8).reshape(count, -1)


def moved(images: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` images, each one of `images` moved by at most 3 pixels and made fainter at random."""
    rng = np.random.default_rng(0)
    result = np.empty((count, SIDE * SIDE), np.uint8)
    for start in range(0, count, 10_000):
        rows = slice(start, min(start + 10_000, count))
        chosen = images[rng.integers(len(images), size=rows.stop - start)].reshape(-1, SIDE, SIDE)
        chosen = np.roll(chosen, tuple(rng.integers(-3, 4, size=2)), axis=(1, 2)).reshape(len(chosen), -1)
        result[rows] = chosen * rng.uniform(0.6, 1, (len(chosen), 1)).astype(np.float32)
    return result


def blurred(images: np.ndarray) -> np.ndarray:
    """Mean over 3 x 3 pixels, in [0, 1], (b, 784) float32."""
    padded = np.pad(images.reshape(-1, SIDE, SIDE).astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    shifted = (padded[:, r : r + SIDE, c : c + SIDE] for r in range(3) for c in range(3))
    return sum(shifted, np.float32(0)).reshape(len(images), -1) / np.float32(9 * 255)


def hardware(threads: int) -> dict[str, object]:
    """What the numbers were measured on, free of names that identify the machine."""
    cpu, flags = "unknown", ""
    if Path("/proc/cpuinfo").is_file():
        fields = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        told = {key.strip(): value.strip() for key, _, value in fields}
        cpu, flags = told.get("model name", cpu), told.get("flags", "")
    return {
        "cpu": cpu,
        "features": [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags],
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def package_version(name: str) -> str:
    """Version of an installed distribution, or "not installed"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def write_table(path: str, rows: list[dict[str, object]], threads: int, skipped: list[str]) -> None:
    """Write rows as CSV (columns of the first row), and beside it, as JSON, the hardware and what was skipped."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["status"])
        writer.writeheader()
        writer.writerows(rows)
    record = {"hardware": hardware(threads), "skipped": skipped}
    target.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def launcher(processes: int) -> list[str]:
    """Arguments of the interpreter before a script that is to run on so many processes of this machine."""
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def rounded(value: float | None, digits: int = 4) -> float | str:
    """Value to some significant digits, or "" where there is none."""
    return "" if value is None else float(f"{value:.{digits}g}")
