"""README and docs/: tables and numbers are those of the references, no other is typed, and no link leads nowhere."""

import fnmatch
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from companion.reader.docs import TABLE, VALUE, rendered
from companion.reader.docs_tables import asked, gpu_stages, kept, minutes, read_off, values

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
REFERENCES = ROOT / "figures/reference"

WRITTEN = [  # what no person typed, or what is not prose
    TABLE.pattern,
    VALUE.pattern,
    r"(?s)<!-- gpu: written by .*?<!-- end of gpu -->",  # by gpu_keep.py
    r"Capability 9\.0, Triton [\d.]+:\n\n(\|[^\n]*\n)+",  # by gpu_offline.py, compared by test_gpu_offline.py
    r"(?ms)^```.*?^```$",
    r"<!--.*?-->",
    r"`[^`]*`",
    r"\]\([^)]*\)",
]
ALLOWED = {  # what may hold digits in prose, and why
    r"(?m)^\d\. ": "the number of a list's item",
    r"arXiv:\d{4}\.\d{5}": "a paper's address",
    r"TMLR 2023": "where a paper appeared",
    r"\b(Python|torch|Triton) ≥ \d\.\d+": "a version",
    r"Zen 4|AVX-512": "names of processors",
    r"\b(float(16|32|64)|bf16|tf32|uint8|sha256)\b": "names of types and of a hash",
    r"\bW[12](-FE)?\b": "names of distances and of methods",
    r"\b(Algorithm|Theorem|Proposition)\s1\b|\bFigure [12]\b": "places in paper A",
    r"\bH200\b": "the name of a GPU",
    r"\bK = [15]\b": "the cases that the claims on paper B compare",
    r"λ > 0|λ = 0(?!\.?\d)": "with and without regularisation",
    r"θ\\\* = \(0, 0\.5\)": "the counterexample as paper A defines it",
}


def prose(text):
    for pattern in WRITTEN:
        text = re.sub(pattern, " ", text, flags=re.DOTALL if pattern == TABLE.pattern else 0)
    return text


def typed_numbers(text):
    """Find every numeral that nothing wrote and no entry of ALLOWED explains."""
    text = prose(text)
    for pattern in ALLOWED:
        text = re.sub(pattern, " ", text)
    return re.findall(r"\S*\d\S*", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_and_numbers_are_those_of_the_references(path):
    text = path.read_text(encoding="utf-8")
    assert rendered(text, REFERENCES) == text, "uv run snakemake --cores 1 docs writes them anew"


def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 10_000


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_number_is_typed(path):
    assert typed_numbers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "injected", ["0.117", "12 of 15", "97%", "K = 10", "λ = 0.1", "3 seeds", "W1 of 0.25", "10 min"]
)
def test_a_typed_number_is_found(injected):
    assert typed_numbers(f"{README.read_text(encoding='utf-8')}\nIt ends at {injected}, as said.\n")


def test_no_allowance_is_idle():
    everything = "\n".join(prose(path.read_text(encoding="utf-8")) for path in PAGES)
    assert [pattern for pattern in ALLOWED if not re.search(pattern, everything)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_marker_begins_no_line_of_a_sentence(path):
    """There it would end the paragraph."""
    assert not re.search(r"(?m)^<!-- value", path.read_text(encoding="utf-8"))


def links(path):
    text = re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if not urlsplit(link).scheme]


def anchors(path):
    headings = re.findall(r"(?m)^#+ (.*)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path):
    for link in links(path):
        parts = urlsplit(link)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.exists(), link
        assert not parts.fragment or parts.fragment in anchors(target), link


def test_every_page_is_reached_from_the_readme():
    assert {(ROOT / link.partition("#")[0]).resolve() for link in links(README)} >= set(PAGES) - {README}


def test_questions_name_claims_and_jobs_that_are_there():
    verdicts = (REFERENCES / "claims.json").read_text(encoding="utf-8")
    assert all(f'"{entry["claim"]}"' in verdicts for entry in asked()["questions"])
    jobs = json.loads((REFERENCES / "times.json").read_text(encoding="utf-8"))["laptop-digits"]["seconds"]
    for entry in asked()["questions"] + asked()["checks"]:
        assert all(fnmatch.filter(jobs, pattern) for pattern in entry.get("jobs", [])), entry["command"]
        assert "jobs" in entry or entry["target"] in json.loads((REFERENCES / "kept.json").read_text(encoding="utf-8"))
    shown = " ".join(str(entry) for entry in asked()["checks"])
    assert set(re.findall(r"\{([a-z-]+)\}", shown)) <= values(REFERENCES).keys()


def test_no_kept_number_is_idle():
    used = (ROOT / "paper/questions.yaml").read_text(encoding="utf-8")
    used += "".join(path.read_text(encoding="utf-8") for path in PAGES)
    names = [row["name"] for row in kept(REFERENCES, "numbers")] + list(read_off() | gpu_stages())
    assert [name for name in names if f"value: {name} " not in used and f"{{{name}}}" not in used] == []


def test_the_workflows_example_takes_as_many_steps_as_the_documentation_says():
    steps = yaml.safe_load((ROOT / "code/companion/reader/settings.yaml").read_text(encoding="utf-8"))["examples"]
    assert steps["drop_in_loss"] == f"--steps {read_off()['drop-in-steps']}"


def test_minutes_are_those_of_the_jobs_asked_for():
    times = {"cores": 2, "seconds": {"a/1.tsv": 100, "a/2.tsv": 20, "b.tsv": 3, "c.tsv": 1000}}
    assert minutes(times, {"a/*": 3, "b.tsv": 1}) == "3"
    assert minutes(times, {"b.tsv": 1}) == "1"
