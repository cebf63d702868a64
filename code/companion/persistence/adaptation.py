"""Domain adaptation: a generator that starts at the identity moves images of one domain to another (USPS, MNIST)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.persistence.arms import AdaptationConfig
from companion.persistence.experiments import Experiment, critic_loop, rows_of
from companion.scores.distances import nearest_neighbour_hits

AUTHORS_TEST = 2007  # images of the target that the authors score on: all of USPS's, as many of MNIST's drawn anew
WIDTHS = (256, 200, 500)  # 16 x 16 pixels and the hidden layers, of both networks


@dataclass(frozen=True, eq=False)
class Domains:
    """Images (n, 256) in [-1, 1] and labels (n,): the source's to train on, the target's to train on and to test."""

    source: Tensor
    source_labels: Tensor
    target: Tensor
    target_test: Tensor
    target_labels: Tensor

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], source: str, target: str) -> Domains:
        """Take from the arrays {domain}_{train,test}[_labels] those of these two domains."""
        train, test = f"{source}_train", f"{target}_test"
        names = train, f"{train}_labels", f"{target}_train", test, f"{test}_labels"
        return cls(*(torch.from_numpy(arrays[name]) for name in names))


class AdaptationRun(Experiment):
    """One seed of one arm: the latent law is the source's images, G(z) = z + 2 tanh(net(z)). Claims: B-adaptation."""

    def __init__(self, config: AdaptationConfig, domains: Domains, seed: int, device: str = "cpu") -> None:
        """Build networks and loop; the same seed gives the same first networks in every arm."""
        super().__init__(seed, device, config.persistence, config.persistence + config.critic_steps)
        self.generator = ResidualMlp((*WIDTHS, WIDTHS[0]), seed, scale=2.0).to(device)
        network = CriticMlp(WIDTHS, seed + 4_000_037).to(device)
        self._source, target = domains.source.to(device), rows_of(domains.target.to(device))
        self._source_labels = domains.source_labels.to(device)
        self._truth = domains.target_test.to(device), domains.target_labels.to(device)
        self._looks = torch.Generator().manual_seed(seed + 6_000_011)
        self._loop = critic_loop(config, self.generator, network, rows_of(self._source), target, self.rng)

    def score(self) -> dict[str, float]:
        """Accuracy on the target's test images of the nearest neighbour among the adapted source images.

        "accuracy" is on all test images; "drawn" as with the authors: on 2,007 of them drawn anew at every look, so
        that of MNIST's 10,000 it has a standard error of sqrt(p (1 - p) / 2007 (1 - 0.2)), .01 at p = .4. Before
        training G is the identity up to the size of its first weights: the row of step 0 is the accuracy without
        adaptation.
        """
        hits = nearest_neighbour_hits(self.adapted(), self._source_labels, *self._truth).cpu()
        some = torch.randperm(len(hits), generator=self._looks)[:AUTHORS_TEST]
        return {"accuracy": float(hits.mean()), "drawn": float(hits[some].mean())}

    @torch.no_grad()
    def adapted(self) -> Tensor:
        """Map all source images in one batch, whose statistics normalise the hidden layers, as with the authors."""
        return self.generator(self._source)
