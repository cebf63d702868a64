from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHECK = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
COMMENTS = {entry["file"]: entry["comment"] for entry in CHECK["manifest"]}
CAPTIONS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "paper/captions").glob("*.rst")}


def test_every_captioned_figure_is_in_the_manifest_under_its_title():
    listed = {Path(file).stem: comment for file, comment in COMMENTS.items() if file.startswith("figures/")}
    assert listed == {name: text.splitlines()[0] for name, text in CAPTIONS.items()}


def test_captions_are_a_title_and_a_text():
    for name, text in CAPTIONS.items():
        title, blank, *rest = text.splitlines()
        assert title, name
        assert not title.endswith("."), name
        assert blank == "", name
        assert len(" ".join(rest)) > 60, name


def test_the_paper_is_the_one_that_the_citation_names():
    cited = {reference["title"]: reference for reference in CITATION["references"]}
    paper = cited[CHECK["paper"]["title"]]
    names = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    assert [author["name"] for author in CHECK["paper"]["authors"]] == names
    assert CHECK["paper"]["reference"].endswith(paper["identifiers"][0]["value"].removeprefix("arXiv:"))
