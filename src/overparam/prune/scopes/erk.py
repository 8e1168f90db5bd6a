"""Erdos-Renyi-Kernel: wide layers become sparser."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from overparam.prune.counts import exact_count, exact_density
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


def erdos_renyi_kernel(shapes: Mapping[str, Sequence[int]], density: float | Fraction) -> dict[str, Fraction]:
    """Return the density of each layer under the Erdos-Renyi-Kernel rule, so that ``density`` of all weights is there.

    ``shapes`` are those of the dense weights, (outputs, inputs, *kernel). A layer's density is proportional to
    (outputs + inputs + kernel sides) / size and at most 1; the sum of all nonzeros is exact. Fractions are exact: as
    the ``density`` of a sparse layer each gives just the number of nonzeros meant. It is the rule of :class:`ERK`;
    for linear layers it is the Erdos-Renyi rule.

    Raises :class:`SpecError` if ``density`` is not in [0, 1].

    >>> erdos_renyi_kernel({"hidden": (90, 10), "output": (5, 5)}, Fraction(110, 925))
    {'hidden': Fraction(1, 9), 'output': Fraction(2, 5)}
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    keep = exact_count(exact_density(density), sum(sizes.values()))
    tensors = [
        Counted(name, "conv" if len(shape) > 2 else "linear", tuple(shape), alive=sizes[name], least=0)
        for name, shape in shapes.items()
    ]
    counts = ERK().quotas(tensors, keep)
    return {name: Fraction(counts[name], size) if size else Fraction() for name, size in sizes.items()}
