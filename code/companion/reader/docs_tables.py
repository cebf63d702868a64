"""The tables of README.md and docs/ on what was found: functions of the references' folder that give Markdown."""

import math
import re
from fnmatch import fnmatch
from pathlib import Path

import yaml

from companion.common.readers import read_json, read_table
from companion.data.mnist import MNIST_FILES
from companion.reader.claims_map import markdown as claims_markdown
from companion.reader.claims_map import read_map
from companion.reader.report_text import signs
from companion.reader.standing import minutes

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "uv run snakemake --cores all"
WITHOUT_VERDICT = "open"
READ_OFF = {  # numbers that stand in a source: its path, and what surrounds them there
    "drop-in-steps": ("code/examples/drop_in_loss.py", r'"--steps", type=int, default=(\d+)'),
    "race-seconds": ("code/benchmarks/track_b.py", r'"--cap", type=float, default=(\d+)'),
    "race-seconds-large": ("code/benchmarks/settings.yaml", r"--cap (\d+)"),
    "training-seconds": ("code/benchmarks/track_d.py", r'"--budget", type=float, default=(\d+)'),
}
STAGE = re.compile(r'Stage\("([a-z])[^"]*", "[^"]*", (\d+), (\d)')  # of the pass over a GPU: name, seconds, part


def grid(head, rows):
    """Write a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def kept(references, name):
    """Rows of a table of figures/reference/measured/, as dicts of strings."""
    return read_table(Path(references) / "measured" / f"{name}.csv")


def plain(references, name):
    """Show a table of figures/reference/measured/ as it is."""
    rows = kept(references, name)
    return grid(rows[0], [row.values() for row in rows])


def entries(references):
    """The map of claims with the kept verdicts, symbols written as the papers do."""
    verdicts = read_json(Path(references) / "claims.json")
    found = read_map(ROOT / "paper/claims.yaml")
    return [e | {"statement": signs(e["statement"]).replace("*", r"\*"), "verdict": verdicts[e["id"]]} for e in found]


def claims(references):
    """Every claim with its verdict, function, test and figure, for a page in docs/."""
    return claims_markdown(entries(references), up="../")


def evidence(references, paper):
    """The claims of a paper that runs judge: verdict, how sure it is, evidence."""
    measured = {row["claim"]: row for row in kept(references, "evidence")}
    chosen = [e for e in entries(references) if e["id"] in measured and e["id"].startswith(paper)]
    rows = [(e["statement"], bold(e["verdict"]), *told(measured[e["id"]])) for e in chosen]
    return grid(("claim", "verdict", "how sure", "evidence"), rows)


def told(row):
    """How sure a claim's verdict is, and the evidence."""
    return row["how sure"], row["evidence"].replace("*", r"\*")


def bold(verdict):
    """Set off the verdict that nobody should overlook."""
    return f"**{verdict}**" if verdict == "refuted" else verdict


def values(references):
    """Name -> text of every number that prose may quote: kept, read off sources, counts of verdicts, minutes."""
    found = {row["name"]: row["value"] for row in kept(references, "numbers")} | read_off() | gpu_stages()
    found["mnist-download"] = f"{sum(size for size, _ in MNIST_FILES.values()) / 1e6:.0f} MB"
    verdicts = list(read_json(Path(references) / "claims.json").values())
    found |= {name.replace(" ", "-"): str(verdicts.count(name)) for name in ("confirmed", "refuted", "undecided")}
    found |= {"not-tested": str(verdicts.count("not tested")), "claims": str(len(verdicts))}
    times = read_json(Path(references) / "times.json")
    found |= {f"minutes-{key}": minutes(times[key], {"*": 1}) for key in times}
    suites = read_json(ROOT / "tests/times.json")
    return found | {f"minutes-tests-{key}": f"{suites[key]['minutes']:.0f}" for key in ("quick", "slow")}


def read_off():
    """Numbers that stand in a source."""
    texts = {name: (ROOT / path).read_text(encoding="utf-8") for name, (path, _) in READ_OFF.items()}
    return {name: re.findall(pattern, texts[name])[0] for name, (_, pattern) in READ_OFF.items()}


def gpu_stages():
    """Seconds of every stage of the pass over a GPU, by its letter, and minutes of its longer part."""
    stages, parts = {}, {}
    for name, seconds, part in STAGE.findall((ROOT / "code/benchmarks/gpu_pass.py").read_text(encoding="utf-8")):
        stages[name] = stages.get(name, 0) + int(seconds)
        parts[part] = parts.get(part, 0) + int(seconds)
    found = {f"gpu-seconds-{name}": f"{seconds} s" for name, seconds in stages.items()}
    return found | {"gpu-part-minutes": str(math.ceil(max(parts.values()) / 60))}


def span(times, jobs):
    """Minutes on the digits, and on MNIST if the jobs read images and take longer there."""
    small, large = (minutes(times[f"laptop-{name}"], jobs) for name in ("digits", "mnist"))
    images = any(fnmatch("data.tsv", pattern) for pattern in jobs)
    return f"{small}; {large}" if images and small != large else small


def took(references, entry):
    """Minutes of a question's or a check's jobs, or of the target called by name, whose core seconds are kept."""
    times = read_json(Path(references) / "times.json")
    if "target" not in entry:
        return span(times, entry["jobs"])
    spent = read_json(Path(references) / "kept.json")[entry["target"]]["core_seconds"]
    return str(max(1, round(spent / times["laptop-digits"]["cores"] / 60)))


def asked():
    """The questions and checks of paper/questions.yaml."""
    return yaml.safe_load((ROOT / "paper/questions.yaml").read_text(encoding="utf-8"))


def questions(references):
    """README's table: question, answer, how sure, and the command that shows it."""
    verdicts = read_json(Path(references) / "claims.json")
    sure = {row["claim"]: row["how sure"] for row in kept(references, "evidence")}
    rows = []
    for entry in asked()["questions"]:
        answer = entry["answers"].get(verdicts[entry["claim"]], WITHOUT_VERDICT)
        how = entry.get("sure") or sure[entry["claim"]]
        command = f"`{entry.get('command') or entry['target']}`"
        rows.append((entry["question"], answer, how, command, took(references, entry)))
    return grid(("question", "answer", "how sure", f"see it: `{COMMAND}` and", "minutes"), rows)


def checks(references):
    """The evaluator's table: what to check, by which command, and what to expect."""
    known, rows = values(references), []
    for entry in asked()["checks"]:
        expected = entry["expected"]
        for name, value in known.items():
            expected = expected.replace(f"{{{name}}}", value)
        minutes_taken = took(references, entry)
        rows.append((entry["check"], f"`{entry['command']}`", minutes_taken, ", ".join(entry["open"]), expected))
    return grid(("what", f"command after `{COMMAND}`", "minutes", "then open", "expected"), rows)


def presets(references):
    """README's table of presets, with the minutes of the last measured run of each."""
    times = read_json(Path(references) / "times.json")
    rows = []
    for row in kept(references, "presets"):
        took = f"{minutes(times[row['key']], {'*': 1})} min" if row["key"] in times else "not measured"
        rows.append((f"`{row['preset']}`", row["chosen"], row["data"], took, row["disk"], row["memory"]))
    return grid(("preset (`--config preset=...`)", "chosen", "data", "time", "disk", "memory"), rows)
