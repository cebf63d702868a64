import json
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch

from companion.algorithms import runs
from companion.algorithms.runs import OTConfig, git_commit, run_record

CONFIG = OTConfig("mlp", 0.01, 0, 20, 30, 5, 1e-3, 100)
CPU = torch.device("cpu")

CHECKED = {"carry": 0.5, "lr_decay": 0.5, "weight_average": 0.5, "potential": "network", "lam_share": 1.0}


def other_value(name):
    value = getattr(CONFIG, name)
    return CHECKED.get(name, value + "x" if isinstance(value, str) else value + 1)


@pytest.mark.parametrize("name", [field.name for field in fields(OTConfig)])
def test_digest_changes_with_every_field(name):
    changed = replace(CONFIG, **{"potential": "network"} if name == "batch_atoms" else {}, **{name: other_value(name)})
    assert changed.digest("data") != CONFIG.digest("data")


def test_digest_changes_with_the_data_the_code_and_the_format(monkeypatch):
    digest = CONFIG.digest("data")
    assert len(digest) == 12
    assert digest == replace(CONFIG).digest("data")
    assert digest != CONFIG.digest("other data")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "CHECKPOINT_FORMAT", runs.CHECKPOINT_FORMAT + 1)
        assert digest != CONFIG.digest("data")
    monkeypatch.setattr(runs, "_code_sha256", lambda: "other code")
    assert digest != CONFIG.digest("data")


def test_name():
    assert CONFIG.name() == "ot-mlp-lam0.01-s0"
    assert replace(CONFIG, generator="dcgan", lam=0.0, seed=3).name() == "ot-dcgan-lam0-s3"
    assert replace(CONFIG, lam_start=0.1, self_atoms=2000).name() == "ot-mlp-lam0.01-s0-lamstart0.1-selfatoms2000"
    assert replace(CONFIG, potential="network").name() == "ot-mlp-lam0.01-s0-potentialnetwork"


def test_record(monkeypatch):
    monkeypatch.setattr(runs, "git_commit", lambda: "abc")
    config = replace(CONFIG, seed=3, self_atoms=50)
    record = run_record(config, {"sha256": "x"}, CPU, 1.23456)
    expected = {"config", "data", "device", "threads", "cpu_capability", "git_commit", "versions", "platform"}
    assert set(record) == expected | {"seconds", "study", "name", "setting", "changes"}
    assert record["config"] == asdict(config)
    assert (record["study"], record["name"]) == ("images", "ot-mlp-lam0.01-s3-selfatoms50")
    assert (record["setting"], record["changes"]) == ("ot-mlp-lam0.01-selfatoms50", ["selfatoms50"])
    assert record["data"] == {"sha256": "x"}
    assert record["device"].startswith("cpu: ")
    assert record["threads"] == torch.get_num_threads()
    assert record["git_commit"] == "abc"
    assert record["seconds"] == 1.235
    assert str(torch.__version__).startswith(record["versions"]["torch"])
    assert {"python", "otgrad", "numpy", "torch"} <= set(record["versions"])
    json.dumps(record)


def git(folder, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *author, *arguments], check=True, capture_output=True, text=True).stdout


def test_git_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    git(tmp_path, "init", "-q")
    (Path(tmp_path) / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "Add a file")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_commit() == head
    (Path(tmp_path) / "file").write_text("b")
    assert git_commit() == head + "+changes"
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None
