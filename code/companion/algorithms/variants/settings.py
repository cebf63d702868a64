"""The settings of a variant; with all of them at their defaults training is Algorithm 1 as it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

POTENTIALS = ("vector", "network", "minibatch")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is changed in Algorithm 1.

    Attributes:
        lam_start: 0 (constant lam), or the regularisation >= lam > 0 of the first theta-step, from which it falls
            geometrically to lam.
        lam_share: share of the theta-steps, in (0, 1], over which it falls.
        carry: share of psi's step counter, in [0, 1), kept from one theta-step to the next, with iterate and average
            as they are. 0: the inner loop restarts from the average.
        reuse: psi-batches of the round whose latents the theta-step takes again; 0: a fresh batch.
        anchor: theta-steps between two anchors of a control variate for theta's gradient; 0: none. See `Anchor`.
        anchor_batches: batches over which the gradient at an anchor is taken.
        self_atoms: 0 (no self term), or the number of samples that stand for the model's law in the term
            -1/2 OT^lam(mu, mu): its latest ones, or for "minibatch" a fresh batch.
        self_weight: multiplier of that term; 1 is the Sinkhorn divergence.
        lr_decay: share of the theta-steps, the last ones, in [0, 1], over which lr_theta falls to 0 by half a cosine.
        weight_average: decay in [0, 1) of the exponential average of theta that is returned; 0: the last iterate.
        potential: "vector"; "network": psi as a network of y (SDOTNN, the sequel's); "minibatch": a vector on a random
            batch of the data at every theta-step, by Sinkhorn's algorithm.
        batch_atoms: atoms drawn at every step for "network" and "minibatch"; 0: all (network), batch_size (minibatch).

    Raises:
        ValueError: on a value out of range, or settings that exclude each other.
    """

    lam_start: float = 0.0
    lam_share: float = 0.5
    carry: float = 0.0
    reuse: int = 0
    anchor: int = 0
    anchor_batches: int = 10
    self_atoms: int = 0
    self_weight: float = 1.0
    lr_decay: float = 0.0
    weight_average: float = 0.0
    potential: str = "vector"
    batch_atoms: int = 0

    def __post_init__(self) -> None:
        """Refuse what defines no training."""
        if self.potential not in POTENTIALS:
            raise ValueError(f"potential = {self.potential!r}: give one of {', '.join(POTENTIALS)}")
        for name, low, high in (("carry", 0, 1), ("weight_average", 0, 1), ("self_weight", 0, math.inf)):
            if not low <= getattr(self, name) < high:
                raise ValueError(f"{name} = {getattr(self, name)}: give a number in [{low}, {high})")
        if not 0 <= self.lr_decay <= 1:
            raise ValueError(f"lr_decay = {self.lr_decay}: give a share of the theta-steps in [0, 1]")
        if not 0 < self.lam_share <= 1:
            raise ValueError(f"lam_share = {self.lam_share}: give a share of the theta-steps in (0, 1]")
        if not 0 <= self.lam_start < math.inf:
            raise ValueError(f"lam_start = {self.lam_start}: give a finite number >= 0 (0: lam is constant)")
        for name, least in (("reuse", 0), ("self_atoms", 0), ("batch_atoms", 0), ("anchor", 0), ("anchor_batches", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: give a whole number >= {least}")
        if self.potential == "vector" and self.batch_atoms:
            raise ValueError(f"batch_atoms = {self.batch_atoms}: only for potential 'network' or 'minibatch'")
        if self.potential != "vector" and (self.carry or self.reuse or self.anchor):
            needs = "carry, reuse and anchor need psi as a vector"
            raise ValueError(f"{needs}: leave them at 0 for potential {self.potential!r}")
        if self.anchor and self.self_atoms:
            raise ValueError(f"anchor = {self.anchor}: there is none for the self term; leave self_atoms at 0")

    def changes(self) -> dict[str, float | int | str]:
        """The settings that are not at their defaults, by name."""
        return {f.name: getattr(self, f.name) for f in fields(Variant) if getattr(self, f.name) != f.default}

    def suffix(self) -> str:
        """Part of a run's name that tells the variant apart; empty for Algorithm 1 itself."""
        return "".join(f"-{text}" for text in self.change_texts())

    def change_texts(self) -> list[str]:
        """Each change as the name of the setting and its value, in one word."""
        texts = ((key, value if isinstance(value, str) else f"{value:g}") for key, value in self.changes().items())
        return [f"{key.replace('_', '')}{value}" for key, value in texts]
