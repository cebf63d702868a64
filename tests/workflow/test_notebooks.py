"""The notebooks' sources, and how one is executed."""

from companion.common.job import job

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from companion.reader.run_notebook import read, run

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "code/notebooks").glob("*.py"))

SMALL = """\
# %% [markdown]
# # Small, $\\lambda$ and $b^2$
# A formula, $a_1 * b_1 = \\lambda$, and another, $$c_2 \\le d_2 .$$

# %%
import os

import matplotlib.pyplot as plt

plt.plot([0, 1])
plt.show()
print(os.getcwd(), os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return path


def outputs(folder):
    return folder / "out/small.ipynb", folder / "out/small.html"


def test_there_are_five():
    assert [path.name[:2] for path in SOURCES] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_source_is_a_lesson_with_a_checked_conclusion(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert prose[0].startswith("# ")
    assert any(re.search(r"^## Conclusion$", text, re.MULTILINE) for text in prose)
    assert any("$" in text for text in prose)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code[-1])))
    assert notebook.cells[-1].cell_type == "code"
    assert any("import otgrad" in text or "from otgrad" in text or "results/" in text for text in code)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_source_holds_no_outputs_and_no_absolute_paths(path):
    assert not any(cell.get("outputs") for cell in jupytext.read(path).cells)
    assert not re.search(r"""["'(\s]/(home|root|tmp|work|usr|Users)/""", path.read_text(encoding="utf-8"))
    assert not list(path.parent.glob("*.ipynb"))


def test_execution_writes_a_page_that_needs_nothing_else(source, tmp_path):
    notebook, page = outputs(tmp_path)
    run(source, notebook, page, root=tmp_path)
    html = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in html
    assert html.count("<math") == 4
    assert "FORMULA" not in html
    heading = re.search(r"<h1.*</h1>", html)[0]
    assert heading.startswith('<h1 id="Small,-lambda-and-b2">Small, <math')
    assert "<script" not in html
    assert not re.search(r"""(src|href)=["']https?://""", html)
    executed = nbformat.read(notebook, as_version=4)
    assert f"{tmp_path} 1" in executed.cells[1].outputs[-1].text
    assert "$a_1 * b_1" in executed.cells[0].source


def test_execution_is_deterministic(source, tmp_path):
    notebook, page = outputs(tmp_path)
    seen = []
    for _ in range(2):
        run(source, notebook, page, root=tmp_path)
        seen.append((notebook.read_bytes(), page.read_bytes()))
    assert seen[0] == seen[1]


def test_a_failed_cell_is_one_line(source, tmp_path):
    notebook, page = outputs(tmp_path)
    source.write_text(SMALL + '\n# %%\nlimit = 1\nassert 2 < limit, "two is\\nmore"\n')
    with pytest.raises(SystemExit) as caught, job("notebook small", tmp_path / "log"):
        run(source, notebook, page, root=tmp_path)
    assert caught.value.code == "notebook small: cell [2] (limit = 1): AssertionError: two is more"
    assert not notebook.exists()
    assert not page.exists()
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "assert 2 < limit" in log
    assert "\x1b[" not in log
