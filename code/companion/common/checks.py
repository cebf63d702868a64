"""One line of the verification table, and the comparison that makes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the verification table."""

    claim: str
    expected: str
    measured: str
    tolerance: str
    verdict: str


def row(claim, expected, measured, tolerance, passed):
    """Build a row from a comparison; a value that is not a number fails."""
    return Row(claim, expected, measured, tolerance, "pass" if passed else "fail")
