"""Provenance: of every file a run left, the rule, script, inputs and hashes; of every figure, the whole way to it.

The report, the gallery and the research object all read provenance.json and nothing else of Snakemake's.
"""

from companion.common.job import job

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from companion.algorithms.runs import git_commit, versions
from companion.common.files import write_json
from companion.common.readers import not_run, read_json, sha256

UNLISTED = (".py", ".smk")  # code among a rule's inputs: the script's hash and the commit stand for it


def provenance(run, figures, captions, scripts, benchmarks, config, output):
    """Write provenance.json.

    Keys: `run` (settings, data, commit, versions, machine), `rules` (name -> script, script_sha256, jobs, seconds),
    `files` (path -> rule, sha256, bytes, inputs) and `figures` (name -> title, caption, category, rule, files, tables,
    upstream: all rules on the way, seconds: of all their jobs, images: whether the run's images are on the way,
    not_run: why there is a line of text in place of a figure, or null).

    Args:
        run: preset, device, seed and path of dataset.json, as said in the workflow.
        figures: name -> (category, figure files, table files).
        captions: folder with <figure>.rst, the first line its title.
        scripts: rule -> its script, relative to the root, or None.
        benchmarks: folder with <rule>.tsv or <rule>/*.tsv.
        config: the configuration, so that Snakemake can be asked about the same run.
        output: written.
    """
    made = before(summary(config), str(output))
    files = {path: _file(path, rule, inputs) for path, rule, inputs in made if Path(path).is_file()}
    used = sorted({entry["rule"] for entry in files.values()})
    rules = {name: _rule(scripts.get(name), Path(benchmarks), name) for name in used}
    record = {
        "run": _run(run, config),
        "rules": rules,
        "files": files,
        "figures": {
            name: _figure(name, category, drawn, tables, captions, files, rules)
            for name, (category, drawn, tables) in figures.items()
        },
    }
    for figure in record["figures"].values():
        figure["images"] = files[run["dataset"]]["rule"] in figure["upstream"]
    write_json(Path(output), record)


def summary(config):
    """Ask Snakemake which rule made which file from which inputs: [(path, rule, inputs)]."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "config.json")
        settings.write_text(json.dumps(config), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--nolock", "--detailed-summary", "--configfile", str(settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"snakemake --detailed-summary failed: {done.stderr.strip()[-300:]}")
    own = str(config.get("dataset") or "")
    told = done.stdout.replace(str(Path(own).expanduser()), Path(own).name) if own.endswith(".npz") else done.stdout
    for line in csv.DictReader(told.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        inputs = line["input-file(s)"].split(",") if line["input-file(s)"] != "-" else []
        yield line["output_file"], line["rule"], [_shown(path) for path in inputs if not path.endswith(UNLISTED)]


def _shown(path):
    """A path as it may leave this machine: the user's own files by their names alone."""
    return Path(path).name if Path(path).is_absolute() else path


def _told(value):
    """A setting as it may leave this machine: of a user's file its name alone, however the path was written."""
    return Path(value).name if isinstance(value, str) and value.endswith(".npz") else value


def before(made, record):
    """Leave out the record and what is made from it, which may lie there from an earlier run."""
    made, later = list(made), {record}
    while found := {path for path, _, inputs in made if path not in later and later & set(inputs)}:
        later |= found
    return [line for line in made if line[0] not in later]


def _file(path, rule, inputs):
    return {"rule": rule, "sha256": sha256(path), "bytes": Path(path).stat().st_size, "inputs": sorted(inputs)}


def _rule(script, benchmarks, name):
    times = [seconds(path) for path in (benchmarks / f"{name}.tsv", *sorted((benchmarks / name).glob("*.tsv")))]
    times = [time for time in times if time is not None]
    digest = sha256(script) if script else None
    return {"script": script, "script_sha256": digest, "jobs": len(times), "seconds": round(sum(times), 1)}


def seconds(path):
    """Wall-clock seconds of a benchmark file of Snakemake's, or None without one."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as stream:
        return float(next(csv.DictReader(stream, delimiter="\t"))["s"])


def _run(run, config):
    dataset = read_json(run["dataset"])
    return run | {
        "dataset": dataset,
        "config": {key: _told(value) for key, value in config.items() if value is not None and key != "data_dir"},
        "git_commit": git_commit(),
        "versions": versions(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def _figure(name, category, drawn, tables, captions, files, rules):
    title, _, caption = Path(captions, f"{name}.rst").read_text(encoding="utf-8").partition("\n")
    rule = files[drawn[0]]["rule"]
    upstream = sorted(_upstream(drawn[0], files))
    return {
        "title": title,
        "caption": " ".join(caption.split()),
        "category": category,
        "rule": rule,
        "files": drawn,
        "not_run": not_run(drawn[0]),
        "tables": [{"path": path, "sha256": files[path]["sha256"], "rule": files[path]["rule"]} for path in tables],
        "upstream": upstream,
        "seconds": round(sum(rules[step]["seconds"] for step in upstream), 1),
    }


def _upstream(path, files):
    """Rules on the way to a file, its own included."""
    found, queue = set(), [path]
    seen = set()
    while queue:
        entry = files.get(queue.pop())
        if entry:
            found.add(entry["rule"])
            new = set(entry["inputs"]) - seen
            seen |= new
            queue.extend(new)
    return found


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        provenance(
            smk.params.run | {"dataset": smk.input.dataset},
            smk.params.figures,
            Path(smk.input.captions[0]).parent,
            smk.params.scripts,
            smk.params.benchmarks,
            smk.params.config,
            smk.output[0],
        )
