"""Where the workflow keeps what takes long to make: what other settings made lies beside it and is never replaced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from companion.common.settings import Settings

DATA = "results/data"
RECORD = "dataset.json"
USUAL_DEVICE = {"paper": "cuda"}  # of a preset; cpu of the others


def wanted_images(settings: Settings) -> dict[str, Any]:
    """Say which images a configuration asks for: a name and the seed of their split, the same for equal requests.

    A file of the user's own goes by a digest of its path, which is nobody else's business.
    """
    name = settings.dataset
    if name.endswith(".npz"):
        name = f"own-{digest(str(Path(name).resolve()))}"
    elif name == "auto" and settings.data_dir:
        name = "mnist"  # a folder of one's own is never passed over
    return {"dataset": name, "seed": None if name == "mnist" else settings.seed}


def serves(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether the images that a record (dataset.json) is of are, byte for byte, those that are wanted."""
    made = record.get("asked", {})
    if made == wanted:
        return True
    if record.get("name") == "mnist" and record.get("source") != "file":
        return wanted["dataset"] in ("auto", "mnist")
    return record.get("source") == "embedded" and wanted == {"dataset": "digits", "seed": made.get("seed")}


def place_of_images(root: Path, wanted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Choose the folder of the images, and the request that they are made by.

    Both are those of the images that are there, if they serve; others are left alone, and these go into a folder below.
    """
    folder = DATA
    held = _read(root / DATA / RECORD)
    if held is not None and not serves(held, wanted):
        folder = f"{DATA}/{wanted['dataset']}" + (f"-s{wanted['seed']}" if wanted["seed"] else "")
        held = _read(root / folder / RECORD)
    return folder, dict(held.get("asked", wanted) if held and serves(held, wanted) else wanted)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def tag(settings: Settings, keys: Collection[str] = (), seed: bool = True, images: str = DATA) -> str:
    """Name the settings that decide a result: the preset, and whatever of the following differs from its own.

    Args:
        settings: of the run.
        keys: of the configuration.
        seed: whether the workflow's seed counts, if the result's own name does not say it.
        images: their folder.
    """
    device, parts = settings.device.partition(":")[0], [settings.preset]
    if device != USUAL_DEVICE.get(settings.preset, "cpu"):
        parts.append(device)
    changed = {key: value for key, value in settings.changed.items() if key in keys}
    if changed:
        parts.append(digest(json.dumps(changed, sort_keys=True)))
    if seed and settings.seed:
        parts.append(f"s{settings.seed}")
    return "-".join([*parts, *Path(images).relative_to(DATA).parts])


def digest(text: str) -> str:
    """Return eight hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
