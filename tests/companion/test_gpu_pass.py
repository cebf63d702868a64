"""The pass over a GPU, rehearsed: its stages on a CPU, cut off and gone on with, packed and kept."""

import json
import os
import random
import subprocess
import sys
import time
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import gpu_data
import gpu_keep
import gpu_pass
import gpu_record
from companion.data.images import DataError
from companion.persistence.arms import CRITIC_METHODS, PlanarConfig
from companion.persistence.planar_stacked import sample_bytes
from gpu_record import FILE_BYTES, FILES, OutOfTime, Record, check_folder

QUICK = ["--only", "d", "e", "f"]  # those that need neither Triton nor the kernel's tests
SCRIPT = gpu_pass.__file__


@pytest.fixture(autouse=True)
def own_blocks(monkeypatch):
    """The blocks and threads of a rehearsal are for its process alone."""
    monkeypatch.setattr(gpu_pass.gpu_kernels, "small_blocks", lambda: None)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("pass")
    assert gpu_pass.main(["--rehearse", "--out", str(out), *QUICK]) == 0
    return out


def tables(out):
    return json.loads((out / "tables.json").read_text(encoding="utf-8"))


def test_the_stages_leave_their_tables(rehearsed):
    found = tables(rehearsed)
    assert {name: part["status"] for name, part in found.items()} == dict.fromkeys(
        ("d", "e", "f-plane", "f-adaptation", "f-generation"), "done"
    )
    vector = found["d"]["rows"][1]
    assert vector["run"] == "sequel, psi as a vector"
    assert (vector["lam"], vector["rule"]) == (0.0, "plain, c = 5, averaging None")
    assert [step for step, _ in vector["curve"]] == [0, 2]
    dcgan = found["e"]["rows"][0]
    assert dcgan["generator"] == "dcgan"
    assert dcgan["steps"] == "3 x 2 x 8"
    assert 0 <= dcgan["precision"] <= 1
    assert [row["step"] for row in found["f-plane"]["rows"]] == [0, 2, 4]
    assert found["f-plane"]["rows"][0]["networks"] == 8
    assert found["f-adaptation"]["rows"][0]["arm"] == "usps-mnist-w1fe-lp-K2"
    assert [row["arm"] for row in found["f-generation"]["rows"]] == ["w1fe-gp-K1", "ot-lam0.01"]
    assert "| d | the authors' budgets" in (rehearsed / "summary.md").read_text(encoding="utf-8")
    with np.load(rehearsed / "samples.npz") as kept:
        assert sorted(kept.files) == ["generation ot-lam0.01", "generation w1fe-gp-K1", "ot-dcgan-lam0.001-s0"]
        assert kept["ot-dcgan-lam0.001-s0"].dtype == np.uint8


def test_what_is_done_is_not_run_again(rehearsed, capsys):
    before = (rehearsed / "tables.json").read_bytes()
    assert gpu_pass.main(["--rehearse", "--out", str(rehearsed), *QUICK]) == 0
    assert capsys.readouterr().out.count(": done before") == 5
    assert (rehearsed / "tables.json").read_bytes() == before


def test_a_stage_that_was_cut_off_goes_on_where_it_was(rehearsed, tmp_path):
    found = tables(rehearsed)
    found["d"] |= {"status": "cut off", "rows": [found["d"]["rows"][0] | {"seconds": -1.0}]}
    (tmp_path / "tables.json").write_text(json.dumps({"d": found["d"]}), encoding="utf-8")
    assert gpu_pass.main(["--rehearse", "--out", str(tmp_path), "--only", "d"]) == 0
    rows = tables(tmp_path)["d"]["rows"]
    assert [row["run"] for row in rows] == ["authors 2021", "sequel, psi as a vector"]
    assert rows[0]["seconds"] == -1.0


def test_a_stage_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def fail(record):
        record.add({"what": "half"})
        raise RuntimeError("no\nluck")

    stages = (gpu_pass.Stage("a", "", 5, 1, fail), gpu_pass.Stage("b", "", 5, 1, lambda record: record.add({"x": 1})))
    monkeypatch.setattr(gpu_pass, "STAGES", stages)
    assert gpu_pass.main(["--rehearse", "--out", str(tmp_path)]) == 1
    found = tables(tmp_path)
    assert found["a"]["status"] == "RuntimeError: no luck"
    assert found["a"]["rows"] == [{"what": "half"}]
    assert found["b"]["status"] == "done"
    assert "stage a: RuntimeError: no luck" in capsys.readouterr().out


def test_time_ends_a_stage_and_the_pass(tmp_path, monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(gpu_record.time, "monotonic", lambda: clock[0])

    def slow(record):
        for k in record.track(range(100)):
            record.add({"k": k})
            clock[0] += 1

    stages = tuple(gpu_pass.Stage(name, "", 10, 1, slow) for name in "abc")
    monkeypatch.setattr(gpu_pass, "STAGES", stages)
    assert gpu_pass.main(["--rehearse", "--out", str(tmp_path), "--minutes", "0.25"]) == 1
    found = tables(tmp_path)
    assert [(name, part["status"], len(part["rows"])) for name, part in found.items()] == [
        ("a", "out of time", 11),
        ("b", "out of time", 5),
    ]
    assert "c: no time left" in capsys.readouterr().out


def test_stages_are_chosen_by_part_and_name():
    def names(*given):
        return [stage.name for stage in gpu_pass.chosen(gpu_pass.arguments(["--out", "x", *given]))]

    assert names("--part", "1") == ["a", "b", "c"]
    assert names("--part", "2", "--skip", "f", "g") == ["d", "e", "h"]
    assert names("--only", "f-plane", "a") == ["a", "f-plane"]
    for part in (1, 2):
        assert sum(stage.seconds for stage in gpu_pass.STAGES if stage.part == part) <= 540


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    with pytest.raises(SystemExit) as caught:
        gpu_pass.main(["--out", str(tmp_path / "out")])
    assert str(caught.value).startswith("no CUDA device: ")
    assert not (tmp_path / "out").exists()


def test_bad_options_are_refused_before_any_work(tmp_path, capsys):
    for given, said in (
        (["--minutes", "0"], "--minutes 0: give a number > 0"),
        (["--only", "z"], "invalid choice: 'z'"),
    ):
        with pytest.raises(SystemExit):
            gpu_pass.main(["--rehearse", "--out", str(tmp_path / "out"), *given])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_record_keeps_numbers_that_json_has(tmp_path):
    record = Record(tmp_path, "cpu", True, tmp_path, time.monotonic() + 60)
    record.begin("x", 60)
    record.add({"a": np.float64(1 / 3), "b": float("nan"), "c": np.int64(2), "d": "text"})
    assert tables(tmp_path)["x"]["rows"] == [{"a": 0.333333, "b": None, "c": 2, "d": "text"}]
    assert record.has(a=0.333333, c=2)
    assert not record.has(c=3)
    record.begin("x", -1)
    with pytest.raises(OutOfTime):
        record.need()


def test_what_could_not_come_back_is_told(tmp_path):
    assert check_folder(tmp_path) == []
    for k in range(FILES + 1):
        (tmp_path / f"{k}").write_bytes(b"")
    with (tmp_path / "0").open("wb") as stream:
        stream.truncate(FILE_BYTES + 1)
    deep = tmp_path / "a/b/c/file"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"")
    assert check_folder(tmp_path) == [
        f"{FILES + 2} files: at most {FILES} come back",
        f"0 is over {FILE_BYTES} bytes",
        "file lies too deep",
    ]


def test_the_whole_plane_fits_in_the_files_that_come_back():
    configs = [PlanarConfig(**arm) for arm in gpu_data.preset_arms()["planar"]]
    configs = [config for config in configs if config.method in CRITIC_METHODS]
    assert len(configs) == 53
    assert all((config.batch_size, config.outer_steps) == (512, 5000) for config in configs)
    total = sum(sample_bytes(config, 10, gpu_pass.gpu_paper_b.EVERY, 2) for config in configs)
    others = 3  # tables, summary, samples
    assert -(-total // int(0.9 * FILE_BYTES)) + 1 <= FILES - others  # one more: arms whose weights are clipped go apart


def test_the_folder_becomes_references_and_tables(rehearsed, tmp_path):
    docs = tmp_path / "gpu.md"
    docs.write_text(f"before\n{gpu_keep.START}\nold\n{gpu_keep.END}\nafter\n", encoding="utf-8")
    gpu_keep.main([str(rehearsed), "--references", str(tmp_path / "kept"), "--docs", str(docs), "--workers", "1"])
    text = docs.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{gpu_keep.START}\n")
    assert text.endswith(f"{gpu_keep.END}\nafter\n")
    assert "old" not in text
    assert "| sequel, psi as a vector | 0.0 |" in text
    assert "| 8gaussians-w1fe-lp-K2 | 4 | 2 | 0.9" in text
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept >= {"pass.json", "authors.csv", "dcgan.csv", "curves.csv", "plane_w1.csv", "samples.png"}
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) < 200_000
    with Image.open(tmp_path / "kept/samples.png") as image:
        assert image.size == (28 * gpu_keep.SHOWN, 28 * 3)


def test_a_rehearsal_is_not_kept_by_mistake(rehearsed, tmp_path):
    with pytest.raises(SystemExit, match="a rehearsal, or no stage a; give --references and --docs elsewhere"):
        gpu_keep.main([str(rehearsed)])
    with pytest.raises(SystemExit, match="give the folder that code/benchmarks/gpu_pass.py wrote"):
        gpu_keep.main([str(tmp_path)])


def test_the_losses_of_the_authors_stand_beside_ours():
    row = {"run": "sequel, psi as a vector", "lam": 0.0, "seconds": 10.0, "ms_per_psi_step": 1.0}
    line = gpu_keep.authors([row | {"curve": [[50, 0.5], [60, 0.34], [300, 0.4]]}])[0]
    assert line[-1] == "60: 0.340 (0.333); 300: 0.400 (0.38)"
    assert gpu_keep.authors([row | {"lam": 0.05, "curve": [[100, 0.6]]}])[0][-1] == "100: 0.600 (0.58)"
    assert gpu_keep.authors([row | {"run": "authors 2021", "curve": [[100, 0.6], [200, 0.5]]}])[0][-1] == "200: 0.500"


def test_packing_wants_the_results_and_names_their_command(tmp_path):
    with pytest.raises(DataError, match="make it with: uv run snakemake --cores all results/data/train.npz"):
        gpu_data.pack(tmp_path, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_what_was_packed_is_what_the_pass_reads(tmp_path):
    results, out = tmp_path / "results", tmp_path / "out"
    for folder in ("data", "evaluation/laptop"):
        (results / folder).mkdir(parents=True)
    images, labels = np.arange(3 * 784, dtype=np.uint16).reshape(3, 28, 28).astype(np.uint8), np.arange(3)
    for part in ("train", "test"):
        np.savez(results / f"data/{part}.npz", images=images, labels=labels)
    torch.save({}, results / "evaluation/laptop/classifier.pt")
    said = gpu_data.pack(results, out, None)
    assert [line.partition(":")[0] for line in said] == ["arms.json", "classifier.pt", "test.npz", "train.npz"]
    with np.load(out / "train.npz") as kept:
        assert np.array_equal(kept["images"], images)
        assert np.array_equal(kept["labels"], labels)
    arms = json.loads((out / "arms.json").read_text(encoding="utf-8"))
    assert {study: len(found) for study, found in arms.items()} == {"planar": 69, "adaptation": 16, "generation": 4}


def test_the_wheels_lack_nothing_that_the_pass_and_the_kernels_tests_need():
    """Nothing can be fetched where they are installed, one by one."""
    wheels = {canonicalize_name(wheel.partition("==")[0]) for wheel in (*gpu_data.WHEELS, *gpu_data.COMPILED)}
    here = {"torch", "triton", "numpy", *wheels}
    target = {"extra": "", "sys_platform": "linux", "platform_system": "Linux", "python_version": "3.12"}
    for name in ("pyyaml", "tqdm", "filelock", "pytest", "pytest-xdist", "execnet", "packaging", "pluggy", "pygments"):
        assert name in here
        needs = [Requirement(text) for text in requires(name) or []]
        needs = [need.name for need in needs if need.marker is None or need.marker.evaluate(target)]
        assert {canonicalize_name(need) for need in needs} <= here, name


@pytest.mark.slow
def test_killed_at_random_moments_it_leaves_whole_tables(tmp_path):
    """The whole rehearsal, killed again and again, until it is done."""
    rng, command = random.Random(0), [sys.executable, SCRIPT, "--rehearse", "--out", str(tmp_path)]
    given = os.environ | {"PYTHONPATH": str(Path(SCRIPT).parents[1]), "OMP_NUM_THREADS": "1"}
    rows, killed = {}, 0
    for _ in range(20):
        process = subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(rng.uniform(6, 30)) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        if (tmp_path / "tables.json").exists():
            found = {name: len(part["rows"]) for name, part in tables(tmp_path).items()}
            assert all(found.get(name, 0) >= count for name, count in rows.items() if not name.startswith("f-plane"))
            rows = found
    else:
        raise AssertionError(f"not done after {killed} kills: {rows}")
    assert killed >= 1
    assert {part["status"] for part in tables(tmp_path).values()} == {"done"}
    assert len(tables(tmp_path)) == len(gpu_pass.STAGES)
