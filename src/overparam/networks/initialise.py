"""Initialisations that the papers of the field start from."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

Init = Literal["kaiming-normal", "glorot-normal", "gpt-2", "pytorch"]
"""The names of initialisations, see :func:`initialise`."""


def initialise(module: nn.Module, init: Init) -> None:
    """Draw new initial values in place, from torch's global generator, in the order of ``module.modules()``.

    * ``kaiming-normal``: weights of linear and convolutional layers ~ N(0, 2 / fan_in) (He et al., 2015),
      biases as torch constructs them, i.e. U(-1, 1) / sqrt(fan_in); batch norm scales ~ U(0, 1), shifts 0.
      This is what the code of Sparse Double Descent (He et al., 2022) and open_lth do; the former's text says
      zero biases.
    * ``glorot-normal``: the same weights ~ N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio, 2010), biases 0;
      batch norm scales 1, shifts 0. The Lottery Ticket Hypothesis (Frankle & Carbin, 2019).
    * ``gpt-2``: the same weights and embeddings ~ N(0, 0.02), those of the layers that end a residual branch over
      sqrt(number of such layers) more, biases 0; norm scales 1, shifts 0 (Radford et al., 2019, section 2.3).
    * ``pytorch``: everything stays as it was constructed.

    Layers of other kinds (attention's packed projections, recurrent ones, but for ``gpt-2`` embeddings) stay as
    constructed.
    """
    if init == "pytorch":
        return
    if init == "gpt-2":
        _gpt_2(module)
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear | _ConvNd):
            if init == "kaiming-normal":
                nn.init.kaiming_normal_(layer.weight)  # fan_in, gain sqrt(2)
            else:
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        elif isinstance(layer, _BatchNorm) and layer.affine:
            if init == "kaiming-normal":
                nn.init.uniform_(layer.weight)
            else:
                nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def _gpt_2(module: nn.Module) -> None:
    ends = [layer for part in module.modules() for layer in getattr(part, "residual_ends", tuple)()]
    for layer in module.modules():
        if isinstance(layer, nn.Linear | _ConvNd | nn.Embedding):
            ending = any(layer is end for end in ends)
            nn.init.normal_(layer.weight, std=0.02 / (len(ends) ** 0.5 if ending else 1))
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        elif isinstance(layer, nn.LayerNorm | _BatchNorm) and layer.weight is not None:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
