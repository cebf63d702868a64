"""What the CUDA kernel's programs take of a GPU that is not there: registers, spills, shared memory."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

import gpu_offline

SCRIPT = Path(gpu_offline.__file__)
TOUCHED_BY = ["code/otgrad/kernels", "docs/gpu.md"]
DOCS = Path(__file__).parents[2] / "docs/gpu.md"
OLDEST = "3.6.0"  # of Triton, as on machines with torch 2.11


@pytest.mark.parametrize(
    "capability", [90, pytest.param(89, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.slow)]
)
def test_no_program_spills_or_asks_for_more_shared_memory_than_there_is(capability):
    rows = gpu_offline.table([capability])
    assert [row for row in rows if not gpu_offline.fits(row)] == []
    assert {row["program"] for row in rows} == {
        "split_points", "tile_sums", "combine", "soft_marginal", "hard_marginal", "weighted_sums"
    }  # fmt: skip
    for row in rows:
        assert 16 <= row["registers"] <= 255
        if row["program"] in ("tile_sums", "weighted_sums"):
            assert (row["wgmma"] > 0) == (capability == 90), row


def test_blocks_that_do_not_fit_are_told(monkeypatch, capsys):
    usual = next(variant for variant in gpu_offline.variants(large=True) if variant.program == "tile_sums")
    larger = replace(usual, constants=usual.constants | {"BLOCK_B": 256})  # sums alone are all registers that there are
    monkeypatch.setattr(gpu_offline, "variants", lambda large: [larger])
    assert gpu_offline.main(["--capability", "90"]) == 1
    said = capsys.readouterr().out
    assert "| tile_sums | scores kept | half | 256 x 256 x 64 | 8 | 3 | 255 |" in said
    assert "does not fit: 90 tile_sums scores kept, half:" in said


def test_a_row_that_asks_for_too_much_does_not_fit():
    row = {"capability": 90, "spilled": 0, "shared": 227 * 1024}
    assert gpu_offline.fits(row)
    assert not gpu_offline.fits(row | {"shared": 227 * 1024 + 1})
    assert not gpu_offline.fits(row | {"spilled": 8})


@pytest.mark.slow
def test_the_oldest_triton_compiles_them_too():
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the path: it brings the other Triton")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [uv, "run", "--no-project", "--isolated", "--python", version, "--with", f"triton=={OLDEST}", "python"]
    done = subprocess.run([*command, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]
    mine = done.stdout.partition("Capability 9.0")[2].partition("Capability")[0].strip()
    assert mine.startswith(f", Triton {OLDEST}:")
    assert mine in DOCS.read_text(encoding="utf-8")  # the table that is shown
