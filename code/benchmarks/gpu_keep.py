"""Turn the folder of a pass over a GPU into what is kept: light tables, a picture, and the tables in docs/gpu.md.

uv run python code/benchmarks/gpu_keep.py FOLDER [--references figures/reference/gpu] [--docs docs/gpu.md]

Scores the samples of the plane by exact W1 (POT, some minutes on all cores). A rehearsal's numbers mean nothing: they
are refused unless another place for them is named.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from companion.common.files import replacing, write_csv, write_json
from companion.persistence.planar_stacked import scores

REFERENCES, DOCS = Path("figures/reference/gpu"), Path("docs/gpu.md")
RECORDED = Path(__file__).parents[2] / "figures/reference/recorded.csv"
START, END = "<!-- gpu: written by code/benchmarks/gpu_keep.py -->", "<!-- end of gpu -->"
VECTOR, NETWORK = "sequel, psi as a vector", "sequel, psi as a network"
COMPARED = {VECTOR: (VECTOR, NETWORK)}  # budget: runs of the authors whose losses stand beside its own, nearest first
SHOWN = 8  # images of a run in the picture's row
Row = dict[str, Any]


def keep(folder: Path, references: Path, docs: Path, workers: int) -> None:
    """Write the references, the picture and the docs' tables."""
    tables = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    parts = {name: part["rows"] for name, part in tables.items()}
    ends = {name: {key: part[key] for key in ("status", "seconds")} for name, part in tables.items()}
    write_json(references / "pass.json", ends)
    for stage, name in NAMES.items():
        if rows := parts.get(stage):
            write_rows(references / f"{name}.csv", rows)
    trained = [row for stage in "cde" for row in parts.get(stage, ()) if "curve" in row]
    curves = [(row["run"], row["lam"], row["seed"], *point) for row in trained for point in row["curve"]]
    write_csv(references / "curves.csv", ("run", "lam", "seed", "step", "loss"), curves)
    plane = score_plane(folder, workers)
    write_rows(references / "plane_w1.csv", plane)
    picture(folder / "samples.npz", references / "samples.png")
    text = docs.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    with replacing(docs) as stream:
        stream.write((before + START + "\n\n" + report(tables, plane) + "\n" + END + rest.partition(END)[2]).encode())


NAMES = {
    "a": "machine", "b": "steps", "c": "runs", "d": "authors", "e": "dcgan", "f-plane": "plane",
    "f-adaptation": "adaptation", "f-generation": "generation", "g": "blocks", "h": "many",
}  # fmt: skip


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of unequal keys as CSV, without their curves."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "curve"))
    write_csv(path, keys, [[row.get(key, "") for key in keys] for row in rows])


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Give `map` over processes; fresh ones, since a fork of a process that used torch may wait for its threads."""
    if workers == 1:
        yield map
        return
    settings = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(workers, **settings) as pool:
        yield pool.map


def score_plane(folder: Path, workers: int) -> list[Row]:
    """Mean and standard deviation over seeds of exact W1, per arm and look, from the kept samples."""
    found: list[tuple[str, int, float]] = []
    for path in sorted(folder.glob("plane-*.npz")):
        with np.load(path) as kept:
            samples = torch.from_numpy(kept["samples"]).float().transpose(0, 1)
            arms, laws, seeds, steps = (kept[key].tolist() for key in ("arm", "law", "seed", "step"))
        with _mapping(workers) as mapped:
            for arm, values in zip(arms, mapped(scores, laws, seeds, samples), strict=True):
                found += [(arm, step, value) for step, value in zip(steps, values, strict=True)]
    rows = []
    for (arm, step), group in groupby(sorted(found, key=lambda entry: entry[:2]), key=lambda entry: entry[:2]):
        values = np.array([value for *_, value in group])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        numbers = {"w1": _short(values.mean()), "std": _short(spread)}
        rows.append({"arm": arm, "step": step, "seeds": len(values)} | numbers)
    return rows


def picture(samples: Path, target: Path) -> None:
    """A row of images per run."""
    with np.load(samples) as kept:
        rows = [np.concatenate(list(kept[name][:SHOWN]), axis=1) for name in sorted(kept.files)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as stream:
        Image.fromarray(255 - np.concatenate(rows, axis=0)).save(stream, "PNG", optimize=True)


def report(tables: dict[str, Any], plane: list[Row]) -> str:
    """The docs' tables."""
    parts = {name: part["rows"] for name, part in tables.items()}
    machine = next((row for row in parts.get("a", ()) if row["what"] == "machine"), {})
    lines = ["Measured on: " + ", ".join(f"{key} {value}" for key, value in machine.items() if key != "what") + ".", ""]
    stages = [(name, part["status"], f"{part['seconds']:.0f}") for name, part in tables.items()]
    lines += table(("stage", "status", "seconds"), stages)
    lines += ["**Steps** (ms: median and quartiles; the peer is the fastest one that ran):", ""]
    lines += table(STEP_HEAD, steps([*parts.get("b", ()), *parts.get("h", ())]))
    lines += ["**Generators of images** (means over sets, and seeds where there are several):", ""]
    head = ("run", "seeds", "seconds", "Frechet distance", "precision", "recall", "sharpness")
    lines += table(head, images([row for stage in "ce" for row in parts.get(stage, ())]))
    lines += ["**The authors' budgets**, loss here (there):", ""]
    lines += table(("run", "λ", "seconds", "ms per ψ-step", "loss at step"), authors(parts.get("d", ())))
    lines += ["**Paper B in the plane**, exact W1 at the last look, mean and standard deviation over seeds:", ""]
    last = [list(group)[-1] for _, group in groupby(plane, key=lambda row: row["arm"])]
    found = [(row["arm"], row["step"], row["seeds"], f"{row['w1']} ± {row['std']}") for row in last]
    lines += table(("arm", "step", "seeds", "W1"), found)
    return "\n".join(lines)


STEP_HEAD = ("quantity", "b", "n", "λ", "otgrad", "over floor", "fastest peer", "its time over ours", "errors")


def steps(rows: Iterable[Row]) -> list[Sequence[object]]:
    """A line per cell: our captured step beside the fastest peer."""

    def cell(row: Row) -> tuple:
        return row["quantity"], row["b"], row["n"], row["lam"]

    lines = []
    for key, group in groupby([row for row in rows if row.get("status") == "ok"], key=cell):
        found = list(group)
        ours = next((row for row in found if row["arm"] == "otgrad cuda, graph"), None) or found[0]
        peers = sorted((row for row in found if row["kind"] == "peer"), key=lambda row: row["median_ms"])
        best = f"{peers[0]['arm']}, {peers[0]['median_ms']} ms" if peers else "none"
        ratio = f"{peers[0]['ratio']} ({peers[0]['ratio_q25']} to {peers[0]['ratio_q75']})" if peers else ""
        time = f"{ours['median_ms']} ({ours['q25_ms']} to {ours['q75_ms']})"
        errors = f"{ours['value_error']}, {ours['grad_error']}"
        lines.append((*key, time, _short(ours.get("over_floor")), best, ratio, errors))
    return lines


def images(rows: Iterable[Row]) -> list[Sequence[object]]:
    """A line per setting, its seeds together; real images, which have no setting, by their name."""
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row.get("setting", row["run"]), []).append(row)
    lines = []
    for name, group in by_run.items():
        seconds = [row["seconds"] for row in group if "seconds" in row]
        cells = [_spread([row[key] for row in group]) for key in ("fid", "precision", "recall", "sharpness")]
        lines.append((name, len(group), _short(np.mean(seconds)) if seconds else "", *cells))
    return lines


def authors(rows: Iterable[Row]) -> list[Sequence[object]]:
    """A line per budget and lam: the loss where theirs is recorded."""
    with RECORDED.open(encoding="utf-8", newline="") as stream:
        theirs = {(row["run"], float(row["lam"]), int(row["step"])): row["loss"] for row in csv.DictReader(stream)}
    lines = []
    for row in rows:
        told = [f"{step}: {value:.3f}{_beside(theirs, row, step)}" for step, value in row["curve"]]
        chosen = [text for text in told if "(" in text] or told[-1:]
        times = _short(row["seconds"]), _short(row["ms_per_psi_step"])
        lines.append((row["run"], row["lam"], *times, "; ".join(chosen)))
    return lines


def _beside(theirs: dict[tuple[str, float, int], str], row: Row, step: int) -> str:
    found = filter(None, (theirs.get((name, row["lam"], step)) for name in COMPARED.get(row["run"], ())))
    return next((f" ({loss})" for loss in found), "")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table, and an empty one."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _short(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else float(f"{value:.3g}")


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{_short(np.mean(known))}" + (f" ± {_short(np.std(known, ddof=1))}" if len(known) > 1 else "")


def main(given: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--references", type=Path, default=REFERENCES)
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that score")
    options = parser.parse_args(given)
    source = options.folder / "tables.json"
    if not source.is_file():
        raise SystemExit(f"{source} is missing: give the folder that code/benchmarks/gpu_pass.py wrote")
    machine = json.loads(source.read_text(encoding="utf-8")).get("a", {"rows": [{}]})["rows"][0]
    if "device" not in machine and REFERENCES in (options.references, options.docs.parent):
        raise SystemExit(f"{options.folder}: a rehearsal, or no stage a; give --references and --docs elsewhere")
    keep(options.folder, options.references, options.docs, options.workers)


if __name__ == "__main__":
    main()
