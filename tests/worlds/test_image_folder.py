from __future__ import annotations

import io
import os
import resource
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
from overparam.worlds import Dataset, ImageFolder, World, cache_folder, files, images


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
    assert data.train_targets.tolist() == [0, 1, 1]
    assert data.test_targets.tolist() == [0, 1]
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
    original = images.decode

    def counting(content: bytes, size: tuple[int, int], channels: int, source: str) -> Any:
        decoded.append(source)
        return original(content, size, channels, source)

    monkeypatch.setattr(images, "decode", counting)
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
    source = ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5))
    source.load()
    (kept,) = (cache_folder() / "images").iterdir()
    whole = kept.read_bytes()
    middle = whole.index(pixels(1).tobytes()) + 10
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    for damaged in (whole[:100], whole[:-1], b"", flipped, b"nothing of the kind"):
        kept.write_bytes(damaged)
        decoded.clear()
        with pytest.warns(UserWarning, match="is damaged"):
            check(source.load())
        assert len(decoded) == 5
        check(source.load())
        assert len(decoded) == 5
        assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_flipped_bits_of_the_cache_never_pass(tmp_path: Path) -> None:
    source = ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5))
    digest = source.load().digest()
    (kept,) = (cache_folder() / "images").iterdir()
    whole = kept.read_bytes()
    for bit in range(0, 8 * len(whole), 149):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        kept.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert source.load().digest() == digest


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


def test_a_changed_image_of_the_same_size_and_date_is_seen(tmp_path: Path) -> None:
    """As in archives that are unpacked with one date, or where an image was replaced by a tool that keeps it."""
    contents = {name: picture(seed, form="BMP") for seed, name in enumerate(("train/a/0.bmp", "test/a/0.bmp"))}
    loaded = []
    for seed in (0, 9):
        folder = write_folder(tmp_path / "x", {**contents, "train/a/0.bmp": picture(seed, form="BMP")})
        for path in folder.rglob("*"):
            os.utime(path, (0, 0))
        loaded.append(ImageFolder(str(folder), (6, 5)).load().train_inputs[0].numpy())
    assert np.array_equal(loaded[0], pixels(0))
    assert np.array_equal(loaded[1], pixels(9))


LEFT_OUT = {
    "train/.ipynb_checkpoints/0.png": picture(7),
    "train/cat/.DS_Store": b"x",
    "train/cat/Thumbs.db": b"x",
    "test/cat/a.gif": b"x",
    "train/cat/a.heic": b"x",
    "train/dog/puppies/0.png": picture(8),
    "val/cat/0.png": picture(9),
    "test/labels.csv": b"x",
    "notes.txt": b"x",
}


def test_what_is_left_out_is_told_and_changes_no_class(tmp_path: Path) -> None:
    kept = {name: content for name, content in CONTENTS.items() if name.endswith(("g", "G")) and "._" not in name}
    del kept["other/cat/0.png"]
    folder = write_folder(tmp_path / "x", kept)
    clean = ImageFolder(str(folder), (6, 5)).load()
    assert clean.remarks == ()
    write_folder(folder, LEFT_OUT)
    (folder / "train/cat/folder.png").mkdir()
    archive = write_tar(tmp_path / "x.tar", {**kept, **LEFT_OUT, "__MACOSX/train/cat/0.png": b"x"}, prefix="some/pets/")
    with tarfile.open(archive, "a") as opened:
        for name, kind in (("train/cat/l.png", tarfile.SYMTYPE), ("train/cat/h.png", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(f"some/pets/{name}")
            link.type, link.linkname = kind, "some/pets/train/cat/z.png"
            opened.addfile(link)
    loaded = [ImageFolder(str(path), (6, 5)).load() for path in (folder, archive)]
    assert [data.digest() for data in loaded] == [clean.digest()] * 2
    assert loaded[0].remarks == (
        "left out 2 outside train and test (such as notes.txt), 2 of other types (such as test/cat/a.gif), "
        "1 beside the class folders (such as test/labels.csv), 3 hidden (such as train/.ipynb_checkpoints), "
        "2 folders inside class folders (such as train/cat/folder.png)",
    )
    assert loaded[1].remarks == (
        "left out 4 hidden (such as some/pets/train/.ipynb_checkpoints/0.png), "
        "2 of other types (such as some/pets/test/cat/a.gif), "
        "1 in folders inside class folders (such as some/pets/train/dog/puppies/0.png), "
        "2 outside train and test (such as some/pets/val/cat/0.png), "
        "1 beside the class folders (such as some/pets/test/labels.csv), 2 links (such as some/pets/train/cat/l.png)",
    )
    for path, data in zip((folder, archive), loaded, strict=True):
        assert ImageFolder(str(path), (6, 5)).load().notes() == data.notes() == (f"dataset 'x': {data.remarks[0]}",)


def test_a_later_member_of_an_archive_replaces_an_earlier_one_of_its_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {**CONTENTS, "train/cat/z.png": picture(9)})
    write_tar(tmp_path / "y.tar", {"./train/cat/z.png": picture(0)})
    with tarfile.open(path, "a") as archive, tarfile.open(tmp_path / "y.tar") as added:
        for member in added:
            archive.addfile(member, added.extractfile(member))
    check(ImageFolder(str(path), (6, 5)).load())


def test_folders_and_images_may_be_links(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x")
    (folder / "train/cat").rename(tmp_path / "elsewhere")
    (folder / "train/cat").symlink_to(tmp_path / "elsewhere")
    (folder / "train/dog/loop").symlink_to(folder)
    (tmp_path / "elsewhere/z.png").rename(tmp_path / "z")
    (tmp_path / "elsewhere/z.png").symlink_to(tmp_path / "z")
    check(ImageFolder(str(folder), (6, 5)).load())


@pytest.mark.parametrize("name", ["train/cat/1.png", "train/bird", "test/dog/notes.txt", "train/cat/self.png"])
def test_a_broken_link_is_named(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "x")
    (folder / name).symlink_to(folder / name if "self" in name else "/nowhere")
    with pytest.raises(DataError, match=rf"^{folder / name}: is a broken link"):
        ImageFolder(str(folder), (6, 5)).load()


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "x")
    os.mkfifo(folder / "train/cat/pipe.png")
    with pytest.raises(DataError, match=r"pipe.png: is a broken link, or neither file nor folder"):
        ImageFolder(str(folder), (6, 5)).load()
    (folder / "train/cat/pipe.png").unlink()

    def denied(path: object, *_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # root may read everything, so the system must be played
        patch.setattr(Path, "open", denied)
        with pytest.raises(DataError, match=rf"^{folder}/train/cat/z.png: cannot be read \(Permission denied\)$"):
            ImageFolder(str(folder), (6, 5)).load()
    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(DataError, match=rf"^{folder}: cannot be listed \(Permission denied\)$"):
        ImageFolder(str(folder), (6, 5)).load()


def test_a_cache_that_is_full_costs_time_only(tmp_path: Path) -> None:
    source = ImageFolder(str(write_tar(tmp_path / "x.tar")), (6, 5))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
    try:
        with pytest.warns(UserWarning, match=r"cannot write to the cache folder .* every process decodes the images"):
            check(source.load())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((cache_folder() / "images").iterdir())


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"train/a/0.png": picture(0)}, r"holds no images test/<class>/<name>"),
        ({"test/a/0.png": picture(0)}, r"holds no images train/<class>/<name>"),
        ({"train/a/0.png": picture(0), "test/b/0.png": picture(0)}, r"test classes b have no images under train"),
        (
            {"train/a/0.png": picture(0), "test/a/0.png": picture(0), "train/b/0.gif": b"GIF89a"},
            r"the class folders b under train hold no images",
        ),
        ({"train/Cat/0.png": picture(0), "test/cat/0.png": picture(0)}, r"test classes cat have no images under train"),
        ({"train/a/0.png": b"no image", "test/a/0.png": picture(0)}, r"train/a/0.png: cannot be read"),
        ({"train/a/0.png": picture(0)[:60], "test/a/0.png": picture(0)}, r"train/a/0.png: cannot be read"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, contents: dict[str, bytes], message: str) -> None:
    for path in (write_folder(tmp_path / "x", contents), write_tar(tmp_path / "x.tar", contents)):
        with pytest.raises(DataError, match=message):
            ImageFolder(str(path), (6, 5)).load()


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    folder, archive = write_folder(tmp_path / "x"), write_tar(tmp_path / "x.tar")
    (folder / "train/bird").mkdir()
    with tarfile.open(archive, "a") as opened:
        member = tarfile.TarInfo("train/bird")
        member.type = tarfile.DIRTYPE
        opened.addfile(member)
    for path in (folder, archive):
        with pytest.raises(DataError, match=r"the class folders bird under train hold no images"):
            ImageFolder(str(path), (6, 5)).load()


def test_two_datasets_in_one_archive_are_refused(tmp_path: Path) -> None:
    contents = {f"{root}/{name}": content for root in ("v1", "v2") for name, content in CONTENTS.items()}
    with pytest.raises(DataError, match=r"has train and test folders in v1 and in v2; keep one of the two"):
        ImageFolder(str(write_tar(tmp_path / "x.tar", contents)), (6, 5)).load()


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
