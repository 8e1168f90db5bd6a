"""Damage to any file of a store is found, told and repaired, and no wrong number reaches a table.

The trials are those of ``benchmarks/robustness.py``, which runs 500 of them.
"""

from __future__ import annotations

import errno
import json
import random
import shutil
from pathlib import Path

import pytest
import yaml
from torch import nn
from typer.testing import CliRunner, Result

from overparam import SpecError, Store, StoreError, Study, load_results
from overparam.cli import app
from overparam.lab import Reporter, load_module
from overparam.lab.blobs import Folder
from overparam.lab.execute import BrokenParentError
from overparam.lab.executors import Event
from overparam.lab.journal import JOURNAL_VARIABLE
from overparam.lab.record import studies
from overparam.lab.run import BREAKS, _Run
from overparam.lab.store import DamagedError, checksum, sealed, unsealed
from robustness import DAMAGED, DAMAGES, Corruptions, Original, corrupt, exact, sort_of

# one of the two arms diverges
pytestmark = pytest.mark.filterwarnings("ignore::overparam.errors.IncompleteWarning")

SORTS = 7
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
        "steps.json",
        "steps.safetensors",
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


def numbers_of(store: Path) -> list[Path]:
    return sorted((store / "steps").glob("*/*.json"))


def weights_of(store: Path) -> list[Path]:
    return sorted((store / "steps").glob("*/*.safetensors"))


def record_of(store: Path) -> Path:
    (path,) = (store / "studies").glob("damaged@*/*.json")
    return path


def repaired(original: Original, store: Path) -> str:
    """Run the study, check that the table is as it was, and return what was told."""
    mended = Study.from_mapping(DAMAGED).run(store, jobs=1, threads=1)
    assert exact(mended.frame).equals(original.frame)
    return "\n".join(mended.notes)


def verified(*args: object) -> Result:
    return CliRunner().invoke(app, ["check", "--verify", *map(str, args)])


def test_numbers_of_another_step(original: Original, copy: Path) -> None:
    """Every checksum is right, but they are not where they belong."""
    first, second = numbers_of(copy)[:2]
    shutil.copyfile(second, first)
    assert f"{first} is damaged: it belongs to steps/" in repaired(original, copy)


def test_valid_json_with_another_number(original: Original, copy: Path) -> None:
    for path in (copy / "probes").glob("*/*.json"):
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
        path.write_bytes(f"{checksum(rest)} {path.relative_to(copy)}\n".encode() + rest)
    with pytest.raises(StoreError):
        load_results(Store(copy, reading=True), "damaged")
    told = repaired(original, copy)
    assert str(copy / "overparam-store.json") in told


def test_first_line_that_is_not_text(original: Original, copy: Path) -> None:
    path = numbers_of(copy)[0]
    path.write_bytes(b"\xff\xfe" + path.read_bytes()[2:])
    assert f"{path} is damaged" in repaired(original, copy)


def test_weights_of_another_result_of_the_same_length(original: Original, copy: Path) -> None:
    by_length: dict[int, list[Path]] = {}
    for path in weights_of(copy):
        same = [p for p in by_length.setdefault(path.stat().st_size, []) if p.read_bytes() != path.read_bytes()]
        if same:
            shutil.copyfile(same[0], path)
            told = verified("--store", copy)
            assert told.exit_code == 1
            assert f"{path} is damaged: its checksum does not match; a run computes it again" in told.stdout
            assert f"{path} is damaged: its checksum does not match" in repaired(original, copy)
            return
        by_length[path.stat().st_size].append(path)
    pytest.fail("no two checkpoints of one length")


def test_weights_that_a_step_starts_from_are_found_damaged_without_being_looked_for(
    original: Original, copy: Path
) -> None:
    """The last training, which has not ended, needs those of the step before."""
    plan, store = original.study.plan, Store(copy)
    missing = [n for name, n in plan.steps.items() if not store.has("steps", name)]
    last = next(n for n in missing if store.has("steps", n.start))
    (path,) = (path for path in weights_of(copy) if path.name.startswith(str(last.start)))
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path} is damaged" in repaired(original, copy)


def test_all_is_verified_or_what_is_of_a_study(original: Original, copy: Path, tmp_path: Path) -> None:
    study = tmp_path / "damaged.yaml"
    study.write_text(yaml.safe_dump(DAMAGED))
    whole = verified("--store", copy)
    assert whole.exit_code == 0
    results = len(numbers_of(copy)) + sum(len(list((copy / kind).glob("*/*.json"))) for kind in ("probes", "failures"))
    assert whole.stdout == f"store {copy}: {results} results there, every byte as it was written\n"
    assert "are there, every byte as it was written" in verified(study, "--store", copy).stdout
    used, other = weights_of(copy)[0], copy / "steps" / "ab" / "abc.json"
    used.write_bytes(b"cut")
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(b"of no study")
    assert CliRunner().invoke(app, ["check", str(study), "--store", str(copy)]).exit_code == 0, "weights are not read"
    for given, told in (((study,), {used}), ((), {used, other})):
        found = verified(*given, "--store", copy)
        assert found.exit_code == 1
        assert {path for path in (used, other) if str(path) in found.stdout} == told
        assert found.stdout.count("; a run computes it again") == len(told)
        assert "every byte" not in found.stdout
    assert str(used) in repaired(original, copy)
    assert "are there, every byte as it was written" in verified(study, "--store", copy).stdout


def test_damage_in_a_store_that_cannot_be_written_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_of(copy)[0].write_bytes(b"cut")

    def refused(*_: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Folder, "put_if_absent", refused)
    told = verified("--store", copy)
    assert told.exit_code == 1
    assert "it has 3 bytes" in told.stdout
    assert "it could not be marked as damaged: cannot write to store" in told.stdout


def test_a_module_is_not_loaded_from_damaged_weights(original: Original, copy: Path) -> None:
    row = load_results(Store(copy, reading=True), "damaged").frame.row(-1, named=True)
    (path,) = (path for path in weights_of(copy) if path.name.startswith(row["fingerprint"]))
    path.write_bytes(b"cut")
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"it has 3 bytes.*; run the study again to compute it anew"):
            load_module(copy, row["fingerprint"], nn.Linear(1, 1))
        assert not Store(copy).has("steps", row["fingerprint"])
    assert str(path) in repaired(original, copy)


def test_other_files_are_left_alone(original: Original, copy: Path) -> None:
    junk = [
        numbers_of(copy)[0].with_name("notes.txt"),
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
    assert studies(Store(copy)) == ["damaged"]


def test_a_file_where_a_folder_belongs_is_told(copy: Path) -> None:
    folder = numbers_of(copy)[0].parent
    shutil.rmtree(folder)
    folder.write_text("in the way")
    results = Study.from_mapping(DAMAGED).run(copy, jobs=1, threads=1)
    assert any("cannot write to store" in failure for failure in results.failures)


def test_a_file_where_a_record_belongs_is_told(copy: Path) -> None:
    folder = record_of(copy).parent
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(StoreError, match="cannot write to store"):
        Study.from_mapping(DAMAGED).run(copy, jobs=1, threads=1)


def test_record_of_another_study(original: Original, copy: Path) -> None:
    record = record_of(copy).parent
    shutil.copytree(record, record.with_name(record.name.replace("damaged", "other")))
    with pytest.raises(StoreError, match="is damaged: it belongs to studies/damaged@"):
        load_results(Store(copy, reading=True), "other")


def test_reading_changes_nothing(copy: Path) -> None:
    (copy / "overparam-store.json").unlink()
    shutil.rmtree(copy / "scratch")
    before = sorted(copy.rglob("*"))
    seen = load_results(Store(copy, reading=True), "damaged")
    assert len(seen.frame)
    marker = copy / "overparam-store.json"
    assert seen.notes == [f"{marker} cannot be read (No such file or directory); a run writes it anew"]
    assert sorted(copy.rglob("*")) == before


def test_sealed_bytes_come_back_or_raise() -> None:
    content = sealed("a/b", {"a": [1, 2.5, "ü"]})
    assert unsealed("a/b", content) == {"a": [1, 2.5, "ü"]}
    for length in range(len(content)):
        with pytest.raises(ValueError, match="damaged"):
            unsealed("a/b", content[:length])
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="damaged"):
            unsealed("a/b", bytes(flipped))


def test_a_result_that_is_damaged_again_and_again_is_given_up(original: Original, copy: Path) -> None:
    """A bad disk or bad memory: setting aside and computing again must end."""
    plan, store = original.study.plan, Store(copy)
    run = _Run(plan, store, Reporter(), retry_failed=False, repository="")
    child = next(node for node in plan.nodes.values() if node.start)
    assert child.start is not None
    for _ in range(BREAKS):
        assert child.start not in run.summary.failures
        run._hear(Event("broken", child.fingerprint, BrokenParentError(child.start, "bad disk")))
        run.done.add(child.start)
    assert run.summary.failures[child.start] == "its result was damaged 3 times over"


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
