"""The settings of one arm of paper B's experiments, in the plane and on images; settings.yaml explains each field.

Without torch, so that the workflow's rules name arms and check settings at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from companion.common.schema import read_yaml

OWN = read_yaml(Path(__file__).with_name("settings.yaml"))  # what an arm is that says nothing else
PLANAR, IMAGES, ADAPTATION, GENERATION = (OWN[key] for key in ("planar", "images", "adaptation", "generation"))
LAW_NAMES = ("8gaussians", "4gaussians", "swissroll", "checkerboard")
METHODS = ("w1fe", "w1fe-ab2", "wgan", "wgan-stale", "w1fe-psi", "w2fe-psi", "w1fe-exact", "w2fe-exact", "ot")
CRITIC_METHODS = METHODS[:4]
DIRECTIONS = {"usps-mnist": ("usps", "mnist"), "mnist-usps": ("mnist", "usps")}  # name -> source and target


def check_settings(config: Any, choices: Mapping[str, Collection[str]], positive: Collection[str]) -> None:
    """Check an arm's names against their choices, its integers to be >= 1, and its `positive` numbers.

    Raises:
        ValueError: in one line with the field, the value and the remedy.
    """
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ValueError(f"{name} = {getattr(config, name)!r}: give one of {', '.join(known)}")
    for name in (field.name for field in fields(config) if field.type == "int"):
        if not (isinstance(getattr(config, name), int) and getattr(config, name) >= 1):
            raise ValueError(f"{name} = {getattr(config, name)!r}: give an integer >= 1")
    for name in positive:
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name} = {getattr(config, name)!r}: give a positive finite number")


class Arm:
    """What the arms of all experiments have: their seeds share a folder, so that the name is that of the setting."""

    study: ClassVar[str]

    def name(self) -> str:
        """Name of the arm."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What the arm is, as data: nothing of it is ever read from the name of a folder."""
        return {"study": self.study, "name": self.name(), "setting": self.name()}


@dataclass(frozen=True)
class PlanarConfig(Arm):
    """One arm in the plane; its seeds are paired with those of the other arms.

    Method "-psi" takes phi from the stochastic semi-discrete solver on `atoms` points of the data, "-exact" from the
    exact solver between them and one batch of samples, anew at every step (slow); "ot" is Algorithm 1.

    Raises:
        ValueError: on an unknown name or a number out of range.
    """

    study: ClassVar[str] = "planar"

    law: str = PLANAR["law"]
    method: str = PLANAR["method"]
    penalty: str = PLANAR["penalty"]
    persistence: int = PLANAR["persistence"]
    dt: float = PLANAR["dt"]
    lr_factor: float = PLANAR["lr_factor"]
    outer_steps: int = PLANAR["outer_steps"]
    measure_every: int = PLANAR["measure_every"]
    batch_size: int = PLANAR["batch_size"]
    lr_theta: float = PLANAR["lr_theta"]
    lr_critic: float = PLANAR["lr_critic"]
    critic_steps: int = PLANAR["critic_steps"]
    atoms: int = PLANAR["atoms"]
    psi_steps: int = PLANAR["psi_steps"]
    lam: float = PLANAR["lam"]

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        names = {"law": LAW_NAMES, "method": METHODS, "penalty": ("lp", "gp", "clip")}
        check_settings(self, names, ("dt", "lr_factor", "lr_theta", "lr_critic"))
        if not 0 <= self.lam < math.inf:
            raise ValueError(f"lam = {self.lam!r}: give a finite number >= 0")

    def name(self) -> str:
        """Name of the arm: {law}-{method}[-{penalty}][-K{K}][-dt{dt}][-lr{factor}]: a dt or factor of 1 left out."""
        parts = [self.law, self.method]
        parts += [self.penalty] if self.method in CRITIC_METHODS else []
        parts += [f"K{self.persistence}"] if self.method != "ot" else []
        parts += [f"dt{self.dt:g}"] if self.dt != 1 and "fe" in self.method else []
        return "-".join(parts + ([f"lr{self.lr_factor:g}"] if self.lr_factor != 1 else []))


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Arm):
    """One arm of an experiment on images; seeds are paired, and refusals are, as in the plane."""

    method: str = IMAGES["method"]
    penalty: str = IMAGES["penalty"]
    persistence: int = IMAGES["persistence"]
    dt: float = IMAGES["dt"]
    outer_steps: int = IMAGES["outer_steps"]
    measure_every: int = IMAGES["measure_every"]
    batch_size: int = IMAGES["batch_size"]
    lr: float = IMAGES["lr"]
    critic_steps: int = IMAGES["critic_steps"]

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_settings(self, self.choices(), ("dt", "lr"))

    @staticmethod
    def choices() -> dict[str, tuple[str, ...]]:
        """Names that a field may take."""
        return {"method": ("w1fe", "wgan"), "penalty": ("lp", "gp")}

    def name(self) -> str:
        """Name of the arm: {method}-{penalty}-K{K}[-dt{dt}], a dt of 1 left out."""
        dt = f"-dt{self.dt:g}" if self.method == "w1fe" and self.dt != 1 else ""
        return f"{self.method}-{self.penalty}-K{self.persistence}{dt}"


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig(ImageConfig):
    """One arm of the adaptation, from a source to a target."""

    study: ClassVar[str] = "adaptation"

    direction: str = ADAPTATION["direction"]

    @staticmethod
    def choices() -> dict[str, tuple[str, ...]]:
        """Names that a field may take."""
        return ImageConfig.choices() | {"direction": tuple(DIRECTIONS)}

    def identity(self) -> dict[str, Any]:
        """The same, with source and target."""
        source, target = DIRECTIONS[self.direction]
        return super().identity() | {"source": source, "target": target}

    def name(self) -> str:
        """Name of the arm: {direction}-{method}-{penalty}-K{K}[-dt{dt}]."""
        return f"{self.direction}-{super().name()}"


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(ImageConfig):
    """One arm of the generation of images.

    Method "ot" is Algorithm 1 with the cost ||x - y||^2 / mean ||y||^2 and one theta-step per outer step; its lr is the
    generator's alone, its atoms are the first n_train images.

    `# ASSUME:` paper B's rates and batch for its images (adaptation) with a critic; paper A's sequel's for Algorithm 1.
    """

    study: ClassVar[str] = "generation"

    penalty: str = GENERATION["penalty"]
    outer_steps: int = GENERATION["outer_steps"]
    batch_size: int = GENERATION["batch_size"]
    lr: float = GENERATION["lr"]
    n_train: int = GENERATION["n_train"]
    psi_steps: int = GENERATION["psi_steps"]
    lam: float = GENERATION["lam"]

    def __post_init__(self) -> None:
        """Fill in the method's own batch and rate, and refuse what cannot be trained."""
        for name, value in OWN["own"]["ot" if self.method == "ot" else "critic"].items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        super().__post_init__()
        if not 0 <= self.lam < math.inf or (self.method == "ot" and self.persistence != 1):
            raise ValueError(f"{self}: give a finite lam >= 0, and to 'ot' a persistence of 1")

    @staticmethod
    def choices() -> dict[str, tuple[str, ...]]:
        """Names that a field may take."""
        return ImageConfig.choices() | {"method": ("w1fe", "wgan", "ot")}

    def name(self) -> str:
        """Name of the arm: as that of the base class, or ot-lam{lam}."""
        return f"ot-lam{self.lam:g}" if self.method == "ot" else super().name()
