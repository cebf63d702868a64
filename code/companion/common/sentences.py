"""Sentences that compare: worded for every outcome in paper/sentences.yaml, chosen by numbers, and tried on them."""

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from companion.common.files import write_csv
from companion.common.schema import read_yaml

WORDINGS = Path(__file__).resolve().parents[3] / "paper/sentences.yaml"
RELATIONS = {  # of two numbers, and what they must differ by
    "<": lambda a, b, margin: a + margin < b,
    ">": lambda a, b, margin: a > b + margin,
    "=": lambda a, b, margin: abs(a - b) <= margin,
    "<=": lambda a, b, _: a <= b,
    ">=": lambda a, b, _: a >= b,
}
HEADER = ("where", "sentence", "numbers", "agrees")


class SentenceError(Exception):
    """A sentence that the numbers beside it contradict; the message is one line."""


@dataclass(frozen=True)
class Sentence:
    """One sentence of a run.

    Args:
        key: of paper/sentences.yaml.
        outcome: which of its wordings.
        numbers: compared, by name.
        texts: what stands in the wording's braces; a number that is not given is written to three digits.
    """

    key: str
    outcome: str
    numbers: dict[str, float]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def wording(self) -> dict[str, str]:
        """What it says, and what must hold if it says something of the numbers."""
        return wordings()[self.key]["outcomes"][self.outcome]

    @property
    def text(self) -> str:
        """As the report's sections are marked up."""
        return self.wording["says"].format(**{name: f"{x:.3g}" for name, x in self.numbers.items()} | self.texts)

    @property
    def agrees(self) -> bool:
        """Whether the numbers are as the wording needs them, however it was chosen."""
        return holds(self.wording.get("holds", ""), self.numbers)


@cache
def wordings() -> dict[str, Any]:
    """Content of paper/sentences.yaml."""
    return read_yaml(WORDINGS)


def order(first: float, second: float, margin: float = 0.0) -> str:
    """Compare two numbers: less, more, same (within the margin), or missing."""
    if math.isnan(first) or math.isnan(second):
        return "missing"
    return "same" if abs(first - second) <= margin else "less" if first < second else "more"


def part(count: int, whole: int) -> str:
    """Say how many of a number of things: all, some, none, or missing."""
    return "missing" if not whole else "none" if not count else "all" if count == whole else "some"


def holds(condition: str, numbers: dict[str, float]) -> bool:
    """Try relations of named numbers, "a < b and a > 0 or b = c"; of nothing, True."""

    def value(name):
        return numbers[name] if name in numbers else float(name)

    def relation(text):
        left, sign, right = text.split()
        return RELATIONS[sign](value(left), value(right), numbers.get("margin", 0.0))

    choices = [choice.split(" and ") for choice in condition.split(" or ")]
    return not condition or any(all(map(relation, choice)) for choice in choices)


def write(sentences: list[Sentence], path: str | Path) -> None:
    """Write every sentence beside its numbers.

    Raises:
        SentenceError: for the first that they contradict.
    """
    for one in sentences:
        if not one.agrees:
            told = f"{one.key} says {one.outcome!r}, but not {one.wording['holds']}: {listed(one.numbers)}"
            raise SentenceError(f"{WORDINGS.name}: {told}")
    rows = [(wordings()[one.key]["where"], plain(one.text), listed(one.numbers), one.agrees) for one in sentences]
    write_csv(Path(path), HEADER, rows)


def listed(numbers: dict[str, float]) -> str:
    """Numbers with their names."""
    return ", ".join(f"{name} = {value:.6g}" for name, value in numbers.items())


def plain(text: str) -> str:
    """A text without the marks of the report's language."""
    return text.replace("\\*", "*").replace("`", "")
