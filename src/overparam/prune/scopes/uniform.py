"""Uniform: the same density everywhere."""

from collections.abc import Sequence

from overparam.prune.scopes.base import SCOPES, Counted, keep_in_proportion
from overparam.spec import spec


@SCOPES.named("uniform")
@spec
class Uniform:
    """Every layer gets the same density.

    A layer that has fewer weights left than its quota keeps them all, and the others keep more.
    """

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Keep in proportion to the size."""
        return keep_in_proportion(tensors, lambda tensor: tensor.size, keep)
