"""The world of a study: which data exists and how it is seen."""

import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PlainValidator
from torch import Tensor

from overparam.errors import SpecError
from overparam.recent import Recent
from overparam.spec import native, spec
from overparam.streams import stream_seed, torch_stream
from overparam.worlds.augmentation import Augmentation
from overparam.worlds.dataset import Dataset
from overparam.worlds.endless import endless_split, stream_identity
from overparam.worlds.label_noise import LabelNoise
from overparam.worlds.normalize import normal
from overparam.worlds.sources import Source, check_source, load_dataset
from overparam.worlds.splits import FiniteSplit, Split
from overparam.worlds.task import Classification, Reconstruction, Task, metric_names, task_identity
from overparam.worlds.world_data import WorldData

_clean_worlds: Recent[str, WorldData] = Recent(2)  # one of 60,000 small images takes 200 MB
_noisy_labels: Recent[str, Tensor] = Recent(16)

Size = Annotated[int, Field(ge=1)]


def _checked_part(given: Any) -> int | float | None:
    value = native(given)
    if value is None or (type(value) is int and value >= 1) or (type(value) is float and 0 < value < 1):
        return value
    raise SpecError(
        f"must be a number of examples such as 1000, or a share of them in (0, 1) such as 0.1, got {given!r}"
    )


@spec
class World:
    """Which data exists and how it is seen.

    Args:
        dataset: a name of ``DATASETS``, such a name with its fields (``{name: {field: value}}``), an import path
            ``package.module:name``, an :class:`ImageFolder`, a :class:`Dataset`, or a function that returns one.
        train_size, test_size: exact number of examples, drawn at random; ``None`` = all (that are not for
            validation). A larger set contains the smaller ones.
        label_noise: wrong labels in the training set.
        augmentation: crops and flips of the training images.
        normalize: inputs are ``(x - mean) / std`` of the dataset's statistics; else images are in [0, 1].
        seed: of subsets, label noise and an endless stream. It is not the study's seed: every run sees the same data,
            as in He et al. (2022, arXiv:2206.08684).
        validation: how many of the training examples, or what share of all of them, are set apart to choose by (early
            stopping, the best of several trainings), so that nothing is chosen on the test set. They are the same
            ones whatever ``train_size`` is. Label noise reaches them at the same rate, with exact counts of their own:
            in practice they come from the same source as the training labels; what they would say without noise is
            measured beside it (``validation_accuracy_clean``).
        endless: train on an endless stream of new examples, as the dataset gives it, of which so many count as one
            epoch ("ideal" world, Nakkiran et al. 2021, arXiv:2010.08127), instead of on its training set. Training
            metrics are measured on as many further examples as there are for testing, which are never trained on.
        task: ``reconstruction`` lets networks give back the inputs instead of what the dataset is for.

    Example:
        {dataset: digits, train_size: 1000, label_noise: {kind: symmetric, rate: 0.2}, validation: 0.1}

    >>> data = World("digits", train_size=1000, label_noise=LabelNoise("symmetric", 0.2)).build()
    >>> data.train.inputs.shape, data.noise_realised
    (torch.Size([1000, 1, 8, 8]), 0.2)
    """

    dataset: Annotated[Source, PlainValidator(check_source)]
    train_size: Size | None = None
    test_size: Size | None = None
    label_noise: LabelNoise | None = None
    augmentation: Augmentation | None = None
    normalize: bool = True
    seed: int = 0
    validation: Annotated[int | float | None, PlainValidator(_checked_part)] = None
    endless: Size | None = None
    task: Literal["reconstruction"] | None = None

    def __post_init__(self) -> None:
        if self.endless is None:
            return
        if self.train_size is not None:
            raise ValueError("train_size belongs to a finite training set, endless says how long an epoch is; give one")
        if isinstance(self.validation, float):
            raise ValueError("validation must be a number of examples where the world is endless, not a share")
        if self.label_noise is not None and self.label_noise.rate > 0:
            raise ValueError("label_noise has exact counts in a finite training set; an endless world has none")

    def build(self) -> WorldData:
        """Return the data; inputs and labels are kept in memory for the next call, whatever its noise.

        Raises :class:`DataError` if the dataset is not found or damaged, :class:`SpecError` if it has fewer
        examples than asked for, no images to augment, no map of classes for asymmetric noise, or no stream.
        """
        dataset = load_dataset(self.dataset)
        identity = self.identity()
        inputs_key = {**identity, "label_noise": None, "augmentation": None}
        data = _clean_worlds.get(json.dumps(inputs_key), lambda: self._clean(dataset))
        data = dataclasses.replace(data, augmentation=self.augmentation)
        if self.label_noise is None or self.label_noise.rate == 0:
            return data
        splits = {name: split for name, split in data.splits.items() if name != "test"}
        noisy = {name: self._noisy(name, split, dataset, identity) for name, split in splits.items()}  # type: ignore[arg-type]
        train = noisy["train"]
        realised = int(torch.ne(train.targets, data.train.examples().targets).sum()) / len(train)
        return dataclasses.replace(data, **noisy, noise_realised=realised)  # type: ignore[arg-type]

    def _noisy(self, name: str, split: FiniteSplit, dataset: Dataset, identity: Mapping[str, Any]) -> FiniteSplit:
        """Return a split with wrong labels."""
        assert self.label_noise is not None
        noise, seed = self.label_noise, self.seed if name == "train" else stream_seed(self.seed, name)
        targets = _noisy_labels.get(
            json.dumps([name, identity]),
            lambda: noise.apply(split.targets, dataset.classes, seed, dataset.asymmetric),
        )
        return FiniteSplit(split.inputs, targets, split.targets)

    def traits(self) -> dict[str, Any]:
        """Return what tells worlds apart, as columns of a study's table."""
        return {
            "dataset": self.dataset if isinstance(self.dataset, str) else load_dataset(self.dataset).name,
            "noise_rate": self.label_noise.rate if self.label_noise else 0.0,
            "noise_realised": self.build().noise_realised,
        }

    def notes(self) -> tuple[str, ...]:
        """Return sentences on what may be wrong with the dataset though it can be used; raises as :meth:`build`."""
        return load_dataset(self.dataset).notes()

    def form(self) -> dict[str, Any]:
        """Return what a network is made for, as :attr:`WorldData.form` of what is built."""
        dataset = load_dataset(self.dataset)
        shape = tuple(dataset.train_inputs.shape[1:])
        outputs = self._task(dataset).output_shape(shape)
        return {"input_shape": shape, "outputs": outputs, "vocabulary": dataset.vocabulary}

    def metrics(self) -> tuple[str, ...]:
        """Return the names of what is measured in this world, as :attr:`WorldData.metrics` of what is built."""
        noisy = self.label_noise is not None and self.label_noise.rate > 0
        splits = {"train": noisy, **({"validation": noisy} if self.validation else {}), "test": False}
        return metric_names(self._task(load_dataset(self.dataset)), splits)

    def identity(self) -> dict[str, Any]:
        """Return what the data depends on, JSON-able: each field, the dataset by contents and not by path.

        Two worlds with equal identities have equal data; noise of rate 0 and an augmentation that changes
        nothing count as none. Raises as :meth:`build` does.
        """
        dataset = load_dataset(self.dataset)
        held, train = self._sizes(dataset)
        statistics = dataset.statistics() if self.normalize else None
        return {
            "dataset": dataset.digest(),
            "statistics": statistics and [list(each) for each in statistics],
            "task": task_identity(self._task(dataset)),
            "train_size": train,
            "validation": held,
            "test_size": _size("test_size", self.test_size, len(dataset.test_targets)),
            "endless": None if self.endless is None else [self.endless, stream_identity(dataset, self.seed)],
            "label_noise": self._noise_identity(dataset),
            "augmentation": self._augmentation_identity(dataset),
            "normalize": self.normalize,
            "seed": self.seed,
        }

    def _noise_identity(self, dataset: Dataset) -> dict[str, Any] | None:
        if self.label_noise is None:
            return None
        if not isinstance(self._task(dataset), Classification):
            raise SpecError(f"label_noise needs classes, the task is {self._task(dataset)!r}; leave it out")
        self.label_noise.check(dataset.classes, dataset.asymmetric)
        if self.label_noise.rate == 0:
            return None
        noise = dataclasses.asdict(self.label_noise)
        if self.label_noise.kind == "asymmetric":
            noise["confusions"] = [list(pair) for pair in sorted((dataset.asymmetric or {}).items())]
        return noise

    def _augmentation_identity(self, dataset: Dataset) -> dict[str, Any] | None:
        if self.augmentation is None:
            return None
        self.augmentation.check(tuple(dataset.train_inputs.shape[1:]))
        if self.augmentation.active and isinstance(self._task(dataset), Reconstruction):
            raise SpecError("augmentation changes the inputs and not the targets, so a reconstruction takes none")
        return dataclasses.asdict(self.augmentation) if self.augmentation.active else None

    def _task(self, dataset: Dataset) -> Task:
        if self.task is None:
            return dataset.task
        if dataset.vocabulary is not None:
            raise SpecError("task: a reconstruction needs images or real numbers, the inputs of the dataset are tokens")
        return Reconstruction()

    def _sizes(self, dataset: Dataset) -> tuple[int, int]:
        """Return how many examples are for validation, and how many for training."""
        count = len(dataset.train_targets)
        given = self.validation or 0
        held = round(Fraction(repr(given)) * count) if isinstance(given, float) else given
        if self.endless is not None:
            return held, 0
        if given and not 0 < held < count:
            raise SpecError(f"World.validation must leave examples to train on, of {count} it would take {held}")
        return held, _size("train_size", self.train_size, count - held, " besides those for validation" * bool(held))

    def _clean(self, dataset: Dataset) -> WorldData:
        """Return the data without label noise and augmentation."""
        statistics = dataset.statistics() if self.normalize else None
        task, (held, count) = self._task(dataset), self._sizes(dataset)

        def split(inputs: Tensor, targets: Tensor) -> FiniteSplit:
            seen = normal(inputs, statistics)
            return FiniteSplit(seen, seen if isinstance(task, Reconstruction) else targets)

        order = torch.randperm(len(dataset.test_targets), generator=torch_stream(self.seed, "subset", "test"))
        test = split(*_chosen(dataset.test_inputs, dataset.test_targets, order[: self.test_size]))
        if self.endless is None:
            order = torch.randperm(len(dataset.train_targets), generator=torch_stream(self.seed, "subset", "train"))
            parts = (dataset.train_inputs, dataset.train_targets)
            validation = split(*_chosen(*parts, order[len(order) - held :]))
            train: Split = split(*_chosen(*parts, order[:count]))
        else:
            train, validation = endless_split(dataset, self.seed, self.endless, (len(test), held), split)
        shape = tuple(dataset.train_inputs.shape[1:])
        black = normal(dataset.train_inputs.new_zeros(1, shape[0]), statistics).squeeze(0)
        held_out = validation if held else None
        return WorldData(train, test, task, shape, 0.0, black, None, dataset.vocabulary, held_out)


def _size(field: str, size: int | None, most: int, besides: str = "") -> int:
    if size is not None and size > most:
        raise SpecError(f"World.{field} must be at most {most}, what the dataset has{besides}; got {size}")
    return size or most


def _chosen(inputs: Tensor, targets: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Return the chosen examples in the order of the dataset; without copies if all are."""
    if len(which) == len(targets):
        return inputs, targets
    which = which.sort().values
    return inputs[which], targets[which]
