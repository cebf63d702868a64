"""Which device to compute on, found out without importing torch where there is no GPU to ask for."""

from __future__ import annotations

import shutil
from pathlib import Path


def cuda_state() -> str:
    """Say "usable", "none" (no NVIDIA driver on this machine) or why torch cannot use the driver that is there."""
    if not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return "none"
    import torch

    if torch.cuda.is_available():
        return "usable"
    return f"torch {torch.__version__} cannot use the NVIDIA driver found here (update the driver, or set device: cpu)"
