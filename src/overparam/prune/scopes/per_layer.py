"""Per layer: every layer loses the same share."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated

from pydantic import Field

from overparam.errors import SpecError
from overparam.prune.counts import apportion
from overparam.prune.scopes.base import SCOPES, Counted
from overparam.spec import spec


@SCOPES.named("per-layer")
@spec
class PerLayer:
    """Every layer loses the same share of what it still has, or that share times its rate.

    With ``fraction`` f, the number of weights that go is f * sum(rate * alive), rounded once. Fractional
    parts go to the layers with the largest remainders (equal ones by name).

    Args:
        rates: relative speed in [0, 1] by role or parameter-name pattern; 1 where none matches. A pattern
            that matches a name goes before a role; of several, the last counts. ``{"output": 0.5}`` prunes
            the output layer at half the rate.

    Reference: Frankle & Carbin, ICLR 2019, https://arxiv.org/abs/1803.03635 (LeNet and Conv networks)

    Example:
        {per-layer: {rates: {output: 0.5}}}
    """

    rates: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = field(default_factory=dict)

    def quotas(self, tensors: Sequence[Counted], keep: int) -> dict[str, int]:
        """Take from every tensor in proportion to rate * alive."""
        gone = sum(tensor.alive for tensor in tensors) - keep
        spare = {tensor.name: tensor.alive - tensor.least for tensor in tensors}
        most = sum(spare[tensor.name] for tensor in tensors if tensor.rate)
        if gone > most:
            raise SpecError(
                f"cannot prune {gone:,} weights per layer: the rates and the last weight of each layer leave "
                f"only {most:,} that may go; prune less, raise the rates, or set allow_empty=True"
            )
        losses = apportion(
            {tensor.name: tensor.rate * tensor.alive for tensor in tensors},
            dict.fromkeys(spare, 0),
            spare,
            gone,
        )
        return {tensor.name: tensor.alive - losses[tensor.name] for tensor in tensors}
