"""Keep how long every job of this run took, for the expected time that the next run is told. Writes a tracked file."""

from companion.common.job import job

import json
from pathlib import Path

from companion.common.files import write_json
from companion.reader.provenance import seconds


def update_times(benchmarks, provenance_path, times_path):
    """Write the seconds of this run's benchmark files under {preset}-{data set} in times.json; other entries stay."""
    record = json.loads(Path(provenance_path).read_text(encoding="utf-8"))
    run, root, path = record["run"], Path(benchmarks), Path(times_path)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = [file for file in sorted(root.rglob("*.tsv")) if of_this_run(file.relative_to(root), record["files"])]
    times = {file.relative_to(root).as_posix(): seconds(file) for file in found}
    kept[f"{run['preset']}-{run['dataset']['name']}"] = {"cores": run["cores"], "seconds": times}
    write_json(path, kept)


def of_this_run(benchmark, files):
    """Whether <rule>/<job>.tsv is of a job that made one of these files; <rule>.tsv always is."""
    if benchmark.parent == Path():
        return True
    made = [Path(path) for path, entry in files.items() if entry["rule"] == benchmark.parent.name]
    return any(benchmark.stem in (path.stem, path.parent.name) for path in made)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        update_times(smk.params.benchmarks, smk.input.provenance, smk.params.times)
