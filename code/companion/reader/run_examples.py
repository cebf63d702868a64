"""Run the examples as a reader would call them, one after the other in one process, which loads torch once."""

from companion.common.job import job

import io
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch
from matplotlib import rc_context


def run(settings, seed, out):
    """Run each example with its options, as text; return what they printed."""
    said = io.StringIO()
    for name, options in settings.items():
        sys.argv = [f"code/examples/{name}.py", *options.split(), "--seed", str(seed), "--out", out]
        with redirect_stdout(said), rc_context():  # one sets the size of its letters
            runpy.run_path(sys.argv[0], run_name="__main__")
    return said.getvalue()


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        torch.set_num_threads(smk.threads)
        printed = run(smk.params.settings, smk.params.seed, smk.params.out)
    with Path(smk.log[0]).open("a", encoding="utf-8") as stream:
        stream.write(printed)
