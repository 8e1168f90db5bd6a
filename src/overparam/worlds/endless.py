"""Endless worlds: from a dataset's stream to a split that never ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from overparam.errors import OverparamError, SpecError, in_words
from overparam.identity import comes_with_overparam, identity_of
from overparam.recent import Recent
from overparam.streams import stream_seed
from overparam.worlds.checks import check_inputs, form
from overparam.worlds.dataset import Dataset
from overparam.worlds.splits import EndlessSplit, FiniteSplit

_known: Recent[tuple[int, int], tuple[Dataset, dict[str, Any]]] = Recent(16)

LOOKED_AT = torch.tensor([0, 1, 2, 3, 1000, 1001, 10**6, 10**9, 10**12])
"""Numbers of the examples by which a stream is known and tried."""


def endless_split(
    dataset: Dataset,
    seed: int,
    epoch: int,
    held: tuple[int, int],
    split: Callable[[Tensor, Tensor], FiniteSplit],
) -> tuple[EndlessSplit, FiniteSplit]:
    """Return an endless training split of a dataset's stream, and one of other examples for validation.

    Args:
        seed: of the world.
        epoch: how many examples count as one epoch.
        held: how many examples are held out to measure training metrics on, and how many for validation.
        split: makes what a network sees of raw examples.
    """

    def drawn(purpose: str, indices: Tensor) -> FiniteSplit:
        return split(*draw(dataset, stream_seed(seed, "endless", purpose), indices))

    def trained_on(indices: Tensor) -> tuple[Tensor, Tensor]:
        made = drawn("train", indices)
        return made.inputs, made.targets

    measured, validation = (
        drawn(name, torch.arange(max(count, 1))) for name, count in zip(("measured", "validation"), held, strict=True)
    )
    return EndlessSplit(trained_on, epoch, measured.examples()), validation


def draw(dataset: Dataset, seed: int, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return examples of a dataset's stream, once they are found to be like those of the dataset.

    Raises :class:`SpecError` if there is no stream, it fails, or gives something else.
    """
    if dataset.stream is None:
        raise SpecError(
            f"endless: dataset {dataset.name!r} has no stream of new examples; take one that has, such as 'mnist-1d', "
            "or give Dataset(stream=...)"
        )
    try:
        inputs, targets = dataset.stream(seed, indices)
        check_inputs(dataset.name, "stream", inputs, targets)
    except OverparamError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise SpecError(f"endless: the stream of dataset {dataset.name!r} failed with {in_words(error)}") from error
    wanted = (len(indices), form(dataset.train_inputs), form(dataset.train_targets))
    if (len(inputs), form(inputs), form(targets)) != wanted or len(targets) != len(indices):
        raise SpecError(
            f"endless: the stream of dataset {dataset.name!r} must give {len(indices)} examples as its training set "
            f"has, inputs {wanted[1]} and targets {wanted[2]}; got {len(inputs)} of {form(inputs)} and {form(targets)}"
        )
    return inputs, targets


def stream_identity(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Return what a dataset's stream is, JSON-able, for fingerprints: examples of it, and the code of one's own.

    It is looked at once in a process. Raises :class:`SpecError` if an example is another one in other company, as it
    then depends on more than its number.
    """
    # the dataset is kept beside what was found, so that its id is not given to another object
    return _known.get((id(dataset), seed), lambda: (dataset, _stream_identity(dataset, seed)))[1]


def _stream_identity(dataset: Dataset, seed: int) -> dict[str, Any]:
    seed = stream_seed(seed, "endless", "train")
    inputs, targets = draw(dataset, seed, LOOKED_AT)
    for place in range(0, len(LOOKED_AT), 4):
        alone = draw(dataset, seed, LOOKED_AT[place : place + 1])
        if not (torch.equal(alone[0][0], inputs[place]) and torch.equal(alone[1][0], targets[place])):
            raise SpecError(
                f"endless: the stream of dataset {dataset.name!r} gives another example {int(LOOKED_AT[place])} alone "
                "than together with others; each must depend on the seed and its number only"
            )
    sha = hashlib.sha256(inputs.numpy().tobytes() + targets.numpy().tobytes())
    own = comes_with_overparam(dataset.stream) if dataset.stream is not None else True
    return {"examples": sha.hexdigest(), **({} if own else {"code": identity_of(dataset.stream)})}
