"""Remove what the workflow made, but not what would take work to have again: checkpoints of unfinished training."""

from companion.common.job import job

import shutil
import sys
from pathlib import Path

MADE = ("results", "figures/*.svg", "figures/*.pdf", "figures/*.png", "paper/report.pdf")
KEPT = "kept: checkpoints/ (unfinished training), figures/reference/, downloaded data; all jobs will run again"


def clean(root):
    """Delete everything in MADE under root; returns lines that say what was freed."""
    lines = []
    for pattern in MADE:
        paths = sorted(Path(root).glob(pattern))
        size = sum(file.stat().st_size for path in paths for file in files(path))
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if paths:
            lines.append(f"removed {pattern}: {size / 1e6:.1f} MB")
    return [*lines, KEPT] if lines else ["nothing to remove"]


def files(path):
    """The files under a path, or the path itself."""
    return [child for child in path.rglob("*") if child.is_file()] if path.is_dir() else [path]


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        sys.stdout.write("\n".join(clean(".")) + "\n")
