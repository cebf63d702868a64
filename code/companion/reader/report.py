"""Typeset the report: paper/report.typ with the numbers of report.json and the figures, as one accessible PDF."""

from companion.common.job import job

from pathlib import Path

import matplotlib
import typst

from companion.common.files import replacing

TIMESTAMP = 0  # the same sources give the same bytes
STANDARD = "ua-1"  # tagged, with words for every picture: the compiler refuses what a screen reader could not read


class ReportError(OSError):
    """The report's sources cannot be typeset."""


def write_report(source, output, root="."):
    """Write the PDF, whole or not at all.

    Args:
        source: paper/report.typ.
        output: written.
        root: folder that the sources' paths begin at.

    Raises:
        ReportError: with the compiler's error, or its first warning.
    """
    pdf = typeset(source, root)
    with replacing(Path(output)) as file:
        file.write(pdf)


def typeset(source, root=".", **form):
    """Compile to bytes: a PDF, or as `form` says (format="png", ppi=110: a list, one per page)."""
    form = form or {"format": "pdf", "pdf_standards": STANDARD}
    try:
        compiled, warnings = typst.compile_with_warnings(
            str(source), root=str(root), font_paths=fonts(), ignore_system_fonts=True, timestamp=TIMESTAMP, **form
        )
    except typst.TypstError as error:
        raise ReportError(f"{source}: {describe(error)}") from error
    if warnings:
        raise ReportError(f"{source}: warning: {describe(warnings[0])}")
    return compiled


def fonts():
    """Typst's own fonts, and those that matplotlib brings along: the figures' letters are set in DejaVu Sans."""
    return typst.Fonts(include_system_fonts=False, font_paths=[str(Path(matplotlib.get_data_path(), "fonts/ttf"))])


def describe(trouble):
    """Write an error or a warning of the compiler in one line."""
    return " ".join("; ".join([trouble.message, *trouble.hints]).split())


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        write_report(smk.input.source, smk.output[0])
