"""The gallery: one page that holds every figure with its data and its way there, the claims and the verification.

The page asks for nothing beyond itself: figures and small tables are inside it. Links lead to files of this project
alone, and only to those that exist.
"""

from companion.common.job import job

import base64
import os
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import numpy as np

from companion.common.files import replacing
from companion.common.readers import at_papers_scale, read_json, read_table
from companion.reader.claims_map import function_file
from companion.reader.standing import STANDINGS
from companion.reader.summary import by_group, duration

PAPERS = {
    "Paper A": "On the Existence of Optimal Transport Gradient for Learning Generative Models (Houdard, Leclaire, "
    "Papadakis, Rabin; arXiv:2102.05542)",
    "Paper B": "A Differential Equation Approach for Wasserstein GANs and Beyond (Malik, Huang; arXiv:2405.16351)",
}
ROW_VERDICTS = {"fail": "failed", "skipped": "skipped", "pass": "passed"}  # in the order in which they are listed
SHOWN = 12  # rows of a table on the page
INSIDE = 200_000  # bytes up to which a table can be saved from the page
MIME = {".svg": "image/svg+xml", ".csv": "text/csv"}


def gallery(inputs, order, output):
    """Write the page.

    Args:
        inputs: paths by name: record (provenance.json), claims, verification (both JSON), graph (SVG of the rules),
            template, notebooks (a list), documents (a list: what else to link to).
        order: names of figures, as they are to be shown.
        output: written; links are relative to its folder.
    """
    record, claims, rows = (read_json(inputs[name]) for name in ("record", "claims", "verification"))
    folder = Path(output).parent
    template = Path(inputs["template"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["href"] = lambda path: href(path, folder)
    page = environment.get_template(template.name).render(
        run=record["run"],
        stamp=stamp(record["run"]),
        total=duration(sum(rule["seconds"] for rule in record["rules"].values())),
        papers=papers(record, order),
        claims=[claim_view(entry) for entry in claims],
        claim_counts=counts([entry["standing"] for entry in claims], STANDINGS),
        rows=sorted(map(row_view, rows), key=lambda row: list(ROW_VERDICTS.values()).index(row["verdict"])),
        row_groups=by_group(rows),
        row_counts=counts([row_view(row)["verdict"] for row in rows], reversed(ROW_VERDICTS.values())),
        graph=picture(inputs["graph"]),
        times=rule_times(record["rules"]),
        notebooks=[(path, Path(path).stem.replace("_", " ")) for path in inputs["notebooks"]],
        documents=[(path, path.removeprefix("results/")) for path in inputs["documents"]],
    )
    with replacing(Path(output)) as file:
        file.write(page.encode())


def href(path, folder):
    """The address of a file, seen from a folder, or None where there is no such file."""
    return Path(os.path.relpath(path, folder)).as_posix() if Path(path).is_file() else None


def stamp(run):
    """Say in which way a run is not the papers' setting, or None."""
    data, preset = run["dataset"], run["preset"]
    if at_papers_scale(run):
        return None
    sentences = [f"Not the papers' setting: preset {preset} on {data['label']}."]
    if preset == "smoke":
        sentences.append("This preset shows that everything runs; nothing is learned in it.")
    if data.get("fallback_reason"):
        sentences.append(data["fallback_reason"] + ".")
    return " ".join(sentences)


def counts(verdicts, kinds):
    """(kind, how often it occurs) of every kind."""
    return [(kind, verdicts.count(kind)) for kind in kinds]


# --- Figures ----------------------------------------------------------------------------------------------------------


def papers(record, order):
    """Category -> its paper and the views of its figures, in the given order; figures left out of it come last."""
    rank = {name: k for k, name in enumerate(order)}
    names = sorted(record["figures"], key=lambda name: (rank.get(name, len(rank)), name))
    chosen = {name: record["figures"][name] for name in names}
    return {
        category: {
            "title": PAPERS.get(category, ""),
            "id": category.lower().replace(" ", "-"),
            "figures": [
                figure_view(name, entry, record) for name, entry in chosen.items() if entry["category"] == category
            ],
        }
        for category in sorted({entry["category"] for entry in chosen.values()})
    }


def figure_view(name, entry, record):
    """What the page shows of a figure: its entry with the picture, the contents of its tables, and its script."""
    tables = [table | contents(table["path"]) for table in entry["tables"]]
    steps = {step: record["rules"][step] for step in entry["upstream"]}
    vector = next(path for path in entry["files"] if path.endswith(".svg"))
    formats = [(path, Path(path).suffix[1:].upper()) for path in entry["files"]]
    more = {"name": name, "tables": tables, "formats": formats, "steps": steps, "time": duration(entry["seconds"])}
    return entry | more | {"picture": picture(vector), "script": record["rules"][entry["rule"]]}


def picture(path):
    """An SVG as data URI, with the width and height of its view box."""
    root = ElementTree.parse(path).getroot()
    *_, width, height = (float(number) for number in root.get("viewBox").split())
    return {"path": str(path), "uri": data_uri(path), "width": round(width), "height": round(height)}


def data_uri(path):
    """The file's bytes as an address."""
    path = Path(path)
    return f"data:{MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def contents(path):
    """What is in a table: the first rows of a CSV, with itself if it is small; names and shapes of an .npz."""
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            arrays = [(name, " × ".join(map(str, data[name].shape)) or "scalar", data[name].dtype) for name in data]
        return {"columns": ["array", "shape", "type"], "rows": arrays, "count": len(arrays), "uri": None}
    rows = read_table(path)
    return {
        "columns": list(rows[0]) if rows else [],
        "rows": [[shorter(cell) for cell in row.values()] for row in rows[:SHOWN]],
        "count": len(rows),
        "uri": data_uri(path) if path.stat().st_size < INSIDE else None,
    }


def shorter(cell):
    """A number with more than eight characters to five digits, any other text as it is."""
    try:
        return f"{float(cell):.5g}" if len(cell) > 8 else cell
    except ValueError:
        return cell


# --- Claims, verification, times --------------------------------------------------------------------------------------


def claim_view(entry):
    """An entry of claims.json with the files of its function and tests, and the figure on this page that shows it."""
    folder, _, name = entry["shown"].partition("/")
    tests = [(test.partition("::")[0], test.rpartition("/")[2]) for test in entry["tests"]]
    return entry | {
        "file": function_file(entry["function"]),
        "tests": [(path, words(text)) for path, text in tests],
        "figure": name if folder == "figures" else None,
    }


def words(test):
    """The name of a test as words: test_file.py::test_name becomes "file: name"."""
    parts = [part.removeprefix("test_").removesuffix(".py").replace("_", " ") for part in test.split("::")]
    return ": ".join(parts)


def row_view(row):
    """A row of verification.json with its verdict apart from the reason for a skip."""
    verdict, _, reason = row["verdict"].partition(": ")
    return row | {"verdict": ROW_VERDICTS[verdict], "reason": reason}


def rule_times(rules):
    """Rules with their seconds, the longest first, and the share of the longest in per cent."""
    longest = max((rule["seconds"] for rule in rules.values()), default=0) or 1
    ordered = sorted(rules.items(), key=lambda item: (-item[1]["seconds"], item[0]))
    return [rule | {"name": name, "share": round(100 * rule["seconds"] / longest, 1)} for name, rule in ordered]


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        gallery(smk.input, smk.params.order, smk.output[0])
