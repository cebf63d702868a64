"""Compile the CUDA kernel's programs for GPUs that are not there, and say what they take of one.

python code/benchmarks/gpu_offline.py [--capability 90 89 80] [--output table.md] [--program tile_sums ...]

Needs Triton (3.6 or newer), neither torch nor a GPU. Every program is compiled for every kind of atoms and every choice
that the launch makes, with what the launch says of its arguments: pointers, n, d and ld divisible by 16 (as for 60,000
images of 784 pixels), b and tiles not. Columns: registers per thread, bytes of stack per thread (what is spilled),
bytes of shared memory per program, wgmma instructions. Exit code 1 if a program of the defaults spills, or asks for
more shared memory than there is.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

KERNELS = Path(__file__).parents[1] / "otgrad/kernels"
if importlib.util.find_spec("torch") is None:  # the package imports it; these files do not
    for name, folder in (("otgrad", KERNELS.parent), ("otgrad.kernels", KERNELS)):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
from otgrad.kernels import cuda_blocks, cuda_programs  # noqa: E402

SHARED = {90: cuda_blocks.LARGE, 89: cuda_blocks.SMALL, 86: cuda_blocks.SMALL, 80: 163 * 1024}
ATOMS = {"half": "*fp16", "bytes": "*u8", "halves": "*fp16", "split": "*fp32"}
FLOATS = ("x", "x_scale", "x_sq", "psi", "y_sq", "nu", "scores", "top", "z", "excess", "row_top", "row_z", "values")
TYPES = dict.fromkeys((*FLOATS, "out", "w"), "*fp32") | dict.fromkeys(("x_hi", "x_lo"), "*fp16")
TYPES |= {"cell": "*i32", "row_cell": "*i64"}
TYPES |= dict.fromkeys(("b", "n", "d", "ld", "tiles", "share", "row_stride", "column_stride"), "i32")
TYPES |= dict.fromkeys(("y_scale", "factor", "inv_scale", "inv_t", "lam"), "fp32")
ODD = ("b", "tiles")  # integers that 16 does not divide


@dataclass(frozen=True)
class Variant:
    """One compilation: a program for one kind of atoms, with the constants and options of a launch."""

    program: str
    choice: str
    atoms: str
    constants: dict[str, int | bool | str]
    options: dict[str, int]

    @property
    def parameters(self) -> list[str]:
        """Names of the program's parameters, in order."""
        return [parameter.name for parameter in getattr(cuda_programs, self.program).params]


def variants(large: bool) -> Iterator[Variant]:
    """Every program with every choice that cuda.py makes at its launch, for LARGE shared memory or less."""

    def variant(program: str, choice: str, name: str | None, atoms: str, **constants) -> Variant:
        shape = cuda_blocks.blocks(name, atoms, large) if name else {}
        options = {key: shape.pop(key) for key in ("num_warps", "num_stages") if key in shape} | cuda_blocks.FUSED
        found = Variant(program, choice, atoms, {"KIND": atoms} | shape | constants, options)
        taken = {key: value for key, value in found.constants.items() if key in found.parameters}
        return replace(found, constants=taken)

    yield variant("split_points", "", None, "half", BLOCK=1024)
    for hard in (False, True):
        yield variant("combine", "hard" if hard else "soft", None, "half", HARD=hard, BLOCK=512)
    for atoms in ATOMS:
        yield variant("tile_sums", "scores kept", "sums", atoms, HARD=False, STORED=True)
        yield variant("tile_sums", "scores not kept", "sums", atoms, HARD=False, STORED=False)
        yield variant("tile_sums", "hard", "sums", atoms, HARD=True, STORED=False)
        yield variant("soft_marginal", "scores formed again", "again", atoms, ADD=False, STORED=False)
        yield variant("weighted_sums", "", "means", atoms)
    yield variant("soft_marginal", "scores kept", "marginal", "half", ADD=False, STORED=True)
    yield variant("hard_marginal", "", "marginal", "half", ADD=False)


def compiled(variant: Variant, capability: int) -> dict[str, int]:
    """Compile one variant and read what it takes off the machine code."""
    kinds = TYPES | {"y": ATOMS[variant.atoms]} | dict.fromkeys(variant.constants, "constexpr")
    signature = {name: kinds[name] for name in variant.parameters}
    even = [name for name, kind in signature.items() if kind[0] == "*" or (kind == "i32" and name not in ODD)]
    source = ASTSource(
        fn=getattr(cuda_programs, variant.program),
        signature=signature,
        constexprs=variant.constants,
        attrs={(variant.parameters.index(name),): [["tt.divisibility", 16]] for name in even},
    )
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=variant.options)
    registers, stack = resources(built.asm["cubin"])
    products = built.asm["ptx"].count("wgmma.mma_async")
    return {"registers": registers, "spilled": stack, "shared": built.metadata.shared, "wgmma": products}


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack per thread, by the cuobjdump that Triton brings along."""
    tool = next(Path(triton.__file__).parent.rglob("cuobjdump"))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {said[:200]!r}")
    return int(found[1]), int(found[2])


def table(capabilities: list[int], programs: list[str] | None = None) -> list[dict]:
    """A row per capability and variant."""
    rows = []
    for capability in capabilities:
        for variant in variants(large=SHARED[capability] >= cuda_blocks.LARGE):
            if programs is None or variant.program in programs:
                blocks = " x ".join(str(size) for name, size in variant.constants.items() if name.startswith("BLOCK"))
                told = {"program": variant.program, "choice": variant.choice, "atoms": variant.atoms, "blocks": blocks}
                options = {"warps": variant.options.get("num_warps", 4), "stages": variant.options.get("num_stages", 3)}
                rows.append({"capability": capability} | told | options | compiled(variant, capability))
    return rows


def fits(row: dict) -> bool:
    """Whether nothing is spilled and shared memory suffices."""
    return row["spilled"] == 0 and row["shared"] <= SHARED[row["capability"]]


def markdown(rows: list[dict]) -> str:
    """The table as it stands in the docs."""
    keys, lines = list(rows[0])[1:], []
    for capability, group in groupby(rows, lambda row: row["capability"]):
        lines += [f"Capability {capability / 10:.1f}, Triton {triton.__version__}:", ""]
        lines += ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
        for row in group:
            cells = (f"{value:,}" if isinstance(value, int) else value for value in map(row.get, keys))
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, nargs="+", choices=SHARED, default=[90, 89, 80])
    parser.add_argument("--program", nargs="+", help="these alone")
    parser.add_argument("--output", help="write the table there as well")
    options = parser.parse_args(given)
    rows = table(options.capability, options.program)
    text = markdown(rows)
    print(text)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    bad = [row for row in rows if not fits(row)]
    for row in bad:
        text = "does not fit: {capability} {program} {choice}, {atoms}: {spilled} spilled, {shared:,} shared"
        print(text.format(**row))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
