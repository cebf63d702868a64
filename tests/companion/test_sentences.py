"""Sentences that compare say what the numbers do, and the opposite of other numbers."""

from companion.common.job import job

import csv
import itertools
import math
import re

import pytest
from made_report import ROOT, collected, made

from companion.common import sentences
from companion.reader import comparisons, report_numbers
from companion.scores import run_table

SAID = {  # where every comparison comes out as the papers say, and where it comes out the other way round
    "counterexample.algorithm": ("is enough for the algorithm", "With no positive λ"),
    "images.smoothing": ("The trade is there", "the trade is not there"),
    "images.threshold": ("λ = 0.08 on.* below it: 0; at or above it: 0.1", "λ = 0.12 on.*Every λ .*: 0 and 0.1"),
    "images.collapse": ("collapses to the mean image, as predicted", "leaves 1 direction, .* 4.0% .*does not collapse"),
    "scores.w2": ("7.50 .* 5.25 .*does not reward blur here", "2.50 .* 5.25 .*rewards blur, and cannot judge"),
    "scores.fidelity": ("Fidelity falls", "Fidelity does not fall"),
    "scores.solver": ("is not what limits λ = 0.*W2 7 for 9", "λ = 0 on images is refuted: W2 is 9 .* 9.5"),
    "scores.beyond": ("can be left behind", "No variant left"),
    "planar.power": ("8 seeds .*can decide", "2 seeds .*decide nothing"),
    "planar.better": ("nearer to the data", "further from the data"),
    "planar.ends": ("K = 5 ended lowest.*K = 1 highest", "K = 1 ended lowest.*K = 5 highest"),
    "adaptation.better": ("adapted better", "adapted worse"),
    "generation.blur": ("7.3 .*6.33 .*does not prefer", "1.2 .*6.33 .*rewards blur"),
    "generation.arms": ("Every arm ended nearer", "2 of the 3 arms ended no nearer"),
    "generation.better": ("generated better", "generated worse"),
}


@pytest.mark.parametrize("verdict", ["confirmed", "refuted"])
def test_every_sentence_says_what_the_numbers_say(tmp_path, verdict):
    found = collected(tmp_path, verdict=verdict)["sentences"]
    assert found.keys() == SAID.keys() == sentences.wordings().keys()
    other = verdict == "refuted"
    for key, said in SAID.items():
        assert re.search(said[other], found[key]), key
        assert not re.search(said[not other], found[key]), key


def test_the_list_holds_every_sentence_beside_its_numbers(tmp_path):
    found = collected(tmp_path)["sentences"]
    with (tmp_path / "results/sentences.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["sentence"] for row in rows) == sorted(map(sentences.plain, found.values()))
    assert {row["agrees"] for row in rows} == {"True"}
    assert rows[3]["numbers"] == "blurred = 7.5, real = 5.25, margin = 1"
    for row in rows:
        assert all((ROOT / path).exists() for path in row["where"].split(", ") if path.startswith("paper"))


@pytest.mark.parametrize(("fall", "said"), [
    (0.05, "K = 5 is nearest.*W1 still falls, by up to 0.050"),
    (math.nan, "Too few looks were taken"),
])  # fmt: skip
def test_arms_that_still_fall_are_not_said_to_have_ended(tmp_path, fall, said):
    inputs = made(tmp_path)
    text = (tmp_path / "results/planar.csv").read_text(encoding="utf-8").replace(",0.001,", f",{fall},")
    (tmp_path / "results/planar.csv").write_text(text, encoding="utf-8")
    (_, ends) = comparisons.planar(inputs)
    assert ends.agrees
    assert re.search(said, ends.text)


@pytest.mark.parametrize(("verdict", "favour"), [("confirmed", False), ("refuted", True)])
def test_a_verdict_that_the_numbers_contradict_stops_in_one_line(tmp_path, verdict, favour):
    inputs = made(tmp_path, verdict=verdict, favour=favour)
    paths = tmp_path / "report.json", tmp_path / "sentences.csv"
    message = f"images.smoothing says '{verdict}', but not .*: rises = "
    with pytest.raises(SystemExit, match=message) as caught, job("report_numbers", tmp_path / "log"):
        report_numbers.collect(inputs, {}, *paths)
    assert "\n" not in str(caught.value)
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("verdict", ["left open", "not tested"])
@pytest.mark.parametrize("favour", [True, False])
def test_without_a_verdict_no_order_is_claimed(tmp_path, verdict, favour):
    found = collected(tmp_path, verdict=verdict, favour=favour)["sentences"]
    wordings, outcome = sentences.wordings(), "undecided" if verdict == "left open" else verdict
    judged = [key for key in SAID if "claim" in wordings[key]]
    assert all(found[key] == wordings[key]["outcomes"][outcome]["says"] for key in judged)


def test_no_two_wordings_of_a_sentence_hold_together():
    for key, entry in sentences.wordings().items():
        conditions = [outcome["holds"] for outcome in entry["outcomes"].values() if "holds" in outcome]
        names = sorted(set(re.findall(r"[a-z]\w*", " ".join(conditions))) - {"and", "or"})
        for numbers in itertools.product((0, 1, 2), repeat=len(names)):
            held = [c for c in conditions if sentences.holds(c, dict(zip(names, numbers, strict=True)))]
            assert len(held) <= 1, (key, numbers)


def test_claims_have_a_wording_for_every_verdict():
    for entry in sentences.wordings().values():
        assert "claim" not in entry or list(entry["outcomes"]) == ["confirmed", "refuted", "undecided", "not tested"]


def test_the_sections_show_every_sentence_and_no_other():
    sections = {path: path.read_text(encoding="utf-8") for path in (ROOT / "paper/sections").glob("*.typ")}
    shown = [(path, key) for path, text in sections.items() for key in re.findall(r'#say\("([^"]*)"\)', text)]
    assert sorted(key for _, key in shown) == sorted(sentences.wordings())
    for path, key in shown:
        assert path.relative_to(ROOT).as_posix() in sentences.wordings()[key]["where"]


@pytest.mark.parametrize(
    ("blurred", "real", "said"),
    [((1.5, 0.1), (2, 0.1), "rewards blur, and cannot judge"), ((2, 0.1), (1.5, 0.1), "does not reward blur here"),
     ((1.5, 0.3), (2, 0.3), "cannot tell"), ((1.5, math.nan), (2, math.nan), "rewards blur, and"),
     ((math.nan, math.nan), (2, 0.1), "not both computed")],
)  # fmt: skip
def test_w2_judges_beyond_the_intervals_alone(blurred, real, said):
    found = run_table.blur(blurred, real)
    assert said in found.text
    assert found.agrees


@pytest.mark.parametrize(
    ("lam", "kept", "outcome"),
    [
        (0.2, 0.001, "collapses"),
        (0.2, 0.1, "varies above"),
        (0.1, 0.1, "varies"),
        (0.1, 0.001, "collapses below"),
        (0.1, math.nan, "missing"),
    ],
)
def test_the_collapse_is_that_of_the_numbers(lam, kept, outcome):
    numbers = {"lam": lam, "threshold": 0.15, "least": kept, "most": kept, "limit": comparisons.COLLAPSED}
    assert comparisons.became(numbers) == outcome
    assert sentences.Sentence("images.collapse", outcome, numbers).agrees


@pytest.mark.parametrize(("count", "whole", "word"), [(0, 3, "none"), (2, 3, "some"), (3, 3, "all"), (0, 0, "missing")])
def test_a_part_is_named(count, whole, word):
    assert sentences.part(count, whole) == word


def test_conditions_are_relations_joined_by_and_and_or():
    numbers = {"a": 1, "b": 1.05, "margin": 0.1}
    assert sentences.holds("a = b and a > 0", numbers)
    assert not sentences.holds("a < b or b > a", numbers)
    assert sentences.holds("a <= b", numbers)
    assert sentences.holds("", numbers)
    assert not sentences.holds("a < b or a = b or a > b", {"a": math.nan, "b": 1})
