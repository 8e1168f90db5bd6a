"""From what a user writes to a dataset: names, import paths, image folders, functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overparam.content import import_path
from overparam.errors import DataError, OverparamError, SpecError, in_words
from overparam.folders import CACHE
from overparam.recent import Recent
from overparam.registry import suggest
from overparam.streams import global_stream
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import DATA
from overparam.worlds.images import ImageFolder

Source = str | ImageFolder | Dataset | Callable[[], Dataset]

_datasets: Recent[Any, tuple[Any, Dataset]] = Recent(4)


def check_source(given: Any) -> Any:
    """Return the :data:`Source` that ``given`` is (a mapping is an :class:`ImageFolder`) without loading it.

    Raises :class:`SpecError` if it is none.
    """
    if isinstance(given, Mapping):
        return ImageFolder(**given)
    if isinstance(given, str) and given not in DATASETS and ":" not in given:
        raise SpecError(
            f"unknown dataset {given!r}{suggest(given, DATASETS)} (known: {', '.join(DATASETS)}; "
            "'package.module:function' for your own; {path: ..., size: [height, width]} for images)"
        )
    if isinstance(given, str | ImageFolder | Dataset) or callable(given):
        return given
    raise SpecError(
        "must be a name, an import path 'package.module:function', a folder of images "
        f"{{path: ..., size: [height, width]}}, a Dataset or a function that returns one, got {given!r}"
    )


def load_dataset(
    source: str | ImageFolder | Dataset | Callable[[], Dataset], folder: str | Path | None = None
) -> Dataset:
    """Return the dataset that ``source`` (a :class:`World`'s ``dataset``) means, read once per process.

    ``folder`` is where named datasets and image folders are looked for first. Raises :class:`DataError` if it
    is not found or damaged, or the user's function fails; :class:`SpecError` if ``source`` means no dataset.
    """
    if isinstance(source, Dataset):
        return source
    key = source if isinstance(source, str | ImageFolder) else id(source)
    where = (str(folder), os.environ.get(DATA), os.environ.get(CACHE), os.getcwd())
    # the source is kept beside the dataset, so that its id is not given to another object
    return _datasets.get((key, where), lambda: (source, _load(check_source(source), folder)))[1]


def _load(source: Any, folder: str | Path | None) -> Dataset:
    if isinstance(source, str):
        if source in DATASETS:
            return DATASETS.get(source)(folder)
        source = _imported(source)
    if isinstance(source, ImageFolder):
        return source.load(folder)
    if isinstance(source, Dataset):
        return source
    name = getattr(source, "__qualname__", repr(source))
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


def _imported(path: str) -> Any:
    """Return what ``package.module:name`` means."""
    thing = import_path(path, "dataset")
    if not (callable(thing) or isinstance(thing, Dataset | ImageFolder)):
        raise SpecError(f"dataset {path!r} must be a Dataset or a function that returns one, got {thing!r}")
    return thing
