"""A look with other settings: nothing that took long is replaced, and a later run wants nothing of it anew."""

import hashlib
import re
import shutil

import numpy as np

SMOKE = ("--config", "preset=smoke", "dataset=digits")
LONG = ("data", "classifier", "evaluate_run", "evaluate_controls", "stability_table", "train_[a-z]+")


def kept(folder):
    """Hashes of images, trainings and scores."""
    paths = [path for part in ("data", "runs") for path in (folder / "results" / part).rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_look_replaces_nothing(finished, run_snakemake, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder, symlinks=True)
    before = kept(folder)
    done = run_snakemake(folder, "figure2", *SMOKE, "lams=0.1", "outer_steps=3", "seed=2e0")
    assert done.returncode == 0, done.stderr[-3000:]
    after = kept(folder)
    assert len(after) > len(before)
    assert {path: after[path] for path in before} == before
    again = run_snakemake(folder, "-n", "all", *SMOKE, "lr_theta=1e-3", "step_c=1.0")
    wanted = re.findall(rf"^({'|'.join(LONG)}) +\d+$", again.stdout, re.MULTILINE)
    assert not wanted, again.stdout[-3000:]


def test_from_another_folder_the_remedy_is_said(project, run_snakemake, tmp_path):
    shutil.copytree(project / "config", tmp_path / "config")
    done = run_snakemake(tmp_path, "-s", str(project / "Snakefile"), "-n", "train", *SMOKE)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "not the folder of this workflow" in line]
    assert line.endswith(f"give --directory {project.resolve()}")
    there = run_snakemake(
        tmp_path, "-s", str(project / "Snakefile"), "-d", str(project), "-n", "train", *SMOKE, "lams=1e6,1e-7,2.5e20"
    )
    assert there.returncode == 0, there.stderr
    for lam in ("1e+06", "1e-07", "2.5e+20"):
        assert f"Train ot-mlp-lam{lam}-s0" in there.stdout


def test_too_few_pictures_stop_the_scores_and_an_odd_name_nothing(project, run_snakemake, tmp_path):
    own = tmp_path / "a $$in & 'ink' 50% é.npz"
    np.savez(own, images=np.random.default_rng(0).random((60, 4, 4)))
    arguments = ("-n", "--config", "preset=smoke", f"dataset={own}")
    done = run_snakemake(project, "tradeoff", *arguments)
    assert done.returncode != 0
    assert "60 images, too few to score samples by: give at least 64" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_snakemake(project, "figure2", *arguments).returncode == 0
