import hashlib
import json
from pathlib import Path

import pytest

from companion.reader import provenance

HEADER = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A figure drawn from a table that was computed from data, with benchmarks of the first two."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "figures/a.svg": "<svg/>",
        "figures/b.svg": '<svg xmlns="http://www.w3.org/2000/svg"><title>not run: no USPS</title></svg>',
        "paper/captions/b.rst": "Another\n",
        "results/a.csv": "x\n1\n",
        "results/data.npz": "data",
        "code/plot.py": "draw",
        "paper/captions/a.rst": "The title\n\nA caption\non two lines.\n",
        "results/benchmarks/a.tsv": "s\th:m:s\n2.5\t0:00:02\n",
        "results/benchmarks/a_table/one.tsv": "s\th:m:s\n3\t0:00:03\n",
        "results/benchmarks/a_table/two.tsv": "s\th:m:s\n4\t0:00:04\n",
        "results/page.html": "of an earlier run",
        "results/data/dataset.json": json.dumps({"label": "digits"}),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = [
        ("figures/a.svg", "a", [("results/a.csv")]),
        ("results/a.csv", "a_table", ["results/data.npz"]),
        ("results/data.npz", "data", []),
        ("results/data/dataset.json", "data", []),
        ("figures/b.svg", "b", []),
        ("results/not_made.csv", "other", []),
        ("results/provenance.json", "provenance", ["results/a.csv"]),
        ("results/page.html", "page", ["results/provenance.json"]),
    ]
    monkeypatch.setattr(provenance, "summary", lambda config: lines)
    provenance.provenance(
        {"preset": "laptop", "dataset": "results/data/dataset.json"},
        {"a": ("Paper A", ["figures/a.svg"], ["results/a.csv"]), "b": ("Paper B", ["figures/b.svg"], [])},
        "paper/captions",
        {"a": "code/plot.py"},
        "results/benchmarks",
        {"seed": 3, "lams": None, "data_dir": "somewhere", "dataset": "/home/jane/secret/mine.npz"},
        "results/provenance.json",
    )
    return json.loads((tmp_path / "results/provenance.json").read_text())


def test_a_figure_knows_the_whole_way_to_it(run):
    figure = run["figures"]["a"]
    assert (figure["title"], figure["caption"]) == ("The title", "A caption on two lines.")
    assert figure["upstream"] == ["a", "a_table", "data"]
    assert figure["seconds"] == 9.5
    digest = hashlib.sha256(b"x\n1\n").hexdigest()
    assert figure["tables"] == [{"path": "results/a.csv", "rule": "a_table", "sha256": digest}]


def test_rules_have_their_scripts_hash_and_the_seconds_of_all_their_jobs(run):
    assert run["rules"]["a_table"] == {"script": None, "script_sha256": None, "jobs": 2, "seconds": 7.0}
    assert run["rules"]["a"]["script_sha256"] == hashlib.sha256(b"draw").hexdigest()
    assert "other" not in run["rules"]


def test_what_is_made_from_the_record_is_not_in_it(run):
    drawn = {"figures/a.svg", "figures/b.svg"}
    assert set(run["files"]) == drawn | {"results/a.csv", "results/data.npz", "results/data/dataset.json"}
    assert set(run["rules"]) == {"a", "a_table", "b", "data"}


def test_a_figure_says_if_it_shows_the_images_and_why_it_is_none(run):
    assert [run["figures"][name]["images"] for name in "ab"] == [True, False]
    assert [run["figures"][name]["not_run"] for name in "ab"] == [None, "no USPS"]


def test_settings_left_open_and_folders_of_this_machine_are_not_told(run):
    assert run["run"]["config"] == {"seed": 3, "dataset": "mine.npz"}
    assert "jane" not in json.dumps(run)
    assert run["run"]["dataset"]["label"] == "digits"


def test_the_summary_of_snakemake_is_read(monkeypatch):
    text = (
        HEADER
        + "b.svg\tnow\tb\t-\tb.csv,/my/own.npz,code/b.py\t-\tok\tno update\nb.csv\t-\tt\t-\t-\t-\tok\tno update\n"
    )
    seen = []

    def run(command, **options):
        seen.append(json.loads(Path(command[-1]).read_text()))
        return provenance.subprocess.CompletedProcess(command, 0, stdout=text, stderr="")

    monkeypatch.setattr(provenance.subprocess, "run", run)
    assert list(provenance.summary({"seed": 1})) == [("b.svg", "b", ["b.csv", "own.npz"]), ("b.csv", "t", [])]
    assert seen == [{"seed": 1}]


@pytest.mark.parametrize("own", ["/home/jane/a, b/mine.npz", '../jane/it\'s "mine".npz', "~/jane/mine.npz"])
def test_a_file_of_the_users_own_goes_by_its_name(monkeypatch, own):
    shown = str(Path(own).expanduser())
    text = HEADER + f"a\tnow\tdata\t-\tcode/b.py,{shown}\t-\tok\tno update\nb\tnow\tt\t-\ta\t-\tok\tno update\n"
    done = provenance.subprocess.CompletedProcess([], 0, stdout=text, stderr="")
    monkeypatch.setattr(provenance.subprocess, "run", lambda *_, **__: done)
    name = Path(own).name
    assert list(provenance.summary({"dataset": own})) == [("a", "data", [name]), ("b", "t", ["a"])]


def test_a_summary_that_fails_is_an_error(monkeypatch):
    failed = provenance.subprocess.CompletedProcess([], 1, stdout="", stderr="no such rule")
    monkeypatch.setattr(provenance.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(OSError, match="no such rule"):
        list(provenance.summary({}))
