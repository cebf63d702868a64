"""Every number that the report shows, collected from the results into one file and written as it is to be read.

Numbers become strings here, so that the report's sources only place them; none is computed there, none is typed there.
"""

from companion.common.job import job

from pathlib import Path

from companion.common.files import write_json
from companion.common.readers import read_json
from companion.common.sentences import write
from companion.reader import report_results as results
from companion.reader.comparisons import sentences
from companion.reader.report_scores import scores
from companion.reader.report_text import sentence, sig, signs, whole
from companion.reader.standing import STANDINGS
from companion.reader.summary import by_group, count, duration

LONG = 0.05  # of the whole time: rules below it are told together


def collect(inputs, settings, output, sentences_path):
    """Write report.json: the run, its figures, claims and times, and one entry for each section of the report.

    Args:
        inputs: paths by name: claims, verification, provenance, figure1, steps, chart, slopes, shrinkage, crosscheck,
            train, scores, classifier, planar, spectrum, cost, stability; and lists of them: runs, judged and
            planar_records (run.json), adaptation and generation (log.csv).
        settings: of Figure 1: lam, step, ...
        output: written.
        sentences_path: written: every sentence that compares, beside its numbers.

    Raises:
        SentenceError: for a sentence that its numbers contradict.
    """
    provenance = read_json(inputs["provenance"])
    tables = [inputs[name] for name in ("figure1", "steps", "chart", "slopes", "shrinkage")]
    claims, the_run = read_json(inputs["claims"]), told_of(provenance["run"])
    told = sentences(inputs, {claim["id"]: claim["verdict"] for claim in claims}, the_run["learned"])
    write(told, sentences_path)
    sections = {
        "sentences": {one.key: one.text for one in told},
        "counterexample": results.counterexample(*tables)
        | {"settings": {key: sig(settings[key]) for key in ("lam", "step")}},
        "crosscheck": results.crosscheck(inputs["crosscheck"]),
        "images": results.images(inputs["runs"], inputs["train"]),
        "scores": scores(inputs["scores"], inputs["classifier"]),
        "planar": results.planar(inputs["planar"], inputs["planar_records"]),
        "adaptation": results.adaptation(inputs["adaptation"]),
        "generation": results.generation(inputs["generation"]),
    }
    content = {
        "stamp": stamp(provenance["run"]),
        "run": the_run,
        "figures": figures(provenance),
        "times": times(provenance["rules"]),
        "claims": judged(claims),
        "verification": verification(read_json(inputs["verification"])),
    }
    write_json(Path(output), content | sections)


def stamp(run):
    """Say what the report is not: on every page for the preset, where something of the images is shown for the data."""
    preset, data = run["preset"], run["dataset"]
    lesson = "; nothing was learned" if preset == "smoke" else ""
    return {
        "preset": "" if preset == "paper" else f"preset {preset}: not the paper preset{lesson}",
        "images": "" if data["name"] == "mnist" else f"images: {data['label']}, not MNIST",
    }


def told_of(run):
    """Tell what was run, on what, where."""
    data = run["dataset"]
    return {key: run[key] for key in ("preset", "device", "platform")} | {
        "learned": run["preset"] != "smoke",
        "paper_preset": run["preset"] == "paper",
        "gpu": not run["device"].startswith("cpu"),
        "seed": str(run["seed"]),
        "cores": str(run["cores"]),
        "commit": commit(run),
        "label": data["label"],
        "images": data["label"].partition(" (")[0],  # without what is said of the missing ones
        "shape": "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}".join(map(str, data["shape"])),
        "n_train": whole(data["n_train"]),
        "n_test": whole(data["n_test"]),
        "stand_in": bool(data["fallback_reason"]),
        "versions": [f"{name} {version}" for name, version in sorted(run["versions"].items())],
    }


def commit(run):
    """Shorten the commit, and say if the tree had changes."""
    first, _, changes = (run["git_commit"] or "unknown").partition("+")
    return first[:10] + (" with changes" if changes else "")


def figures(provenance):
    """Give each figure's caption, its words for those who cannot see it, and the line on where it comes from.

    Which images a run has stands under what shows something of them alone.
    """
    run = provenance["run"]
    where = f"preset {run['preset']} · {run['device']} · commit {commit(run)}"
    images = f"{run['dataset']['label']} · "
    return {
        name: {
            "title": sentence(entry["title"]),
            "caption": entry["caption"],
            "alt": f"{sentence(entry['title'])} {entry['caption']}",
            "source": f"rule {entry['rule']} · {provenance['rules'][entry['rule']]['script']} · "
            + (images if entry["images"] else "")
            + where,
        }
        for name, entry in provenance["figures"].items()
    }


def times(rules):
    """Give the work of all jobs, and by rule in falling order; rules that took little are told together."""
    total = sum(rule["seconds"] for rule in rules.values())
    order = sorted(rules.items(), key=lambda item: -item[1]["seconds"])
    rows = [_time(name, [rule]) for name, rule in order if rule["seconds"] >= LONG * total]
    rest = [rule for _, rule in order[len(rows) :]]
    return {"whole": duration(total), "rows": rows + ([_time("others", rest)] if rest else [])}


def _time(name, rules):
    jobs, seconds = (sum(rule[key] for rule in rules) for key in ("jobs", "seconds"))
    return {"rule": name, "jobs": str(jobs), "time": duration(seconds)}


def judged(claims):
    """Give the claims by id, in the papers' symbols, and how many of each paper have which verdict."""
    kept = {
        claim["id"]: {key: claim[key] for key in ("id", "verdict", "standing", "where", "kind")}
        | {"statement": signs(claim["statement"])}
        | {"evidence": signs(claim["evidence"] + (f". {claim['open']}" if claim["open"] else ""))}
        for claim in claims
    }
    found = {paper: [claim["standing"] for claim in claims if claim["id"].startswith(paper)] for paper in "AB"}
    return {
        "entries": kept,
        "order": {paper: [key for key in kept if key.startswith(paper)] for paper in found},
        "counts": {paper: stated(standings) for paper, standings in found.items()},
        "total": str(len(claims)),
    }


def stated(standings):
    """How many claims stand where: "12 confirmed, 3 refuted and 1 left open"."""
    *first, last = [f"{standings.count(one)} {one}" for one in STANDINGS if one in standings]
    return f"{', '.join(first)} and {last}" if first else last


def verification(rows):
    """Count the rows of the verification, and tell of those that did not pass."""
    notable = [_not_passed(row) for row in rows if row["verdict"] != "pass"]
    return {"count": count(rows), "notable": notable, "rows": whole(len(rows)), "groups": by_group(rows)}


def _not_passed(row):
    found = f": expected {row['expected']}, measured {row['measured']}" if row["verdict"] == "fail" else ""
    return signs(f"{row['claim']}: {row['verdict']}{found}.")


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        collect(dict(smk.input.items()), smk.params.figure1, smk.output.numbers, smk.output.sentences)
