"""Erdos-Renyi-Kernel: wide layers become sparser."""

from collections.abc import Sequence

from overparam.prune.scopes.base import SCOPES, Counted, keep_in_proportion
from overparam.spec import spec


@SCOPES.named("erk")
@spec
class ERK:
    """Erdos-Renyi-Kernel: density proportional to (inputs + outputs + kernel sides) / size.

    A layer whose density would exceed 1, or that has fewer weights left than its quota, keeps all it has, and
    the rest is spread anew over the others. For linear layers it is the Erdos-Renyi rule: no kernel sides.

    Reference: Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134; Mocanu et al., 2018,
    https://arxiv.org/abs/1707.04780 (Erdos-Renyi)
    """

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Keep in proportion to the sum of the axes: density times size."""
        return keep_in_proportion(tensors, lambda tensor: sum(tensor.shape), keep)
