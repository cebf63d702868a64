"""Pack what the pass over a GPU reads into one folder, small enough to travel: images, classifier, arms, wheels.

uv run snakemake --cores all results/data/train.npz results/evaluation/laptop/classifier.pt --config preset=laptop
uv run python code/benchmarks/gpu_data.py [--out gpu-data] [--wheels]

Reads results/ (MNIST is wanted: the digits of a bare clone would be a rehearsal), and data_dir/usps/usps.h5 as the
workflow does. `--wheels` adds the packages that a machine with Python 3.12, torch 2.11, Triton 3.6 and numpy may lack:
plain Python, so that one wheel serves every machine, but for PyYAML, compiled for Python 3.12 on Linux (x86-64).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import yaml

from companion.common.files import write_json
from companion.common.settings import expand_arms
from companion.data.images import DataError, load_npz
from companion.data.usps import load_usps

# POT's wheel for Python 3.12 has 31 MiB: what it scores is saved and scored afterwards. OTT-JAX 0.6 needs jax < 0.9.
WHEELS = (
    *("tqdm==4.67.1", "filelock==3.20.0"),
    *("flash-sinkhorn==0.4.1", "pykeops==2.3", "keopscore==2.3", "pybind11==3.1.0"),
    # the kernel's tests, and what they need in their turn
    *("pytest==9.2.0", "pytest-xdist==3.8.0", "execnet==2.1.2", "iniconfig==2.3.1", "packaging==25.0"),
    *("pluggy==1.7.0", "pygments==2.21.0"),
)
COMPILED = ("PyYAML==6.0.3",)
PLATFORM = ("--only-binary", ":all:", "--platform", "manylinux_2_17_x86_64", "--python-version", "3.12")
PRESET = Path(__file__).parents[2] / "config/presets/paper.yaml"
LIMIT = 40 * 2**20  # bytes of wheels
NEEDED = {
    "data/train.npz": "train.npz",
    "data/test.npz": "test.npz",
    "evaluation/laptop/classifier.pt": "classifier.pt",
}


def pack(results: Path, out: Path, data_dir: str | None) -> list[str]:
    """Write the folder; return what it holds, a line each.

    Raises:
        DataError: if a result is missing, with the command that makes it.
    """
    for source in NEEDED:
        if not (results / source).is_file():
            command = f"uv run snakemake --cores all results/{source} --config preset=laptop"
            raise DataError(f"{results / source} is missing; make it with: {command}")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "arms.json", preset_arms())
    for source, name in NEEDED.items():
        if name.endswith(".npz"):
            images = load_npz(results / source)[0]
            labels = {} if images.labels is None else {"labels": images.labels}
            np.savez_compressed(out / name, images=images.images, **labels)
        else:
            shutil.copy2(results / source, out / name)
    if data_dir:
        parts = load_usps(Path(data_dir).expanduser(), Path("no-cache"))
        fields = {"train": parts[0].images, "train_labels": parts[0].labels}
        fields |= {"test": parts[1].images, "test_labels": parts[1].labels}
        np.savez_compressed(out / "usps.npz", **fields)
    return [f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB" for path in sorted(out.glob("*.*"))]


def preset_arms() -> dict[str, list[dict[str, object]]]:
    """Arms of paper B's experiments in the paper preset."""
    preset = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    preset["planar"]["common"] |= {"batch_size": preset["planar_batch"], "outer_steps": preset["planar_steps"]}
    return {study: expand_arms(preset[study]) for study in ("planar", "adaptation", "generation")}


def bundle(out: Path) -> list[str]:
    """Build the wheels; return a line each, and of their sum.

    Raises:
        DataError: if one is for another kind of machine, or together they are over the limit.
    """
    folder = out / "wheels"
    pip = ["uv", "run", "--no-project", "--with", "pip", "python", "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *WHEELS], check=True)
    subprocess.run([*pip, "download", "--quiet", "--no-deps", *PLATFORM, "--dest", str(folder), *COMPILED], check=True)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.whl"))}
    total = sum(sizes.values())
    for name in sizes:
        if not name.endswith("-none-any.whl") and "-cp312-" not in name:
            raise DataError(f"{folder / name} is compiled for the machine that built it; move it to COMPILED")
    if total > LIMIT:
        raise DataError(
            f"{folder} has {total / 2**20:.1f} MiB; leave a wheel out: {LIMIT / 2**20:.0f} MiB is the limit"
        )
    return [f"{name}: {size / 2**20:.2f} MiB" for name, size in sizes.items()] + [f"wheels: {total / 2**20:.1f} MiB"]


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("gpu-data"))
    parser.add_argument("--data-dir", default=os.environ.get("OTGRAD_DATA_DIR"), help="holds usps/usps.h5")
    parser.add_argument("--wheels", action="store_true")
    options = parser.parse_args(given)
    try:
        print("\n".join(pack(options.results, options.out, options.data_dir)))
        if options.wheels:
            print("\n".join(bundle(options.out)))
    except DataError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
