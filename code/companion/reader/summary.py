"""What a person reads at the end of a run: where to look, the claims by verdict, and what the verification found.

`verify` prints every row. Either exits with 1 if a row failed.
"""

import sys
import textwrap

from companion.common.readers import read_json

MARKS = {"pass": "ok  ", "fail": "FAIL", "skipped": "skip"}
WIDTH = 110
VERDICTS = ("confirmed", "refuted", "undecided", "not tested")


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
    yield f"  {run['device']}, {run['cores']} cores, seed {run['seed']}; {duration(spent)} of work in all jobs"
    if run["dataset"].get("fallback_reason"):
        yield from entry("not MNIST", run["dataset"]["fallback_reason"])
        yield from entry("to retry", run["dataset"]["retry"])


def duration(seconds):
    """Write seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def entry(name, text):
    """Lines of a named text, folded."""
    folds = {"initial_indent": f"  {name:<13}", "subsequent_indent": " " * 15}
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False, **folds)


def places(products, figures):
    """Lines: what to open."""
    for name, path in products.items():
        yield from entry(name, path)
    yield from entry("figures", f"figures/<name>.svg, .pdf, .png of {', '.join(figures)}")


def claim_lines(claims):
    """Lines: the claims by verdict; what was not confirmed with its sentence."""
    yield f"Claims of the papers ({len(claims)}; evidence in results/claims.json)"
    for verdict in VERDICTS:
        chosen = [claim for claim in claims if claim["verdict"] == verdict]
        if verdict == "confirmed" and chosen:
            yield from entry(verdict, f"{len(chosen)}: {', '.join(claim['id'] for claim in chosen)}")
        elif chosen:
            yield from entry(verdict, str(len(chosen)))
            for claim in chosen:
                yield from entry("", f"{claim['id']}: {claim['statement']}")


def full(rows):
    """Text of `verify`: every row."""
    return "\n".join(["", "Verification", *table(rows), "", count(rows), *entry("", by_group(rows)), ""])


def short(rows, claims, provenance, products, figures):
    """Text of `all`: what a person wants to know first, and every row that did not pass."""
    notable = [row for row in rows if row["verdict"] != "pass"]
    lines = ["", *header(provenance), "", "Open", *places(products, figures), "", *claim_lines(claims)]
    lines += ["", f"Verification: {count(rows)} (every row: snakemake verify)", *entry("passed", by_group(rows))]
    lines += [*table(notable), ""]
    return "\n".join(lines)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    found = read_json(smk.input.table)
    if smk.rule == "verify":
        text = full(found)
    else:
        text = short(
            found, read_json(smk.input.claims), read_json(smk.input.provenance), smk.params.products, smk.params.figures
        )
    # one write: Snakemake's own lines do not come between
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    failures = sum(row["verdict"] == "fail" for row in found)
    if failures:
        raise SystemExit(f"verification: {failures} row(s) failed, see results/verification.md")
