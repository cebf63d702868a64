"""The research object: code, configuration, tables, figures and pages of a run in one RO-Crate, zipped.

Its metadata follow the Workflow Run RO-Crate profiles: the Snakefile is the main entity, one action stands for the run
and one for every figure, from its tables by its script. Images that others published and trained weights stay out. The
same files give the same bytes.
"""

from companion.common.job import job

import subprocess
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import yaml
from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from companion.common.files import replacing
from companion.common.readers import read_json, sha256
from companion.reader.packing import commit_time, pack, shown

FOLDERS = ("code", "config", "docs", "paper", "profiles", "tests", "figures/reference")  # what can be run again
TOP = ("Snakefile", "README.md", "LICENSE", "CITATION.cff", "codecheck.yml", "pyproject.toml", "requirements.lock")
TOP += ("environment.yml",)
OTHERS = ("results/data/", "results/runs/adaptation/", "results/runs/generation/")  # their .npz hold others' images
PICTURES = "results/evaluation/*/pictures/*"  # as do these
MOST = 2_000_000  # bytes of an .npz that is taken along; larger ones are named with their hash
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
TERMS = "https://w3id.org/ro/terms/workflow-run/context"  # where `sha256` is defined
ELSEWHERE = "published elsewhere and not part of this crate, but for the few that figures show"
VERSION = "1.1"  # of RO-Crate


def crate(record_path, pages, output):
    """Write the zip.

    Args:
        record_path: provenance.json.
        pages: files that provenance.json does not list, such as the gallery and the report.
        output: written.

    Raises:
        OSError: if a result is not what provenance.json says.
    """
    record = read_json(record_path)
    results = [path for path in record["files"] if included(path, record["files"][path]["bytes"])]
    for path in results:
        if sha256(path) != record["files"][path]["sha256"]:
            raise OSError(f"{path} has changed since {record_path} was written: run snakemake again")
    made = sorted({*results, *map(str, pages), str(record_path)})
    found = describe(record, sources(set(made)), made)
    with tempfile.TemporaryDirectory() as folder, replacing(Path(output)) as file:
        found.write(folder)
        pack(Path(folder), file, commit_time(record["run"]["git_commit"]))


def included(path, size):
    """Whether a result is taken along: neither the images, nor weights, nor large samples."""
    if path.endswith(".npz"):
        shows = path.startswith(OTHERS) or fnmatch(path, PICTURES)
        return not shows and size < MOST
    return not path.endswith(".pt") and not path.startswith("checkpoints/")


def sources(made):
    """Files to run again from, without what was made and what Python left behind."""
    paths = [path for folder in FOLDERS for path in Path(folder).rglob("*")] + list(map(Path, TOP))
    kept = [path for path in paths if path.is_file() and not any(map(left_behind, path.parts))]
    return sorted(path.as_posix() for path in kept if path.as_posix() not in made)


def left_behind(part):
    """Whether part of a path says that nobody wrote the file."""
    return part.startswith((".", "__pycache__")) or part.endswith(".egg-info")


# --- Metadata ---------------------------------------------------------------------------------------------------------


def describe(record, code, made):
    """The crate of these files, with nothing written yet.

    Args:
        record: content of provenance.json.
        code: paths of what can be run again; "Snakefile" among them.
        made: paths of what the run left.
    """
    found, run = ROCrate(version=VERSION), record["run"]
    found.metadata.extra_contexts.append(TERMS)
    scripts = {rule["script"] for rule in record["rules"].values() if rule["script"]}
    for path in [*code, *made]:
        if path != "Snakefile":
            add_file(found, path, ["File", "SoftwareSourceCode"] if path in scripts else "File")
    workflow = found.add_workflow(
        "Snakefile", "Snakefile", main=True, lang="snakemake", lang_version=run["versions"].get("snakemake")
    )
    workflow._jsonld |= digest("Snakefile") | {"name": "otgrad: everything from the data to this crate"}
    workflow["softwareRequirements"] = [
        add(found, f"#software-{name}", "SoftwareApplication", name=name, version=version)
        for name, version in sorted(run["versions"].items())
        if version
    ]
    about(found, run)
    drawn = [item for item in sorted(record["figures"].items()) if not item[1]["not_run"]]
    actions = [add_run(found, workflow, run, made)]
    actions += [add_figure(found, name, entry, record) for name, entry in drawn]
    found.root_dataset["mentions"] = actions
    return found


def digest(path):
    """Size and hash of a file, as properties."""
    return {"sha256": sha256(path), "contentSize": str(Path(path).stat().st_size)}


def add_file(found, path, kind="File"):
    """Add a file with its size, hash and format."""
    form = FORMATS.get(Path(path).suffix, "text/plain")
    return found.add_file(path, path, properties={"@type": kind, "encodingFormat": form} | digest(path))


def add(found, identifier, kind, **properties):
    """Add something that is not a file."""
    return found.add(ContextEntity(found, identifier, properties={"@type": kind} | properties))


def about(found, run):
    """Say whose it is, under which licence, since when, and which profiles and papers it follows."""
    citation = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    root = found.root_dataset
    root["name"] = f"{citation['title']}: a run of preset {run['preset']} on {run['dataset']['label']}"
    root["description"] = "Code, configuration, tables, figures, claims and provenance of one run of the workflow."
    root["datePublished"] = published(run["git_commit"])
    licence = f"https://spdx.org/licenses/{citation['license']}"
    root["license"] = add(found, licence, "CreativeWork", name=f"{citation['license']} licence, see LICENSE")
    root["author"] = [add_author(found, author) for author in citation["authors"]]
    root["conformsTo"] = [
        add(found, address, "CreativeWork", name=name, version=version) for address, (name, version) in PROFILES.items()
    ]
    root["citation"] = [add_article(found, article) for article in citation["references"]]


def add_author(found, author):
    """Add a person, or a group that has only a name."""
    if "family-names" not in author:
        return add(found, "#" + author["name"].replace(" ", "-"), "Organization", name=author["name"])
    name = f"{author.get('given-names', '')} {author['family-names']}".strip()
    return add(found, author.get("orcid", "#" + name.replace(" ", "-")), "Person", name=name)


def add_article(found, article):
    """Add one of the papers that are reproduced."""
    identifier = article["identifiers"][0]["value"].replace("arXiv:", "https://arxiv.org/abs/")
    names = ", ".join(f"{person['given-names']} {person['family-names']}" for person in article["authors"])
    year = str(article["year"])
    return add(found, identifier, "ScholarlyArticle", name=article["title"], creditText=names, datePublished=year)


def published(commit):
    """The day of the commit; without git, the year of the licence."""
    try:
        return shown(commit, "%cs")
    except (OSError, subprocess.CalledProcessError):
        text = Path("LICENSE").read_text(encoding="utf-8")
        return next(word for word in text.split() if word.isdigit() and len(word) == 4)


def add_run(found, workflow, run, made):
    """Add the action that stands for the whole run: settings and data in, everything that was made out."""
    values = []
    for name, value in sorted((run["config"] | {key: run[key] for key in ("preset", "device", "seed")}).items()):
        kind = "Integer" if isinstance(value, int) else "Text"
        slot = found.add_formal_parameter(name, kind, identifier=f"#parameter-{name}")
        workflow.append_to("input", slot)
        values.append(add(found, f"#value-{name}", "PropertyValue", name=name, value=str(value), exampleOfWork=slot))
    data, record = run["dataset"], found.get("results/data/dataset.json")
    size = f"{data['n_train']} training and {data['n_test']} test images of {'x'.join(map(str, data['shape']))} pixels"
    images = add(found, "#images", "Dataset", name=data["label"], description=f"{size}; {ELSEWHERE}")
    if record:
        images["subjectOf"] = record
    return found.add_action(
        workflow,
        identifier="#run",
        object=[*values, images, *([record] if record else [])],
        result=[found.get(path) for path in made],
        properties={"name": f"Run of preset {run['preset']} on {data['label']}", "actionStatus": done()},
    )


def done():
    """The status of an action that went to its end."""
    return {"@id": "http://schema.org/CompletedActionStatus"}


def add_figure(found, name, entry, record):
    """Add the action that drew a figure; tables that stay out are named with their hash."""
    tables = [found.get(table["path"]) or add_absent(found, table["path"], record) for table in entry["tables"]]
    return found.add_action(
        found.get(record["rules"][entry["rule"]]["script"]),
        identifier=f"#draw-{name}",
        object=tables,
        result=[found.get(path) for path in entry["files"]],
        properties={"name": entry["title"], "description": entry["caption"], "actionStatus": done()},
    )


def add_absent(found, path, record):
    """Name a table that is too large to be taken along."""
    file = record["files"][path]
    about = {"sha256": file["sha256"], "contentSize": str(file["bytes"]), "description": "not part of this crate"}
    return add(found, f"#absent-{path}", "CreativeWork", name=path, **about)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        crate(smk.input.record, list(smk.input.pages), smk.output[0])
