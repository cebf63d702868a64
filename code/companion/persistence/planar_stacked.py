"""The critic arms of the 2-D experiment in one process: hundreds of small networks, trained as a few stacks.

Arms of one pace (batch, critic steps, outer steps, and whether the critic has a penalty) go in lockstep: what the plain
runs of a law and a seed draw is the same in all of them, so it is drawn once. Of these, arms of one method and one K
are stacked, whatever their law, seed, dt, rates, and "lp" or "gp" (`planar_kinds`).

Samples are those of the plain runs' held-out latents, scored against their held-out data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.common.progress import Progress
from companion.persistence.arms import CRITIC_METHODS, PlanarConfig
from companion.persistence.planar import EVAL_POINTS, LATENT, PlanarRun, held_out
from companion.persistence.planar_kinds import Arm, Draws, Kind, kind, pace, rates
from companion.scores.distances import exact_w1

Step = Callable[[], None]
Courses = dict[int, tuple[list[dict[str, float]], list[tuple[float, float]]]]


@dataclass(frozen=True)
class Look:
    """What the arms of one pace are after some outer steps.

    Attributes:
        step: outer steps taken.
        arms: config and seed of each.
        samples: (A, 512, 2), float32 on the CPU.
        seconds: of training so far, an arm's and seed's share.
    """

    step: int
    arms: Sequence[Arm]
    samples: Tensor
    seconds: float

    def diverged(self) -> list[tuple[str, int]]:
        """Name and seed of the arms whose samples are not finite; they stay so, and disturb no other arm."""
        finite = torch.isfinite(self.samples).all(2).all(1).tolist()
        return [(config.name(), seed) for (config, seed), kept in zip(self.arms, finite, strict=True) if not kept]


def train_stacked(
    configs: Sequence[PlanarConfig],
    seeds: Sequence[int],
    every: int = 100,
    device: str = "cpu",
    capture: Callable[[Step, Sequence[torch.Generator]], Step] | None = None,
) -> Iterator[Look]:
    """Train arms with a critic on their seeds, one pace after another, each to its last outer step.

    Args:
        configs: the arms.
        seeds: paired, the same for every arm.
        every: outer steps between two looks.
        device: "cpu" or "cuda...".
        capture: makes of an outer step, and the generators that it draws from, a faster one that does the same; it is
            called after the first step, and must not take steps of its own. None: the step as it is.

    Yields:
        the look before training, and those after `every` so many steps and after the last.

    Raises:
        ValueError: for an arm without a critic.
    """
    for arms in paces([(config, seed) for config in configs for seed in seeds]):
        yield from Course(arms, device).follow(every, capture)


def paces(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Group arms by what those in lockstep have in common, and within by kind and rates.

    Raises:
        ValueError: for an arm without a critic.
    """
    for config, _ in arms:
        if config.method not in CRITIC_METHODS:
            raise ValueError(f"method = {config.method!r} is not stacked: give one of {', '.join(CRITIC_METHODS)}")
    ordered = sorted(arms, key=lambda arm: (pace(arm), kind(arm), rates(arm)))
    return [list(group) for _, group in groupby(ordered, pace)]


class Course:
    """Arms of one pace in lockstep."""

    def __init__(self, arms: Sequence[Arm], device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Build the networks that the plain runs begin with; `arms` are in the order of `paces`."""
        self.arms, self.device = arms, torch.device(device)
        self.draws = Draws(arms, self.device, dtype)
        self.kinds = [Kind(list(same), self.draws) for _, same in groupby(arms, kind)]
        self._streams = [torch.cuda.Stream(self.device) for _ in self.kinds] if self.device.type == "cuda" else []

    def step(self) -> None:
        """Take one outer step of every arm; on a GPU kinds go side by side, as small ones do not fill it."""
        self.draws.fill()
        if not self._streams:
            for stacks in self.kinds:
                stacks.step()
            return
        main = torch.cuda.current_stream(self.device)
        for stacks, stream in zip(self.kinds, self._streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                stacks.step()
        for stream in self._streams:
            main.wait_stream(stream)

    def follow(
        self, every: int, capture: Callable[[Step, Sequence[torch.Generator]], Step] | None = None
    ) -> Iterator[Look]:
        """Train to the end, with a look every so many steps; see `train_stacked`."""
        step, done, seconds, last = self.step, 0, 0.0, self.arms[0][0].outer_steps
        while True:
            yield Look(done, self.arms, self.samples(), seconds / len(self.arms))
            if done == last:
                return
            start = time.perf_counter()
            for _ in range(min(every, last - done)):
                step()
                if done == 0 and capture is not None:
                    step = capture(self.step, self.draws.rngs)
                done += 1
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds += time.perf_counter() - start

    def samples(self) -> Tensor:
        """Samples (A, 512, 2) of the held-out latents, float32 on the CPU."""
        return torch.cat([stacks.samples() for stacks in self.kinds]).mT.float().cpu()

    def networks(self) -> Iterator[tuple[ResidualMlp, CriticMlp]]:
        """Yield the plain networks, G and phi, of each arm as they now are."""
        for stacks in self.kinds:
            yield from stacks.networks()


def follow_stacked(
    config: PlanarConfig, seeds: Sequence[int], device: str, look: Callable[[PlanarRun], None]
) -> Courses:
    """Train an arm on its seeds in one stack, and measure each as its plain run does.

    Returns:
        seed -> rows and seconds, as from `Experiment.follow`; of training and of measuring a seed's share.
    """
    course, runs = Course([(config, seed) for seed in seeds], device), [PlanarRun(config, seed) for seed in seeds]
    found: Courses = {seed: ([], []) for seed in seeds}
    tell, measured = Progress(config.name(), config.outer_steps, "outer steps"), 0.0
    for seen in course.follow(config.measure_every):
        start = time.perf_counter()
        for run, (generator, critic), (rows, _) in zip(runs, course.networks(), found.values(), strict=True):
            run.step, run.generator = seen.step, generator
            run.potential = replace(run.potential, network=critic)  # type: ignore[type-var]
            rows.append(run.measure())
        measured += (time.perf_counter() - start) / len(runs)
        for _, seconds in found.values():
            seconds.append((seen.seconds, measured))
        look(runs[0])
        tell(seen.step)
    return found


def scores(law: str, seed: int, samples: Tensor) -> list[float]:
    """W1 between held-out data and the samples (T, 512, 2) of each look of an arm, NaN where they are not finite."""
    x, _ = held_out(law, seed)
    return [exact_w1(x, y)[0] if bool(torch.isfinite(y).all()) else math.nan for y in samples]


def sample_bytes(config: PlanarConfig, seeds: int, every: int, itemsize: int = 4) -> int:
    """Size in bytes of all samples of an arm, with `itemsize` bytes per number."""
    looks = 1 + math.ceil(config.outer_steps / every)
    return looks * seeds * EVAL_POINTS * LATENT.k * itemsize
