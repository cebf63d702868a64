"""All scores of one set of samples, by name."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from torch import Tensor

from companion.scores.classifier import Classifier, embed
from companion.scores.features import class_scores, frechet_distance, neighbour_scores
from companion.scores.fixed import DIVERGENCE_LAM
from companion.scores.pixels import gradient_energy, memorisation, total_variance
from companion.scores.transport import exact_w2, sinkhorn_divergence, transport_cost
from otgrad.costs import Cost

COPY_CHECKS = 1000  # samples whose nearest images are looked for, among 10,000 and more


@dataclass(frozen=True, eq=False)
class Judge:
    """What samples are judged with. Claims: A-fidelity.

    Attributes:
        shape: (h, w) of the images.
        cost: of training, ||x - y||^2 / mean ||y||^2.
        network: whose features are used; None: no scores of features.
        memory: training images (n, h w) in [0, 1].
        fresh: as many held-out images.
    """

    shape: tuple[int, int]
    cost: Cost
    network: Classifier | None
    memory: Tensor
    fresh: Tensor

    def scores(self, samples: Tensor, real: Tensor, lam: float) -> dict[str, float]:
        """Compute all scores of samples (n, h w) in [0, 1] against as many held-out images (n, h w).

        Args:
            samples: of the model.
            real: held-out images.
            lam: regularisation >= 0 at which OT_c^lam is computed, that of the training.

        Returns:
            score by name; those of features are left out without a classifier.
        """
        found = self._transport(samples, real, lam) | self.pixels(samples, real)
        return found | (self.features(samples, real) if self.network is not None else {})

    def _transport(self, samples: Tensor, real: Tensor, lam: float) -> dict[str, float]:
        w2 = exact_w2(samples, real)
        divergence = sinkhorn_divergence(samples, real, DIVERGENCE_LAM, self.cost)
        return self.semidual(samples, real, lam, w2) | {
            "w2": w2,
            "divergence": divergence.value,
            "divergence_error": divergence.error,
        }

    def semidual(self, samples: Tensor, real: Tensor, lam: float, w2: float | None = None) -> dict[str, float]:
        """OT_c^lam with its certified relative gap; exact at lam == 0, from W2 where that is known."""
        if lam == 0:
            value = (exact_w2(samples, real) if w2 is None else w2) ** 2 / self.cost.scale
            return {"semidual": value, "semidual_gap": 0.0}
        found = transport_cost(samples, real, lam, self.cost)
        return {"semidual": found.value, "semidual_gap": _ratio(found.error, abs(found.value))}

    def pixels(self, samples: Tensor, real: Tensor) -> dict[str, float]:
        """Sharpness, diversity and share of copies."""
        copied = memorisation(samples[:COPY_CHECKS], self.memory, self.fresh)
        return {
            "sharpness": _ratio(gradient_energy(samples, self.shape), gradient_energy(real, self.shape)),
            "diversity": _ratio(total_variance(samples), total_variance(real)),
            "copied_share": copied.share,
            "copied_ratio": copied.ratio,
        }

    def features(self, samples: Tensor, real: Tensor) -> dict[str, float]:
        """Scores in the features of the classifier, which must be there."""
        assert self.network is not None
        seen, expected = embed(self.network, samples), embed(self.network, real)
        return (
            {"fid": frechet_distance(seen.features, expected.features)}
            | asdict(neighbour_scores(expected.features, seen.features))
            | asdict(class_scores(expected.probabilities, seen.probabilities))
        )


def _ratio(value: float, unit: float) -> float:
    """Value / unit, and nan where the unit is 0, as for data without contrast."""
    return value / unit if unit > 0 else math.nan
