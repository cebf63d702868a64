"""What a training run is: its frozen configuration, its checkpoints, and the record of how it was made."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion.algorithms.variants.settings import Variant

if TYPE_CHECKING:
    import torch

CHECKPOINT_FORMAT = 4
_RECORDED_PACKAGES = ("otgrad", "numpy", "torch", "scipy", "scikit-learn", "pot", "matplotlib", "typst", "snakemake")


class RunError(Exception):
    """A run that cannot start or go on; the message is one line with the remedy."""


@dataclass(frozen=True)
class OTConfig(Variant):
    """Configuration of one run of Algorithm 1 on images; what of it is changed, see `Variant`.

    Attributes:
        generator: "mlp" or "dcgan".
        lam: regularisation >= 0, in units of the cost divided by mean ||y||^2.
        seed: of the network, the latents and the held-out draws.
        batch_size: generated images per step, of psi and of theta.
        outer_steps: theta-steps.
        inner_steps: psi-steps before each theta-step.
        lr_theta: Adam's step size.
        n_train: number of training images used as atoms (the first ones).
        step_rule: rule of the psi-steps: "scaled", "sinkhorn" or "plain".
        step_c: its multiplier.
        log_every: theta-steps between two rows of the log.
        checkpoint_every: theta-steps between two checkpoints.
        eval_samples: generated images over which a row of the log, and the final value, are computed.
        final_steps: psi-steps from 0, on the trained generator, before its final value is taken.
    """

    generator: str
    lam: float
    seed: int
    batch_size: int
    outer_steps: int
    inner_steps: int
    lr_theta: float
    n_train: int
    step_rule: str = "scaled"
    step_c: float = 1.0
    log_every: int = 50
    checkpoint_every: int = 100
    final_steps: int = 300
    eval_samples: int = 1000

    def name(self) -> str:
        """Name of the run's folder: ot-{generator}-lam{lam}-s{seed}, then the settings of a variant, if any."""
        return f"ot-{self.generator}-lam{self.lam:g}-s{self.seed}{self.suffix()}"

    def setting(self) -> str:
        """Name of what is run, whatever the seed: ot-{generator}-lam{lam}, then the settings of a variant, if any."""
        return f"ot-{self.generator}-lam{self.lam:g}{self.suffix()}"

    def identity(self) -> dict[str, Any]:
        """What the run is, as data: nothing of it is ever read from the name of a folder."""
        told = {"study": "images", "name": self.name(), "setting": self.setting()}
        return told | {"changes": self.change_texts()}

    def digest(self, data_sha256: str) -> str:
        """Return twelve hex digits that change with any setting, the data, the package's code and the format."""
        text = json.dumps([asdict(self), data_sha256, CHECKPOINT_FORMAT, _code_sha256()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _code_sha256() -> str:
    """Hash the package's sources: a run that another code began is not gone on with."""
    found, folder = hashlib.sha256(), Path(__file__).parent
    for path in sorted(path for kind in ("*.py", "*.cpp") for path in folder.rglob(kind)):
        found.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return found.hexdigest()


def run_record(config: Any, data: dict[str, Any], device: torch.device, seconds: float) -> dict[str, Any]:
    """Collect what a run is, and how it came about: settings, data, code, versions, machine, time."""
    import torch

    return config.identity() | {
        "config": asdict(config),
        "data": data,
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # decides how torch's sums are ordered
        "git_commit": git_commit(),
        "versions": versions(),
        "platform": platform.platform(),
        "seconds": round(seconds, 3),
    }


def git_commit() -> str | None:
    """Return the commit of the code in the working directory, with "+changes" if it was edited, or None without git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages a result depends on; None where one is not installed."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {"python": platform.python_version()} | {package: installed(package) for package in _RECORDED_PACKAGES}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        import torch

        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.processor() or platform.machine()}"
