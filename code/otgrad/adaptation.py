"""Domain adaptation: a generator that starts at the identity moves images of one domain to another (USPS, MNIST).

What it shares with the generation of images comes first: settings, the course of a run, the loop with a critic.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otgrad.evaluate import nearest_neighbour_accuracy
from otgrad.measures import Sampler, rng_device
from otgrad.networks import CriticMlp, ResidualMlp
from otgrad.potentials import Critic, CriticRule
from otgrad.training.w1fe import EulerRule, w1fe
from otgrad.training.wgan import wgan

EVAL_SOURCE, EVAL_TARGET = 5000, 2000  # images of a measured accuracy, at most
WIDTHS = (256, 200, 500)  # 16 x 16 pixels and the hidden layers, of both networks


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
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
        for name, known in self.choices().items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r}: give one of {', '.join(known)}")
        for name in (field.name for field in fields(self) if field.type == "int"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ValueError(f"{name} = {getattr(self, name)!r}: give an integer >= 1")
        for name in ("dt", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)!r}: give a positive finite number")

    @staticmethod
    def choices() -> dict[str, tuple[str, ...]]:
        """Names that a field may take."""
        return {"method": ("w1fe", "wgan"), "penalty": ("lp", "gp")}

    def name(self) -> str:
        """Name of the arm: {method}-{penalty}-K{K}[-dt{dt}], a dt of 1 left out."""
        dt = f"-dt{self.dt:g}" if self.method == "w1fe" and self.dt != 1 else ""
        return f"{self.method}-{self.penalty}-K{self.persistence}{dt}"


class ImageRun(ABC):
    """One seed of one arm: `advance` trains, `measure` looks without disturbing the training's draws."""

    config: ImageConfig
    inner_steps: int  # of the critic or psi, per outer step
    _loop: Iterator[Any]

    def __init__(self, seed: int, device: str = "cpu") -> None:
        """Seed the draws of the training."""
        self.step, self.rng = 0, torch.Generator(device).manual_seed(seed + 3_000_003)

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Measure the generator as it now is."""

    def advance(self, steps: int) -> float:
        """Take outer steps; return the seconds they took."""
        start = time.perf_counter()
        for _ in range(steps):
            next(self._loop)
        self.step += steps
        return time.perf_counter() - start

    def measure(self) -> dict[str, float]:
        """One row: outer steps, theta-steps and batch gradients (of networks and psi) so far, and the score."""
        updates, taken = self.step * self.config.persistence, self.config.persistence + self.inner_steps
        counts = {"step": self.step, "generator_updates": updates, "gradients": self.step * taken}
        return counts | self.score()

    def follow(self) -> tuple[list[dict[str, float]], list[float]]:
        """Train to the end; return the rows measured on the way, the first before training, and the seconds at each."""
        rows, seconds = [self.measure()], [0.0]
        while (left := self.config.outer_steps - self.step) > 0:
            seconds.append(seconds[-1] + self.advance(min(self.config.measure_every, left)))
            rows.append(self.measure())
        return rows, seconds


def critic_loop(
    config: ImageConfig, generator: nn.Module, network: nn.Module, latent: Sampler, data: Sampler, rng: torch.Generator
) -> Iterator[Tensor]:
    """Start W1-FE or WGAN with a critic, Adam with betas (0, 0.9) on both networks."""

    def adam(module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=config.lr, betas=(0.0, 0.9))

    rule = CriticRule(config.penalty, steps=config.critic_steps)  # type: ignore[arg-type]
    critic, common = Critic(network, adam(network), data, rule), (config.batch_size, rng)
    if config.method == "wgan":
        return wgan(generator, critic, latent, adam(generator), config.persistence, *common)
    return w1fe(generator, critic, latent, adam(generator), EulerRule(config.dt, config.persistence), *common)


def rows_of(images: Tensor) -> Sampler:
    """Law of the rows of images (n, d), each drawn with the same probability, with replacement."""

    def sample(b: int, rng: torch.Generator | None = None) -> Tensor:
        return images[torch.randint(len(images), (b,), generator=rng, device=rng_device(rng))]

    return sample


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig(ImageConfig):
    """One arm of the adaptation.

    Attributes:
        direction: "usps-mnist" or "mnist-usps": source and target.
    """

    direction: str = "usps-mnist"

    @staticmethod
    def choices() -> dict[str, tuple[str, ...]]:
        """Names that a field may take."""
        return ImageConfig.choices() | {"direction": ("usps-mnist", "mnist-usps")}

    def name(self) -> str:
        """Name of the arm: {direction}-{method}-{penalty}-K{K}[-dt{dt}]."""
        return f"{self.direction}-{super().name()}"


@dataclass(frozen=True, eq=False)
class Domains:
    """Images (n, 256) in [-1, 1] and labels (n,): the source's to train on, the target's to train on and to test."""

    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_test: Tensor
    target_labels: Tensor

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], direction: str) -> Domains:
        """Take from the arrays {domain}_{train,test}[_labels] those of a direction "source-target"."""
        source, target = direction.split("-")
        train, test = f"{source}_train", f"{target}_test"
        names = train, f"{train}_labels", f"{target}_train", test, f"{test}_labels"
        return cls(*(torch.from_numpy(arrays[name]) for name in names))


class AdaptationRun(ImageRun):
    """One seed of one arm: the latent law is the source's images, G(z) = z + 2 tanh(net(z))."""

    def __init__(self, config: AdaptationConfig, domains: Domains, seed: int, device: str = "cpu") -> None:
        """Build networks and loop; the same seed gives the same first networks in every arm."""
        super().__init__(seed, device)
        self.config, self.inner_steps = config, config.critic_steps
        self.generator = ResidualMlp((*WIDTHS, WIDTHS[0]), seed, scale=2.0).to(device)
        network = CriticMlp(WIDTHS, seed + 4_000_037).to(device)
        self._source, target = domains.source.to(device), rows_of(domains.target.to(device))
        self._source_labels = domains.source_labels[:EVAL_SOURCE].to(device)
        self._test = domains.target_test[:EVAL_TARGET].to(device)
        self._test_labels = domains.target_labels[:EVAL_TARGET].to(device)
        self._loop = critic_loop(config, self.generator, network, rows_of(self._source), target, self.rng)

    def score(self) -> dict[str, float]:
        """Accuracy on the target's test images of the nearest neighbour among the adapted source images.

        At most the first 5000 source and 2000 target images are used. Before training G is the identity up to the
        size of its first weights, so that the row of step 0 is the accuracy without adaptation.
        """
        truth = self._test, self._test_labels
        return {"accuracy": nearest_neighbour_accuracy(self.adapted(), self._source_labels, *truth)}

    @torch.no_grad()
    def adapted(self) -> Tensor:
        """Map the first 5000 source images in one batch, whose statistics normalise the hidden layers."""
        return self.generator(self._source[:EVAL_SOURCE])
