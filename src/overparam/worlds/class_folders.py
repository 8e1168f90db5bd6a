"""Which files of a folder or an archive are images of a class, and what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from overparam.errors import DataError

SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
HIDDEN = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")  # and whatever begins with a dot
Parts = tuple[str, ...]


class Entry(NamedTuple):
    """Something in a folder or an archive: the parts of its path there, and what it is."""

    parts: Parts
    kind: Literal["file", "folder", "link"]

    @property
    def hidden(self) -> bool:
        """Whether it, or a folder above it, belongs to the system or to a tool."""
        return any(part.startswith(".") or part.lower() in HIDDEN for part in self.parts if part != "..")

    @property
    def picture(self) -> bool:
        """Whether it is a file ``.../train/<class>/<name>.png``."""
        inside = len(self.parts) >= 3 and self.parts[-3] in SPLITS
        suffix = PurePosixPath(*self.parts).suffix.lower()
        return inside and suffix in SUFFIXES and self.kind == "file" and not self.hidden


@dataclass(frozen=True)
class Arrangement:
    """The classes; the images of each split in order, as class and path; a sentence on what is left out, or none."""

    classes: tuple[str, ...]
    pictures: dict[str, list[tuple[str, Parts]]]
    remarks: tuple[str, ...]


def entries(root: Path, above: Parts = ()) -> Iterator[Entry]:
    """Yield what lies in a folder and, in its ``train`` and ``test``, two levels further down.

    Raises :class:`DataError` for a folder that cannot be listed, and for a broken link among classes or images.
    """
    folder = root.joinpath(*above)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    for name in names:
        path = folder / name
        entry = Entry((*above, name), "folder" if os.path.isdir(path) else "file")
        if above and not entry.hidden and entry.kind == "file" and not os.path.isfile(path):
            raise DataError(f"{path}: is a broken link, or neither file nor folder; remove or replace it")
        yield entry
        if entry.kind == "folder" and not entry.hidden and entry.parts[0] in SPLITS and len(entry.parts) < 3:
            yield from entries(root, entry.parts)


def arrange(where: Path, found: Iterable[Entry]) -> Arrangement:
    """Sort what the folder or archive ``where`` holds; ``train`` and ``test`` may lie in a folder there, but in one.

    Raises :class:`DataError` unless both have images, each class folder of ``train`` has some, and ``test`` no others.
    """
    listed = list(dict.fromkeys(found))
    pictures = [entry.parts for entry in listed if entry.picture]
    for split in SPLITS:
        if not any(parts[-3] == split for parts in pictures):
            raise DataError(f"{where}: holds no images {split}/<class>/<name> ({', '.join(SUFFIXES)})")
    root, *others = sorted({parts[:-3] for parts in pictures})
    if others:
        places = " and in ".join("/".join(each) or "the top folder" for each in (root, others[0]))
        raise DataError(f"{where}: has train and test folders in {places}; keep one of the two")
    classes = {split: {parts[-2] for parts in pictures if parts[-3] == split} for split in SPLITS}
    _check_classes(where, classes, _class_folders(listed, (*root, "train")))
    ordered = sorted((parts[-2], parts) for parts in pictures)
    by_split = {split: [each for each in ordered if each[1][-3] == split] for split in SPLITS}
    return Arrangement(tuple(sorted(classes["train"])), by_split, _remarks(listed, root))


def _check_classes(where: Path, classes: Mapping[str, set[str]], folders: set[str]) -> None:
    unknown = sorted(classes["test"] - classes["train"])
    if unknown:
        raise DataError(f"{where}: the test classes {', '.join(unknown)} have no images under train")
    empty = sorted(folders - classes["train"])
    if empty:
        raise DataError(
            f"{where}: the class folders {', '.join(empty)} under train hold no images ({', '.join(SUFFIXES)}); "
            "add some, or remove the folders"
        )


def _class_folders(listed: Iterable[Entry], split: Parts) -> set[str]:
    depth = len(split)
    return {
        entry.parts[depth]
        for entry in listed
        if entry.parts[:depth] == split and len(entry.parts) + (entry.kind == "folder") > depth + 1 and not entry.hidden
    }


def _remarks(listed: Iterable[Entry], root: Parts) -> tuple[str, ...]:
    reasons: dict[str, list[str]] = {}
    for entry in listed:
        reason = _why_left_out(entry, root)
        if reason is not None:
            name = "/".join(entry.parts).encode(errors="backslashreplace").decode()
            reasons.setdefault(reason, []).append(name)
    if not reasons:
        return ()
    told = (f"{len(names)} {reason} (such as {names[0]})" for reason, names in reasons.items())
    return (f"left out {', '.join(told)}",)


def _why_left_out(entry: Entry, root: Parts) -> str | None:
    """Return why an entry is no image, None if it is one, or a folder that may hold some."""
    inside = entry.parts[len(root) :] if entry.parts[: len(root)] == root else ()
    if entry.picture:
        return None
    if entry.hidden:
        return "hidden"
    if entry.kind == "link":
        return "links"
    if not inside or inside[0] not in SPLITS or (inside == (inside[0],) and entry.kind == "file"):
        return "outside train and test"
    if entry.kind == "folder":
        return None if len(inside) < 3 else "folders inside class folders"
    return {2: "beside the class folders", 3: "of other types"}.get(len(inside), "in folders inside class folders")
