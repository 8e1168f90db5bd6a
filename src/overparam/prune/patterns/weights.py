"""Weights: each goes by itself."""

from torch import Tensor

from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks
from overparam.prune.patterns.base import PATTERNS, Round
from overparam.prune.rounds import new_masks
from overparam.spec import spec


@PATTERNS.named("weights")
@spec
class Weights:
    """Single weights go, wherever they are: unstructured pruning."""

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Keep the best."""
        return new_masks(
            scores.each(),
            masks,
            asked.roles,
            names=asked.names,
            fraction=asked.fraction,
            density=asked.density,
            scope=asked.scope,
            exclude=asked.exclude,
            counting=asked.counting,
            allow_empty=asked.allow_empty,
            tell=asked.tell,
        )
