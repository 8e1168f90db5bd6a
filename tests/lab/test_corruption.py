"""Damage to any file of a store is found, told and repaired, and no wrong number reaches a table.

The trials are those of ``benchmarks/robustness.py``, which runs 500 of them.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from overparam import SpecError, Store, StoreError, Study, load_results
from overparam.lab import Reporter
from overparam.lab.execute import BrokenParentError
from overparam.lab.executors import Event
from overparam.lab.journal import JOURNAL_VARIABLE
from overparam.lab.run import BREAKS, _Run
from overparam.lab.store import DamagedError, checksum, read_sealed, write_sealed
from robustness import DAMAGED, DAMAGES, Corruptions, Original, corrupt, exact, sort_of

# one of the two arms diverges
pytestmark = pytest.mark.filterwarnings("ignore::overparam.errors.IncompleteWarning")

SORTS = 9
RANDOM_TRIALS = 13


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


@pytest.fixture
def copy(original: Original, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original.store, tmp_path / "copy"))


def test_the_store_has_every_sort_of_file(original: Original) -> None:
    sorts = {sort_of(name) for name in original.files}
    assert sorts == {
        "overparam-store.json",
        "studies",
        "failures",
        "journals",
        "probes",
        "steps/result.json",
        "steps/checkpoint.safetensors",
        "steps/2it.safetensors",
        "steps/curve.json",
    }
    assert len(sorts) == SORTS


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_to_each_sort_of_file(original: Original, kind: str, tmp_path: Path) -> None:
    draws = random.Random(kind)
    by_sort: dict[str, list[str]] = {}
    for name in original.files:
        by_sort.setdefault(sort_of(name), []).append(name)
    for names in by_sort.values():
        corrupt(original, tmp_path, draws.choice(names), kind, draws, Corruptions())


def test_random_damage_to_random_files(original: Original, tmp_path: Path) -> None:
    draws = random.Random(0)
    for _ in range(RANDOM_TRIALS):
        corrupt(original, tmp_path, draws.choice(original.files), draws.choice(DAMAGES), draws, Corruptions())


def results_of(store: Path) -> Iterator[Path]:
    return (path.parent for path in (store / "steps").glob("*/*/result.json"))


def record_of(store: Path) -> Path:
    (path,) = (store / "studies").glob("damaged@*.json")
    return path


def repaired(original: Original, store: Path) -> str:
    """Run the study, check that the table is as it was, and return what was told."""
    mended = Study.from_mapping(DAMAGED).run(store, jobs=1, threads=1)
    assert exact(mended.frame).equals(original.frame)
    return "\n".join(mended.notes)


def test_empty_folder(original: Original, copy: Path) -> None:
    folder = next(results_of(copy))
    shutil.rmtree(folder)
    folder.mkdir()
    assert str(folder) in repaired(original, copy)


def test_result_of_another_step(original: Original, copy: Path) -> None:
    """Every checksum is right, but the folder is not the result's own."""
    first, second = list(results_of(copy))[:2]
    shutil.rmtree(first)
    shutil.copytree(second, first)
    assert f"{first / 'result.json'} belongs to another result" in repaired(original, copy)


def test_valid_json_with_another_number(original: Original, copy: Path) -> None:
    for path in (copy / "probes").glob("*/*/result.json"):
        seal, _, rest = path.read_bytes().partition(b"\n")
        body = json.loads(rest)
        if Store(copy, reading=True).has("steps", body["checkpoint"]):  # not of the training that was taken out
            break
    body["values"] = dict.fromkeys(body["values"], 0.5)
    path.write_bytes(seal + b"\n" + json.dumps(body).encode() + b"\n")
    seen = load_results(Store(copy, reading=True), "damaged")
    assert seen.missing == original.missing + 1
    assert f"{path} is damaged: its checksum does not match" in repaired(original, copy)


@pytest.mark.parametrize("rest", [b"[]\n", b"3\n", b"null\n", b'{"format": "one"}\n', b"{}\n"])
def test_well_sealed_but_not_ours(original: Original, copy: Path, rest: bytes) -> None:
    for path in (copy / "overparam-store.json", record_of(copy)):
        path.write_bytes(checksum(rest).encode() + b"\n" + rest)
    with pytest.raises(StoreError):
        load_results(Store(copy, reading=True), "damaged")
    told = repaired(original, copy)
    assert str(copy / "overparam-store.json") in told


def test_first_line_that_is_not_text(original: Original, copy: Path) -> None:
    path = next(results_of(copy)) / "result.json"
    path.write_bytes(b"\xff\xfe" + path.read_bytes()[2:])
    assert f"{path} is damaged" in repaired(original, copy)


def test_data_file_of_another_result_of_the_same_length(original: Original, copy: Path) -> None:
    by_length: dict[int, list[Path]] = {}
    for path in sorted((copy / "steps").rglob("checkpoint.safetensors")):
        same = [p for p in by_length.setdefault(path.stat().st_size, []) if p.read_bytes() != path.read_bytes()]
        if same:
            shutil.copyfile(same[0], path)
            assert f"{path} is damaged: its checksum does not match" in repaired(original, copy)
            return
        by_length[path.stat().st_size].append(path)
    pytest.fail("no two checkpoints of one length")


def test_other_files_are_left_alone(original: Original, copy: Path) -> None:
    junk = [
        next(results_of(copy)) / "notes.txt",
        copy / "steps" / "README",
        copy / "studies" / "old.txt",
        copy / "something" / "else.bin",
    ]
    for path in junk:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00\xff junk")
    told = repaired(original, copy)
    assert not told
    assert all(path.read_bytes() == b"\x00\xff junk" for path in junk)
    assert Store(copy).studies() == ["damaged"]


def test_a_file_where_a_folder_belongs_is_told(copy: Path) -> None:
    folder = next(results_of(copy))
    shutil.rmtree(folder.parent)
    folder.parent.write_text("in the way")
    results = Study.from_mapping(DAMAGED).run(copy, jobs=1, threads=1)
    assert any("cannot write to store" in failure for failure in results.failures)


def test_folder_where_a_record_belongs_is_told(copy: Path) -> None:
    record = record_of(copy)
    record.unlink()
    record.mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        Study.from_mapping(DAMAGED).run(copy, jobs=1, threads=1)


def test_record_of_another_study(original: Original, copy: Path) -> None:
    record = record_of(copy)
    shutil.copyfile(record, record.with_name(record.name.replace("damaged", "other")))
    with pytest.raises(StoreError, match="is the record of another study, damaged@"):
        load_results(Store(copy, reading=True), "other")


def test_damaged_results_are_kept_for_inspection(original: Original, copy: Path) -> None:
    path = next(results_of(copy)) / "checkpoint.safetensors"
    path.write_bytes(b"cut")
    repaired(original, copy)
    (kept,) = (copy / "set-aside").iterdir()
    assert (kept / "checkpoint.safetensors").read_bytes() == b"cut"


def test_reading_changes_nothing(copy: Path) -> None:
    (copy / "overparam-store.json").unlink()
    shutil.rmtree(copy / "scratch")
    before = sorted(copy.rglob("*"))
    seen = load_results(Store(copy, reading=True), "damaged")
    assert len(seen.frame)
    assert seen.notes == [f"{copy / 'overparam-store.json'} is missing; a run writes it anew"]
    assert sorted(copy.rglob("*")) == before


def test_sealed_files_come_back_or_raise(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_sealed(path, {"a": [1, 2.5, "ü"]})
    assert read_sealed(path) == {"a": [1, 2.5, "ü"]}
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            read_sealed(path)
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            read_sealed(path)
    path.unlink()
    with pytest.raises(DamagedError):
        read_sealed(path)


def test_a_result_that_is_damaged_again_and_again_is_given_up(original: Original, copy: Path) -> None:
    """A bad disk or bad memory: setting aside and computing again must end."""
    plan, store = original.study.plan, Store(copy)
    run = _Run(plan, store, Reporter(), retry_failed=False)
    child = next(node for node in plan.nodes.values() if node.parent)
    assert child.parent is not None
    for _ in range(BREAKS):
        assert child.parent not in run.summary.failures
        run._hear(Event("broken", child.fingerprint, BrokenParentError(child.parent, "bad disk")))
        run.done.add(child.parent)
    assert run.summary.failures[child.parent] == "its result was damaged 3 times over"


def test_two_processes_may_find_the_same_damage(copy: Path) -> None:
    folder = next(results_of(copy))
    Store(copy).set_aside("steps", folder.name)
    Store(copy).set_aside("steps", folder.name)
    assert len(list((copy / "set-aside").iterdir())) == 1


def test_a_journal_that_cannot_be_written_stops_nothing(original: Original, copy: Path) -> None:
    shutil.rmtree(copy / "journals")
    (copy / "journals").write_text("in the way")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(JOURNAL_VARIABLE, "0")
        told = repaired(original, copy)
    assert "could not be written" in told


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_wrong_journal_variable(given: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL_VARIABLE, given)
    with pytest.raises(SpecError, match=f"OVERPARAM_JOURNAL_SECONDS must be a number of seconds, got '{given}'"):
        Study.from_mapping(DAMAGED).run(copy, jobs=1, threads=1)


def test_what_failed_before_starts_no_worker(original: Original, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repaired(original, copy)
    monkeypatch.setattr("overparam.lab.run._Run._executor", None)
    again = Study.from_mapping(DAMAGED).run(copy, jobs=2, threads=1)
    assert again.failures == original.results.failures
