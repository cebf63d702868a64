"""What a person reads at the end of a run: where to look, the claims by verdict, and what the verification found.

`verify` prints every row. Either exits with 1 if a row failed.
"""

import sys
import textwrap
import time
from pathlib import Path

from companion.common.progress import started
from companion.common.readers import read_json
from companion.reader.standing import STANDINGS

MARKS = {"pass": "ok  ", "fail": "FAIL", "skipped": "skip"}
WIDTH, NAMES = 110, 18


def table(rows):
    """Lines of the verification table, by what rows are compared with."""
    width = max((len(row["claim"]) for row in rows), default=0)
    group = None
    for row in rows:
        if row["compared_with"] != group:
            group = row["compared_with"]
            yield f"  with {group}"
        verdict, _, reason = row["verdict"].partition(": ")
        found = reason or f"expected {row['expected']}, measured {row['measured']} (tolerance {row['tolerance']})"
        yield f"  {MARKS[verdict]}  {row['claim']:<{width}}  {found}"


def count(rows):
    """One line: how many rows passed, failed and were skipped."""
    failed = sum(row["verdict"] == "fail" for row in rows)
    skipped = sum(row["verdict"].startswith("skipped") for row in rows)
    return f"{len(rows) - failed - skipped} passed, {failed} failed, {skipped} skipped"


def by_group(rows):
    """Text: of the rows that are compared with each thing, how many passed and how many were skipped."""
    groups = {}
    for row in rows:
        groups.setdefault(row["compared_with"], []).append(row["verdict"].partition(":")[0])
    return ", ".join(
        f"{found.count('pass')} of {len(found)} with {name}"
        + (f" ({found.count('skipped')} skipped)" if "skipped" in found else "")
        for name, found in groups.items()
    )


def header(provenance):
    """Lines: what was run, on what, and where its results lie."""
    run = provenance["run"]
    spent = sum(rule["seconds"] for rule in provenance["rules"].values())
    yield f"otgrad, preset {run['preset']} on {run['dataset']['label']}"
    yield f"  {run['device']}, {run['cores']} cores, seed {run['seed']}"
    yield f"  {clock(provenance['files'])}{duration(spent)} of work in all jobs"
    if run["dataset"].get("fallback_reason"):
        yield from entry("not MNIST", run["dataset"]["fallback_reason"])
        yield from entry("to retry", run["dataset"]["retry"])


def clock(files):
    """How long this command has taken, and whether that is the whole run: every file was made since it began."""
    begun = started()
    if begun is None:
        return ""
    taken, made = duration(time.time() - begun), sum(is_newer(Path(path), begun) for path in files)
    if made == len(files):
        return f"the whole run took {taken}, with "
    return f"this command took {taken} and made {made} of {len(files)} files, the others were there; "


def is_newer(path, moment):
    """Whether a file was written since then."""
    return path.is_file() and path.stat().st_mtime >= moment


def duration(seconds):
    """Write seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def entry(name, text):
    """Lines of a named text, folded."""
    folds = {"initial_indent": f"  {name:<{NAMES}}", "subsequent_indent": " " * (2 + NAMES)}
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False, **folds)


def places(products, figures):
    """Lines: what to open, and which figures (name -> its entry in provenance.json) were not run."""
    for name, path in products.items():
        yield from entry(name, path)
    drawn = [name for name, figure in figures.items() if not figure["not_run"]]
    yield from entry("figures", f"figures/<name>.svg, .pdf, .png of {', '.join(drawn)}")
    for name in figures:
        if name not in drawn:
            yield from entry("not run", f"{name}: {figures[name]['not_run']}")


def claim_lines(claims):
    """Lines: the claims by where they stand, those that are not confirmed with their sentence and what decides them."""
    yield f"Claims of the papers ({len(claims)}; evidence in results/claims.json)"
    for standing in STANDINGS:
        chosen = [claim for claim in claims if claim["standing"] == standing]
        if standing == "confirmed" and chosen:
            yield from entry(standing, f"{len(chosen)}: {', '.join(claim['id'] for claim in chosen)}")
        elif chosen:
            yield from entry(standing, str(len(chosen)))
            for claim in chosen:
                yield from entry(
                    "", f"{claim['id']}: {claim['statement']}" + (f" {claim['open']}" if claim["open"] else "")
                )


def full(rows):
    """Text of `verify`: every row."""
    return "\n".join(["", "Verification", *table(rows), "", count(rows), *entry("", by_group(rows)), ""])


def short(rows, claims, provenance, products):
    """Text of `all`: what a person wants to know first, and every row that did not pass."""
    notable = [row for row in rows if row["verdict"] != "pass"]
    lines = ["", *header(provenance), "", "Open", *places(products, provenance["figures"]), "", *claim_lines(claims)]
    lines += ["", f"Verification: {count(rows)} (every row: snakemake verify)", *entry("passed", by_group(rows))]
    lines += [*table(notable), ""]
    return "\n".join(lines)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    found = read_json(smk.input.table)
    if smk.rule == "verify":
        text = full(found)
    else:
        text = short(found, read_json(smk.input.claims), read_json(smk.input.provenance), smk.params.products)
    # one write: Snakemake's own lines do not come between
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    failures = sum(row["verdict"] == "fail" for row in found)
    if failures:
        raise SystemExit(f"verification: {failures} row(s) failed, see results/verification.md")
