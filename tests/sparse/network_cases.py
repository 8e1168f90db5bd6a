"""Networks under masks, and how converted ones are compared with them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from overparam.networks.architecture import NETWORKS
from overparam.sparse import SparseNetwork, convert


def pruned(model: nn.Module, density: float = 0.4) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model with random masks on its weights, and these; norms get weights other than 1."""
    masks = {}
    with torch.no_grad():
        for part_name, part in model.named_modules():
            weight = getattr(part, "weight", None)
            if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
                mask = torch.rand(weight.shape) < density
                weight.copy_(torch.where(mask, weight, 0))
                masks[f"{part_name}.weight"] = mask
            elif weight is not None:
                weight.uniform_(0.5, 1.5)
                if getattr(part, "bias", None) is not None:
                    part.bias.uniform_(-1, 1)
    return model, masks


def close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Errors are relative to the tensor's largest element, those below 1e-6 count as such."""
    assert found.shape == wanted.shape
    scale = max(float(wanted.detach().abs().max()) if wanted.numel() else 1.0, 0.01)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * scale)


def agree(model: nn.Module, inputs: Tensor, network: SparseNetwork | None = None, tolerance: float = 2e-5) -> None:
    """Outputs, buffers and all gradients agree, and both draw the same random numbers."""
    network = convert(model) if network is None else network
    reference, masks = copy.deepcopy(model), network.masks()
    network.train(model.training)
    given = [inputs.clone().requires_grad_() for _ in range(2)]
    state = torch.get_rng_state()
    found = network(given[0])
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    wanted = reference(given[1])
    assert torch.equal(after, torch.get_rng_state())
    close(found, wanted, tolerance)
    errors = torch.randn_like(wanted)
    found.backward(errors)
    wanted.backward(errors)
    close(given[0].grad, given[1].grad, tolerance)
    dense = dict(reference.named_parameters())
    assert list(network.names.values()) == list(dense)
    for name, parameter in network.named_parameters():
        original = network.names[name]
        gradient = dense[original].grad
        if gradient is None:
            assert parameter.grad is None
            continue
        mask = masks.get(original)
        if mask is not None:
            gradient = gradient[mask].view(1, 1, -1) if name.endswith(".values") else gradient * mask
        close(parameter.grad, gradient, 5 * tolerance)
    for name, value in reference.state_dict().items():
        close(network.dense_state()[name].double(), value.double(), tolerance)


def built(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> nn.Module:
    return NETWORKS.get(name)(shape, 4, **options)
