"""Which slow tests a change can touch, and when the group counts as passed."""

from types import SimpleNamespace

import pytest
import record
import slow_changed
from slow_changed import ROOT, changed, commits, slow_files, touched

STREAMING, MUTANTS = ROOT / "tests/library/test_streaming.py", ROOT / "tests/equations/test_mutants.py"
FAULTS, RUNS = ROOT / "tests/faults/test_training_faults.py", ROOT / "tests/workflow/test_workflow_faults.py"
KERNELS = {ROOT / "tests/companion/test_benchmarks.py", ROOT / "tests/library/test_kernel_cuda.py"}
SHARDS, BROWSER = ROOT / "tests/library/test_sharding.py", ROOT / "tests/workflow/test_gallery_browser.py"
PASS, OFFLINE = (ROOT / f"tests/companion/test_gpu_{name}.py" for name in ("pass", "offline"))
KILLS, SLURM = ROOT / "tests/workflow/test_workflow_kills.py", ROOT / "tests/workflow/test_slurm.py"
WHEEL = ROOT / "tests/workflow/test_wheel.py"
ALL = {RUNS, KILLS, SLURM, BROWSER, MUTANTS, FAULTS, STREAMING, SHARDS, PASS, OFFLINE, WHEEL, *KERNELS}


def touched_by(name):
    return {test for test in slow_files() if touched(test, [name])}


@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("README.md", set()),
        ("code/notebooks/05_wgan_ode.py", {RUNS}),
        ("code/companion/persistence/planar.smk", {RUNS}),
        ("code/companion/common/common.smk", {RUNS, KILLS, SLURM}),
        ("profiles/slurm/config.yaml", {RUNS, SLURM}),
        ("code/companion/persistence/planar.py", {RUNS, PASS, *KERNELS}),
        ("code/otgrad/scale/streamed.py", {RUNS, MUTANTS, FAULTS, STREAMING, SHARDS, PASS, WHEEL, *KERNELS}),
        ("code/otgrad/kernels/cpu.cpp", {RUNS, MUTANTS, FAULTS, STREAMING, SHARDS, PASS, OFFLINE, WHEEL, *KERNELS}),
        ("code/examples/drop_in_loss.py", {RUNS, WHEEL}),
        ("docs/gpu.md", {OFFLINE}),
        ("code/companion/images/run_training.py", {RUNS, FAULTS}),
        ("tests/equations/test_duality.py", {RUNS, MUTANTS}),
        ("tests/instances.py", {RUNS, MUTANTS}),
        ("tests/library/test_streaming.py", {STREAMING}),
        ("tests/workflow/conftest.py", {RUNS, KILLS, SLURM, BROWSER, WHEEL}),
        ("code/companion/reader/gallery/page.html.j2", {RUNS, BROWSER}),
        ("tests/workflow/whole_runs.py", {RUNS, KILLS}),
        ("requirements.lock", ALL),
        ("code/companion/common/forks.py", {RUNS, FAULTS, MUTANTS, BROWSER, PASS, *KERNELS}),
    ],
)
def test_a_change_touches_what_can_see_it(name, tests):
    assert (ROOT / name).is_file()
    assert touched_by(name) == tests


def test_where_the_commit_is_not_known_all_are_run(monkeypatch, tmp_path):
    assert changed("0" * 40) is None
    assert all(touched(test, None) for test in slow_files())
    monkeypatch.setattr(slow_changed, "PASSED", tmp_path / "none.json")
    assert set(commits(slow_files()).values()) == {None}


def test_a_file_that_was_skipped_counts_from_when_it_last_ran(monkeypatch, tmp_path):
    for module in (slow_changed, record):
        monkeypatch.setattr(module, "PASSED", tmp_path / "passed.json")
    name = str(SLURM.relative_to(ROOT))
    found = recorded([(name, "skipped", 1.0), ("tests/a.py", "passed", 2.0)])
    assert found.skipped() == {name: None}
    record.write(record.PASSED, {"commit": "b", "skipped": {name: "a"}})
    assert found.skipped() == {name: "a"}
    assert commits([SLURM, RUNS]) == {SLURM: "a", RUNS: "b"}


def recorded(tests, marks="slow", **options):
    """A record of a run of these (file, outcome, core seconds)."""
    none = dict.fromkeys(("keyword", "deselect", "ignore", "ignore_glob", "collectonly"))
    option = SimpleNamespace(markexpr=marks, keep_times=True, **none | options)
    config = SimpleNamespace(workerinput={}, option=option, args_source=SimpleNamespace(name="TESTPATHS"))
    found = record.Record(config)
    found.gathers = True
    for name, outcome, spent in tests:
        for when in ("call", "teardown"):
            passed, properties = outcome == "passed", [("core_s", spent)]
            report = SimpleNamespace(nodeid=f"{name}::test", when=when, passed=passed, user_properties=properties)
            found.pytest_runtest_logreport(report)
    return found


@pytest.mark.parametrize(("commit", "now", "status", "options", "written"), [
    ("c", "c", 0, {}, True), ("c", None, 0, {}, False), ("c", "c", 1, {}, False), (None, "c", 0, {}, False),
    (None, None, 0, {"keyword": "million"}, False),
])  # fmt: skip
def test_the_slow_group_counts_as_passed_whole_on_a_clean_tree(
    monkeypatch, tmp_path, commit, now, status, options, written
):
    monkeypatch.setattr(record, "PASSED", tmp_path / "passed.json")
    monkeypatch.setattr(record, "TIMES", tmp_path / "times.json")
    monkeypatch.setattr(record, "clean_commit", lambda: now)
    found = recorded([("tests/a.py", "passed", 1.25), ("tests/a.py", "passed", 2.0)], **options)
    found.commit = commit
    monkeypatch.setattr(record, "assertions", lambda name: 7)
    assert found.whole("slow") == (not options)
    found.pytest_sessionfinish(status)
    assert record.PASSED.exists() == written
    assert record.TIMES.exists() == (status == 0 and not options)
    if record.TIMES.exists():
        assert '"core_s": 3.2,\n    "tests": 2,\n    "assertions": 7' in record.TIMES.read_text()
