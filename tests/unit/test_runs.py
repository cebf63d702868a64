import json
import pickle
import signal
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch

from otgrad import runs
from otgrad.runs import CheckpointFolder, OTConfig, RunError, git_commit, run_record

CONFIG = OTConfig("mlp", 0.01, 0, 20, 30, 5, 1e-3, 100)
CPU = torch.device("cpu")
HOLD = """
import sys, pathlib
from otgrad.runs import CheckpointFolder
with CheckpointFolder(pathlib.Path(sys.argv[1])).locked():
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


CHECKED = {"carry": 0.5, "lr_decay": 0.5, "weight_average": 0.5, "potential": "network", "lam_share": 1.0}


def other_value(name):
    value = getattr(CONFIG, name)
    return CHECKED.get(name, value + "x" if isinstance(value, str) else value + 1)


@pytest.mark.parametrize("name", [field.name for field in fields(OTConfig)])
def test_digest_changes_with_every_field(name):
    changed = replace(CONFIG, **{"potential": "network"} if name == "batch_atoms" else {}, **{name: other_value(name)})
    assert changed.digest("data") != CONFIG.digest("data")


def test_digest_changes_with_the_data_and_the_format(monkeypatch):
    digest = CONFIG.digest("data")
    assert len(digest) == 12
    assert digest == replace(CONFIG).digest("data")
    assert digest != CONFIG.digest("other data")
    monkeypatch.setattr(runs, "CHECKPOINT_FORMAT", runs.CHECKPOINT_FORMAT + 1)
    assert digest != CONFIG.digest("data")


def test_name():
    assert CONFIG.name() == "ot-mlp-lam0.01-s0"
    assert replace(CONFIG, generator="dcgan", lam=0.0, seed=3).name() == "ot-dcgan-lam0-s3"
    assert replace(CONFIG, lam_start=0.1, self_atoms=2000).name() == "ot-mlp-lam0.01-s0-lamstart0.1-selfatoms2000"
    assert replace(CONFIG, potential="network").name() == "ot-mlp-lam0.01-s0-potentialnetwork"


def test_state_comes_back(tmp_path):
    folder = CheckpointFolder(tmp_path)
    assert folder.load(CPU) is None
    state = {"step": 3, "psi": torch.arange(3.0), "log": [{"step": 1, "value": 0.1 + 0.2}]}
    folder.save({"step": 2})
    folder.save(state)
    loaded = folder.load(CPU)
    assert torch.equal(loaded.pop("psi"), state.pop("psi"))
    assert loaded == state
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    folder.clear()
    folder.clear()
    assert folder.load(CPU) is None


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.save({"step": 1})

    def full(state, stream):
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        folder.save({"step": 2})
    assert folder.load(CPU) == {"step": 1}


def whole_file(tmp_path):
    folder = CheckpointFolder(tmp_path / "whole")
    folder.path.mkdir()
    folder.save({"psi": torch.arange(1000.0)})
    return (folder.path / "checkpoint.pt").read_bytes()


@pytest.mark.parametrize("damage", ["empty", "text", "half", "zeros"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    data = whole_file(tmp_path)
    damaged = {"empty": b"", "text": b"not a checkpoint", "half": data[: len(data) // 2], "zeros": bytes(len(data))}
    (tmp_path / "checkpoint.pt").write_bytes(damaged[damage])
    refused(tmp_path)


def refused(folder):
    with pytest.raises(RunError, match="delete it to start again") as caught:
        CheckpointFolder(folder).load(CPU)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'checkpoint.pt'}: cannot be read (")
    assert "\n" not in message


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, writer):
    mark, file = tmp_path / "mark", tmp_path / "checkpoint.pt"
    if writer == "torch":
        torch.save({"step": Malicious(mark)}, file)
    else:
        file.write_bytes(pickle.dumps({"step": Malicious(mark)}, protocol=2))
    refused(tmp_path)
    assert not mark.exists()


def test_lock_is_refused_to_a_second_process_and_freed_by_a_kill(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(RunError, match="another process is training this run; wait") as caught:
                CheckpointFolder(path).locked().__enter__()
            assert "\n" not in str(caught.value)
        finally:
            holder.send_signal(signal.SIGKILL)
    with CheckpointFolder(path).locked():
        pass


def test_lock_is_freed_by_an_error(tmp_path):
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.locked():
        1 / 0  # noqa: B018
    with folder.locked():
        pass


def test_record(monkeypatch):
    monkeypatch.setattr(runs, "git_commit", lambda: "abc")
    record = run_record(CONFIG, {"sha256": "x"}, CPU, 1.23456)
    assert set(record) == {"config", "data", "device", "threads", "git_commit", "versions", "platform", "seconds"}
    assert record["config"] == asdict(CONFIG)
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
