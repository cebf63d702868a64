"""Everything of this project that needs a GPU, in one call of some minutes: stages by value, safe to cut off anywhere.

python code/benchmarks/gpu_pass.py --out FOLDER [--data gpu-data] [--part 1] [--only a b] [--skip g] [--minutes 9]

Needs Python 3.11, torch 2.11, Triton 3.6, numpy, tqdm, filelock, pytest and pytest-xdist, no network and no Snakemake;
`--data` is the folder that code/benchmarks/gpu_data.py makes. Run with PYTHONPATH=code where otgrad is not installed.
Each stage keeps every row at once in FOLDER/tables.json and has seconds of its own; one whose result is there is not
run again, one that was cut off goes on. `--rehearse` runs all of them at tiny sizes on a CPU, the kernel in Triton's
interpreter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

if "--rehearse" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import torch

import gpu_images
import gpu_kernels
import gpu_paper_b
from companion.common.files import replacing
from gpu_record import OutOfTime, Record, check_folder


@dataclass(frozen=True)
class Stage:
    """A part of the pass: what it does, in how many seconds at most, in which of the two parts."""

    name: str
    what: str
    seconds: int
    part: int
    run: Callable[[Record], None]


STAGES = (
    Stage("a", "device; the kernel's tests against float64, memory poisoned", 60, 1, gpu_kernels.check),
    Stage("b", "psi-step and x-gradient beside peers and ceilings", 150, 1, gpu_kernels.measure),
    Stage("c", "Algorithm 1, 60,000 images, four lam and the winner, three seeds", 320, 1, gpu_images.train_all),
    Stage("d", "the authors' budgets, beside their recorded losses", 140, 2, gpu_images.authors),
    Stage("e", "Algorithm 1 with the DCGAN", 70, 2, gpu_images.train_dcgan),
    Stage("f-plane", "paper B in the plane, all arms with a critic, ten seeds", 170, 2, gpu_paper_b.plane),
    Stage("f-adaptation", "paper B between USPS and MNIST", 45, 2, gpu_paper_b.adaptation),
    Stage("f-generation", "paper B and Algorithm 1 on images", 35, 2, gpu_paper_b.generation),
    Stage("g", "other block sizes", 35, 2, gpu_kernels.tune),
    Stage("h", "ten million atoms", 35, 2, gpu_kernels.many),
)


def chosen(options: argparse.Namespace) -> list[Stage]:
    """The stages that were asked for, in order."""
    wanted = [stage for stage in STAGES if options.part in (None, stage.part)]
    wanted = [stage for stage in wanted if options.only is None or _named(stage, options.only)]
    return [stage for stage in wanted if not _named(stage, options.skip or ())]


def _named(stage: Stage, names: Collection[str]) -> bool:
    return stage.name in names or stage.name.partition("-")[0] in names


def run(stage: Stage, record: Record, budget: float) -> None:
    """Run one stage to its end, to its time or to its error; what it has is kept in all three."""
    if record.tables.get(stage.name, {}).get("status") == "done":
        print(f"{stage.name}: done before", flush=True)
        return
    if time.monotonic() > record.end:
        print(f"{stage.name}: no time left", flush=True)
        return
    record.begin(stage.name, budget)
    begun, status = time.monotonic(), "done"
    try:
        stage.run(record)
    except OutOfTime:
        status = "out of time"
    except Exception as error:  # the stages after it are worth as much
        traceback.print_exc()
        status = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    record.finish(status, time.monotonic() - begun)
    print(f"{stage.name}: {status}, {time.monotonic() - begun:.1f} s, {len(record.rows)} rows", flush=True)


def summarise(record: Record) -> str:
    """The pass as a table: what each stage came to."""
    lines = ["| stage | what | budget, s | spent, s | rows | status |", "|---|---|---|---|---|---|"]
    for stage in STAGES:
        found = record.tables.get(stage.name, {"seconds": 0, "rows": [], "status": "not run"})
        cells = stage.name, stage.what, stage.seconds, found["seconds"], len(found["rows"]), found["status"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    text = "\n".join(lines) + "\n"
    with replacing(record.out / "summary.md") as stream:
        stream.write(text.encode())
    return text


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted({name for stage in STAGES for name in (stage.name, stage.name.partition("-")[0])})
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("gpu-data"))
    parser.add_argument("--part", type=int, choices=(1, 2), help="its stages alone: 1 for a to c, 2 for d to h")
    parser.add_argument("--only", nargs="+", choices=names)
    parser.add_argument("--skip", nargs="+", choices=names)
    parser.add_argument("--minutes", type=float, default=60, help="of all stages together; none is begun later")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on a CPU")
    found = parser.parse_args(given)
    if not found.minutes > 0:
        parser.error(f"--minutes {found.minutes:g}: give a number > 0")
    return found


def main(given: list[str] | None = None) -> int:
    """Run from the command line; 1 if a stage failed or, in a rehearsal, was not done."""
    options = arguments(given)
    if not options.rehearse and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: the pass needs an NVIDIA GPU (--rehearse tries it on a CPU)")
    if not options.rehearse and not (options.data / "train.npz").is_file():
        raise SystemExit(
            f"{options.data}: no train.npz; make it with code/benchmarks/gpu_data.py, or name it by --data"
        )
    if options.rehearse:
        torch.set_num_threads(1)
        gpu_kernels.small_blocks()
    end, device = time.monotonic() + 60 * options.minutes, "cpu" if options.rehearse else "cuda"
    options.out.mkdir(parents=True, exist_ok=True)
    record = Record(options.out, device, options.rehearse, options.data, end)
    stages = chosen(options)
    for stage in stages:
        run(stage, record, stage.seconds)
    print(summarise(record))
    for part in (1, 2):
        total = sum(stage.seconds for stage in STAGES if stage.part == part)
        print(f"budget of part {part}: {total} s of 540")
    faults = [f"stage {stage.name}: {status}" for stage in stages if (status := _status(record, stage)) != "done"]
    faults = faults if options.rehearse else [fault for fault in faults if not fault.endswith(("time", "run"))]
    faults += check_folder(options.out)
    print("\n".join(faults) or "no fault")
    return 1 if faults else 0


def _status(record: Record, stage: Stage) -> str:
    return record.tables.get(stage.name, {}).get("status", "not run")


if __name__ == "__main__":
    sys.exit(main())
