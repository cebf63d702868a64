"""The whole workflow in its smoke preset, in a copy of the tracked files; then tampering, which verify must see."""

import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from companion.common.checks import Row

SMOKE = ("--config", "preset=smoke", "dataset=digits")


def verification(folder):
    return json.loads((folder / "results/verification.json").read_text())


def test_everything_is_made(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    for name in ("figure1", "figure2", "crosscheck", "counterexample_chart", "planar", "planar_flow", "generation"):
        for suffix in (".svg", ".pdf", ".png"):
            assert (folder / f"figures/{name}{suffix}").stat().st_size > 1000
    verdicts = [row["verdict"] for row in verification(folder)]
    assert "pass" in verdicts
    assert "fail" not in verdicts
    assert set(verification(folder)[0]) == {field.name for field in fields(Row)}
    assert "passed, 0 failed" in done.stdout


def test_figure1_claims_are_computed(finished):
    claims = {entry["id"]: entry["verdict"] for entry in json.loads((finished[0] / "results/claims.json").read_text())}
    assert claims["A-no-convergence"] == "confirmed"
    assert claims["A-convergence"] == "confirmed"
    assert claims["A-smoothing"] == "undecided"
    assert claims["A-no-gradient"] == "confirmed"
    rows = {row["claim"]: row["verdict"] for row in verification(finished[0])}
    assert rows["equation tests"] == "pass"
    assert "**A-no-gradient**" in (finished[0] / "results/verification.md").read_text()


def test_paper_b_runs_and_says_what_was_not_run(finished):
    folder, _ = finished
    claims = {entry["id"]: entry["verdict"] for entry in json.loads((folder / "results/claims.json").read_text())}
    assert {claims[name] for name in ("B-faster", "B-better")} == {"undecided"}
    assert {claims[name] for name in ("B-naive", "B-adaptation", "B-generation")} == {"not tested"}
    rows = {row["claim"]: row["verdict"] for row in verification(folder)}
    assert rows["8 Gaussians: W1 at step 0 the same in all arms"] == "pass"
    assert rows["domain adaptation"].startswith("skipped: not run: ")
    assert "not run" in (folder / "figures/adaptation.svg").read_text()
    assert "| W1-FE, K = 5, dt = 0.05 |" in (folder / "results/planar/table.md").read_text()


def test_run_record_tells_how_it_was_made(finished):
    (path,) = finished[0].glob("results/runs/images/smoke/ot-mlp-lam0.01-s0/run.json")
    record = json.loads(path.read_text())
    assert record["config"]["lam"] == 0.01
    assert record["data"]["name"] == "digits"
    assert len(record["git_commit"]) == 40
    assert record["versions"]["torch"]
    assert record["seconds"] > 0


def test_second_call_only_prints(finished, run_snakemake):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.*")}
    done = run_snakemake(folder, *SMOKE)
    assert done.returncode == 0
    assert "passed, 0 failed" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.*")} == before


def test_the_tree_stays_clean(finished):
    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=finished[0], text=True)
    assert status == ""


SEEN = {  # what is damaged: what the failed row says
    "table": "2-cycle",
    "potential": "figures/crosscheck",
    "reference": "2-cycle",
    "figure": "figures/figure1",
}


@pytest.mark.parametrize("damages", [("table", "potential"), ("reference", "figure")], ids="-".join)
def test_verify_sees_tampering(finished, run_snakemake, tmp_path, damages):
    """Two at a time, which no row sees both."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder, symlinks=True)
    for damage in damages:
        change(folder, damage)
    done = run_snakemake(folder, "verify", "--forcerun", "verification", *SMOKE)
    failed = [row["claim"] for row in verification(folder) if row["verdict"] == "fail"]
    assert done.returncode != 0
    assert failed, done.stdout
    assert "FAIL" in done.stdout
    for damage in damages:
        assert any(SEEN[damage] in claim for claim in failed), failed


def change(folder: Path, damage: str) -> None:
    """Change one file and put its date back, so that Snakemake has no reason to make anything again."""
    path, edit = {
        "table": ("results/counterexample/figure1.csv", move_last_plain_point),
        "figure": ("figures/figure1.svg", lambda text: text.replace("tables-sha256:", "tables-sha256:0")),
        "reference": ("figures/reference/figure1.csv", lambda text: text.replace("low,0.464", "low,0.400")),
        "potential": ("results/crosscheck/potentials.csv", lambda text: text + "\n"),
    }[damage]
    dates = (folder / path).stat()
    (folder / path).write_text(edit((folder / path).read_text()))
    os.utime(folder / path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def move_last_plain_point(text: str) -> str:
    lines = text.splitlines()
    last = max(index for index, line in enumerate(lines) if line.startswith("plain,"))
    panel, k, x, y = lines[last].split(",")
    lines[last] = ",".join([panel, k, x, repr(float(y) + 0.01)])
    return "\n".join(lines) + "\n"


def test_dataset_mnist_fails_in_one_line(finished, run_snakemake, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder, symlinks=True, ignore=shutil.ignore_patterns("results"))
    (tmp_path / "empty").mkdir()
    done = run_snakemake(folder, "results/data/train.npz", "--config", "dataset=mnist", f"data_dir={tmp_path}/empty")
    assert done.returncode != 0
    assert "data: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "results/data/train.npz").exists()


def test_snakemakes_report_has_captions_and_categories(finished, run_snakemake, tmp_path):
    folder, _ = finished
    done = run_snakemake(folder, *SMOKE, "--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        page = archive.read("report/report.html").decode()
        assert sum(name.endswith(".svg") for name in archive.namelist()) >= 11
    assert "Paper A" in page
    assert "Paper B" in page
    for caption in (folder / "paper/captions").glob("*.rst"):
        title = caption.read_text(encoding="utf-8").splitlines()[0].partition(",")[0]
        assert json.dumps(title)[1:-1] in page, (
            caption.name
        )  # the page holds them as JSON: a letter beyond ASCII is escaped


def test_own_pictures_and_both_generators(project, run_snakemake, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)
    np.savez(folder / "mine.npz", images=images)
    arguments = ["--config", "preset=smoke", "dataset=mine.npz", "generators=mlp,dcgan", "lams=0.05"]
    done = run_snakemake(folder, "figures/figure2.svg", *arguments)
    assert done.returncode == 0, done.stderr
    assert "mine.npz" in (folder / "figures/figure2.svg").read_text()
    for generator in ("mlp", "dcgan"):
        run = folder / f"results/runs/images/smoke/ot-{generator}-lam0.05-s0"
        record = json.loads((run / "run.json").read_text())
        assert record["config"]["n_train"] == record["data"]["n_train"]
        assert np.load(run / "samples.npz")["images"].shape[1:] == (6, 5)
