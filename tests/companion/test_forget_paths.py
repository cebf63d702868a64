from pathlib import Path

from companion.reader import forget_paths
from companion.reader import run_notebook as notebook


def test_the_machine_is_not_told(tmp_path, monkeypatch):
    folder = tmp_path / "jane & co"
    folder.mkdir()
    monkeypatch.chdir(folder)
    text = f'<testsuite hostname="janes-laptop" name="a"><skipped message="{folder}/tests/a.py:1: no GPU"/></testsuite>'
    Path("a.xml").write_text(text.replace("&", "&amp;"))
    forget_paths.main("a.xml")
    assert Path("a.xml").read_text() == '<testsuite name="a"><skipped message="tests/a.py:1: no GPU"/></testsuite>'


def test_a_notebooks_output_holds_no_folder_of_this_machine(tmp_path):
    said = {"output_type": "stream", "text": f"{tmp_path}/code/a.py:3: UserWarning\n"}
    shown = {"output_type": "display_data", "data": {"text/plain": f"PosixPath('{tmp_path}/code')"}}

    class Document:
        cells = [{"cell_type": "code", "outputs": [said, shown]}, {"cell_type": "markdown"}]

    notebook.forget_paths(Document, tmp_path)
    assert said["text"] == "code/a.py:3: UserWarning\n"
    assert shown["data"]["text/plain"] == "PosixPath('code')"
