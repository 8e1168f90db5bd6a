from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from overparam import Store, StoreError
from overparam.lab.store import DamagedError, checksum, read_sealed, write_sealed

ONE, TWO = "ab" + 30 * "1", "ab" + 30 * "2"


def filled(text: bytes = b"hello") -> object:
    def fill(folder: Path) -> None:
        (folder / "data.bin").write_bytes(text)
        (folder / "deeper").mkdir()
        (folder / "deeper" / "more.bin").write_bytes(text[::-1])

    return fill


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_result_is_written_as_a_whole_and_read_back(store: Store) -> None:
    assert not store.has("steps", ONE)
    store.write("steps", ONE, {"title": "a step", "kept": 3}, filled())
    assert store.has("steps", ONE)
    assert store.folder("steps", ONE) == store.root / "steps" / "ab" / ONE
    body = store.verify("steps", ONE)
    assert (body["title"], body["kept"], body["fingerprint"]) == ("a step", 3, ONE)
    assert body["files"] == {
        "data.bin": {"bytes": 5, "checksum": checksum(b"hello")},
        "deeper/more.bin": {"bytes": 5, "checksum": checksum(b"olleh")},
    }
    assert store.file("steps", ONE, "data.bin").read_bytes() == b"hello"
    assert store.file("steps", ONE, "deeper/more.bin").read_bytes() == b"olleh"
    assert list((store.root / "scratch").iterdir()) == []
    assert not store.has("probes", ONE)
    assert not store.has("steps", TWO)


def test_the_format_on_disk(store: Store) -> None:
    """Pinned: the first line is the XXH3 checksum (128 bits) of the rest, which is JSON."""
    assert checksum(b"") == "99aa06d3014798d86001c324468d497f"  # of XXH3's reference vectors, seed 0
    store.write("probes", ONE, {"values": {"a": 0.1}})
    first, _, rest = (store.folder("probes", ONE) / "result.json").read_bytes().partition(b"\n")
    assert first.decode() == checksum(rest)
    assert json.loads(rest) == {"fingerprint": ONE, "values": {"a": 0.1}, "files": {}}
    marker = (store.root / "overparam-store.json").read_bytes().partition(b"\n")[2]
    assert json.loads(marker) == {"format": 1}


def test_the_second_writer_leaves_the_first_result(store: Store) -> None:
    store.write("steps", ONE, {"title": "first"}, filled(b"first"))
    store.write("steps", ONE, {"title": "second"}, filled(b"second"))
    assert store.verify("steps", ONE)["title"] == "first"
    assert list((store.root / "scratch").iterdir()) == []


def test_a_writer_that_fails_leaves_nothing(store: Store) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write("steps", ONE, {}, fill)
    assert not store.has("steps", ONE)
    assert list((store.root / "scratch").iterdir()) == []


def test_a_body_that_json_cannot_hold_leaves_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.write("steps", ONE, {"bad": object()})
    assert not store.has("steps", ONE)
    assert list((store.root / "scratch").iterdir()) == []


def test_every_kind_of_damage_is_told(store: Store) -> None:
    store.write("steps", ONE, {}, filled())
    data = store.folder("steps", ONE) / "data.bin"
    for damaged, message in ((b"hellO", "checksum does not match"), (b"hell", "has 4 bytes, 5 were written")):
        data.write_bytes(damaged)
        with pytest.raises(DamagedError, match=message):
            store.verify("steps", ONE)
        with pytest.raises(DamagedError, match=message):
            store.file("steps", ONE, "data.bin")
    data.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        store.verify("steps", ONE)
    shutil.rmtree(store.folder("steps", ONE))
    with pytest.raises(DamagedError, match="cannot be read"):
        store.verify("steps", ONE)


def test_a_file_that_was_never_there_is_not_damage(store: Store) -> None:
    store.write("steps", ONE, {}, filled())
    with pytest.raises(StoreError, match=r"has no file 'weights' \(it has: data.bin, deeper/more.bin\)") as caught:
        store.file("steps", ONE, "weights")
    assert not isinstance(caught.value, DamagedError)


def test_what_is_set_aside_can_be_written_again(store: Store) -> None:
    for text in (b"first", b"second", b"third"):
        store.write("steps", ONE, {}, filled(text))
        gone = store.set_aside("steps", ONE)
        assert (gone / "data.bin").read_bytes() == text
        assert not store.has("steps", ONE)
    assert len(list((store.root / "set-aside").iterdir())) == 3
    assert not store.set_aside("steps", TWO).exists()  # another process was first


def test_opening_again_changes_nothing(store: Store) -> None:
    store.write("steps", ONE, {}, filled())
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert Store(store.root).notes == []
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before


def test_a_later_format_is_refused(store: Store) -> None:
    write_sealed(store.root / "overparam-store.json", {"format": 2})
    with pytest.raises(StoreError, match=r"has format 2, this overparam reads up to 1; update"):
        Store(store.root)


def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot be written .*another folder with --store"):
        Store(tmp_path / "file" / "runs")
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "nothing", reading=True)
    assert not (tmp_path / "nothing").exists()


def test_a_store_that_vanishes_is_told(store: Store) -> None:
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="cannot write to store"):
        store.write("steps", ONE, {}, filled())


def test_sealed_files_replace_at_once(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for number in range(3):
        write_sealed(path, {"number": number, "text": "é\n"})
        assert read_sealed(path) == {"number": number, "text": "é\n"}
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_studies(store: Store) -> None:
    assert store.studies() == []
    for name in ("b", "a.2"):
        write_sealed(store.study(name), {})
    assert store.studies() == ["a.2", "b"]


def test_tidying_removes_journals_of_finished_steps_and_old_scraps(store: Store) -> None:
    for name in (ONE, TWO):
        store.journal(name).mkdir(parents=True)
    new, old = store.root / "scratch" / "new", store.root / "scratch" / "old"
    for path in (new, old):
        path.mkdir()
        (path / "part").write_text("x")
    os.utime(old, (0, 0))
    store.tidy({ONE})
    assert not store.journal(ONE).exists()
    assert store.journal(TWO).exists()
    assert new.exists()
    assert not old.exists()
