"""The research object of a small run made up here, read back with the library that others would read it with."""

from companion.common.job import job

import json
import os
import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from rocrate.rocrate import ROCrate

from companion.reader import crate, packing

ROOT = Path(__file__).parents[2]
MADE = {  # path -> rule
    "figures/one.svg": "one",
    "figures/one.png": "one",
    "results/table.csv": "make",
    "results/runs/x/run.json": "train",
    "results/runs/x/samples.npz": "train",
    "results/runs/x/large.npz": "train",
    "results/runs/x/weights.pt": "train",
    "results/data/train.npz": "data",
    "results/data/dataset.json": "data",
    "checkpoints/x/last.pt": "train",
}
TABLES = ["results/table.csv", "results/runs/x/samples.npz", "results/runs/x/large.npz"]
CODE = ["Snakefile", "LICENSE", "CITATION.cff", "README.md", "code/companion/common/style.py", "config/default.yaml"]
CODE += ["docs/claims.md"]
LEFT_BEHIND = ["code/otgrad/__pycache__/a.pyc", "code/otgrad.egg-info/PKG-INFO", "config/.secret", "notes.txt"]


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A made-up run in tmp_path, with its provenance.json; the fixture's value is the content of that file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crate, "MOST", 50_000)
    for name in CODE:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)
    for name in [*MADE, *LEFT_BEHIND, "results/gallery.html"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"content of {name}")
    np.savez("results/runs/x/large.npz", a=np.zeros(10_000))
    script = {"script": "code/companion/common/style.py", "jobs": 1, "seconds": 1.0}
    entry = {"not_run": None, "title": "One", "caption": "A figure.", "category": "Paper A", "rule": "one"}
    entry |= {"files": ["figures/one.svg", "figures/one.png"], "tables": [{"path": path} for path in TABLES]}
    content = {
        "run": {
            "preset": "smoke",
            "device": "cpu",
            "seed": 3,
            "config": {"preset": "smoke", "seed": 3, "dataset": "auto"},
            "versions": {"python": "3.11", "snakemake": "9.27", "pot": None},
            "git_commit": None,
            "dataset": {"label": "digits", "n_train": 3, "n_test": 2, "shape": [4, 4]},
        },
        "rules": {"one": script, "make": {"script": None}, "train": script, "data": script},
        "files": {
            path: {"rule": rule, "sha256": crate.sha256(path), "bytes": Path(path).stat().st_size}
            for path, rule in MADE.items()
        },
        "figures": {"one": entry, "none": entry | {"not_run": "no USPS"}},
    }
    Path("results/provenance.json").write_text(json.dumps(content))
    return content


def write():
    crate.crate("results/provenance.json", ["results/gallery.html"], "results/crate.zip")
    return Path("results/crate.zip")


@pytest.fixture
def found(record):
    """The crate read back, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ROCrate(write())


def files(found):
    return {unquote(entity.id): entity for entity in found.data_entities}


def test_every_listed_file_is_there_with_its_size_and_hash_and_no_other(found):
    listed = files(found)
    assert {*CODE, *TABLES[:2], "results/gallery.html", "results/provenance.json"} <= listed.keys()
    with zipfile.ZipFile("results/crate.zip") as archive:
        assert set(archive.namelist()) == {*listed, "ro-crate-metadata.json"}
    for name, entity in listed.items():
        path = Path(found.source, name)
        assert entity["sha256"] == crate.sha256(path) == crate.sha256(name)
        assert int(entity["contentSize"]) == path.stat().st_size


def test_images_weights_large_samples_and_litter_stay_out(found):
    names = files(found).keys()
    out = {"results/data/train.npz", "results/runs/x/weights.pt", "results/runs/x/large.npz", "checkpoints/x/last.pt"}
    assert not names & {*out, *LEFT_BEHIND}
    assert {"results/data/dataset.json", "results/runs/x/samples.npz"} <= names


def test_the_snakefile_is_the_main_entity(found):
    main = found.mainEntity
    assert main.id == "Snakefile"
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} <= set(main.type)
    assert main["programmingLanguage"]["name"] == "Snakemake"
    assert {(entity["name"], entity["version"]) for entity in main["softwareRequirements"]} == {
        ("python", "3.11"),
        ("snakemake", "9.27"),
    }
    assert {entity.id for entity in found.root_dataset["conformsTo"]} == set(crate.PROFILES)


def test_the_run_leads_from_settings_and_data_to_results(found):
    run = found.get("#run")
    assert run.type == "CreateAction"
    assert run["instrument"].id == "Snakefile"
    values = {entity["name"]: entity["value"] for entity in run["object"] if entity.type == "PropertyValue"}
    assert values == {"preset": "smoke", "seed": "3", "dataset": "auto", "device": "cpu"}
    slots = {entity["exampleOfWork"].id for entity in run["object"] if entity.type == "PropertyValue"}
    assert slots == {entity.id for entity in found.mainEntity["input"]}
    assert found.get("results/data/dataset.json") in run["object"]
    assert {"figures/one.svg", "results/gallery.html"} <= {entity.id for entity in run["result"]}


def test_a_figure_names_its_script_and_tables(found, record):
    action = found.get("#draw-one")
    assert action in found.root_dataset["mentions"]
    assert found.get("#draw-none") is None
    assert action["instrument"].id == "code/companion/common/style.py"
    assert "SoftwareSourceCode" in action["instrument"].type
    assert [entity.id for entity in action["result"]] == ["figures/one.svg", "figures/one.png"]
    assert [entity.id.removeprefix("#absent-") for entity in action["object"]] == TABLES
    absent = action["object"][2]
    assert absent["sha256"] == record["files"][TABLES[2]]["sha256"]
    assert absent["description"] == "not part of this crate"


def test_licence_authors_date_and_papers_are_those_of_the_project(found):
    root = found.root_dataset
    assert root["license"].id == "https://spdx.org/licenses/MIT"
    assert [(author.type, author["name"]) for author in root["author"]] == [("Organization", "The otgrad developers")]
    assert {"https://arxiv.org/abs/2102.05542", "https://arxiv.org/abs/2405.16351"} == {
        paper.id for paper in root["citation"]
    }
    assert found.get("https://arxiv.org/abs/2405.16351")["creditText"] == "Zachariah Malik, Yu-Jui Huang"


def test_without_a_commit_the_date_is_the_year_of_the_licence(monkeypatch, record):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    assert crate.published(None) == "2026"


def test_every_reference_leads_to_an_entity(found):
    ids = {entity.id for entity in found.get_entities()}
    outside = ("http://schema.org/", "https://w3id.org/ro/crate/", "https://bioschemas.org/", "https://doi.org/")
    outside += ("https://snakemake.readthedocs.io", "https://w3id.org/workflowhub/workflow-ro-crate")

    def references(value):
        if isinstance(value, list):
            return {name for item in value for name in references(item)}
        return {value["@id"]} if isinstance(value, dict) and value.keys() == {"@id"} else set()

    used = {
        name for entity in found.get_entities() for value in entity.properties().values() for name in references(value)
    }
    assert {name for name in used - ids if not name.startswith(outside)} == set()


def test_the_same_files_give_the_same_bytes(record):
    assert write().read_bytes() == write().read_bytes()
    with zipfile.ZipFile("results/crate.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {packing.EPOCH}


def test_the_date_is_that_of_the_commit(record):
    """Files unpacked over older results are newer than those where the code is: nothing hides the change."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    times = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-03-04T05:06:07+02:00")
    for command in (["init", "-q"], ["add", "Snakefile"], [*identity, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], check=True, env=os.environ | times)
    assert write().read_bytes() == write().read_bytes()
    with zipfile.ZipFile("results/crate.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 3, 4, 3, 6, 6)}
    assert packing.commit_time("no-such-commit") == packing.EPOCH


def test_the_version_of_the_standard_is_stated(found):
    (told,) = [entity for entity in found.get_entities() if entity.id == "ro-crate-metadata.json"]
    addresses = {entity if isinstance(entity, str) else entity["@id"] for entity in told.properties()["conformsTo"]}
    assert "https://w3id.org/ro/crate/1.1" in addresses
    assert json.loads(zipfile.ZipFile("results/crate.zip").read("ro-crate-metadata.json"))["@context"][0] == (
        "https://w3id.org/ro/crate/1.1/context"
    )


def test_a_result_that_changed_is_refused_in_one_line(record, tmp_path):
    write()
    before = Path("results/crate.zip").read_bytes()
    Path("results/table.csv").write_text("other")
    with pytest.raises(SystemExit) as caught, job("crate", tmp_path / "log"):
        write()
    expected = "crate: results/table.csv has changed since results/provenance.json was written: run snakemake again"
    assert caught.value.code == expected
    assert Path("results/crate.zip").read_bytes() == before


def test_people_are_persons(record):
    found = ROCrate(version="1.1")
    author = {"family-names": "Doe", "given-names": "Jo", "orcid": "https://orcid.org/0000-0000-0000-0000"}
    entity = crate.add_author(found, author)
    assert (entity.type, entity["name"], entity.id) == ("Person", "Jo Doe", author["orcid"])


@pytest.mark.parametrize(("path", "taken"), [
    ("results/runs/images/a/samples.npz", True), ("results/runs/generation/laptop/a/samples.npz", False),
    ("results/evaluation/laptop/pictures/a.npz", False), ("results/runs/adaptation/a/samples.npz", False),
    ("results/data/train.npz", False), ("results/runs/images/a/weights.pt", False),
    ("results/runs/generation/a/log.csv", True),
])  # fmt: skip
def test_others_images_and_weights_stay_out(path, taken):
    assert crate.included(path, 1000) is taken
    assert not crate.included("results/runs/images/a/samples.npz", crate.MOST)
