"""The datasets that have a name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from overparam.errors import DataError
from overparam.registry import Registry
from overparam.streams import torch_stream
from overparam.worlds import cifar
from overparam.worlds import tiny_imagenet as tiny
from overparam.worlds.dataset import Dataset
from overparam.worlds.embedded import digit_arrays
from overparam.worlds.files import DATA, Folder, RemoteFile, find, obtain
from overparam.worlds.idx import parse_idx
from overparam.worlds.images import as_dataset

DATASETS: Registry[Any] = Registry(
    "dataset",
    "a Dataset, a function that returns one, or a folder of images as {path: ..., size: [height, width]}",
    lambda thing: callable(thing) or isinstance(thing, Dataset) or hasattr(thing, "load"),
)
"""Loaders by name; each may take ``folder``, where to look first, and raises DataError if nothing is found."""

DIGITS_TRAIN = 1297
DIGIT_CONFUSIONS = {2: 7, 3: 8, 5: 6, 6: 5}
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_CONFUSIONS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_MNIST = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_CIFAR = ("https://www.cs.toronto.edu/~kriz/",)
_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
FILES = {
    "mnist": [RemoteFile(*each, _MNIST) for each in zip(_IDX_NAMES, _MNIST_SHA256, strict=True)],
    "fashion-mnist": [RemoteFile(*each, _FASHION) for each in zip(_IDX_NAMES, _FASHION_SHA256, strict=True)],
    "cifar-10": [
        RemoteFile(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            _CIFAR,
        )
    ],
    "cifar-100": [
        RemoteFile(
            "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            _CIFAR,
        )
    ],
}
"""The files of the public datasets: the one place that knows their addresses and checksums."""


@DATASETS.named("digits")
def digits(folder: Folder = None) -> Dataset:
    """8x8 handwritten digits, 1,297 train and 500 test; comes with overparam, needs no download.

    The 1,797 images of :func:`overparam.worlds.embedded.digit_arrays`, in [0, 1], shuffled once by the stream
    ``(0, "digits")``; the first 1,297 are for training. Confusions for asymmetric noise: as in MNIST.
    """
    images, labels = digit_arrays()
    order = torch.randperm(len(labels), generator=torch_stream(0, "digits")).numpy()
    inputs, labels = images.reshape(-1, 1, 8, 8)[order] / 16, labels[order]
    train = inputs[:DIGITS_TRAIN]
    return Dataset.from_arrays(
        train,
        labels[:DIGITS_TRAIN],
        inputs[DIGITS_TRAIN:],
        labels[DIGITS_TRAIN:],
        name="digits",
        mean=[0.3057],
        std=[0.3758],
        class_names=[str(digit) for digit in range(10)],
        asymmetric=DIGIT_CONFUSIONS,
    )


@DATASETS.named("mnist")
def mnist(folder: Folder = None) -> Dataset:
    """28x28 handwritten digits, 60,000 train and 10,000 test (LeCun et al., 1998).

    Confusions for asymmetric noise: 2 -> 7, 3 -> 8, 5 <-> 6 (He et al., 2022, arXiv:2206.08684).
    """
    names = tuple(str(digit) for digit in range(10))
    return _idx_dataset("mnist", folder, 0.1307, 0.3081, names, DIGIT_CONFUSIONS)


@DATASETS.named("fashion-mnist")
def fashion_mnist(folder: Folder = None) -> Dataset:
    """28x28 pictures of clothes, 60,000 train and 10,000 test (Xiao et al., 2017)."""
    return _idx_dataset("fashion-mnist", folder, 0.2860, 0.3530, FASHION_NAMES, None)


@DATASETS.named("cifar-10")
def cifar_10(folder: Folder = None) -> Dataset:
    """32x32 colour pictures of ten things, 50,000 train and 10,000 test (Krizhevsky, 2009).

    Found as ``cifar-10-python.tar.gz`` or as the folder ``cifar-10-batches-py``.
    Confusions for asymmetric noise: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog
    (He et al., 2022, arXiv:2206.08684).
    """
    contents, remarks = _batches("cifar-10", cifar.CIFAR_10, cifar.TEST_BATCH, folder)
    batches = {name: cifar.parse_batch(content, source) for name, (source, content) in contents.items()}
    train, test = cifar.join(batches[name] for name in cifar.TRAIN_BATCHES), batches[cifar.TEST_BATCH]
    return Dataset(
        "cifar-10",
        torch.from_numpy(train.images),
        torch.from_numpy(train.labels),
        torch.from_numpy(test.images.copy()),  # a pickle's array may be read-only
        torch.from_numpy(test.labels),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        class_names=CIFAR10_NAMES,
        asymmetric=CIFAR10_CONFUSIONS,
        remarks=remarks,
    )


@DATASETS.named("cifar-100")
def cifar_100(folder: Folder = None) -> Dataset:
    """32x32 colour pictures of 100 things, 50,000 train and 10,000 test (Krizhevsky, 2009), by their fine labels.

    Found as ``cifar-100-python.tar.gz`` or as the folder ``cifar-100-python``. Confusions for asymmetric noise: each
    class becomes the next one of its super-class, the last the first, by the super-classes that the files state (He et
    al., 2022, whose code takes five neighbouring numbers for a super-class, which they are not).
    """
    contents, remarks = _batches("cifar-100", cifar.CIFAR_100, "test", folder)
    train, test = (cifar.parse_batch(contents[n][1], contents[n][0], cifar.CIFAR_100) for n in ("train", "test"))
    coarse = cifar.parse_coarse(contents["train"][1], contents["train"][0])
    return Dataset(
        "cifar-100",
        torch.from_numpy(train.images.copy()),
        torch.from_numpy(train.labels),
        torch.from_numpy(test.images.copy()),
        torch.from_numpy(test.labels),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        class_names=cifar.parse_names(contents["meta"][1], contents["meta"][0]),
        asymmetric=cifar.confusions_within(train.labels, coarse),
        remarks=remarks,
    )


@DATASETS.named("tiny-imagenet")
def tiny_imagenet(folder: Folder = None) -> Dataset:
    """64x64 colour pictures of 200 things, 100,000 train and 10,000 test (Stanford's CS231N, 2015).

    Found as ``tiny-imagenet-200.zip`` or as the folder ``tiny-imagenet-200``; it is not downloaded. The test set is the
    published validation set, since the labels of the published test set are not.
    """
    arrays = tiny.arrays_of(folder)
    return as_dataset("tiny-imagenet", arrays, mean=(0.4802, 0.4481, 0.3975), std=(0.2770, 0.2691, 0.2821))


def _batches(
    name: str, form: cifar.Form, test: str, folder: str | Path | None
) -> tuple[dict[str, tuple[str, bytes]], tuple[str, ...]]:
    """Return the files of a CIFAR dataset, unpacked or from its archive, and what is to be said of them."""
    files = FILES[name]
    # A folder that has one file of a telling name is read, and says which others it lacks.
    telling = [[f"{form.folder}/{test}"], [test] if test == cifar.TEST_BATCH else list(form.files)]
    found = find(name, [*telling, [file.name for file in files]], folder)
    if found and found[0].name != files[0].name:
        contents = cifar.read_batches(str(found[0].parent), form=form)
    else:
        contents = cifar.read_batches(*obtain(name, files, folder)[0], form)
    strange = [source for part, (source, content) in contents.items() if _strange(name, part, source, content)]
    return contents, _remarks(strange)


def _idx_dataset(
    name: str,
    folder: str | Path | None,
    mean: float,
    std: float,
    class_names: tuple[str, ...],
    asymmetric: dict[int, int] | None,
) -> Dataset:
    arrays, strange = [], []
    for (source, content), file, dimensions in zip(
        obtain(name, FILES[name], folder), FILES[name], (3, 1, 3, 1), strict=True
    ):
        if _strange(name, file.name, source, content):
            strange.append(source)
        arrays.append(parse_idx(content, dimensions, source))
        if dimensions == 1 and len(arrays[-1]) != len(arrays[-2]):
            raise DataError(
                f"{source}: {len(arrays[-1])} labels for {len(arrays[-2])} images; take both files from one source"
            )
    return Dataset.from_arrays(
        *arrays,
        name=name,
        mean=[mean],
        std=[std],
        class_names=class_names,
        asymmetric=asymmetric,
        remarks=_remarks(strange),
    )


def _strange(dataset: str, name: str, source: str, content: bytes) -> bool:
    """Return whether the content is unknown; raises :class:`DataError` if it is that of another published file."""
    digests = {hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()}
    known = {file.sha256: (owner, file.name) for owner, files in FILES.items() for file in files}
    known |= {md5: ("cifar-10", batch) for batch, md5 in cifar.PUBLISHED_MD5.items()}
    known |= {md5: ("cifar-100", part) for part, md5 in cifar.PUBLISHED_MD5_100.items()}
    owner, original = next((known[digest] for digest in digests if digest in known), (None, None))
    if owner is not None and (owner, original) != (dataset, name):
        raise DataError(
            f"{source}: has the content of {original} of the dataset {owner!r} and cannot be {name} of {dataset!r}; "
            f"keep the files of each dataset in a folder of its name, and name the folder above in {DATA}"
        )
    return owner is None


def _remarks(strange: Sequence[str]) -> tuple[str, ...]:
    if not strange:
        return ()
    return (f"not the published files, by their checksums, but used as they are: {', '.join(strange)}",)
