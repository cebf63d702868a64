"""What every study's verdicts.py is made of: rows of the verification, and verdicts on claims with their evidence.

Its doors are `claims(inputs, preset)`, which gives {id of a claim: (True, False, None, TOO_FEW or UNTESTED, evidence)},
and `checks(inputs, preset, references)`, which gives rows. `inputs` are the paths which the rules of these names give,
`preset` is a name (smoke decides nothing), `references` the folder of the reference tables.
"""

from dataclasses import dataclass
from enum import StrEnum
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


class Against(StrEnum):
    """What a row of the verification is compared with; the groups of the table, in their order."""

    FIGURE = "the paper's figure"
    CLOSED_FORM = "closed forms and identities"
    POT = "POT"
    BOUND = "bounds of theory"
    CONTROL = "sets with known faults"
    LEVEL = "levels set by us"
    EARLIER = "an earlier run of ours"
    HASH = "hashes of files"
    ITSELF = "this run itself"


@dataclass(frozen=True)
class Row:
    """One line of the verification table."""

    compared_with: Against
    claim: str
    expected: str
    measured: str
    tolerance: str
    verdict: str


def row(against, claim, expected, measured, tolerance, passed):
    """Build a row from a comparison with one of Against; a value that is not a number fails."""
    return Row(Against(against), claim, expected, measured, tolerance, "pass" if passed else "fail")


def skipped(against, claim, reason, expected="-"):
    """Build the row of what cannot be compared."""
    return Row(Against(against), claim, expected, "-", "-", f"skipped: {reason}")


def in_range(claim, values, low, high, source):
    """Build the row of one value or several and the range kept for them; `source` is from `kept_range`."""
    against, where = source
    span = dict.fromkeys(f"{value:.3g}" for value in (min(values), max(values)))
    passed = all(low <= value <= high for value in values)
    return row(against, claim, f"{low:.3g} to {high:.3g}", " to ".join(span), where, passed)


def kept_range(path, kept):
    """What the ranges in a file of figures/reference are (bounds, if no run made them), and their file and day."""
    if "how" in kept and not kept["made_on"]:
        return Against.BOUND, f"bounds in {path.name}"
    return Against.EARLIER, f"range kept on {kept.get('kept_on', 'an unknown day')} in {path.name}"


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
