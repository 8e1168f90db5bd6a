"""From what a user writes to a dataset: names, import paths, image folders, functions."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overparam.errors import DataError, OverparamError, SpecError, in_words
from overparam.folders import CACHE
from overparam.recent import Recent
from overparam.streams import global_stream
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import DATA
from overparam.worlds.images import ImageFolder

Source = str | Mapping[str, Any] | ImageFolder | Dataset | Callable[[], Dataset]

_datasets: Recent[Any, tuple[Any, Dataset]] = Recent(4)


def check_source(given: Any) -> Any:
    """Return the :data:`Source` that ``given`` is without loading it; a mapping of fields is an :class:`ImageFolder`.

    Raises :class:`SpecError` if it is none.
    """
    if isinstance(given, Mapping) and not all(isinstance(value, Mapping) for value in given.values()):
        return ImageFolder(**given)
    return DATASETS.checked(given)


def load_dataset(source: Source, folder: str | Path | None = None) -> Dataset:
    """Return the dataset that ``source`` (a :class:`World`'s ``dataset``) means, read once per process.

    ``folder`` is where named datasets and image folders are looked for first. Raises :class:`DataError` if it
    is not found or damaged, or the user's function fails; :class:`SpecError` if ``source`` means no dataset.
    """
    if isinstance(source, Dataset):
        return source
    key = source if isinstance(source, str | ImageFolder) else str(source) if isinstance(source, dict) else id(source)
    where = (str(folder), os.environ.get(DATA), os.environ.get(CACHE), os.getcwd())
    # the source is kept beside the dataset, so that its id is not given to another object
    return _datasets.get((key, where), lambda: (source, _load(check_source(source), folder)))[1]


def _load(given: Any, folder: str | Path | None) -> Dataset:
    source = given if isinstance(given, ImageFolder) else DATASETS.resolve(given)
    if isinstance(source, ImageFolder):
        return source.load(folder)
    if isinstance(source, Dataset):
        return source
    name = DATASETS.label(given)
    if folder is not None and DATASETS.name_of(source):
        source = functools.partial(source, folder=folder)
    try:
        with global_stream(0, "dataset"):  # so that data that a function draws are the same in each process
            made = source()
    except OverparamError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise DataError(f"the dataset function {name} failed with {in_words(error)}") from error
    if not isinstance(made, Dataset):
        raise SpecError(f"the dataset function {name} must return a Dataset, got {type(made).__name__}")
    return made
