"""Tiny-ImageNet in its published form, made up small: from a folder and a zip archive, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overparam import DataError
from overparam.worlds import load_dataset

IDS = ("n02000001", "n01000002")  # not in order, as in the published list
GREY = 40


def picture(shade: int, mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, (64, 64), shade if mode == "L" else (shade, 0, 255 - shade)).save(made, "JPEG", quality=95)
    return made.getvalue()


def parts() -> dict[str, bytes]:
    found = {"wnids.txt": "\n".join(IDS).encode(), "words.txt": b"n01000002\tfish, perch\nn02000001\tcat\nn09\tother\n"}
    for number, name in enumerate(IDS):
        found[f"train/{name}/{name}_boxes.txt"] = b"boxes"
        for picked in range(3):
            shade = 100 * number + 10 * picked
            found[f"train/{name}/images/{name}_{picked}.JPEG"] = picture(shade)
    found[f"train/{IDS[0]}/images/{IDS[0]}_3.JPEG"] = picture(GREY, "L")
    found["val/images/val_0.JPEG"], found["val/images/val_1.JPEG"] = picture(200), picture(220)
    found["val/val_annotations.txt"] = f"val_1.JPEG\t{IDS[0]}\t0\t0\t9\t9\nval_0.JPEG\t{IDS[1]}\t0\t0\t9\t9\n".encode()
    found["test/images/test_0.JPEG"] = b"not looked at"
    return found


def write_folder(folder: Path, found: dict[str, bytes]) -> None:
    for name, content in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_archive(path: Path, found: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in found.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)


def test_it_is_the_same_from_folder_and_archive(tmp_path: Path) -> None:
    write_folder(tmp_path / "a/tiny-imagenet-200", parts())
    write_archive(tmp_path / "b/tiny-imagenet-200.zip", parts())
    folder, archive = (load_dataset("tiny-imagenet", tmp_path / place) for place in "ab")
    assert folder.digest() == archive.digest()
    assert (folder.class_names, folder.train_inputs.shape) == (("fish, perch", "cat"), (7, 3, 64, 64))
    assert folder.train_targets.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert folder.test_targets.tolist() == [0, 1]  # in the order of the pictures, not of the list
    shades = folder.train_inputs[:, 0].float().mean((1, 2)).round().tolist()
    assert np.allclose(shades, [100, 110, 120, 0, 10, 20, GREY], atol=2)
    assert np.allclose(folder.train_inputs[6].float().mean((1, 2)), GREY, atol=2)


def test_it_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from overparam.worlds import tiny_imagenet

    write_folder(tmp_path / "tiny-imagenet-200", parts())
    found = tiny_imagenet.arrays_of(tmp_path)
    monkeypatch.setattr(tiny_imagenet, "decode", None)
    again = tiny_imagenet.arrays_of(tmp_path)
    assert all(np.array_equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("words.txt"), "lacks words.txt; replace it by a whole copy"),
        (lambda found: found.pop("val/val_annotations.txt"), "lacks val/val_annotations.txt"),
        (
            lambda found: [found.pop(name) for name in list(found) if name.startswith(f"train/{IDS[1]}/images")],
            f"the classes {IDS[1]} have no pictures",
        ),
        (
            lambda found: found.pop("val/images/val_0.JPEG"),
            "names a picture 'val/images/val_0.JPEG', which",
        ),
        (
            lambda found: found.update({"val/val_annotations.txt": b"val_0.JPEG\tn7\n"}),
            "names a class 'n7', which",
        ),
        (
            lambda found: found.update({"val/images/val_0.JPEG": b"no picture"}),
            "val/images/val_0.JPEG: cannot be read as an image",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    change: Callable[[dict[str, bytes]], object], message: str, tmp_path: Path
) -> None:
    found = parts()
    change(found)
    write_folder(tmp_path / "a/tiny-imagenet-200", found)
    write_archive(tmp_path / "b/tiny-imagenet-200.zip", found)
    for place in "ab":
        with pytest.raises(DataError, match=message):
            load_dataset("tiny-imagenet", tmp_path / place)


def test_a_damaged_archive_and_none_at_all_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "tiny-imagenet-200.zip"
    archive.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"tiny-imagenet-200.zip: cannot be read as a zip archive"):
        load_dataset("tiny-imagenet", tmp_path)
    nowhere = r"cannot find tiny-imagenet-200.zip or the folder tiny-imagenet-200 .* get it from http://cs231n"
    with pytest.raises(DataError, match=nowhere):
        load_dataset("tiny-imagenet", tmp_path / "empty")
