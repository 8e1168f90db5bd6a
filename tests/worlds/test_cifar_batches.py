from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overparam.errors import DataError
from overparam.worlds import files, load_dataset
from overparam.worlds.cifar import PUBLISHED_MD5, TEST_BATCH, TRAIN_BATCHES, parse_batch


def batch(labels: list[int], seed: int = 0) -> dict[bytes, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), np.uint8)
    return {b"batch_label": b"testing", b"labels": labels, b"data": pixels}


def as_python_2_wrote_it(labels: list[int], pixels: bytes) -> bytes:
    """Spell the opcodes of the published files: byte strings, and the module names of an old NumPy."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n(U\x02u1" + number(0) + number(1) + b"tR("
    dtype += number(3) + b"U\x01|NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"tU\x01btR("
    array += number(1) + b"(" + number(len(labels)) + number(3072) + b"t" + dtype + b"\x89" + text(pixels) + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + listed + b"u."


def test_a_batch_in_the_published_form() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
    found = parse_batch(as_python_2_wrote_it([4, 0, 9], pixels.tobytes()), "batch")
    assert np.array_equal(found.images, pixels)
    assert found.labels.tolist() == [4, 0, 9]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_batch_that_python_3_wrote(protocol: int) -> None:
    content = batch([1, 2])
    found = parse_batch(pickle.dumps(content, protocol), "batch")
    assert np.array_equal(found.images.reshape(2, -1), content[b"data"])
    assert found.labels.tolist() == [1, 2]


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_not_executed(protocol: int, tmp_path: Path) -> None:
    victim = tmp_path / "made-by-the-pickle"
    for function, arguments in [
        (os.mkdir, (str(victim),)),
        (os.system, (f"mkdir {victim}",)),
        (eval, (f"__import__('os').mkdir({str(victim)!r})",)),
        (np.save, (str(victim), np.zeros(1))),
    ]:
        content = pickle.dumps({b"data": Evil(function, *arguments), b"labels": []}, protocol)
        with pytest.raises(DataError, match=r"^batch: .*which no CIFAR batch needs"):
            parse_batch(content, "batch")
    assert not list(tmp_path.glob("made-by*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "'data' must be"),
        ({**batch([1]), b"data": np.zeros((1, 3072))}, "'data' must be"),
        ({**batch([1]), b"data": np.zeros((1, 784), np.uint8)}, "'data' must be"),
        ({**batch([1]), b"labels": [10]}, "'labels' must be"),
        ({**batch([1]), b"labels": None}, "'labels' must be"),
        ({**batch([1]), b"labels": [1, 2]}, "1 images and 2 labels"),
    ],
)
def test_other_contents_are_refused(content: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"^batch: .*{message}"):
        parse_batch(pickle.dumps(content, 2), "batch")


def test_every_truncation_is_found() -> None:
    content = as_python_2_wrote_it([4], bytes(3072))
    for length in [*range(250), *range(len(content) - 60, len(content))]:
        with pytest.raises(DataError, match=r"^batch: "):
            parse_batch(content[:length], "batch")


def batches() -> dict[str, bytes]:
    names = (*TRAIN_BATCHES, TEST_BATCH)
    return {name: pickle.dumps(batch([i, 9 - i], seed=i), 2) for i, name in enumerate(names)}


def write_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in batches().items():
        (folder / name).write_bytes(content)


def write_archive(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches().items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_the_dataset_is_the_same_from_folder_and_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "a/cifar-10-batches-py")
    write_folder(tmp_path / "b/cifar-10")
    write_archive(tmp_path / "c/cifar-10/cifar-10-python.tar.gz")
    digests = set()
    for place in "abc":
        monkeypatch.setenv(files.DATA, str(tmp_path / place))
        data = load_dataset("cifar-10")
        digests.add(data.digest())
    assert len(digests) == 1
    assert data.train_targets.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert data.test_targets.tolist() == [5, 4]
    assert data.train_inputs.shape == (10, 3, 32, 32)
    assert (data.class_names[0], data.classes) == ("airplane", 10)


def test_missing_and_damaged_batches_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DataError, match=r"lacks the CIFAR-10 batches data_batch_3"):
        load_dataset("cifar-10", folder=tmp_path)
    archive = tmp_path / "other/cifar-10-python.tar.gz"
    write_archive(archive)
    archive.write_bytes(archive.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: cannot be read as a tar archive"):
        load_dataset("cifar-10", folder=tmp_path / "other")


def test_published_batches_are_known_by_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = batches()
    for name, content in contents.items():
        monkeypatch.setitem(PUBLISHED_MD5, name, hashlib.md5(content).hexdigest())
    write_folder(tmp_path / "cifar-10-batches-py")
    write_archive(tmp_path / "packed/cifar-10-python.tar.gz")
    for folder in (tmp_path, tmp_path / "packed"):
        assert load_dataset("cifar-10", folder).remarks == ()
    one, other = (tmp_path / "cifar-10-batches-py" / name for name in TRAIN_BATCHES[:2])
    two = tmp_path / "again"
    shutil.copytree(one.parent, two / "cifar-10-batches-py")
    shutil.copy(one, two / "cifar-10-batches-py" / other.name)
    with pytest.raises(DataError, match=r"data_batch_2: has the content of data_batch_1 .* cannot be data_batch_2"):
        load_dataset("cifar-10", two)
    other.write_bytes(pickle.dumps(batch([1, 2], seed=77), 2))
    (remark,) = load_dataset("cifar-10", one.parent).remarks
    assert remark == f"not the published files, by their checksums, but used as they are: {other}"


def test_a_batch_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    (tmp_path / "cifar-10-batches-py/data_batch_3").mkdir()
    with pytest.raises(DataError, match=r"data_batch_3: cannot be read \(.*Is a directory"):
        load_dataset("cifar-10", folder=tmp_path)
