"""Label noise with exact counts, as in Sparse Double Descent (He et al., 2022, arXiv:2206.08684)."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from overparam.errors import SpecError
from overparam.spec import spec
from overparam.streams import torch_stream


@spec
class LabelNoise:
    """Wrong labels for a share of the training examples.

    Kinds, for ``N`` examples of ``C`` classes and ``rate`` in [0, 1]:

    - ``symmetric``: ``round(rate * N)`` examples get another class, uniformly over the other ``C - 1``.
    - ``random-labels``: ``ceil(rate * N)`` examples get a class drawn over all ``C``, so that ``1 / C`` of
      them keep theirs: the paper's main runs.
    - ``asymmetric``: classes are confused as the dataset's map says (MNIST: 2 -> 7, 3 -> 8, 5 <-> 6);
      exactly ``ceil(rate * n)`` of the ``n`` examples of each source class.
    - ``pair-flip``: class ``i`` becomes ``(i + 1) mod C``; exactly ``ceil(rate * n)`` of each class.

    Examples are chosen by one permutation: a higher rate relabels those of a lower rate, and in the same way.

    Args:
        kind: which other labels there are, as above.
        rate: share of the training examples, in [0, 1].

    Example:
        {kind: symmetric, rate: 0.2}
    """

    kind: Literal["symmetric", "random-labels", "asymmetric", "pair-flip"] = "symmetric"
    rate: Annotated[float, Field(ge=0, le=1)] = 0.2

    def check(self, classes: int, confusions: Mapping[int, int] | None = None) -> None:
        """Raise :class:`SpecError` if there are fewer than two classes, or no map where one is needed."""
        if classes < 2:
            raise SpecError(f"label_noise needs two classes or more, the dataset has {classes}")
        if self.kind == "asymmetric" and not confusions:
            raise SpecError(
                "label_noise.kind 'asymmetric' needs a map of classes that are confused, and this dataset "
                "has none; choose 'symmetric', 'random-labels' or 'pair-flip', or give Dataset(asymmetric={...})"
            )

    def apply(self, labels: Tensor, classes: int, seed: int, confusions: Mapping[int, int] | None = None) -> Tensor:
        """Return noisy labels for clean ones, both ``(N,)`` int64; ``confusions`` is for ``asymmetric``.

        Raises as :meth:`check` does.
        """
        self.check(classes, confusions)
        order = torch.randperm(len(labels), generator=torch_stream(seed, "label-noise", "order"))
        if self.kind == "asymmetric":
            return self._confuse(labels, order, confusions or {})
        if self.kind == "pair-flip":
            return self._confuse(labels, order, {i: (i + 1) % classes for i in range(classes)})
        draws = torch_stream(seed, "label-noise", "labels", self.kind)
        noisy = labels.clone()
        if self.kind == "symmetric":
            chosen = order[: round(_exact(self.rate) * len(labels))]
            # drawn for all examples, so that what one example becomes does not depend on the rate
            offsets = torch.randint(1, classes, labels.shape, generator=draws)[: len(chosen)]
            noisy[chosen] = (labels[chosen] + offsets) % classes
        else:
            chosen = order[: math.ceil(_exact(self.rate) * len(labels))]
            noisy[chosen] = torch.randint(classes, labels.shape, generator=draws)[: len(chosen)]
        return noisy

    def _confuse(self, labels: Tensor, order: Tensor, confusions: Mapping[int, int]) -> Tensor:
        noisy = labels.clone()
        shuffled = labels[order]
        for source, target in confusions.items():
            members = order[shuffled == source]
            noisy[members[: math.ceil(_exact(self.rate) * len(members))]] = target
        return noisy


def _exact(rate: float) -> Fraction:
    """Return the decimal that was written: in floats 0.07 * 100 is above 7, and its ceiling 8."""
    return Fraction(repr(float(rate)))
