"""Stages of gpu_pass.py that look at the CUDA kernel: its tests, its time beside peers and ceilings, other blocks."""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import gpu
import gpu_tune
from gpu_record import Record
from otgrad.kernels import cuda_blocks

ROOT = Path(__file__).parents[2]
TESTS = ("tests/library/test_kernel_cuda.py", "tests/companion/test_graphs.py")
COUNTS = ("passed", "failed", "skipped", "error")  # in pytest's last line
PEERS = ("triton", "jax", "flash-sinkhorn", "pykeops", "POT", "ott-jax")
TINY = {"b": [3], "n": 40, "lam": [0.1, 0.0], "rounds": 1, "many": 0, "arms": gpu.SMOKE}
COPY_BYTES, SIDE = 4 * 2**30, 8192  # of the ceilings: a copy, a product


def small_blocks() -> None:
    """Blocks that Triton's interpreter can do in no time, for a rehearsal."""
    for name in cuda_blocks.BLOCKS:
        cuda_blocks.BLOCKS[name] = {"BLOCK_B": 4, "BLOCK_N": 32, "BLOCK_D": 16}
    cuda_blocks.BY_KIND.update(dict.fromkeys(cuda_blocks.BY_KIND, {}))


def check(record: Record) -> None:
    """Say what machine this is, and run the kernel's tests there, on fresh inputs.

    Raises:
        AssertionError: if a test fails.
    """
    record.add(machine(record))
    seed = str(int(time.time()) % 100_000)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    command += ["-k", "odd_shapes or rounds_in_place"] if record.tiny else []
    given = os.environ | {"OTGRAD_TEST_SEED": seed}
    done = subprocess.run([*command, *TESTS], cwd=ROOT, env=given, capture_output=True, text=True)
    counts = {name: int(found[1]) if (found := re.search(rf"(\d+) {name}", done.stdout)) else 0 for name in COUNTS}
    record.add({"what": "kernel's tests", "seed": seed} | counts)
    if done.returncode != 0:
        raise AssertionError(f"the kernel's tests: {done.stdout[-1500:]} {done.stderr[-500:]}")


def machine(record: Record) -> dict[str, object]:
    """Name of the device, driver, versions."""
    found: dict[str, object] = {"what": "machine", "torch": torch.__version__, "python": sys.version.split()[0]}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    if record.device == "cuda":
        seen = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True).stdout.strip()
        found |= {"device": seen.name, "processors": seen.multi_processor_count, "driver": driver}
        found |= {"memory_gib": round(seen.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return found


def settings(record: Record, **changes: object) -> argparse.Namespace:
    """Options of gpu.py for this pass."""
    found = gpu.arguments(["--output", "unused"])
    found.data, found.rounds = str(record.data / "train.npz"), 9
    for name, value in ((TINY if record.tiny else {}) | changes).items():
        setattr(found, name, value)
    return found


def measure(record: Record) -> None:
    """Ceilings of the machine, then every cell of gpu.py, with the distance of our step to them."""
    if not record.has(quantity="ceiling"):
        record.add({"quantity": "ceiling"} | ceilings(record))
    ceiling = next(row for row in record.rows if row["quantity"] == "ceiling")
    for text, rows in gpu.measured(settings(record, many=0), record.device, record.stage_end):
        print(text, flush=True)
        for row in rows:
            if not record.has(**{key: row[key] for key in ("quantity", "b", "n", "lam", "arm")}):
                record.add(row | distance(row, ceiling))
        ours_ran(rows)
        record.need()


def ours_ran(rows: list[dict]) -> None:
    """Raise RuntimeError where our own kernel gave no number; a peer may fail in its own way."""
    for row in rows:
        if row["arm"] == "otgrad cuda" and row["status"] != "ok":
            raise RuntimeError(f"otgrad cuda at b = {row['b']}, n = {row['n']}, lam = {row['lam']}: {row['status']}")


def ceilings(record: Record) -> dict[str, float]:
    """Bytes per second of a large copy, read and written, and operations per second of a large bf16 product."""
    size, side = (2**20, 64) if record.tiny else (COPY_BYTES, SIDE)
    source = torch.zeros(size, dtype=torch.uint8, device=record.device)
    target, device = torch.empty_like(source), source.device
    copy_ms = min(gpu.time_calls(lambda: target.copy_(source), 5, device, wall=False) for _ in range(3))
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in "ab")
    product_ms = min(gpu.time_calls(lambda: torch.mm(a, b), 5, device, wall=False) for _ in range(3))
    return {"copy_tb_s": 2 * size / copy_ms / 1e9, "bf16_tflop_s": 2 * side**3 / product_ms / 1e9}


def distance(row: dict, ceiling: dict[str, float], d: int = 784) -> dict[str, float]:
    """Least milliseconds of the row's work on this machine, and how often the row takes that.

    Two products of 2 b n d operations in 16 bits (for x four), or one reading of the atoms in float16, the longer.
    """
    if row["status"] != "ok" or not isinstance(row["median_ms"], float):
        return {}
    operations = (4 if row["quantity"] == "psi" else 8) * row["b"] * row["n"] * d
    least = max(operations / ceiling["bf16_tflop_s"], 2 * row["n"] * d / ceiling["copy_tb_s"]) / 1e9
    return {"floor_ms": least, "over_floor": row["median_ms"] / least if least > 0 else math.nan}


def tune(record: Record) -> None:
    """Time the kernel with other block sizes."""
    tiny = {"n": 40, "b": 3, "rounds": 1, "calls": 1}
    usual = {"n": 60_000, "b": 200, "rounds": 5, "calls": 20}
    options = argparse.Namespace(data=str(record.data / "train.npz"), lam=0.01, **(tiny if record.tiny else usual))
    for row in gpu_tune.trials(options, record.device):
        if not record.has(program=row["program"], blocks=row["blocks"]):
            record.add(row)
        record.need()
        if record.tiny and len(record.rows) == 2:  # the interpreter takes seconds for each
            return


def many(record: Record) -> None:
    """One step and one x-gradient with 10^7 atoms, by tiles, of this library alone."""
    options = settings(record, many=70 if record.tiny else 10_000_000, rounds=3)
    few = gpu.FEW
    for quantity in ("psi", "x"):
        record.need()
        b, lam = options.b[0], options.lam[0]
        cell = gpu.make_cell(options, record.device, quantity, b, options.many, lam)
        rows = gpu.measure(cell, few, options.rounds, record.stage_end)
        for row in rows:
            record.add(row)
        ours_ran(rows)
        del cell
