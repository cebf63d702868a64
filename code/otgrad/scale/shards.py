"""One law over several processes: each holds a slice of the atoms, and sums over atoms are completed between them.

Every process holds the same points x. A psi-step gathers b numbers from each, a theta-step sums b d more; how the parts
are put together is in `scale.sharded`. Start the processes with torchrun, then `Team.start`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from otgrad import checks
from otgrad.kept import kept, stamp
from otgrad.measures import DiscreteMeasure


class ProcessLost(RuntimeError):
    """Another process of the team does not answer."""


class Team:
    """The processes of one run, numbered from 0, and what they say to each other.

    Attributes:
        rank: this process's number.
        size: how many there are.
        sent: bytes that this process has sent, counted as a ring sends them.
    """

    def __init__(self) -> None:
        """Join the processes of torch.distributed's default group, which must have begun."""
        self.rank, self.size, self.sent = dist.get_rank(), dist.get_world_size(), 0

    @classmethod
    @contextmanager
    def start(cls, device: torch.device) -> Iterator[Team | None]:
        """Join the processes that torchrun has started; None where there is but one."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield None
            return
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield cls()
        finally:
            dist.destroy_process_group()

    def gather(self, part: Tensor) -> Tensor:
        """Collect a tensor of one shape from all: (size, *shape), the same on every process.

        Raises:
            ProcessLost: if one does not answer.
        """
        parts = part.new_empty(self.size, *part.shape)
        with _answering():
            dist.all_gather(list(parts), part.contiguous())
        self.sent += (self.size - 1) * part.nbytes
        return parts

    def total(self, part: Tensor) -> Tensor:
        """Sum over the processes, the same to the last bit on each.

        Raises:
            ProcessLost: if one does not answer.
        """
        result = part.detach().clone().contiguous()
        with _answering():
            dist.all_reduce(result)
        self.sent += 2 * (self.size - 1) * part.nbytes // self.size
        return result

    def agree(self, what: str, number: Tensor) -> None:
        """Check that all hold the same number (scalar tensor).

        Raises:
            RuntimeError: if they do not.
        """
        found = self.gather(number.detach().double())
        if not bool((found == found[0]).all()):
            raise RuntimeError(f"{what} differs between the processes: {found.tolist()}; use like machines for all")

    def share_of(self, n: int) -> slice:
        """Deal n atoms out: the slice of this process, all slices of one length up to one atom.

        Raises:
            ValueError: if there are fewer atoms than processes.
        """
        if n < self.size:
            raise ValueError(f"n = {n} atoms for {self.size} processes: use at most {n}")
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise ProcessLost(f"another process of this run has ended or cannot be reached ({reason})") from error


@dataclass(frozen=True, eq=False)
class Shard(DiscreteMeasure):
    """This process's atoms y (n_r, d) with their masses in the whole law nu (n_r,), which sum to less than 1.

    Potentials, gradients in psi and masses are of these atoms; values and gradients in x are of the whole law.

    Attributes:
        team: the processes that hold the other atoms.

    Raises:
        ValueError: as DiscreteMeasure; or if a process holds no atom of positive mass.
    """

    in_memory = False
    team: Team = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check, and exchange sizes: all processes build their shards at the same time."""
        super().__post_init__()
        if int(self.counts[:, 1].min()) == 0:
            raise ValueError("a process holds no atom of positive mass: deal the atoms out otherwise or use fewer")

    @classmethod
    def of(cls, y: Any, team: Team, nu: Any = None, unit: float = 1.0) -> Shard:
        """Build from this process's atoms (n_r, d) and masses (n_r,) up to one factor for all (None: uniform)."""
        y = checks.atoms(y)
        nu = torch.ones(y.shape[:1], dtype=torch.float64) if nu is None else checks.numbers("nu", nu)
        nu = nu.to(y.device, torch.float64)
        masses = nu / team.total(nu.sum())
        return cls(y, masses.to(torch.float64 if y.dtype == torch.float64 else torch.float32), unit, team=team)

    @property
    def now(self) -> Shard:
        """This law: the processes would have to agree on another.

        Raises:
            ValueError: if y was changed in place.
        """
        if stamp(self.y) != self.__dict__["_stamp"]:
            raise ValueError("y was changed in place: build the shards anew, on every process")
        return self

    @cached_property
    def counts(self) -> Tensor:
        """Atoms of each process, and those of positive mass (size, 2)."""
        return self.team.gather(torch.tensor([self.n, int((self.nu > 0).sum())], device=self.nu.device))

    @cached_property
    def masses(self) -> Tensor:
        """Mass of each process's atoms (size,), float64."""
        return self.team.gather(self.nu.double().sum())

    @property
    def points(self) -> Tensor:
        """Not to be had: a sum over them would leave out the other processes' atoms.

        Raises:
            TypeError: always.
        """
        raise TypeError("a Shard holds a part of the atoms: use psi_step, x_grad or local")

    @kept
    def local(self) -> DiscreteMeasure:
        """This process's atoms as a law of their own, of mass 1."""
        return DiscreteMeasure.from_atoms(self.y, self.nu, self.unit)

    @property
    def size(self) -> int:
        """Number of atoms of the whole law."""
        return int(self.counts[:, 0].sum())

    @property
    def first(self) -> int:
        """Place of this process's first atom among all."""
        return int(self.counts[: self.team.rank, 0].sum())

    @kept
    def mean_square(self) -> float:
        """sum_j nu_j ||y_j||^2 over the whole law."""
        return float(self.total(torch.dot(self.nu, self.y_sq)))

    @kept
    def support(self) -> Tensor | None:
        """Indices of this process's atoms with positive mass, or None if that is all of every process's."""
        return None if torch.equal(*self.counts.T) else torch.nonzero(self.nu).squeeze(1)

    @kept
    def positive(self) -> Shard:
        """The same law without its atoms of zero mass."""
        if self.support is None:
            return self
        return Shard(self.y[self.support], self.nu[self.support], self.unit, team=self.team)

    def every(self, stride: int) -> slice:
        """Every stride-th atom of the whole law: those of this process."""
        return slice(-self.first % stride, None, stride)

    def total(self, part: Tensor) -> Tensor:
        """Complete a sum over this process's atoms."""
        return self.team.total(part)

    def part(self, whole: Tensor) -> Tensor:
        """Of numbers per atom (n,) those of this process (n_r,)."""
        return whole[self.first : self.first + self.n].clone()

    def whole(self, part: Tensor) -> Tensor:
        """Collect numbers per atom (n_r,) from all processes (n,)."""
        sizes = self.counts[:, 0].tolist()
        padded = part.new_zeros(max(sizes))
        padded[: len(part)] = part
        return torch.cat([row[:size] for row, size in zip(self.team.gather(padded), sizes, strict=True)])
