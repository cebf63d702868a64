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
from companion.scores.distances import nearest_neighbour_accuracy

EVAL_SOURCE, EVAL_TARGET = 5000, 2000  # images of a measured accuracy, at most
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
