"""Coverage: which of a network's parameters pruning reaches, and what it leaves out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from overparam.networks import first_names, prunable, tensor_roles
from overparam.prune.masks import Masks, count_kept
from overparam.remarks import left_out_sentence


@dataclass(frozen=True)
class Coverage:
    """Which parameters of a network carry masks.

    Attributes:
        kept: number of weights under masks that stay.
        weights: number of weights under masks, pruned ones included.
        parameters: number of all parameters of the network, a shared one counted once; quantised weights included.
        left_out: what has no mask: (role, number of elements) by name, largest first, without biases and the scales and
            shifts of norms.
    """

    kept: int
    weights: int
    parameters: int
    left_out: Mapping[str, tuple[str, int]]

    @property
    def density(self) -> float:
        """Kept share of the weights under masks, in [0, 1]; where there are none it is 1.0."""
        return self.kept / self.weights if self.weights else 1.0

    @property
    def density_of_all(self) -> float:
        """Kept share of all parameters, in [0, 1]: parameters without a mask are all kept."""
        return (self.parameters - self.weights + self.kept) / self.parameters if self.parameters else 1.0

    @property
    def left_out_share(self) -> float:
        """Share of all parameters in ``left_out``, in [0, 1]."""
        return sum(count for _, count in self.left_out.values()) / max(self.parameters, 1)

    def without(self, names: Collection[str]) -> Coverage:
        """Return this with ``names`` no longer in ``left_out``."""
        return replace(self, left_out={name: out for name, out in self.left_out.items() if name not in names})

    def sentence(self) -> str:
        """Say what is left out, with its share and what to do; empty if it is less than a thousandth."""
        return left_out_sentence(self.parameters, self.left_out)


def coverage(module: nn.Module, masks: Masks | None = None) -> Coverage:
    """Return which of ``module``'s parameters carry masks, and what is left out.

    >>> coverage(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))).left_out
    {'0.weight': ('embedding', 40)}

    Args:
        module: any network.
        masks: bool tensors by parameter name; None: what :func:`overparam.prune.prune` would give masks to.
    """
    first = first_names(module)
    roles = tensor_roles(module)
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    if masks is None:
        covered = {name: sizes[name] for name in prunable(roles)}
        return covering(sizes, roles, covered, sum(covered.values()), quantised(module))
    found = {first.get(name, name): mask for name, mask in masks.items()}
    return covering(sizes, roles, {n: mask.numel() for n, mask in found.items()}, count_kept(found), quantised(module))


def covering(
    sizes: Mapping[str, int],
    roles: Mapping[str, str],
    covered: Mapping[str, int],
    kept: int,
    further: Mapping[str, int] | None = None,
) -> Coverage:
    """Return the coverage of parameters of these ``sizes`` and ``roles``, of which ``covered`` have masks.

    ``further`` has the sizes of quantised weights, which are no parameters.
    """
    out = {
        name: (roles[name], count)
        for name, count in sizes.items()
        if name not in covered and roles[name] not in ("bias", "norm") and count
    }
    out |= {name: ("quantised", count) for name, count in (further or {}).items()}
    largest = dict(sorted(out.items(), key=lambda entry: -entry[1][1]))
    everything = sum(sizes.values()) + sum((further or {}).values())
    return Coverage(kept, sum(covered.values()), everything, largest)


def quantised(module: nn.Module) -> dict[str, int]:
    """Return the sizes of the weights of torch's own quantised layers, which are no parameters, by name."""
    found: dict[str, int] = {}
    for path, part in module.named_modules():
        if ".quantized." in type(part).__module__:
            for leaf, read in (("weight", getattr(part, "weight", None)), ("", getattr(part, "get_weight", None))):
                values = read() if callable(read) and not isinstance(read, Tensor) else None
                tensors = values if isinstance(values, Mapping) else {leaf: values}
                for name, tensor in tensors.items():
                    if isinstance(tensor, Tensor):
                        found[f"{path}.{name}".strip(".")] = tensor.numel()
    return found
