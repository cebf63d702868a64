"""The gallery's parts on a small run made up here, its page read back; and the graph of rules."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from companion.common import style
from companion.images import draw_training as training
from companion.reader import draw_workflow as workflow
from companion.reader import gallery

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "code/companion/reader/gallery/page.html.j2"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt" viewBox="0 0 72 36"><path d="M0 0"/></svg>'
HASH = "0123456789abcdef" * 4
VOID = {"meta", "link", "img", "br", "wbr"}


def figure(name, category, tables):
    return {
        "title": f"Title of {name} <b>",
        "caption": "A caption & more.",
        "category": category,
        "rule": name,
        "files": [f"figures/{name}.{suffix}" for suffix in ("svg", "pdf", "png")],
        "tables": [{"path": path, "sha256": HASH, "rule": "make"} for path in tables],
        "upstream": ["make", name],
        "seconds": 61.2,
        "not_run": None,
    }


def rule(script, seconds, jobs=1):
    return {"script": script, "script_sha256": HASH if script else None, "jobs": jobs, "seconds": seconds}


@pytest.fixture
def record():
    """What provenance.json holds, as far as the page reads it."""
    return {
        "run": {
            "preset": "laptop",
            "device": "cpu",
            "seed": 0,
            "cores": 2,
            "config": {"preset": "laptop", "seed": 0},
            "versions": {"python": "3.11", "pot": None},
            "platform": "a machine",
            "git_commit": "c0ffee" * 6 + "+changes",
            "dataset": {
                "name": "mnist",
                "label": "MNIST",
                "n_train": 3,
                "n_test": 2,
                "shape": [4, 4],
                "source": "cache",
            }
            | {"sha256": {"train": HASH}, "fallback_reason": None},
        },
        "rules": {
            "make": rule("code/make.py", 60.0, 4),
            "one": rule("code/one.py", 1.2),
            "two": rule(None, 0, 0),
        },
        "files": {},
        "figures": {
            "one": figure("one", "Paper A", ["results/t.csv", "results/big.csv"]),
            "two": figure("two", "Paper B", ["results/s.npz"]),
        },
    }


CLAIMS = [
    {
        "id": "A-x",
        "statement": "x < y & z.",
        "where": "abstract",
        "kind": "inequality",
        "verdict": "confirmed",
        "standing": "confirmed",
        "open": None,
    }
    | {"function": "otgrad.semidual.SemiDual.value", "tests": ["tests/test_x.py::test_y"], "shown": "figures/one"}
    | {"evidence": "1 test passed", "judged": "tests"},
    {
        "id": "B-y",
        "statement": "y.",
        "where": "abstract",
        "kind": "empirical",
        "verdict": "not tested",
        "standing": "not tested",
        "open": "not run; a command decides it",
    }
    | {
        "function": "companion.algorithms.w1fe.w1fe",
        "tests": [],
        "shown": "results/verification.md",
        "evidence": "not run",
    },
]
ROWS = [
    {"compared_with": "POT", "claim": "good", "expected": "1", "measured": "1", "tolerance": "0", "verdict": "pass"},
    {
        "compared_with": "POT",
        "claim": "left",
        "expected": "1",
        "measured": "",
        "tolerance": "0",
        "verdict": "skipped: no data: none",
    },
    {"compared_with": "POT", "claim": "bad", "expected": "1", "measured": "2", "tolerance": "0", "verdict": "fail"},
]


@pytest.fixture
def page(tmp_path, monkeypatch, record):
    """A function that renders the page of a made-up run in tmp_path and returns its text."""
    monkeypatch.chdir(tmp_path)
    for folder in ("figures", "results", "code", "code/otgrad"):
        Path(folder).mkdir()
    for name in ("one", "two", "workflow"):
        Path(f"figures/{name}.svg").write_text(SVG)
    Path("figures/one.pdf").write_text("pdf")
    Path("code/otgrad/semidual.py").write_text("")
    Path("results/t.csv").write_text("name,x\n" + "a,0.123456789\n" * 20)
    Path("results/big.csv").write_text("x\n" + f"{1:0100}\n" * 3000)
    np.savez("results/s.npz", images=np.zeros((2, 3, 4)), level=np.float32(1))

    def render(record=record, claims=CLAIMS, rows=ROWS, order=("two", "one")):
        paths = {"template": TEMPLATE, "graph": "figures/workflow.svg", "notebooks": ["results/gone.html"]}
        for name, content in (("record", record), ("claims", claims), ("verification", rows)):
            paths[name] = f"results/{name}.json"
            Path(paths[name]).write_text(json.dumps(content))
        gallery.gallery(paths | {"documents": ["results/t.csv"]}, order, "results/gallery.html")
        return Path("results/gallery.html").read_text(encoding="utf-8")

    return render


class Reader(HTMLParser):
    """Elements in order, and whether they are closed in the reverse order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            self.wrong.append(tag)

    def all(self, tag, name):
        return [attrs[name] for found, attrs in self.elements if found == tag and name in attrs]


def test_the_page_is_well_formed_and_headings_step_by_one(page):
    reader = Reader(page())
    assert (reader.open, reader.wrong) == ([], [])
    levels = [int(tag[1]) for tag, attrs in reader.elements if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels[:-1], levels[1:], strict=True))
    assert reader.all("html", "lang") == ["en"]


def test_nothing_is_fetched_and_every_link_exists(page):
    text = page()
    reader = Reader(text)
    assert not re.search(r"https?:|url\(|@import|src=\"(?!data:)", text)
    links = [link for link in reader.all("a", "href") if not link.startswith(("data:", "#"))]
    assert {"../figures/one.pdf", "../code/otgrad/semidual.py", "t.csv"} <= set(links)
    assert all((Path("results") / link).is_file() for link in links)
    assert "gone.html" not in text
    inside = {link[1:] for link in reader.all("a", "href") if link.startswith("#")}
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert inside <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_others_wrote_is_escaped(page):
    text = page()
    assert "Title of one &lt;b&gt;" in text
    assert "x &lt; y &amp; z." in text
    assert "<b>" not in text


def test_pictures_and_small_tables_are_inside(page):
    reader = Reader(page())
    for address in reader.all("img", "src"):
        assert base64.b64decode(address.removeprefix("data:image/svg+xml;base64,")).decode() == SVG
    assert set(zip(reader.all("img", "width"), reader.all("img", "height"), strict=True)) == {("72", "36")}
    assert all(reader.all("img", "alt"))
    (saved,) = [attrs["href"] for _, attrs in reader.elements if "download" in attrs]
    assert base64.b64decode(saved.partition(",")[2]) == Path("results/t.csv").read_bytes()


def test_tables_show_their_beginning(page):
    text = page()
    assert text.count("<td>0.12346</td>") == gallery.SHOWN
    assert "The first 12 of 20 rows." in text
    assert "The first 12 of 3000 rows." in text
    assert "2 × 3 × 4" in text
    assert "scalar" in text


def test_figures_stand_in_the_given_order_under_their_paper(page, record):
    found = gallery.papers(record, ["two", "one"])
    assert [(name, [entry["name"] for entry in paper["figures"]]) for name, paper in found.items()] == [
        ("Paper A", ["one"]),
        ("Paper B", ["two"]),
    ]
    record["figures"]["three"] = figure("three", "Paper A", []) | {"files": ["figures/one.svg"], "rule": "one"}
    record["figures"]["three"]["upstream"] = ["one"]
    for order, names in ((["three", "one"], ["three", "one"]), (["one"], ["one", "three"])):
        assert [entry["name"] for entry in gallery.papers(record, order)["Paper A"]["figures"]] == names


def test_a_figure_that_was_not_run_is_a_line_of_text(page, record):
    record["figures"]["two"]["not_run"] = "no USPS; give data_dir"
    text = page(record)
    assert "<p>Not run: no USPS; give data_dir.</p>" in text
    assert "figures/two." not in text
    assert 'id="figure-two"' in text


def test_settings_and_versions_are_named_even_where_they_are_nothing(page):
    text = page()
    assert "<code>seed=0</code> " in text
    assert "<code>pot none</code> <code>python 3.11</code>" in text
    assert '<td class="number">–</td>' in text
    assert "MNIST: 3 training and 2 test images of" in text


def test_failures_come_first_and_open_the_table(page):
    text = page()
    assert [text.index(f'<th scope="row">{name}</th>') for name in ("bad", "left", "good")] == sorted(
        text.index(f'<th scope="row">{name}</th>') for name in ("bad", "left", "good")
    )
    assert "<details open>" in text
    assert '<td colspan="3">no data: none</td>' in text
    assert "1 failed" in text
    good = page(rows=ROWS[:1])
    assert "<details open>" not in good
    assert '<span class="chip none">0 failed</span>' in good


def test_a_page_can_be_made_twice(page):
    assert page() == page()


@pytest.mark.parametrize(
    ("preset", "name", "reason", "expected"),
    [
        ("paper", "mnist", None, None),
        ("laptop", "mnist", None, "Not the papers' setting: preset laptop on the data."),
        ("paper", "mine.npz", None, "Not the papers' setting: preset paper on the data."),
        ("smoke", "digits", "no net", "nothing is learned in it. no net."),
    ],
)
def test_the_stamp_says_what_is_not_the_papers(preset, name, reason, expected):
    found = gallery.stamp({"preset": preset, "dataset": {"name": name, "label": "the data", "fallback_reason": reason}})
    assert (found is None) if expected is None else found.endswith(expected)


@pytest.mark.parametrize(("cell", "shown"), [
    ("0.123456789", "0.12346"), ("12345678", "12345678"), ("a long word", "a long word"),
    ("123456789.0", "1.2346e+08"),
])  # fmt: skip
def test_long_numbers_are_shortened(cell, shown):
    assert gallery.shorter(cell) == shown


def test_tests_are_named_in_words():
    assert gallery.words("test_a_b.py::test_c_d") == "a b: c d"
    assert gallery.words("test_a_b.py") == "a b"


def test_an_empty_table_has_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    assert gallery.contents(tmp_path / "t.csv")["count"] == 0


# --- The graph of rules -----------------------------------------------------------------------------------------------

FILES = {
    "results/data/a": {"rule": "a", "inputs": ["elsewhere"]},
    "results/runs/b": {"rule": "b", "inputs": ["results/data/a"]},
    "figures/c": {"rule": "c", "inputs": ["results/runs/b", "results/data/a"]},
    "results/claims.json": {"rule": "d", "inputs": ["results/data/a"]},
    "results/verification.md": {"rule": "e", "inputs": ["results/claims.json", "figures/c"]},
}


def test_edges_that_longer_paths_imply_are_left_out():
    graph = workflow.rule_graph(FILES)
    assert set(graph.edges) == {("a", "b"), ("b", "c"), ("c", "e"), ("a", "d"), ("d", "e")}
    assert workflow.rule_kinds(FILES) == {"a": "data", "b": "training", "c": "figures", "d": "checks", "e": "checks"}


def test_links_join_neighbouring_columns():
    columns, links = workflow.layers(workflow.rule_graph(FILES))
    column = {node: k for k, nodes in enumerate(columns) for node in nodes}
    assert all(column[end] == column[start] + 1 for start, end in links)
    assert ("d", "e", 2) in column


def test_ordering_removes_crossings_and_places_do_not_overlap():
    rng = np.random.default_rng(0)
    graph = nx.DiGraph([(f"a{k}", f"b{j}") for k, j in enumerate(rng.permutation(8))])
    columns, links = workflow.layers(graph)
    assert workflow.crossings(columns, links) > 0
    columns = workflow.ordered(columns, links)
    assert workflow.crossings(columns, links) == 0
    heights = workflow.place(columns, links)
    for nodes in columns:
        assert np.all(np.diff([heights[node] for node in nodes]) <= -workflow.ROOM["box"] + 1e-9)


def test_monotone_is_the_nearest_falling_sequence():
    assert workflow.monotone([3, 1, 2, 0]) == [3, 1.5, 1.5, 0]
    assert workflow.monotone([1, 2, 3]) == [2, 2, 2]


def test_the_graph_is_drawn_with_every_rule_twice_the_same(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"files": FILES}))
    drawn = []
    for _ in range(2):
        workflow.draw(tmp_path / "p.json", [tmp_path / "w.svg"])
        drawn.append((tmp_path / "w.svg").read_text())
    assert drawn[0] == drawn[1]
    labels = re.findall(r"<text[^>]*>([^<]+)</text>", drawn[0])
    assert sorted(labels) == sorted([*"abcde", "data", "training", "figures", "checks"])


# --- Training curves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_curves_of_every_length_are_drawn(tmp_path, rows):
    runs, logs = {}, []
    for k, (generator, lam) in enumerate([("mlp", 0.0), ("mlp", 0.1), ("dcgan", 0.1)]):
        runs[f"run{k}"] = {"generator": generator, "lam": lam}
        logs.append(tmp_path / f"{k}.csv")
        lines = [f"{step},{k - 1},{0.5},{step + k}" for step in range(1, rows + 1)]
        logs[-1].write_text("\n".join(["step,value,marginal_error,effective_atoms", *lines]) + "\n")
    training.draw(runs, logs, [tmp_path / "t.svg"], "the stamp")
    text = (tmp_path / "t.svg").read_text()
    assert text.count("DCGAN") >= 1
    assert "the stamp" in text
    colours = training.looks(list(runs.values()))
    assert colours[0]["color"] == style.RED
    assert np.array_equal(colours[1]["color"], colours[2]["color"])
    assert colours[1]["linestyle"] != colours[2]["linestyle"]
