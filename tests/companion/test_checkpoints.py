import hashlib
import io
import pickle
import signal
import subprocess
import sys

import pytest
import torch
from refusals import refused

from companion.algorithms import checkpoints
from companion.algorithms.checkpoints import CheckpointFolder
from companion.algorithms.runs import RunError

CPU = torch.device("cpu")
HOLD = """
import sys, pathlib
from companion.algorithms.checkpoints import CheckpointFolder
with CheckpointFolder(pathlib.Path(sys.argv[1])).locked():
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def test_state_comes_back(tmp_path):
    folder = CheckpointFolder(tmp_path)
    assert folder.load(CPU) is None
    state = {"step": 3, "psi": torch.arange(3.0), "log": [{"step": 1, "value": 0.1 + 0.2}]}
    folder.save({"step": 2})
    folder.save(state)
    loaded = folder.load(CPU)
    assert torch.equal(loaded.pop("psi"), state.pop("psi"))
    assert loaded == state
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "previous.pt"]
    folder.clear()
    folder.clear()
    assert folder.load(CPU) is None


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.save({"step": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    assert "No space" in refused(folder.save, {"step": 2}, kind=OSError)
    assert folder.load(CPU) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def saved(tmp_path, *states):
    folder = CheckpointFolder(tmp_path)
    for state in states:
        folder.save(state)
    return folder


FIRST, SECOND = {"step": 1, "psi": torch.arange(1000.0)}, {"step": 2, "psi": torch.ones(1000)}


def damaged(content, how):
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    kinds = {"empty": b"", "text": b"not a checkpoint", "half": content[:middle], "zeros": bytes(len(content))}
    return (kinds | {"flipped": flipped, "no last byte": content[:-1], "one more": content + b"x"})[how]


DAMAGES = ["empty", "text", "half", "zeros", "flipped", "no last byte", "one more"]


@pytest.mark.parametrize("how", DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_is_taken_and_that_is_said(tmp_path, how):
    folder = saved(tmp_path, FIRST, SECOND)
    folder.newest.write_bytes(damaged(folder.newest.read_bytes(), how))
    with pytest.warns(UserWarning, match="going on from previous.pt, of step 1") as caught:
        state = folder.load(CPU)
    assert state["step"] == 1
    assert torch.equal(state["psi"], FIRST["psi"])
    assert str(caught[0].message).startswith(f"{folder.newest}: ")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_without_another_is_named(tmp_path, how):
    folder = saved(tmp_path, FIRST)
    folder.newest.write_bytes(damaged(folder.newest.read_bytes(), how))
    lost(folder)


def lost(folder):
    message = refused(folder.load, CPU, kind=RunError)
    assert message.startswith(f"{folder.newest}: ")
    assert "delete the folder to start again" in message


def test_every_flipped_bit_of_the_first_line_is_seen(tmp_path):
    folder = saved(tmp_path, FIRST)
    content = folder.newest.read_bytes()
    for place in range(content.index(b"\n") + 1):
        for bit in (1, 32):
            folder.newest.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            with pytest.raises(RunError):
                folder.load(CPU)


def test_a_kill_between_the_two_renamings_leaves_a_checkpoint(tmp_path):
    folder = saved(tmp_path, FIRST)
    folder.newest.replace(folder.previous)
    assert folder.load(CPU)["step"] == 1


def test_a_checkpoint_of_another_version_is_refused_by_name(tmp_path, monkeypatch):
    folder = saved(tmp_path, FIRST)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_FORMAT", checkpoints.CHECKPOINT_FORMAT + 1)
    with pytest.raises(RunError, match="this version reads") as caught:
        folder.load(CPU)
    assert str(caught.value).startswith(f"{folder.newest}: of format {checkpoints.CHECKPOINT_FORMAT - 1}, ")


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, writer):
    mark, folder = tmp_path / "mark", CheckpointFolder(tmp_path)
    content = pickle.dumps({"step": Malicious(mark)}, protocol=2)
    if writer == "torch":
        stream = io.BytesIO()
        torch.save({"step": Malicious(mark)}, stream)
        content = stream.getvalue()
    line = f"otgrad checkpoint {checkpoints.CHECKPOINT_FORMAT} {hashlib.sha256(content).hexdigest()}"
    folder.newest.write_bytes(line.encode() + b"\n" + content)  # whoever forges one can forge its checksum
    lost(folder)
    assert not mark.exists()


def test_lock_is_refused_to_a_second_process_and_freed_by_a_kill(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            message = refused(CheckpointFolder(path).locked().__enter__, kind=RunError)
            assert "another process is training this run; wait" in message
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


def test_a_finished_training_leaves_no_folder_and_an_unfinished_one_its_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints/run")
    for finished in (False, True):
        with folder.locked():
            folder.save({"step": 1})
            if finished:
                folder.clear()
        assert folder.path.exists() is not finished
    assert [path.name for path in folder.path.parent.iterdir() if path.is_dir()] == []


def test_of_many_that_begin_and_end_at_once_one_at_a_time_holds_the_folder(tmp_path):
    """Each removes the folder when it is done: nobody may be left holding a lock whose file is gone."""
    program = (
        "import pathlib, sys, os, time\n"
        "from companion.algorithms.checkpoints import CheckpointFolder\n"
        "from companion.algorithms.runs import RunError\n"
        "path = pathlib.Path(sys.argv[1]); busy = path.parent.parent / 'busy'\n"
        "held = 0\n"
        "end = time.monotonic() + 2\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with CheckpointFolder(path).locked():\n"
        "            os.close(os.open(busy, os.O_CREAT | os.O_EXCL))\n"  # fails if another is inside
        "            busy.unlink(); held += 1\n"
        "    except RunError:\n"
        "        pass\n"
        "print(held)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "checkpoints/run")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [process.communicate(timeout=120) for process in running]
    assert all(process.returncode == 0 for process in running), ends
    assert sum(int(said) for said, _ in ends) > 10
