"""The report's sources: no number is typed in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "paper").rglob("*.typ"))
CAPTIONS = [*sorted((ROOT / "paper/captions").glob("*.rst")), ROOT / "paper/sentences.yaml"]

ALLOWED = {  # what may hold digits in the sources, and why
    r"(?s)/\*.*?\*/|(?<!:)//[^\n]*": "a comment",
    r"holds: [^,]*,": "a condition",
    r"(?<![\w.])\d+(\.\d+)?(pt|cm|mm|em|fr|deg)\b": "a length",
    r"width: 100%": "a length",
    r"columns: 2\b": "columns of the page",
    r"paper: \"a4\"": "size of the page",
    r"numbering: \"1\"": "how headings are numbered",
    r"rgb\(\"#[0-9a-f]{6}\"\)|luma\(\d+\)": "a colour",
    r"\b[xy] == 0\b|len\(\) == 0\b": "the first row or column of a table; an empty list",
    r"\"[AB]-[a-z0-9-]+\"": "a claim's id",
    r"\bfigure[12]\b": "a figure's name",
    r"\bw1(_data|_mean_image)?\b": "a key of report.json",
    r"W1-FE|W2-FE|\bW[12]\b|W#sub\[1\]": "names of methods and of a distance",
    r"\bAlgorithm 1\b|\bProposition 1\b|\bTheorem 1\b": "places in paper A",
    r"λ > 0": "with regularisation",
    r"λ = 0(?!\.?\d)": "without regularisation",
    r"\bw2\b": "a key of report.json",
    r"θ\\\* = \(0, 0\.5\)|θ#sub\[0\]": "the counterexample as paper A defines it",
    r"arXiv:(2102\.05542|2405\.16351)|arxiv\.org/abs/(2102\.05542|2405\.16351)": "the papers' addresses",
}


def typed_numbers(text):
    """Find every numeral that no entry of ALLOWED explains."""
    for pattern in ALLOWED:
        text = re.sub(pattern, " ", text)
    return re.findall(r"\S*\d\S*", text)


@pytest.mark.parametrize("path", [*SOURCES, *CAPTIONS], ids=lambda path: path.name)
def test_sources_and_captions_hold_no_typed_number(path):
    assert typed_numbers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "injected", ["0.117", "12 of 15", "97%", "K = 5", "λ = 0.1", "3 seeds", "W1 of 0.25", "(0, 0.6)", "2 × 10"]
)
@pytest.mark.parametrize("name", ["paper/sections/planar.typ", "paper/sections/counterexample.typ", "paper/report.typ"])
def test_a_typed_number_is_found(name, injected):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert typed_numbers(f"{text}\nIt ends at {injected}, as said.\n")
    middle = text.index("\n", len(text) // 2)
    assert typed_numbers(f"{text[:middle]}\nIt ends at {injected}.{text[middle:]}")


def test_no_allowance_is_idle():
    everything = "\n".join(path.read_text(encoding="utf-8") for path in [*SOURCES, *CAPTIONS])
    assert [pattern for pattern in ALLOWED if not re.search(pattern, everything)] == []
