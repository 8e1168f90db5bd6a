from __future__ import annotations

import io
import os
import shutil
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from overparam.errors import DataError, SpecError
from overparam.worlds import Dataset, ImageFolder, World, cache_folder, files
from overparam.worlds.images import ImageFolder as Images


def picture(seed: int, size: tuple[int, int] = (6, 5), form: str = "PNG", mode: str = "RGB") -> bytes:
    shape = (*size, 3) if mode == "RGB" else size
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def pixels(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8).transpose(2, 0, 1)


CONTENTS = {
    "train/dog/b.png": picture(2),
    "train/dog/a.png": picture(1),
    "train/cat/z.png": picture(0),
    "train/README.md": b"no image",
    "train/cat/notes.txt": b"no image",
    "train/cat/._z.png": b"what macOS leaves behind",
    "test/cat/0.png": picture(3),
    "test/dog/0.PNG": picture(4),
    "other/cat/0.png": b"not looked at",
}


def write_folder(folder: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, contents: dict[str, bytes] = CONTENTS, prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {".tar": "w", ".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[path.suffix]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def check(data: Dataset) -> None:
    assert data.class_names == ("cat", "dog")
    assert data.train_labels.tolist() == [0, 1, 1]
    assert data.test_labels.tolist() == [0, 1]
    for found, seed in zip((*data.train_inputs, *data.test_inputs), (0, 1, 2, 3, 4), strict=True):
        assert np.array_equal(found.numpy(), pixels(seed))


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2"])
@pytest.mark.parametrize("prefix", ["", "./", "pictures/of/animals/"])
def test_archives(tmp_path: Path, name: str, prefix: str) -> None:
    check(ImageFolder(str(write_tar(tmp_path / name, prefix=prefix)), (6, 5)).load())


def test_a_folder_and_its_tar_are_one_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data/pets")
    write_tar(tmp_path / "data/pets.tar.gz")
    monkeypatch.setenv(files.DATA, os.pathsep.join([str(tmp_path / "empty"), str(tmp_path / "data")]))
    check(ImageFolder("pets", (6, 5)).load())
    unpacked = World({"path": "pets", "size": [6, 5]})  # type: ignore[arg-type]  # as YAML gives it
    packed = World(ImageFolder("pets.tar.gz", (6, 5)))
    assert unpacked.identity() == packed.identity()
    assert World(ImageFolder("pets", (5, 6))).identity() != packed.identity()
    assert unpacked.build().train.inputs.shape == (3, 3, 6, 5)


def test_resizing_grey_and_jpeg(tmp_path: Path) -> None:
    contents = {
        "train/a/0.jpg": picture(0, (8, 8), "JPEG"),
        "train/b/0.jpeg": picture(1, (6, 5), "JPEG", "L"),
        "test/a/0.png": picture(2, (3, 9)),
    }
    path = write_tar(tmp_path / "x.tar", contents)
    colour = ImageFolder(str(path), (6, 5)).load()
    assert colour.train_inputs.shape == (2, 3, 6, 5)
    assert torch.equal(colour.train_inputs[1, 0], colour.train_inputs[1, 2])
    grey = ImageFolder(str(path), (6, 5), channels=1).load()
    assert grey.train_inputs.shape == (2, 1, 6, 5)
    assert torch.equal(grey.train_inputs[1, 0], colour.train_inputs[1, 0])


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    decoded: list[str] = []
    original = Images._picture

    def counting(self: Images, content: bytes, source: str) -> Any:
        decoded.append(source)
        return original(self, content, source)

    monkeypatch.setattr(Images, "_picture", counting)
    return decoded


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoding(monkeypatch)
    folder, archive = write_folder(tmp_path / "x"), write_tar(tmp_path / "x.tar")
    for path in (folder, archive):
        check(ImageFolder(str(path), (6, 5)).load())
        assert len(decoded) == 5
        check(ImageFolder(str(path), (6, 5)).load())
        assert len(decoded) == 5
        decoded.clear()
    shutil.copy(archive, tmp_path / "y.tar")  # the same content elsewhere
    check(ImageFolder(str(tmp_path / "y.tar"), (6, 5)).load())
    assert not decoded
    (folder / "train/cat/z.png").write_bytes(picture(77))  # changed content
    changed = ImageFolder(str(folder), (6, 5)).load()
    assert len(decoded) == 5
    assert np.array_equal(changed.train_inputs[0].numpy(), pixels(77))


def test_a_damaged_cache_is_redone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoding(monkeypatch)
    images = ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5))
    images.load()
    (kept,) = (cache_folder() / "images").iterdir()
    whole = kept.read_bytes()
    middle = whole.index(pixels(1).tobytes()) + 10
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    for damaged in (whole[:100], whole[:-1], b"", flipped, b"nothing of the kind"):
        kept.write_bytes(damaged)
        decoded.clear()
        with pytest.warns(UserWarning, match="is damaged"):
            check(images.load())
        assert len(decoded) == 5
        check(images.load())
        assert len(decoded) == 5
        assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_flipped_bits_of_the_cache_never_pass(tmp_path: Path) -> None:
    images = ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5))
    digest = images.load().digest()
    (kept,) = (cache_folder() / "images").iterdir()
    whole = kept.read_bytes()
    for bit in range(0, 8 * len(whole), 149):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        kept.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert images.load().digest() == digest


def test_an_unwritable_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(files.CACHE, str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"cannot write to the cache folder .* OVERPARAM_CACHE"):
        check(ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5)).load())


def test_every_truncation_of_an_archive_is_found(tmp_path: Path) -> None:
    for suffix in ("tar", "tar.gz", "tar.xz"):
        path = write_tar(tmp_path / f"x.{suffix}")
        whole = path.read_bytes()
        # a plain tar ends in a kilobyte of zeros and more, of which one block is enough
        end = len(whole.rstrip(b"\0")) if suffix == "tar" else len(whole)
        for length in {*range(0, end, 97), end - 1}:
            path.write_bytes(whole[:length])
            with pytest.raises(DataError):
                ImageFolder(str(path), (6, 5)).load()


def test_damaged_headers_of_an_archive_are_found(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar")
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        starts = [member.offset for member in archive]
    for start in starts:
        damaged = bytearray(whole)
        damaged[start + 1] ^= 1  # in the name: the header's checksum is wrong
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="tar archive"):
            ImageFolder(str(path), (6, 5)).load()


def test_links_and_outside_paths_in_an_archive_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(9))
    with tarfile.open(path, "w") as archive:
        for name, content in CONTENTS.items():
            member = tarfile.TarInfo("../../" + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("train/cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    before = sorted(tmp_path.rglob("*.png"))
    check(ImageFolder(str(path), (6, 5)).load())
    assert sorted(tmp_path.rglob("*.png")) == before


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"train/a/0.png": picture(0)}, r"holds no images test/<class>/<name>"),
        ({"test/a/0.png": picture(0)}, r"holds no images train/<class>/<name>"),
        ({"train/a/0.png": picture(0), "test/b/0.png": picture(0)}, r"test classes b have no folder"),
        ({"train/a/0.png": b"no image", "test/a/0.png": picture(0)}, r"train/a/0.png: cannot be read"),
        ({"train/a/0.png": picture(0)[:60], "test/a/0.png": picture(0)}, r"train/a/0.png: cannot be read"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, contents: dict[str, bytes], message: str) -> None:
    for path in (write_folder(tmp_path / "x", contents), write_tar(tmp_path / "x.tar", contents)):
        with pytest.raises(DataError, match=message):
            ImageFolder(str(path), (6, 5)).load()


def test_wrong_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.DATA, str(tmp_path))
    with pytest.raises(DataError, match=rf"cannot find the images 'no.tar': looked for {tmp_path}/no.tar.*DATA"):
        ImageFolder("no.tar", (6, 5)).load()
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(DataError, match=r"text.tar: cannot be read as a tar archive"):
        ImageFolder("text.tar", (6, 5)).load()
    with pytest.raises(SpecError, match=r"ImageFolder.size"):
        ImageFolder(path="x", size=(0, 5))
    with pytest.raises(SpecError, match=r"(?i)World.dataset: ImageFolder.size: is required"):
        World(dataset={"path": "x"})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"ImageFolder.pth: no such field; did you mean 'path'"):
        World({"pth": "x", "size": [2, 2]})  # type: ignore[arg-type]
