"""No link leads nowhere: in the README, in docs/, in every page that a run leaves. External ones are not called."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
KNOWN_HOSTS = {"arxiv.org", "pythonot.github.io", "github.com", "w3id.org", "codecheck.org.uk", "pdoc.dev"}


class Links(HTMLParser):
    """What a page links to, what it loads, and the anchors it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if given.get("href"):
            (self.loads if tag == "link" else self.links).append(given["href"])
        if given.get("src"):
            self.loads.append(given["src"])


@cache
def page(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
        text = re.sub(r"<h(\d)>(.*?)</h\1>", lambda m: f'<h{m[1]} id="{slug(m[2])}">{m[2]}</h{m[1]}>', text)
    return Links(text)


def slug(heading):
    """The anchor that code hosts give a heading."""
    words = re.sub(r"<[^>]+>", "", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def broken(path):
    """Links of a page that lead nowhere, or to a host that nobody decided on."""
    for link in page(path).links + page(path).loads:
        parts = urlsplit(link)
        if parts.scheme in ("data", "mailto", "javascript"):
            continue
        if parts.scheme:
            if parts.scheme != "https" or parts.hostname not in KNOWN_HOSTS:
                yield link
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchored = parts.fragment and target.suffix in (".md", ".html")
        if not target.exists() or (anchored and unquote(parts.fragment) not in page(target).anchors):
            yield link


def foreign(path):
    """What a page would load from a network."""
    return [link for link in page(path).loads if urlsplit(link).scheme not in ("", "data")]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_readme_and_docs(path):
    assert len(page(path).links) > 1
    assert list(broken(path)) == []


@pytest.mark.parametrize("link", ["nowhere.md", "#no-such-heading", "http://arxiv.org/abs/1", "https://example.org/"])
def test_a_broken_link_is_seen(tmp_path, link):
    (tmp_path / "a.md").write_text(f"# Title\n\n[good](#title) [bad]({link})\n")
    assert list(broken(tmp_path / "a.md")) == [link]


def test_pages_of_a_run(finished):
    folder, _ = finished
    pages = sorted([*folder.glob("results/**/*.html"), *folder.glob("results/*.md")])
    names = {str(path.relative_to(folder)) for path in pages}
    assert {"results/gallery.html", "results/api/index.html", "results/verification.md"} <= names
    assert {str(path.relative_to(folder)): list(broken(path)) for path in pages if any(broken(path))} == {}
    assert {str(path.relative_to(folder)): foreign(path) for path in pages if foreign(path)} == {}
