"""Text as a dataset: sequences of characters or bytes, of which the next is to be predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from overparam.errors import DataError, SpecError
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import located, read_content
from overparam.worlds.task import NextToken

LEVELS = ("char", "byte")


@DATASETS.named("text")
def text(
    path: str, level: str = "char", context: int = 64, test: float = 0.1, folder: str | Path | None = None
) -> Dataset:
    """Text of your own, read from a file: the next character at each place of a window.

    Args:
        path: a text file, plain or compressed by gzip; if not absolute, looked for as images are.
        level: ``char`` (UTF-8; the vocabulary is every character of the file, in the order of their numbers) or
            ``byte`` (256).
        context: tokens in a window; windows follow each other without overlap, and a rest at the end is left out.
        test: the share of the text, at its end, that is the test set, in (0, 1).
        folder: where a relative path is looked for first.

    Raises:
        DataError: the file is not found, or is not UTF-8.
        SpecError: a wrong field, or a text that is too short for one window of each set.

    Example:
        {text: {path: letters.txt, context: 32}}
    """
    _check(path, level, context, test)
    place = located(path, folder, "text")
    tokens, vocabulary = tokens_of(read_content(place), level, str(place))
    cut = len(tokens) - round(test * len(tokens))
    train, tested = tokens[:cut], tokens[cut:]
    shorter = min(len(train), len(tested))
    if shorter <= context:
        raise SpecError(
            f"dataset 'text': context must be below {shorter}, the length of the shorter of both sets, got {context}"
        )
    name, task = place.name.split(".")[0], NextToken(vocabulary)
    return Dataset(name, *windows(train, context), *windows(tested, context), task=task)


def tokens_of(content: bytes, level: str, source: str) -> tuple[Tensor, int]:
    """Return a text as tokens, int64 ``(N,)``, and how many different ones there may be."""
    if level == "byte":
        return torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.int64)), 256
    try:
        characters = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is not UTF-8 ({error.reason} at byte {error.start}); take level: byte") from None
    codes = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    known, tokens = np.unique(codes, return_inverse=True)
    return torch.from_numpy(tokens.reshape(-1).astype(np.int64)), len(known)


def windows(tokens: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Return windows of ``context`` tokens one after the other, and the token that comes next at each of their places.

    Both are int64 ``(N, context)``.
    """
    count = (len(tokens) - 1) // context
    return tokens[: count * context].view(count, context), tokens[1 : count * context + 1].view(count, context)


def _check(path: Any, level: Any, context: Any, test: Any) -> None:
    """Raise :class:`SpecError` for a wrong field."""
    if not isinstance(path, str):
        raise SpecError(f"dataset 'text': path must be that of a text file, got {path!r}")
    if level not in LEVELS:
        raise SpecError(f"dataset 'text': level must be one of {', '.join(LEVELS)}, got {level!r}")
    if isinstance(context, bool) or not isinstance(context, int) or context < 1:
        raise SpecError(f"dataset 'text': context must be a number of tokens from 1 on, got {context!r}")
    if isinstance(test, bool) or not isinstance(test, float) or not 0 < test < 1:
        raise SpecError(f"dataset 'text': test must be a share in (0, 1) such as 0.1, got {test!r}")
