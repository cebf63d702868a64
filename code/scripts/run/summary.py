"""Print the verification table, the claims and what the run left where; exit with 1 if anything failed."""

import json
import sys
import textwrap
from pathlib import Path

MARKS = {"pass": "ok  ", "fail": "FAIL", "skipped": "skip"}


def table(rows):
    """Lines of the verification table."""
    width = max(len(row["claim"]) for row in rows)
    for row in rows:
        verdict, _, reason = row["verdict"].partition(": ")
        found = reason or f"expected {row['expected']}, measured {row['measured']} (tolerance {row['tolerance']})"
        yield f"  {MARKS[verdict]}  {row['claim']:<{width}}  {found}"


def claim_lines(claims):
    """Lines of the claims, the evidence indented below."""
    for entry in claims:
        yield f"  {entry['verdict']:<10} {entry['id']}: {entry['statement']}"
        if entry["kind"] == "empirical" or entry["verdict"] != "confirmed":
            yield from textwrap.wrap(entry["evidence"], 108, initial_indent=" " * 13, subsequent_indent=" " * 13)


def made(preset, dataset, figures, run_records):
    """Lines that say what was made, where, from which data and how long the training took."""
    yield f"Preset {preset}, data: {dataset['label']}"
    if dataset.get("fallback_reason"):
        yield f"  MNIST could not be had: {dataset['fallback_reason']}"
        yield f"  to retry: {dataset['retry']}"
    yield "Figures (each .svg, .pdf and .png):"
    yield from (f"  figures/{name}" for name in figures)
    yield "Training runs:"
    for path in run_records:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        yield f"  {Path(path).parent}: {record['seconds']:.0f} s on {record['device']}"


def summarise(verification, claims=None, *context):
    """Print it all and return the number of failed rows.

    Args:
        verification: path of verification.json.
        claims: path of claims.json, or None.
        context: arguments of `made`, or nothing.
    """
    rows = json.loads(Path(verification).read_text(encoding="utf-8"))
    failed = sum(row["verdict"] == "fail" for row in rows)
    skipped = sum(row["verdict"].startswith("skipped") for row in rows)
    lines = [""]
    if context:
        lines += [*made(*context), ""]
    if claims:
        lines += ["Claims of the paper, on these results:"]
        lines += [*claim_lines(json.loads(Path(claims).read_text(encoding="utf-8"))), ""]
    lines += ["Verification:", *table(rows), ""]
    lines += [f"{len(rows) - failed - skipped} passed, {failed} failed, {skipped} skipped", ""]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return failed


if "snakemake" in globals():
    smk = globals()["snakemake"]
    context = []
    if smk.params.get("figures"):
        record = json.loads(Path(smk.input.dataset).read_text(encoding="utf-8"))
        context = [smk.params.preset, record, smk.params.figures, smk.input.runs]
    failures = summarise(smk.input.table, smk.input.get("claims"), *context)
    if failures:
        raise SystemExit(f"verification: {failures} row(s) failed, see results/verification.md")
