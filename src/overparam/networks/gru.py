"""A recurrent network of gated units for sequences of tokens."""

from __future__ import annotations

from torch import Tensor, nn

from overparam.networks.architecture import Size, architecture


@architecture("gru", init="pytorch", version=1)
def gru(
    input_shape: tuple[int, ...],
    classes: int,
    vocabulary: int,
    *,
    layers: Size = 1,
    hidden: Size = 128,
    embedding: Size = 32,
) -> nn.Module:
    """GRU for next tokens: an embedding, gated recurrent units and an output layer (Cho et al., 2014).

    The state begins at zero in each sequence. Initialised as torch does: recurrent weights ~ U(-1, 1) / sqrt(hidden),
    embeddings ~ N(0, 1).

    Args:
        layers: recurrent layers, each reading what the one before gives.
        hidden: units of each layer.
        embedding: features of a token.

    Example:
        {gru: {layers: 2, hidden: 64}}
    """
    return Recurrent(vocabulary, classes, layers, hidden, embedding)


class Recurrent(nn.Module):
    """Tokens ``(N, T)`` to scores ``(N, T, classes)``."""

    def __init__(self, vocabulary: int, classes: int, layers: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, embedding)
        self.recurrent = nn.GRU(embedding, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score every token as the next one at each place."""
        states, _ = self.recurrent(self.tokens(tokens))
        return self.output(states)  # type: ignore[no-any-return]
