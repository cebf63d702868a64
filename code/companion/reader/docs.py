"""Write the tables and numbers of README.md and docs/ from what is kept in figures/reference.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`, a number in a sentence between
`<!-- value: NAME -->` and `<!-- end -->`. Not part of `all`: it writes tracked files. Call the rule by name, after the
rules `references` and `times` or an edit of figures/reference/measured/.
"""

from companion.common.job import job

import re
from pathlib import Path

from companion.common.files import replacing
from companion.reader import docs_speed as speed
from companion.reader import docs_tables as tables

TABLE = re.compile(r"(<!-- table: ([a-z0-9-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
VALUE = re.compile(r"(<!-- value: ([a-z0-9-]+) -->).*?(<!-- end -->)")
RENDERED = {  # any other name is a table of figures/reference/measured/, shown as it is
    "questions": tables.questions,
    "presets": tables.presets,
    "checks": tables.checks,
    "claims": tables.claims,
    "evidence-a": lambda references: tables.evidence(references, "A"),
    "evidence-b": lambda references: tables.evidence(references, "B"),
    "steps": speed.steps,
    "peers": speed.peers,
    "sizes": speed.sizes,
    "fixed-source": lambda references: speed.race(references, speed.FIXED_SOURCE, ["track_b"]),
    "whole-pool": lambda references: speed.race(references, speed.WHOLE_POOL, ["track_c", "track_c_large"]),
    "levers": speed.levers,
    "training": speed.training,
    "bits": speed.bits,
}


def rendered(text, references):
    """Put every table and number of a text anew.

    Raises:
        KeyError: for a number, FileNotFoundError: for a table that is not kept.
    """
    known = tables.values(references)
    text = TABLE.sub(lambda found: found[1] + table(found[2], references) + found[3], text)
    return VALUE.sub(lambda found: found[1] + known[found[2]] + found[3], text)


def table(name, references):
    """Markdown of a table by its name."""
    return RENDERED[name](references) if name in RENDERED else tables.plain(references, name)


def write(paths, references):
    """Rewrite the files."""
    for path in map(Path, paths):
        text = rendered(path.read_text(encoding="utf-8"), references)
        with replacing(path) as stream:
            stream.write(text.encode())


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        write(smk.params.pages, smk.params.references)
