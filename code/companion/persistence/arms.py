"""The settings of one arm of paper B's experiments, in the plane and on images.

Without torch, so that the workflow's rules name arms and check settings at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

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
    """One arm of the experiment; its seeds are paired with those of the other arms.

    Attributes:
        law: the target, one of LAW_NAMES.
        method: one of METHODS; "-psi" takes phi from the stochastic semi-discrete solver on `atoms` points of the data,
            "-exact" from the exact solver between them and one batch of samples, anew at every step (slow); "ot" is
            Algorithm 1.
        penalty: the critic's: "lp", "gp" or "clip".
        persistence: K, theta-steps per outer step.
        dt: Euler step of W1-FE and W2-FE.
        lr_factor: multiplies lr_theta.
        outer_steps: outer steps.
        measure_every: outer steps between two rows.
        batch_size: points per step.
        lr_theta: Adam's rate of the generator.
        lr_critic: Adam's rate of the critic.
        critic_steps: per outer step.
        atoms: data points of the semi-discrete methods.
        psi_steps: psi-steps per outer step of the semi-discrete methods.
        lam: their regularisation, in units of the cost.

    Raises:
        ValueError: on an unknown name or a number out of range.
    """

    study: ClassVar[str] = "planar"

    law: str = "8gaussians"
    method: str = "w1fe"
    penalty: str = "lp"
    persistence: int = 1
    dt: float = 1.0
    lr_factor: float = 1.0
    outer_steps: int = 5000
    measure_every: int = 10
    batch_size: int = 512
    lr_theta: float = 1e-4
    lr_critic: float = 5e-4
    critic_steps: int = 5
    atoms: int = 2048
    psi_steps: int = 10
    lam: float = 0.0

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
    """One arm of an experiment of paper B on images; its seeds are paired with those of the other arms.

    Attributes:
        method: "w1fe" or "wgan".
        penalty: the critic's: "lp" or "gp".
        persistence: K, theta-steps per outer step.
        dt: Euler step of W1-FE, a length in the space of the pixels: W1's flow moves at unit speed.
        outer_steps: outer steps.
        measure_every: outer steps between two rows.
        batch_size: images per step.
        lr: Adam's rate, of the generator and of the critic.
        critic_steps: per outer step.

    Raises:
        ValueError: on an unknown name or a number out of range.
    """

    method: str = "w1fe"
    penalty: str = "lp"
    persistence: int = 1
    dt: float = 1.0
    outer_steps: int = 10000
    measure_every: int = 500
    batch_size: int = 64
    lr: float = 1e-4
    critic_steps: int = 5

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
    """One arm of the adaptation.

    Attributes:
        direction: "usps-mnist" or "mnist-usps": source and target.
    """

    study: ClassVar[str] = "adaptation"

    direction: str = "usps-mnist"

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

    `# ASSUME:` paper B's rates and batch for its images (adaptation) with a critic; paper A's sequel's for Algorithm 1.

    Attributes:
        method: "w1fe", "wgan" or "ot": Algorithm 1 with the cost ||x - y||^2 / mean ||y||^2, one theta-step per outer
            step.
        penalty: as above; here two-sided by default.
        n_train: training images used, by every method (the first ones): the atoms of "ot".
        batch_size: 0 for the method's own, 64 with a critic and 200 for "ot".
        lr: 0 for the method's own, 1e-4 with a critic and 1e-3 for "ot", where it is the generator's alone.
        psi_steps: psi-steps per outer step of "ot".
        lam: its regularisation >= 0, in units of the normalised cost.
    """

    study: ClassVar[str] = "generation"

    penalty: str = "gp"
    outer_steps: int = 20000
    batch_size: int = 0
    lr: float = 0.0
    n_train: int = 60000
    psi_steps: int = 4
    lam: float = 0.01

    def __post_init__(self) -> None:
        """Fill in the method's own batch and rate, and refuse what cannot be trained."""
        own = {"batch_size": 200, "lr": 1e-3} if self.method == "ot" else {"batch_size": 64, "lr": 1e-4}
        for name, value in own.items():
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
