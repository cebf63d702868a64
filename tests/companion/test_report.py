"""The report: its numbers are those of the results, and it can be typeset whatever was found."""

from companion.common.job import job

import io
import json
import math
from itertools import pairwise

import matplotlib.image
import pytest
import typst
from made_report import OF_IMAGES, collected

from companion.reader import report, report_text
from companion.reader.standing import STANDINGS

# --- The numbers are those of the results -----------------------------------------------------------------------------


def test_numbers_are_those_of_the_tables(tmp_path):
    found = collected(tmp_path)
    counterexample = found["counterexample"]
    assert (counterexample["low"], counterexample["high"]) == ("0.375", "0.75")
    assert counterexample["away"]["entropic"] == "0.25"
    exact, default = counterexample["table"]
    assert exact["plain"] == {"reached": "0 of 1", "worst": "0.5"}
    assert exact["entropic"] == {"reached": "1 of 1", "worst": "2.7·10⁻¹⁴"}
    assert (default["solver"], default["plain"]["worst"]) == ("5 default steps", "–")
    assert counterexample["gone"] == "1"
    assert found["crosscheck"]["rows"][0] | {"quantity": ""} == {
        "quantity": "", "agree": "1 of 2", "worst": "2.0·10⁻⁵", "tolerance": "1·10⁻⁶"
    }  # fmt: skip
    scores = found["scores"]
    assert scores["rows"][3] == {
        "name": "MLP, λ = 0.01, x", "fid": "–", "recall": "5.25 ± 0.50", "precision": "5.25 ± 0.50",
        "sharpness": "5.25 ± 0.50",
    }  # fmt: skip
    assert (scores["sets"], scores["images"]) == ("4 sets", "2,000")
    assert found["planar"]["rows"][0] == {
        "arm": "W1-FE, K = 1", "w1": "0.117 ± 0.008", "steps": ["475", "never"], "cosine": "−0.09"
    }  # fmt: skip
    assert scores["classifier"] == "The classifier is trained enough."
    assert found["adaptation"]["rows"][1] == {
        "arm": "USPS to MNIST, W1-FE, K = 5", "before": "0.250 ± 0.354", "end": "0.500 ± 0.354", "best": "0.500 ± 0.354"
    }  # fmt: skip
    assert found["generation"]["rows"][2] == {
        "arm": "Algorithm 1, λ = 0.01", "w1": "1.50 ± 0.71", "variety": "3.2 ± 0.0", "seconds": "30"
    }  # fmt: skip
    assert found["times"]["rows"] == [
        {"rule": "drawing", "jobs": "2", "time": "1 min 1 s"}, {"rule": "others", "jobs": "1", "time": "0 s"}
    ]  # fmt: skip
    assert found["run"]["commit"] == "0123456789 with changes"


def test_image_runs_are_compared_with_the_data(tmp_path):
    images = collected(tmp_path)["images"]
    assert images["rows"][0] == {
        "generator": "MLP", "lam": "0.1", "value": "0.3134", "atoms": "8,602", "variance": "0.2", "seconds": "339"
    }  # fmt: skip
    assert images["collapsed"] == "0.5"  # variances 1 and 1/4, mean ||y||^2 = 2.5


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [(0, 3, "0"), (0.11712, 3, "0.117"), (8601.8, 4, "8,602"), (2.66e-14, 2, "2.7·10⁻¹⁴"), (-2.0, 3, "−2"),
     (1e-6, 1, "1·10⁻⁶"), (0.0996, 2, "0.1"), (60000, 2, "60,000"), (math.inf, 3, "never"), (math.nan, 3, "–")],
)  # fmt: skip
def test_numbers_are_written_as_people_do(x, digits, text):
    assert report_text.sig(x, digits) == text


def test_symbols_are_written_as_the_papers_do():
    text = "psi* at theta_0, lam <= 0.1 (lam / 2), c,lam-transform; laminar, W_c, x is -0.5, a-1"
    assert report_text.signs(text) == "ψ* at θ₀, λ ≤ 0.1 (λ / 2), c,λ-transform; laminar, W_c, x is −0.5, a-1"


@pytest.mark.parametrize(
    ("preset", "data", "stamp", "images"),
    [("paper", "mnist", "", ""), ("laptop", "mnist", "preset laptop: not the paper preset", ""),
     ("paper", "digits", "", "images: digits (MNIST could not be had), not MNIST"),
     ("smoke", "mnist", "preset smoke: not the paper preset; nothing was learned", "")],
)  # fmt: skip
def test_the_report_says_what_it_is_not(tmp_path, preset, data, stamp, images):
    assert collected(tmp_path, preset=preset, data=data)["stamp"] == {"preset": stamp, "images": images}


def test_the_images_are_named_under_figures_that_show_something_of_them(tmp_path):
    found = collected(tmp_path, data="digits")["figures"]
    assert {name for name, entry in found.items() if "MNIST could not be had" in entry["source"]} == set(OF_IMAGES)


# --- It can be typeset ------------------------------------------------------------------------------------------------


VARIANTS = [{"verdict": standing} for standing in STANDINGS]
VARIANTS += [{"not_run": "no USPS"}, {"preset": "smoke", "data": "digits", "failing": True}, {"preset": "paper"}]


@pytest.mark.parametrize("how", VARIANTS, ids=str)
def test_the_report_is_typeset_whatever_was_found(tmp_path, how):
    collected(tmp_path, **how)
    report.write_report(tmp_path / "paper/report.typ", tmp_path / "paper/report.pdf", tmp_path)
    assert (tmp_path / "paper/report.pdf").read_bytes().startswith(b"%PDF")


def stamped(folder):
    """Whether there is something above what the page holds, for each page."""
    pages = report.typeset(folder / "paper/report.typ", folder, format="png", ppi=72.0)
    pixels = [matplotlib.image.imread(io.BytesIO(page))[..., :3] for page in pages]
    return [page[15:45].min() < 0.9 for page in pixels]  # points from the top


@pytest.mark.parametrize(("preset", "found"), [("laptop", {True}), ("paper", {False})])
def test_the_stamp_is_on_every_page_or_on_none(tmp_path, preset, found):
    collected(tmp_path, preset=preset)
    assert set(stamped(tmp_path)) == found


def test_sections_that_show_something_of_the_images_name_them_and_no_others(tmp_path):
    collected(tmp_path, data="digits")
    source, which = str(tmp_path / "paper/report.typ"), "selector(heading).or(<of-images>)"
    found = json.loads(typst.query(source, which, root=str(tmp_path), font_paths=report.fonts()))
    named = [head["body"] for head, after in pairwise(found) if head["func"] == "heading" != after["func"]]
    assert len(named) == sum(entry["func"] != "heading" for entry in found) == 7
    assert [body["text"] for body in named[:3]] == [
        "Every claim, and its verdict",
        "Potentials against POT",
        "Generators of images",
    ]


def test_the_same_results_give_the_same_bytes_and_others_do_not(tmp_path):
    collected(tmp_path / "a")
    first, second = (report.typeset(tmp_path / "a/paper/report.typ", tmp_path / "a") for _ in range(2))
    assert first == second
    collected(tmp_path / "b", verdict="refuted")
    assert report.typeset(tmp_path / "b/paper/report.typ", tmp_path / "b") != first


def test_the_report_says_what_it_is_and_can_be_read_aloud(tmp_path):
    collected(tmp_path)
    pdf = report.typeset(tmp_path / "paper/report.typ", tmp_path)
    for mark in (b"/StructTreeRoot", b"/Lang(en-GB)", b"/Marked true", b"<pdfuaid:part>1", b"The otgrad developers"):
        assert mark in pdf, mark
    assert pdf.count(b"/Alt") >= 10  # of the figures


def test_a_mistake_in_the_sources_is_one_line(tmp_path):
    collected(tmp_path)
    section = tmp_path / "paper/sections/limits.typ"
    section.write_text(section.read_text(encoding="utf-8") + "\n#n.no-such-number\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no-such-number") as caught, job("report", tmp_path / "log"):
        report.write_report(tmp_path / "paper/report.typ", tmp_path / "paper/report.pdf", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "paper/report.pdf").exists()


def test_a_warning_is_an_error(tmp_path):
    collected(tmp_path)
    source = tmp_path / "paper/report.typ"
    source.write_text(source.read_text(encoding="utf-8").replace("Libertinus Serif", "No Such Letters"))
    with pytest.raises(report.ReportError, match="warning: .*no such letters"):
        report.typeset(source, tmp_path)
