"""Claims: do the papers' statements hold here? Every study says so of its own, in its verdicts.py; never a failure."""

from companion.common.job import job

import os
from pathlib import Path

from companion.common.files import write_json
from companion.common.readers import read_json
from companion.counterexample import verdicts as counterexample
from companion.images import verdicts as images
from companion.persistence import verdicts as persistence
from companion.reader.claims_map import judge, outcomes, read_map
from companion.reader.standing import stand
from companion.scores import verdicts as scores
from companion.shrinkage import verdicts as shrinkage

STUDIES = (counterexample, images, scores, shrinkage, persistence)


def claims(inputs, preset, output):
    """Write claims.json: every entry of paper/claims.yaml with its verdict, evidence and standing.

    Args:
        inputs: paths by name: map, tests, kept, times, dataset, and what the studies read.
        preset: its name.
        output: written.
    """
    measured = {key: found for study in STUDIES for key, found in study.claims(inputs, preset).items()}
    entries = judge(read_map(inputs["map"]), measured, outcomes(inputs["tests"]))
    kept, times = read_json(inputs["kept"]), read_json(inputs["times"])
    alike = f"{preset}-{read_json(inputs['dataset'])['name']}"
    write_json(Path(output), stand(entries, kept, times.get(alike, times["laptop-digits"]), os.cpu_count()))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        claims(dict(smk.input.items()), smk.params.preset, smk.output[0])
