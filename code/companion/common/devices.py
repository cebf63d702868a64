"""Which device to compute on, found out without importing torch where there is no GPU to ask for."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class DeviceError(Exception):
    """A device that this machine does not have; the message is one line with the remedy."""


def own_device(name: str) -> torch.device:
    """Turn "cpu", "cuda" or `"cuda:<number>"` into a device of this machine; of torchrun's processes, of this one.

    Raises:
        DeviceError: if the machine does not have it.
    """
    import torch

    if name == "cpu":
        return torch.device("cpu")
    if (state := cuda_state()) != "usable":
        reason = "no NVIDIA driver here" if state == "none" else state
        raise DeviceError(
            f"device = {name!r} on {platform.node()}: {reason}; ask for a machine with a GPU, or device=cpu"
        )
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if several and name == "cuda" else torch.device(name)


def cuda_state() -> str:
    """Say "usable", "none" (no NVIDIA driver on this machine) or why torch cannot use the driver that is there."""
    if not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return "none"
    import torch

    if torch.cuda.is_available():
        return "usable"
    return f"torch {torch.__version__} cannot use the NVIDIA driver found here (update the driver, or set device: cpu)"
