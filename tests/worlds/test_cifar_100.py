"""CIFAR-100 in its published form, made up small: fine labels, super-classes, names, and what is refused."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overparam import DataError, LabelNoise
from overparam.worlds import files, load_dataset

FINE = list(range(100))
COARSE = [label % 20 for label in FINE]  # the super-class of 3 is {3, 23, 43, 63, 83}: no neighbours, as published


def contents(**changes: Any) -> dict[str, bytes]:
    def part(seed: int) -> dict[bytes, Any]:
        pixels = np.random.default_rng(seed).integers(0, 256, (100, 3072), np.uint8)
        given = {
            b"data": pixels,
            b"fine_labels": FINE,
            b"coarse_labels": COARSE,
            b"filenames": [],
            b"batch_label": b"testing",
        }
        return {**given, **{name.encode(): value for name, value in changes.items()}}

    meta = {b"fine_label_names": [b"thing %d" % n for n in FINE], b"coarse_label_names": [b"kind"] * 20}
    return {name: pickle.dumps(each, 2) for name, each in (("train", part(0)), ("test", part(1)), ("meta", meta))}


def write_folder(folder: Path, parts: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in parts.items():
        (folder / name).write_bytes(content)


def write_archive(path: Path, parts: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_it_is_the_same_from_folder_and_archive(tmp_path: Path) -> None:
    write_folder(tmp_path / "a/cifar-100-python", contents())
    write_folder(tmp_path / "b/cifar-100", contents())
    write_archive(tmp_path / "c/cifar-100-python.tar.gz", contents())
    found = [load_dataset("cifar-100", tmp_path / place) for place in "abc"]
    assert len({data.digest() for data in found}) == 1
    data = found[0]
    assert (data.classes, data.class_names[7], data.train_inputs.shape) == (100, "thing 7", (100, 3, 32, 32))
    assert data.train_targets.tolist() == data.test_targets.tolist() == FINE
    assert not (data.train_inputs == data.test_inputs).all()


def test_classes_are_confused_within_their_super_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-100-python", contents())
    data = load_dataset("cifar-100", tmp_path)
    noisy = LabelNoise("asymmetric", 1.0).apply(data.train_targets, 100, seed=0, confusions=data.asymmetric)
    assert [noisy[label].item() for label in (3, 23, 83)] == [23, 43, 3]
    assert ((noisy - data.train_targets) % 20 == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fine_labels": [*FINE[:-1], 100]},
            "'fine_labels' must be a list of integers from 0 to 99",
        ),
        ({"coarse_labels": [20] * 100}, "'coarse_labels' must be a list of integers from 0 to 19"),
        ({"fine_labels": FINE[:-1]}, "damaged CIFAR-100 batch, 100 images and 99 labels"),
        ({"data": np.zeros((100, 3072))}, "no CIFAR-100 batch, 'data' must be"),
    ],
)
def test_other_contents_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "cifar-100-python", contents(**changes))
    with pytest.raises(DataError, match=message):
        load_dataset("cifar-100", tmp_path)


def test_missing_and_strange_files_are_named(tmp_path: Path) -> None:
    parts = contents()
    write_folder(tmp_path / "a/cifar-100-python", {name: parts[name] for name in ("test", "meta")})
    with pytest.raises(DataError, match="lacks the CIFAR-100 batches train"):
        load_dataset("cifar-100", tmp_path / "a")
    write_folder(tmp_path / "b/cifar-100-python", {**parts, "meta": parts["test"]})
    with pytest.raises(DataError, match="no meta file of CIFAR-100, 'fine_label_names' must be a list of 100 names"):
        load_dataset("cifar-100", tmp_path / "b")
    write_folder(tmp_path / "c/cifar-100-python", parts)
    assert "not the published files, by their checksums" in load_dataset("cifar-100", tmp_path / "c").remarks[0]


def test_what_is_nowhere_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.MIRROR, f"file://{tmp_path}")
    with pytest.raises(DataError, match=r"cannot find cifar-100-python.tar.gz of the dataset 'cifar-100': looked in"):
        load_dataset("cifar-100", tmp_path)
