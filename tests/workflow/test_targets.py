"""Targets by name: figures, one lam, one seed, clean; and the time a dry run expects."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = ("--config", "preset=smoke", "dataset=digits")
FIGURES = [*(path.stem for path in sorted((ROOT / "paper/captions").glob("*.rst"))), "workflow"]


def test_a_dry_run_says_first_what_it_will_use_and_the_expected_time(project, run_snakemake):
    done = run_snakemake(project, "-n", "--config", "preset=laptop", "dataset=digits")
    told = [line for line in done.stderr.splitlines() if not line.startswith("Using ")]  # Snakemake's own, on profiles
    assert told[0] == "data: scikit-learn 8x8 digits, as asked"
    (minutes,) = re.findall(r"^preset laptop on cpu; expected time, \d+ cores, .*: (\d+) min on digits$", told[1])
    assert 2 <= int(minutes) <= 60
    assert "total " in done.stdout


def test_a_preset_that_was_never_timed_says_so(project, run_snakemake):
    done = run_snakemake(project, "figure1", "-n", "--config", "preset=paper", "dataset=digits", "device=cpu")
    assert "preset paper on cpu; expected time: not measured on digits" in done.stderr


def test_what_is_done_is_taken_off(finished, run_snakemake):
    done = run_snakemake(finished[0], "-n", *SMOKE)
    assert re.search(r"expected time, .*: \d+ min, of which 0 are left on digits", done.stderr), done.stderr


def test_every_figure_is_a_target(finished, run_snakemake):
    folder, _ = finished
    assert {path.stem for path in folder.glob("figures/*.svg")} == set(FIGURES)
    done = run_snakemake(folder, "-n", *FIGURES, *SMOKE)
    assert done.returncode == 0, done.stderr


def test_one_figure_makes_only_what_it_needs(project, run_snakemake):
    done = run_snakemake(project, "figure1", "-n", *SMOKE)
    assert re.search(r"^figure1_table +1$", done.stdout, re.MULTILINE)
    assert re.search(r"^total +2$", done.stdout, re.MULTILINE)


def test_one_lam_and_one_seed(project, run_snakemake):
    done = run_snakemake(project, "train", "-n", *SMOKE, "lams=0.02", "seed=3")
    assert re.search(r"^train_ot +1$", done.stdout, re.MULTILINE)
    assert "ot-mlp-lam0.02-s3" in done.stdout


def test_clean_leaves_a_tree_that_can_begin_again(finished, run_snakemake, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder, symlinks=True)
    done = run_snakemake(folder, "clean", *SMOKE)
    assert done.returncode == 0, done.stderr
    assert "removed results" in done.stdout
    assert not (folder / "results").exists()
    assert not list((folder / "figures").glob("*.*"))
    assert (folder / "figures/reference/figure1.csv").is_file()
    again = run_snakemake(folder, "results/data/dataset.json", *SMOKE)
    assert again.returncode == 0, again.stderr
