"""The tables of a pass over a GPU, kept after every row, so that a pass cut off at any moment leaves them whole.

One folder holds tables.json (every stage's rows), summary.md, and what else the stages save; a second pass on the same
folder goes on where the first one ended.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from companion.common.files import replacing, write_json

FILES, FILE_BYTES = 8, 16 * 2**20  # what comes back from a lent machine


class OutOfTime(Exception):
    """A stage's seconds, or the pass's, are spent."""


@dataclass
class Record:
    """What a stage is given: where its rows go, the device, and how much time is left.

    Attributes:
        out: the folder.
        device: "cuda", or "cpu" in a rehearsal.
        tiny: whether this is a rehearsal, at sizes that mean nothing.
        data: the folder that gpu_data.py made.
        end: of the whole pass, on the monotonic clock.
        stage: the stage that is running.
    """

    out: Path
    device: str
    tiny: bool
    data: Path
    end: float
    stage: str = ""
    stage_end: float = math.inf
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Go on from what the folder holds."""
        if self.path.is_file():
            self.tables = json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def path(self) -> Path:
        """Where the tables are kept."""
        return self.out / "tables.json"

    def begin(self, stage: str, budget: float) -> None:
        """Start a stage's clock."""
        self.stage, self.stage_end = stage, min(time.monotonic() + budget, self.end)
        self.tables.setdefault(stage, {"status": "cut off", "seconds": 0.0, "rows": []})

    def finish(self, status: str, seconds: float) -> None:
        """Say how a stage ended, after how long."""
        mine = self.tables[self.stage]
        mine["status"], mine["seconds"] = status, round(mine["seconds"] + seconds, 1)
        self.save()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the running stage."""
        return self.tables[self.stage]["rows"]

    def has(self, **key: Any) -> bool:
        """Whether the running stage has a row with these entries."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row of the running stage at once."""
        self.rows.append({name: _plain(value) for name, value in row.items()})
        self.save()

    def save(self) -> None:
        """Write the tables, whole or not at all."""
        write_json(self.path, self.tables)

    def need(self, seconds: float = 0.0) -> None:
        """Raise OutOfTime unless so many seconds are left for this stage."""
        if time.monotonic() + seconds > self.stage_end:
            raise OutOfTime

    def track(self, steps: Any) -> Any:
        """Wrap a loop so that it ends with the stage's time."""
        for step in steps:
            self.need()
            yield step

    def keep_samples(self, name: str, images: np.ndarray) -> None:
        """Add images (n, h w) in [0, 1] to samples.npz as bytes."""
        path = self.out / "samples.npz"
        kept = {}
        if path.is_file():
            with np.load(path) as old:
                kept = {key: old[key] for key in old.files}
        kept[name] = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
        with replacing(path) as stream:
            np.savez_compressed(stream, **kept)


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: no nan, no numpy, six digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def check_folder(out: Path) -> list[str]:
    """What of a folder could not come back from a lent machine: too many files, too large, too deep."""
    files = [path for path in out.rglob("*") if path.is_file()]
    said = [f"{len(files)} files: at most {FILES} come back"] if len(files) > FILES else []
    said += [f"{path.name} is over {FILE_BYTES} bytes" for path in files if path.stat().st_size > FILE_BYTES]
    return said + [f"{path.name} lies too deep" for path in files if len(path.relative_to(out).parts) > 3]
