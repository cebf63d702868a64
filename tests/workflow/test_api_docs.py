"""The pages of the API: complete, readable without a network, every link leads somewhere, no formula is lost."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import otgrad
from companion.reader import api

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "code/otgrad"
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "code").with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page loads, links to, can be linked to, and what its docstrings read like."""

    def __init__(self, path):
        super().__init__()
        self.loaded, self.links, self.anchors = [], [], set()
        self.prose, self.depth = "", 0  # of nested <div> since that of a docstring
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "div":
            self.depth += bool(self.depth) or found.get("class") == "docstring"
        if "id" in found:
            self.anchors.add(found["id"])
        if found.get(LOADS.get(tag)):
            self.loaded.append(found[LOADS[tag]])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get("http-equiv") == "refresh":
            self.links.append(found["content"].partition("url=")[2])

    def handle_endtag(self, tag):
        self.depth -= tag == "div" and self.depth > 0

    def handle_data(self, data):
        self.prose += data if self.depth else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("docs") / "api"
    (output / "old").mkdir(parents=True)
    names = list(otgrad.__all__)
    api.write_pages(output)
    assert otgrad.__all__ == names  # which it completes for as long as it writes
    return output


@pytest.fixture(scope="module")
def pages(folder):
    return {path: Page(path) for path in folder.rglob("*.html")}


def source(module):
    path = ROOT / "code" / f"{module.replace('.', '/')}.py"
    return path if path.is_file() else path.with_suffix("") / "__init__.py"


def page_of(folder, module):
    return folder / f"{module.replace('.', '/')}.html"


def test_every_module_has_a_page_and_nothing_is_left_of_the_old_ones(folder, pages):
    assert {page_of(folder, module) for module in MODULES} | {folder / "index.html"} == pages.keys()
    assert not (folder / "old").exists()


def test_the_first_page_has_the_public_names_and_leads_to_every_room(folder, pages):
    first = pages[folder / "otgrad.html"]
    assert set(otgrad.__all__) <= first.anchors
    assert "SemiDiscreteOT.fit" in first.anchors
    rooms = {module.split(".")[1] for module in MODULES if "." in module}
    assert {f"otgrad/{room}.html" for room in rooms} <= {link.removeprefix("./") for link in first.links}
    assert pages[folder / "index.html"].links == ["./otgrad.html"]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_and_class_has_an_entry(folder, pages, module):
    tree = ast.parse(source(module).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in defined if not name.startswith("_")}
    assert public <= pages[page_of(folder, module)].anchors


def test_no_page_loads_anything_from_a_network(folder, pages):
    for path, page in pages.items():
        assert not [url for url in page.loaded if urlsplit(url).scheme not in ("", "data")], path
        styles = "".join(re.findall(r"<style.*?</style>", page.text, re.DOTALL))
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", styles), path
    assert (folder / "search.js").stat().st_size > 10_000  # the index, which search reads instead of a server


def test_every_link_within_the_pages_leads_somewhere(pages):
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            goal = (path.parent / unquote(url.path)).resolve() if url.path else path.resolve()
            assert goal.is_file(), f"{path.name}: {link}"
            if url.fragment:
                assert unquote(url.fragment) in pages[goal].anchors, f"{path.name}: {link}"
            followed += 1
    assert followed > 1000


def test_nothing_is_undocumented_and_no_comment_became_a_heading(pages):
    for path, page in pages.items():
        assert "Undocumented" not in page.text, path
        assert not re.search(r'<h1 id="', page.text), f"{path}: a docstring's line begins with '#'"


def documented(path):
    """Docstrings of what a module shows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = getattr(node, "name", "module")
            if not name.startswith("_") or name == "__init__":
                yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("module", MODULES)
def test_no_formula_is_taken_for_a_tag(folder, pages, module):
    """A browser drops an inner product written <nu, psi>, unless it is marked as code."""
    prose = pages[page_of(folder, module)].prose
    for docstring in documented(source(module)):
        for formula in re.findall(r"<[A-Za-z/!][^>\n]*>", docstring):
            assert formula in prose
