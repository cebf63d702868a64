"""Runs of the smoke preset that tests start beside others and compare."""

import csv
import subprocess
import sys

SMOKE = ("--config", "preset=smoke", "dataset=digits")
TIMED = {"seconds", "s", "cpu_s", "peak_mib"}  # columns that no two runs share


def tables(folder):
    """The cells of all tables of a run but measured times."""
    found = {}
    for path in sorted((folder / "results").rglob("*.csv")):
        name = str(path.relative_to(folder))
        if path.name != "timing.csv":
            with path.open(encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            found[name] = [{key: cell for key, cell in row.items() if key not in TIMED} for row in rows]
    return found


def start(folder, environment, *arguments, python=sys.executable):
    command = [python, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
