from companion.common.job import job

import pytest

from companion.algorithms.runs import RunError
from companion.common.settings import ConfigError
from companion.data.images import DataError


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which this module must not need to import."""


@pytest.mark.parametrize(("error", "line"), [
    (RunError("the run\nis held; wait"), "rule: the run is held; wait"),
    (DataError("no data; get some"), "rule: no data; get some"),
    (ConfigError("lam = -1: give >= 0"), "rule: lam = -1: give >= 0"),
    (FloatingPointError("psi is not finite"), "rule: psi is not finite"),
    (FileNotFoundError(2, "No such file", "a.npz"), "rule: [Errno 2] No such file: 'a.npz'"),
    (MemoryError(), "rule: out of memory: use a smaller batch_size or n_train"),
    (OutOfMemoryError("x"), "rule: out of memory on the GPU: use a smaller batch_size or n_train, or device=cpu"),
], ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "")  # fmt: skip
def test_an_expected_error_becomes_one_line_and_a_logged_traceback(tmp_path, error, line):
    log = tmp_path / "logs" / "rule.log"
    with pytest.raises(SystemExit) as caught, job("rule", log):
        raise error
    assert caught.value.code == line
    text = log.read_text(encoding="utf-8")
    assert text.startswith("Traceback (most recent call last):")
    assert type(error).__name__ in text
    assert "raise error" in text


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("another"), KeyError("third")])
def test_an_unexpected_error_passes_through_and_is_logged(tmp_path, error):
    with pytest.raises(type(error)) as caught, job("rule", tmp_path / "log"):
        raise error
    assert caught.value is error
    assert type(error).__name__ in (tmp_path / "log").read_text(encoding="utf-8")


def test_success_overwrites_the_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("Traceback of yesterday")
    with job("rule", str(log)):
        pass
    assert log.read_text(encoding="utf-8").startswith("rule: done in ")


def test_torch_out_of_memory_is_recognised_by_its_name():
    import torch

    assert torch.cuda.OutOfMemoryError.__name__ == "OutOfMemoryError"
