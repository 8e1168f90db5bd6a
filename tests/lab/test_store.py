from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from in_memory import Memory

from overparam import Store, StoreError
from overparam.lab import blobs
from overparam.lab.blobs import Blobs, Folder
from overparam.lab.record import studies
from overparam.lab.store import DamagedError, checksum, sealed, unsealed

ONE, TWO = "ab" + 30 * "1", "ab" + 30 * "2"
WEIGHTS = {"checkpoint": b"hello", "5it": b"olleh"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def files(store: Store) -> dict[str, bytes]:
    return {str(p.relative_to(store.root)): p.read_bytes() for p in store.root.rglob("*") if p.is_file()}


# The five verbs


@pytest.mark.parametrize("how", ["folder", "folder without links", "memory"])
def test_the_five_verbs(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    if "without" in how:
        monkeypatch.setattr(os, "link", refused)
    folder = Folder(tmp_path / "place", "me")
    folder.make()
    place: Blobs = Memory() if how == "memory" else folder
    with pytest.raises(FileNotFoundError):
        place.get("a/b")
    assert place.put_if_absent("a/b", b"first")
    assert not place.put_if_absent("a/b", b"second")
    assert place.get("a/b") == b"first"
    assert place.put_if_absent("a/bc/d", b"")
    assert place.put_if_absent("a/c", b"")
    assert place.list("a/") == ["a/b", "a/bc/d", "a/c"]
    assert place.list("a/b") == ["a/b", "a/bc/d"]
    assert {key: entry.bytes for key, entry in place.entries("a/").items()} == {"a/b": 5, "a/bc/d": 0, "a/c": 0}
    assert place.entries("nothing/") == {}
    assert place.list("nothing/") == place.list("a/b/") == []
    for _ in range(2):
        place.delete("a/b")
    assert place.list("a/") == ["a/bc/d", "a/c"]
    assert list(folder.scratch.iterdir()) == []


def test_a_store_needs_no_more_than_the_four_verbs(store: Store) -> None:
    store.blobs = Memory()
    store.write("steps", ONE, {"kept": 3}, WEIGHTS)
    assert store.weights(ONE, "5it") == b"olleh"
    store.mark_damaged("steps", ONE, "by us")
    assert not store.has("steps", ONE)
    store.write("steps", ONE, {"kept": 4}, WEIGHTS)
    assert store.numbers("steps", ONE)["kept"] == 4
    store.replace("studies/a@1", {"number": 1})
    assert store.newest("studies/a@1") == {"number": 1}
    assert set(files(store)) == {"overparam-store.json"}


def test_a_link_that_fails_for_another_reason_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EIO, "in words")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(StoreError, match="in words"):
        store.write("steps", ONE, {})
    assert list(store.folder.scratch.iterdir()) == []


# Results


def test_a_result_is_written_as_a_whole_and_read_back(store: Store) -> None:
    assert not store.has("steps", ONE)
    store.write("steps", ONE, {"title": "a step", "kept": 3}, WEIGHTS)
    assert store.has("steps", ONE)
    assert store.verify("steps", ONE)
    assert store.numbers("steps", ONE) == {
        "title": "a step",
        "kept": 3,
        "tensors": {
            "checkpoint": {"bytes": 5, "checksum": checksum(b"hello")},
            "5it": {"bytes": 5, "checksum": checksum(b"olleh")},
        },
    }
    assert store.weights(ONE) == b"hello"
    assert store.weights(ONE, "5it") == b"olleh"
    assert list((store.root / "scratch").iterdir()) == []
    assert not store.has("probes", ONE)
    assert not store.has("steps", TWO)
    assert store.verify("steps", TWO) is False
    assert store.fingerprints("steps") == [ONE]


def test_the_format_on_disk(store: Store) -> None:
    """Pinned: the first line is the XXH3 checksum (128 bits) of the rest, which is JSON, and the key."""
    assert checksum(b"") == "99aa06d3014798d86001c324468d497f"  # of XXH3's reference vectors, seed 0
    store.write("probes", ONE, {"values": {"a": 0.1}})
    store.write("steps", ONE, {}, {"checkpoint": b"hello"})
    content = files(store)
    first, _, rest = content[f"probes/ab/{ONE}.json"].partition(b"\n")
    assert first.decode() == f"{checksum(rest)} probes/ab/{ONE}.json"
    assert json.loads(rest) == {"values": {"a": 0.1}}
    assert content[f"steps/ab/{ONE}.{checksum(b'hello')}.safetensors"] == b"hello"
    assert json.loads(content["overparam-store.json"].partition(b"\n")[2]) == {"format": 2}
    assert len(content) == 4


def test_the_second_writer_leaves_the_first_result(store: Store) -> None:
    """Of two that have other bits, as with other threads, no mixture stays."""
    store.write("steps", ONE, {"title": "first"}, WEIGHTS)
    before = files(store)
    store.write("steps", ONE, {"title": "second"}, {"checkpoint": b"other", "5it": b"olleh"})
    assert files(store) == before
    assert store.verify("steps", ONE)


def test_what_a_killed_writer_left_is_no_result_and_goes(store: Store) -> None:
    class Killed(BaseException):
        pass

    class Dying(Folder):
        def put_if_absent(self, key: str, content: bytes) -> bool:
            if key.endswith(".json"):
                raise Killed
            return super().put_if_absent(key, content)

    whole, store.blobs = store.blobs, Dying(store.root, "dying")
    with pytest.raises(Killed):
        store.write("steps", ONE, {}, {"checkpoint": b"other"})
    store.blobs = whole
    assert len(store.keys("steps", ONE)) == 1
    assert not store.has("steps", ONE)
    assert store.verify("steps", ONE) is False
    store.write("steps", ONE, {}, WEIGHTS)
    assert len(store.keys("steps", ONE)) == 3
    assert store.weights(ONE) == b"hello"


def test_a_body_that_json_cannot_hold_leaves_no_result(store: Store) -> None:
    with pytest.raises(TypeError):
        store.write("steps", ONE, {"bad": object()})
    assert not store.has("steps", ONE)
    assert list((store.root / "scratch").iterdir()) == []


def test_every_kind_of_damage_is_told(store: Store) -> None:
    store.write("steps", ONE, {}, WEIGHTS)
    weights = store.root / f"steps/ab/{ONE}.{checksum(b'hello')}.safetensors"
    for damaged, message in ((b"hellO", "checksum does not match"), (b"hell", "has 4 bytes, 5 were written")):
        weights.write_bytes(damaged)
        assert store.verify("steps", ONE, weights=False)
        for read in (store.verify, lambda _, name: store.weights(name)):
            with pytest.raises(DamagedError, match=message):
                read("steps", ONE)
    weights.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        store.verify("steps", ONE)
    store.remove("steps", ONE)
    with pytest.raises(DamagedError, match="cannot be read"):
        store.numbers("steps", ONE)


def test_numbers_in_the_place_of_another_result_are_told(store: Store) -> None:
    store.write("probes", ONE, {"values": {"a": 0.1}})
    shutil.copyfile(store.root / f"probes/ab/{ONE}.json", store.root / f"probes/ab/{TWO}.json")
    with pytest.raises(DamagedError, match=rf"{TWO}.json is damaged: it belongs to probes/ab/{ONE}.json"):
        store.verify("probes", TWO)


def test_weights_that_were_never_there_are_not_damage(store: Store) -> None:
    store.write("steps", ONE, {}, WEIGHTS)
    with pytest.raises(StoreError, match=r"has no weights '6it' \(it has: checkpoint, 5it\)") as caught:
        store.weights(ONE, "6it")
    assert not isinstance(caught.value, DamagedError)


def test_what_is_marked_as_damaged_counts_as_missing_until_it_is_written_again(store: Store) -> None:
    for text in (b"first", b"second", b"third"):
        store.write("steps", ONE, {"text": text.decode()}, {"checkpoint": text})
        assert store.weights(ONE) == text
        for _ in range(2):  # another process may find the same
            store.mark_damaged("steps", ONE, "a bad disk")
        assert not store.has("steps", ONE)
        assert store.fingerprints("steps") == [ONE]
        with pytest.raises(DamagedError, match="a bad disk"):
            store.verify("steps", ONE)
    store.write("steps", ONE, {}, WEIGHTS)
    assert store.verify("steps", ONE)
    assert len(store.keys("steps", ONE)) == 3


# The whole store


def test_opening_again_changes_nothing(store: Store) -> None:
    store.write("steps", ONE, {}, WEIGHTS)
    before = files(store)
    assert Store(store.root).notes == []
    assert files(store) == before


@pytest.mark.parametrize(
    ("marker", "advice"),
    [(b'{"format": 1}\n', "use the version that made it"), (b'{"format": 3}\n', "update")],
)
@pytest.mark.parametrize("reading", [False, True])
def test_another_format_is_refused(store: Store, marker: bytes, advice: str, reading: bool) -> None:
    """Markers of format 1 were sealed without their key."""
    (store.root / "overparam-store.json").write_bytes(checksum(marker).encode() + b"\n" + marker)
    with pytest.raises(StoreError, match=rf"has format {marker[11]:c}, and this overparam reads format 2 .* {advice}"):
        Store(store.root, reading=reading)


def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot be written .*another folder with --store"):
        Store(tmp_path / "file" / "runs")
    for nothing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(StoreError, match="there is no store"):
            Store(nothing, reading=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_that_vanishes_is_told(store: Store) -> None:
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="cannot write to store"):
        store.write("steps", ONE, {}, WEIGHTS)


def test_sealed_bytes_come_back() -> None:
    assert unsealed("a/b", sealed("a/b", {"text": "é\n", "number": 0.1})) == {"text": "é\n", "number": 0.1}


def test_what_is_replaced(store: Store) -> None:
    assert store.newest("studies/a@1") is None
    for number in range(12):
        store.replace("studies/a@1", {"number": number})
        assert store.newest("studies/a@1") == {"number": number}
        assert len(store.versions("studies/a@1")) == 1


def test_a_kill_between_new_and_old_leaves_the_new(store: Store) -> None:
    for number in (9, 10):
        store.put(f"studies/a@1/{number:06}.json", {"number": number})
    assert store.newest("studies/a@1") == {"number": 10}
    store.replace("studies/a@1", {"number": 11})
    assert store.versions("studies/a@1") == ["studies/a@1/000011.json"]


def test_what_is_replaced_while_it_is_read(store: Store) -> None:
    class Racing(Folder):
        def get(self, key: str) -> bytes:
            if key.endswith("000001.json"):
                other.replace("studies/a@1", {"number": 2})
            return super().get(key)

    other = Store(store.root)
    store.replace("studies/a@1", {"number": 1})
    store.blobs = Racing(store.root, "racing")
    assert store.newest("studies/a@1") == {"number": 2}


def test_names_of_studies(store: Store) -> None:
    assert studies(store) == []
    for name in ("b@1", "a.2@1", "a.2@2"):
        store.replace(f"studies/{name}", {})
    assert studies(store) == ["a.2", "b"]


def test_tidying_removes_journals_of_finished_steps_and_old_scraps(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (ONE, TWO):
        store.journal(name).mkdir(parents=True)
    new, old = store.root / "scratch" / "new", store.root / "scratch" / "old"
    for path in (new, old):
        path.write_text("x")
    os.utime(old, (0, 0))
    store.tidy({ONE})
    assert not store.journal(ONE).exists()
    assert store.journal(TWO).exists()
    assert new.exists()
    assert not old.exists()
    monkeypatch.setattr(blobs, "LEFT_OVER", -1.0)
    store.tidy(())
    assert not new.exists()
