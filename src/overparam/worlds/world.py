"""The world of a study: which data exists and how it is seen."""

import dataclasses
import json
from typing import Annotated, Any

import torch
from pydantic import Field, PlainValidator
from torch import Tensor

from overparam.errors import SpecError
from overparam.recent import Recent
from overparam.spec import spec
from overparam.streams import torch_stream
from overparam.worlds.augmentation import Augmentation
from overparam.worlds.dataset import Dataset
from overparam.worlds.label_noise import LabelNoise
from overparam.worlds.sources import Source, check_source, load_dataset
from overparam.worlds.splits import FiniteSplit, WorldData

_clean_worlds: Recent[str, WorldData] = Recent(2)  # one of 60,000 small images takes 200 MB
_noisy_labels: Recent[str, Tensor] = Recent(16)


@spec
class World:
    """Which data exists and how it is seen.

    Args:
        dataset: a name of ``DATASETS``, an import path ``package.module:name``, an :class:`ImageFolder`, a
            :class:`Dataset`, or a function that returns one.
        train_size, test_size: exact number of examples, drawn at random; ``None`` = all. A larger set
            contains the smaller ones.
        label_noise: wrong labels in the training set.
        augmentation: crops and flips of the training images.
        normalize: inputs are ``(x - mean) / std`` of the dataset's statistics; else images are in [0, 1].
        seed: of subset and label noise. It is not the study's seed: every run sees the same data, as in
            He et al. (2022, arXiv:2206.08684).

    >>> data = World("digits", train_size=1000, label_noise=LabelNoise("symmetric", 0.2)).build()
    >>> data.train.inputs.shape, data.noise_realised
    (torch.Size([1000, 1, 8, 8]), 0.2)
    """

    dataset: Annotated[Source, PlainValidator(check_source)]
    train_size: Annotated[int, Field(ge=1)] | None = None
    test_size: Annotated[int, Field(ge=1)] | None = None
    label_noise: LabelNoise | None = None
    augmentation: Augmentation | None = None
    normalize: bool = True
    seed: int = 0

    def build(self) -> WorldData:
        """Return the data; inputs and labels are kept in memory for the next call, whatever its noise.

        Raises :class:`DataError` if the dataset is not found or damaged, :class:`SpecError` if it has fewer
        examples than asked for, no images to augment, or no map of classes for asymmetric noise.
        """
        dataset = load_dataset(self.dataset)
        identity = self.identity()
        inputs_key = {**identity, "label_noise": None, "augmentation": None}
        data = _clean_worlds.get(json.dumps(inputs_key), lambda: self._clean(dataset))
        data = dataclasses.replace(data, augmentation=self.augmentation)
        if self.label_noise is None or self.label_noise.rate == 0:
            return data
        noise, clean = self.label_noise, data.train.examples().targets
        noisy = _noisy_labels.get(
            json.dumps(identity), lambda: noise.apply(clean, dataset.classes, self.seed, dataset.asymmetric)
        )
        realised = int((noisy != clean).sum()) / len(clean)
        train = FiniteSplit(data.train.examples().inputs, noisy, clean)
        return dataclasses.replace(data, train=train, noise_realised=realised)

    def notes(self) -> tuple[str, ...]:
        """Return sentences on what may be wrong with the dataset though it can be used; raises as :meth:`build`."""
        return load_dataset(self.dataset).notes()

    def identity(self) -> dict[str, Any]:
        """Return what the data depends on, JSON-able: each field, the dataset by contents and not by path.

        Two worlds with equal identities have equal data; noise of rate 0 and an augmentation that changes
        nothing count as none. Raises as :meth:`build` does.
        """
        dataset = load_dataset(self.dataset)
        noise = augmentation = None
        if self.label_noise is not None:
            self.label_noise.check(dataset.classes, dataset.asymmetric)
            if self.label_noise.rate > 0:
                noise = dataclasses.asdict(self.label_noise)
                if self.label_noise.kind == "asymmetric":
                    noise["confusions"] = [list(pair) for pair in sorted((dataset.asymmetric or {}).items())]
        if self.augmentation is not None:
            self.augmentation.check(tuple(dataset.train_inputs.shape[1:]))
            augmentation = dataclasses.asdict(self.augmentation) if self.augmentation.active else None
        statistics = dataset.statistics() if self.normalize else None
        return {
            "dataset": dataset.digest(),
            "statistics": statistics and [list(each) for each in statistics],
            "train_size": _size("train_size", self.train_size, dataset.train_targets),
            "test_size": _size("test_size", self.test_size, dataset.test_targets),
            "label_noise": noise,
            "augmentation": augmentation,
            "normalize": self.normalize,
            "seed": self.seed,
        }

    def _clean(self, dataset: Dataset) -> WorldData:
        statistics = dataset.statistics() if self.normalize else None
        splits = []
        for name, inputs, labels, size in (
            ("train", dataset.train_inputs, dataset.train_targets, self.train_size),
            ("test", dataset.test_inputs, dataset.test_targets, self.test_size),
        ):
            if size is not None and size < len(labels):
                order = torch.randperm(len(labels), generator=torch_stream(self.seed, "subset", name))
                chosen = order[:size].sort().values
                inputs, labels = inputs[chosen], labels[chosen]
            splits.append(FiniteSplit(_normal(inputs, statistics), labels))
        shape = tuple(dataset.train_inputs.shape[1:])
        black = _normal(dataset.train_inputs.new_zeros(1, shape[0]), statistics).squeeze(0)
        return WorldData(splits[0], splits[1], dataset.task, shape, 0.0, black)


def _size(field: str, size: int | None, labels: Tensor) -> int:
    if size is not None and size > len(labels):
        raise SpecError(f"World.{field} must be at most {len(labels)}, what the dataset has; got {size}")
    return size or len(labels)


def _normal(inputs: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]] | None) -> Tensor:
    """Return ``(x - mean) / std`` in float32, uint8 scaled to [0, 1] before; channels are dimension 1."""
    scaled = inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs
    if statistics is not None:
        mean, std = (torch.tensor(each, dtype=torch.float32).view(-1, *[1] * (inputs.dim() - 2)) for each in statistics)
        scaled = (scaled - mean if scaled is inputs else scaled.sub_(mean)).div_(std)
    return scaled.contiguous()
