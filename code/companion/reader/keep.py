"""Keep the verdicts of the targets called by name that were run here, for runs without them. Writes a tracked file."""

from companion.common.job import job

import re
from datetime import UTC, datetime
from pathlib import Path

from companion.common.files import write_json
from companion.common.readers import read_json, read_table

SPENT = re.compile(r"([0-9.]+) core s")


def keep(targets, path):
    """Write under the name of each target that was run its day, data, core seconds, and verdicts by claim.

    Args:
        targets: name -> paths of its verdicts, of the folder with its logs, and of its images' record or None.
        path: kept.json; what it has of other targets stays.

    Raises:
        OSError: if none of them was run.
    """
    kept = read_json(path) if Path(path).is_file() else {}
    found = {name: one for name, one in targets.items() if Path(one["verdicts"]).is_file()}
    if not found:
        raise OSError(f"none of {', '.join(targets)} was run here: run one first")
    for name, one in found.items():
        day = datetime.fromtimestamp(Path(one["verdicts"]).stat().st_mtime, UTC)
        rows = read_table(one["verdicts"])
        kept[name] = {
            "date": f"{day:%Y-%m-%d}",
            "data": read_json(one["dataset"])["label"] if one["dataset"] else "",
            "core_seconds": core_seconds(one["logs"]),
            "verdicts": {row["id"]: {key: row[key] for key in ("verdict", "evidence")} for row in rows},
        }
    write_json(Path(path), dict(sorted(kept.items())))


def core_seconds(folder):
    """Core seconds of the jobs that left a log in a folder."""
    texts = [log.read_text(encoding="utf-8") for log in sorted(Path(folder).glob("*.log"))]
    return round(sum(float(found[1]) for text in texts if (found := SPENT.search(text))))


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        keep(smk.params.targets, smk.params.kept)
