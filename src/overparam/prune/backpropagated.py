"""The diagonal of the curvature by one pass backwards, as Optimal Brain Damage takes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from overparam.errors import SpecError
from overparam.networks.forward import Call, Inputs, record
from overparam.prune.derivatives import Loss, training_flags
from overparam.prune.roots import loss_by_outputs, output_curvature

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ROUTES = (nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_STRANGE = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, nn.GLU, nn.MultiheadAttention)


def backpropagated_diagonal(module: nn.Module, batch: tuple[Inputs, Any], loss: Loss) -> dict[str, Tensor]:
    """Return an approximation of d2L/dw2 on a mini-batch by the name of each linear layer's weight and bias.

    From the diagonal of the loss's Hessian by the outputs (of cross entropy ``p (1 - p)``) it is handed down from unit
    to unit: ``h_j = f'(a_j)^2 sum_i w_ij^2 h_i``, and ``h_ij = h_i x_j^2``, summed where a weight is shared, without
    the second derivatives of activations (Levenberg-Marquardt), so that none is negative. What several units have in
    common is left out, so it is exact for the last layer only.

    For a chain of linear layers, convolutions, activations, batch norm in evaluation, max pooling and flattening, each
    of which is given what the one before it returns; raises :class:`SpecError` for any other network.

    Reference: LeCun, Denker & Solla, NIPS 1989
    """
    with training_flags(module, False):
        calls = _chain(module, batch[0])
        outputs, slopes = loss_by_outputs(module, batch, loss)
        found = output_curvature(outputs, slopes).diagonal(dim1=1, dim2=2)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    diagonals: dict[str, Tensor] = {}
    for call in reversed(calls):
        found, own = _back(call, found)
        for parameter, diagonal in own:
            name = names[id(parameter)]
            diagonals[name] = diagonals[name] + diagonal if name in diagonals else diagonal
    return diagonals


def _chain(module: nn.Module, inputs: Inputs) -> list[Call]:
    """Return the calls of the parts without parts; raises :class:`SpecError` unless each is given the one before."""
    leaves = tuple({type(part) for part in module.modules() if not any(True for _ in part.children())})
    output, calls = record(module, inputs, leaves)
    given = calls[0].args[0] if calls and calls[0].args else inputs
    for call in calls:
        kind = type(call.layer).__name__
        if not _known(call.layer):
            raise _refused(f"{kind} is none of them")
        if len(call.args) != 1 or call.args[0] is not given:
            raise _refused(f"a {kind} is given something else than the layer before it returns")
        given = call.output
    if output is not given:
        raise _refused("what the network returns is not what its last layer does")
    return calls


def _known(layer: nn.Module) -> bool:
    plain = isinstance(layer, (*_LINEAR, *_ROUTES, *_NORMS, nn.Identity, nn.Dropout))
    activation = type(layer).__module__ == "torch.nn.modules.activation" and not isinstance(layer, _STRANGE)
    return plain or (activation and not any(True for _ in layer.parameters()))


def _refused(why: str) -> SpecError:
    return SpecError(
        "the backpropagated curvature needs a chain of linear layers, convolutions, activations, batch norm, max "
        f"pooling and flattening: {why}; take curvature gauss-newton, fisher or hutchinson"
    )


def _back(call: Call, above: Tensor) -> tuple[Tensor, list[tuple[nn.Parameter, Tensor]]]:
    """Return the diagonal by what a layer is given, from that by what it returns, and those of its own parameters."""
    layer, given = call.layer, call.args[0].detach()
    if isinstance(layer, _LINEAR):
        return _linear(layer, given, above)
    given = given.requires_grad_(given.is_floating_point())
    with torch.enable_grad():
        returned = layer(given.clone())  # it may work in place
    if isinstance(layer, _ROUTES):
        return torch.autograd.grad(returned, given, above)[0], []
    (slope,) = torch.autograd.grad(returned.sum(), given)
    return slope.square() * above, _of_norm(layer, given.detach(), above)


def _linear(layer: nn.Module, given: Tensor, above: Tensor) -> tuple[Tensor, list[tuple[nn.Parameter, Tensor]]]:
    """Hand down through the squares of the weights, which give the squares of a linear layer's derivatives."""
    squares = {name: parameter.detach().square() for name, parameter in layer.named_parameters()}
    squares = {name: square.requires_grad_() for name, square in squares.items()}
    square_given = given.square().requires_grad_()
    with torch.enable_grad():  # returned is sum w^2 x^2, so its slope by w^2 is x^2 and by x^2 is w^2
        returned = functional_call(layer, squares, (square_given,))
    parameters = dict(layer.named_parameters())
    down, *own = torch.autograd.grad(returned, [square_given, *squares.values()], above)
    return down, list(zip(parameters.values(), own, strict=True))


def _of_norm(layer: nn.Module, given: Tensor, above: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    if not isinstance(layer, _NORMS) or layer.weight is None:
        return []
    standard = functional.batch_norm(given, layer.running_mean, layer.running_var, eps=layer.eps)
    others = [dim for dim in range(given.dim()) if dim != 1]
    return [(layer.weight, (standard.square() * above).sum(others)), (layer.bias, above.sum(others))]
