"""What is kept of a run: the core seconds of each file on request; after a whole slow run, that it passed."""

import ast
import json
import os
import resource
import subprocess
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PASSED, TIMES = ROOT / "tests/slow-passed.json", ROOT / "tests/times.json"
GROUPS = {"quick": "not slow", "slow": "slow"}  # of tests: how they are asked for
BEGUN = pytest.StashKey[float]()


def core_seconds():
    """Of this process, and of those it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def clean_commit():
    """The commit that the tree is, or None where something differs from it."""
    return None if git("status", "--porcelain") else git("rev-parse", "HEAD")


class Record:
    """Every test's report carries its core seconds; where all reports arrive they are summed by file."""

    def __init__(self, config):
        self.config, self.begun, self.files = config, time.monotonic(), defaultdict(lambda: [0.0, 0, 0])
        self.gathers = not hasattr(config, "workerinput")
        self.commit = clean_commit() if self.gathers and self.whole("slow") else None

    def whole(self, marks):
        """Whether the run is of all tests with these marks."""
        chosen = self.config.option
        by_name = chosen.keyword or chosen.deselect or chosen.ignore or chosen.ignore_glob or chosen.collectonly
        return self.config.args_source.name == "TESTPATHS" and chosen.markexpr == marks and not by_name

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        item.stash[BEGUN] = core_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if call.when == "teardown":
            report.user_properties = [*report.user_properties, ("core_s", core_seconds() - item.stash[BEGUN])]
        return report

    def pytest_runtest_logreport(self, report):
        entry = self.files[report.nodeid.partition("::")[0]]
        if report.when == "teardown":
            entry[0] += dict(report.user_properties).get("core_s", 0.0)
            entry[1] += 1
        entry[2] += report.when == "call" and report.passed

    def pytest_sessionfinish(self, exitstatus):
        if not self.gathers or exitstatus != 0:
            return
        minutes = round((time.monotonic() - self.begun) / 60, 1)
        if self.commit and self.commit == clean_commit():
            kept = {"commit": self.commit, "date": date.today().isoformat(), "minutes": minutes}
            write(PASSED, kept | {"skipped": self.skipped()})
        name = next((name for name, marks in GROUPS.items() if self.whole(marks)), None)
        if self.config.option.keep_times and name:
            kept = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {}
            write(TIMES, kept | {name: self.times(minutes)})

    def skipped(self):
        """Files of which no test ran, each with the commit at which it last did, or None."""
        kept = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
        none_ran = [name for name, (_, _, passed) in self.files.items() if not passed]
        return {name: kept.get("skipped", {}).get(name, kept.get("commit")) for name in none_ran}

    def times(self, minutes):
        """Minutes; by file core seconds (shared fixtures with who asked first), tests, assertions (both groups)."""
        files = {
            name: {"core_s": round(spent, 1), "tests": tests, "assertions": assertions(name)}
            for name, (spent, tests, _) in self.files.items()
        }
        total = round(sum(entry["core_s"] for entry in files.values()))
        return {"cores": os.cpu_count(), "minutes": minutes, "core_s": total, "files": dict(sorted(files.items()))}


def assertions(name):
    """How many assertions a file has."""
    return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))))


def write(path, content):
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
