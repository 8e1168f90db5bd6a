"""A decoder-only transformer, as GPT-2 is one, for sequences of tokens."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from overparam.errors import SpecError
from overparam.networks.architecture import Size, architecture

Rate = Annotated[float, Field(ge=0, lt=1, strict=True)]


@architecture("transformer", init="gpt-2", version=1)
def transformer(
    input_shape: tuple[int, ...],
    classes: int,
    vocabulary: int,
    *,
    layers: Size = 2,
    heads: Size = 4,
    width: Size = 64,
    dropout: Rate = 0.0,
) -> nn.Module:
    """Transformer for next tokens: decoder-only with pre-norm blocks, causal attention and learned positions.

    As GPT-2 (Radford et al., 2019), small, with GELU; embedding and output layer are not tied.

    Args:
        layers: blocks, each of attention and a hidden layer four times as wide as ``width``.
        heads: of attention in each block.
        width: features of a token, a multiple of ``heads``.
        dropout: share of what attention and both branches of a block give that is set to zero in training.

    Example:
        {transformer: {layers: 2, heads: 2, width: 32}}
    """
    if width % heads:
        raise SpecError(f"options.width: must be a multiple of heads ({heads}), got {width} (network 'transformer')")
    return Transformer(input_shape[0], vocabulary, classes, layers, heads, width, dropout)


class Transformer(nn.Module):
    """Embeddings of tokens ``(N, T)`` and places, blocks, a norm and the output layer: ``(N, T, classes)``."""

    def __init__(
        self, context: int, vocabulary: int, classes: int, layers: int, heads: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(heads, width, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score every token as the next one at each place."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        features = self.blocks(self.tokens(tokens) + self.positions(places))
        return self.output(self.norm(features))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Causal self-attention and a hidden layer, each behind a norm and added to what came in."""

    def __init__(self, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.size, self.rate = width // heads, dropout  # of a head, of which there may be fewer later
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.expansion = nn.Linear(width, 4 * width)
        self.contraction = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Add both branches to features ``(N, T, width)``."""
        features = features + self.dropout(self.projection(self._attended(self.norm1(features))))
        hidden = functional.gelu(self.expansion(self.norm2(features)), approximate="tanh")
        return features + self.dropout(self.contraction(hidden))  # type: ignore[no-any-return]

    def _attended(self, features: Tensor) -> Tensor:
        batch, length, _ = features.shape
        split = self.attention(features).view(batch, length, 3, -1, self.size)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, -1)

    def residual_ends(self) -> tuple[nn.Linear, nn.Linear]:
        """Return the layers whose outputs are added to what came in."""
        return self.projection, self.contraction
