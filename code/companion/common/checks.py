"""What every study's verdicts.py is made of: rows of the verification, and verdicts on claims with their evidence.

Its doors are `claims(inputs, preset)`, which gives {id of a claim: (True, False, None, TOO_FEW or UNTESTED, evidence)},
and `checks(inputs, preset, references)`, which gives rows. `inputs` are the paths which the rules of these names give,
`preset` is a name (smoke decides nothing), `references` the folder of the reference tables.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from companion.common.files import write_csv
from companion.common.readers import read_json

UNTESTED = "not tested"  # the verdict on what was not run; else True, False, None or TOO_FEW
TOO_FEW = "too few runs"  # undecided, but by construction: whatever these runs had given, they could not decide
WORDS = {True: "confirmed", False: "refuted", None: "undecided", TOO_FEW: "undecided"}
LEAST_LAMS = 3  # of one generator, for a verdict on what lam does
LEAST_SEEDS = 2  # of training: an interval over one generator's sample sets says nothing of another
UNTRAINED = "the smoke preset does not train to the end"


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


def skipped(claim, reason, expected="-"):
    """Build the row of what cannot be compared."""
    return Row(claim, expected, "-", "-", f"skipped: {reason}")


def in_range(claim, value, low, high):
    """Build the row of a value and the range kept for it."""
    return row(claim, f"{low:.4g} to {high:.4g}", f"{value:.4g}", "in the range", low <= value <= high)


def kept_for(path, dataset):
    """What is kept in a file of figures/reference, and why not, if it is not there or not of this data set.

    Args:
        path: of the file.
        dataset: content of dataset.json.
    """
    kept = read_json(path) if path.exists() else {}
    if kept.get("data_sha256", {}).get("train") == dataset["sha256"]["train"]:
        return kept, None
    return {}, f"{path.name} was made on other data" if kept else f"no {path.name}"


def rises(means, half_widths):
    """Whether every mean lies above the one before it, beyond both intervals; False if one lies as far below it.

    None where the intervals leave it open, as those of single numbers do, which are nan.
    """
    steps = [(b - a, v + w) for (a, v), (b, w) in pairwise(zip(means, half_widths, strict=True))]
    return False if any(-gap > width for gap, width in steps) else all(gap > width for gap, width in steps) or None


def all_or_some(part, whole):
    """True of all, False of none, None between."""
    return True if part == whole else None if part else False


def listed(numbers):
    """Numbers as evidence tells them."""
    return ", ".join(f"{number:.3g}" for number in numbers)


def write_verdicts(found, path):
    """Write what a target called by name says of claims, id -> (True, False or None, evidence), as a table."""
    rows = [(key, WORDS[holds], evidence) for key, (holds, evidence) in found.items()]
    write_csv(Path(path), ("id", "verdict", "evidence"), rows)
