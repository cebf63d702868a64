"""Keep how long every job of this run took, for the expected time that the next run is told. Writes a tracked file."""

import json
from pathlib import Path

from otgrad.atomic import write_json
from otgrad.joblog import job
from provenance import seconds


def update_times(benchmarks, provenance_path, times_path):
    """Write the seconds of every benchmark file under {preset}-{data set} in times.json; other entries stay."""
    run = json.loads(Path(provenance_path).read_text(encoding="utf-8"))["run"]
    root, path = Path(benchmarks), Path(times_path)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    times = {file.relative_to(root).as_posix(): seconds(file) for file in sorted(root.rglob("*.tsv"))}
    kept[f"{run['preset']}-{run['dataset']['name']}"] = {"cores": run["cores"], "seconds": times}
    write_json(path, kept)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        update_times(smk.params.benchmarks, smk.input.provenance, smk.params.times)
