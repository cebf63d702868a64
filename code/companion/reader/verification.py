"""Verification: is this reproduction what it should be?

Every study compares what a run produced with the paper's figure, with closed forms, with POT, with earlier runs of ours
and with more, in its verdicts.py; each row says with what. It passes, fails or is skipped with a reason. (Whether the
paper's sentences hold is asked in claims.py.)
"""

from companion.common.job import job

from dataclasses import asdict
from pathlib import Path

from companion.common.checks import Against, row
from companion.common.files import replacing, write_json
from companion.common.readers import read_json, sha256
from companion.counterexample import verdicts as counterexample
from companion.crosscheck import verdicts as crosscheck
from companion.images import verdicts as images
from companion.persistence import verdicts as persistence
from companion.reader.claims_map import markdown as claims_table
from companion.reader.claims_map import outcomes
from companion.reader.summary import by_group, count
from companion.scores import verdicts as scores

STUDIES = (counterexample, crosscheck, images, persistence, scores)


def check_figures(figures):
    """Compare the hashes each figure carries with those of the tables it should have been drawn from.

    Args:
        figures: name -> (figure files, table files in the order they were drawn).
    """
    for name, (files, tables) in figures.items():
        digest = "tables-sha256:" + ",".join(sha256(table) for table in tables)
        stale = [Path(file).name for file in files if digest.encode() not in Path(file).read_bytes()]
        yield row(
            Against.HASH,
            f"figures/{name}.*: drawn from the tables that are there",
            "matching hashes",
            f"not matching: {', '.join(stale)}" if stale else "matching" if files and tables else "nothing to compare",
            "exact",
            bool(files and tables) and not stale,
        )


def check_equations(junit_path):
    """Count the equation tests; one that fails refutes a claim or, more likely, this implementation."""
    found = outcomes(junit_path)
    failed = sorted({name for name, results in found.items() if False in results})
    passed = sum(result is True for results in found.values() for result in results)
    measured = f"{passed} passed, failed: {', '.join(failed) or 'none'}"
    good = passed > 0 and not failed
    yield row(Against.CLOSED_FORM, "equation tests", "none fails", measured, "each test's own", good)


def markdown(rows, claims, title):
    """Render both tables; what rows are compared with is told first."""
    found = [asdict(r) for r in rows]
    heads = [name.replace("_", " ") for name in found[0]]
    lines = [f"# Verification: {title}", "", f"{count(found)}: {by_group(found)}.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(r.values()) + " |" for r in found]
    return "\n".join(lines) + "\n\n# Claims\n\n" + claims_table(claims, up="../")


def verify(inputs, figures, references, preset, outputs):
    """Write verification.json and verification.md.

    Args:
        inputs: paths by name: dataset, equations, claims, and what the studies read.
        figures: as for check_figures.
        references: folder of the reference tables.
        preset: name of the preset that was run.
        outputs: paths by name: table, markdown.
    """
    rows = [found for study in STUDIES for found in study.checks(inputs, preset, references)]
    rows += [*check_equations(inputs["equations"]), *check_figures(figures)]
    rows.sort(key=lambda r: list(Against).index(r.compared_with))
    write_json(Path(outputs["table"]), [asdict(r) for r in rows])
    title = f"preset {preset}, data {read_json(inputs['dataset'])['label']}"
    with replacing(Path(outputs["markdown"])) as stream:
        stream.write(markdown(rows, read_json(inputs["claims"]), title).encode())


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        references = Path(smk.input.references[0]).parent
        verify(dict(smk.input.items()), smk.params.figures, references, smk.params.preset, dict(smk.output.items()))
