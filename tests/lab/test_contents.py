"""What a store holds, what studies share, and removing what nobody needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from overparam import RunError, Store, StoreError, Study
from overparam.cli import app
from overparam.errors import in_bytes
from overparam.lab.contents import Contents
from overparam.lab.differing import Side, difference
from overparam.lab.in_use import alone, uses, using
from overparam.lab.removing import removal, remove

GIVEN: dict[str, Any] = {
    "name": "crit",
    "world": {"dataset": "small:vectors", "train_size": 30},
    "network": {"name": "mlp", "hidden": [6]},
    "train": {"lr": 0.1, "batch_size": 15, "epochs": 1},
    "prune": {"fraction": 0.5},
    "chain": ["train", "prune", "train"],
    "probes": ["accuracy", "learning-distance"],
    "sweep": {"seed": [0, 1]},
}
WIDER = {**GIVEN, "sweep": {"seed": [1, 2]}}  # shares seed 1
OTHER = {**GIVEN, "name": "other", "train": {**GIVEN["train"], "lr": 0.05}}


def invoke(*args: object, text: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two revisions of one study, which share a seed, and another study."""
    folder = tmp_path_factory.mktemp("contents")
    for given in (GIVEN, WIDER, OTHER):
        Study.from_mapping(given).run(folder, jobs=1, threads=1)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "runs")
    return Store(tmp_path / "runs")


def titles(store: Store) -> dict[str, str]:
    """The titles of the three studies: first, wider, other."""
    by_seeds = {
        yaml.safe_load(r.spec)["sweep"]["seed"][-1]: t for t, r in Contents(store).records.items() if "crit" in t
    }
    other = next(title for title in Contents(store).records if title.startswith("other"))
    return {"first": by_seeds[1], "wider": by_seeds[2], "other": other}


def whole(store: Store, title: str) -> bool:
    return Contents(store).stored(title).complete


def test_bytes_in_words() -> None:
    told = [in_bytes(number) for number in (0, 1, 999, 1000, 999_499, 999_500, 10**12)]
    assert told == ["0 bytes", "1 byte", "999 bytes", "1.00 kB", "999 kB", "1.00 MB", "1.00 TB"]


def test_every_file_is_counted_once_and_what_is_shared_in_both(store: Store) -> None:
    contents = Contents(store)
    on_disk = sum(p.stat().st_size for kind in ("steps", "probes") for p in (store.root / kind).rglob("*.*"))
    assert contents.inventory.bytes(contents.inventory.sizes) == on_disk
    assert [(each.present, each.complete, each.checkpoints, each.running) for each in contents.studies] == [
        (4, True, 8, False)
    ] * 3
    assert sum(each.bytes for each in contents.studies) > on_disk
    assert contents.unneeded() == set()


def test_ls(store: Store) -> None:
    lines = invoke("store", "ls", "--store", store.root).stdout.splitlines()
    assert lines[0].split() == ["study", "rows", "state", "checkpoints", "size", "run"]
    assert len(lines) == 5
    assert all("4 of 4" in line and "complete" in line and "now" in line for line in lines[1:4])
    found = json.loads(invoke("store", "ls", "--store", store.root, "--format", "json").stdout)
    assert {study["study"] for study in found["studies"]} == {"crit", "other"}
    assert found["unneeded_bytes"] == 0
    assert found["bytes"] == Contents(store).inventory.bytes(Contents(store).inventory.sizes)


def test_an_old_record_without_steps_needs_what_its_rows_were_made_from(store: Store) -> None:
    contents = Contents(store)
    for title, record in contents.records.items():
        told = contents.needs(title)
        object.__setattr__(record, "steps", ())
        contents._needs.clear()
        there = contents.needs(title) & contents.inventory.sizes.keys()
        assert there == told & contents.inventory.sizes.keys()


def test_show(store: Store) -> None:
    title = titles(store)["wider"]
    text = invoke("store", "show", title, "--store", store.root).stdout
    assert text.startswith(f"{title}: 4 of 4 rows, complete, 8 checkpoints, ")
    assert f"other revision: {titles(store)['first']}" in text
    assert yaml.safe_load(text[text.index("name: crit") :])["sweep"] == {"seed": [1, 2]}
    gone = Contents(store).records[title].rows[-1]
    store.remove("steps", gone["node"])
    text = invoke("store", "show", title, "--store", store.root).stdout
    assert f"missing: default, seed {gone['seed']}: 1 of 2 rows are there" in text
    found = json.loads(invoke("store", "show", title, "--store", store.root, "--format", "json").stdout)
    assert (found["present"], found["complete"], len(found["revisions"])) == (3, False, 2)


@pytest.mark.filterwarnings("ignore::overparam.IncompleteWarning")
def test_show_says_what_failed(tmp_path: Path) -> None:
    given = {**GIVEN, "train": {**GIVEN["train"], "lr": 1e30, "epochs": 9}, "chain": ["prune", "train"]}
    with pytest.raises(RunError, match="none of the 2 rows"):
        Study.from_mapping(given).run(tmp_path, jobs=1, threads=1)
    text = invoke("store", "show", "crit", "--store", tmp_path).stdout
    assert "2 missing, 2 failed" in text
    assert "failed: train" in text


def test_difference_of_what_is_stored(store: Store) -> None:
    contents = Contents(store)
    names = titles(store)
    found = difference(Side.stored(contents, names["first"]), Side.stored(contents, names["wider"]), contents.inventory)
    assert found.fields == {"sweep.seed": ([0, 1], [1, 2])}
    told = found.plain()
    assert told["shared"] == {"steps": 4, "measurements": 4}
    assert told["only_one"] == told["only_other"] == {"steps": 4, "measurements": 4}
    assert told["stored"] == {"steps": 4, "measurements": 4, "bytes": contents.inventory.bytes(found.there)}
    text = invoke("store", "diff", names["wider"], "--store", store.root).stdout
    assert "- 2, + 0" in text
    assert "shared: 4 steps and 4 measurements; 4 steps and 4 measurements of them are stored" in text
    text = invoke("store", "diff", "crit", "other", "--store", store.root).stdout
    assert "name        crit -> other  (decides no result)" in text
    assert "train.lr    0.1 -> 0.05" in text


def test_difference_from_a_file_that_was_not_run(store: Store, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(yaml.safe_dump({**GIVEN, "sweep": {"seed": [0, 1, 2]}}))
    text = invoke("store", "diff", titles(store)["first"], tmp_path / "new.yaml", "--store", store.root).stdout
    assert "sweep.seed  + 2" in text
    assert f"only {titles(store)['first']}: 0 steps and 0 measurements" in text
    assert "/new.yaml: 4 steps and 4 measurements" in text


def test_code_that_changed_is_told(store: Store) -> None:
    contents = Contents(store)
    side = Side.stored(contents, "other")
    other = Side("other@later", side.spec, frozenset())
    lines = difference(side, other, contents.inventory).lines()
    assert lines[1] == "the specifications are the same"
    assert lines[-1].startswith("what decides is not in the specifications")


def test_a_study_without_an_earlier_revision(store: Store) -> None:
    assert "has no revision that was run before" in invoke("store", "diff", "other", "--store", store.root).stderr


# Removing


def test_rm_leaves_what_is_shared(store: Store) -> None:
    names = titles(store)
    planned = removal(store, [names["first"]])
    assert planned.titles == [names["first"]]
    assert len(planned.results) == 3 + 4  # of seed 0 alone; its initialisation is that of the other study, too
    before = sum(p.stat().st_size for p in store.root.rglob("*.*") if "studies" not in p.parts)
    done = remove(store, planned)
    assert done == planned
    assert before - sum(p.stat().st_size for p in store.root.rglob("*.*") if "studies" not in p.parts) == done.bytes
    assert whole(store, names["wider"])
    assert whole(store, names["other"])
    assert names["first"] not in Contents(store).records


def test_rm_of_a_name_takes_all_revisions(store: Store) -> None:
    result = invoke("store", "rm", "crit", "--yes", "--store", store.root)
    assert result.exit_code == 0, result.output
    assert list(Contents(store).records) == [titles_of_other(store)]
    assert Contents(store).unneeded() == set()
    assert whole(store, titles_of_other(store))


def titles_of_other(store: Store) -> str:
    return next(title for title in Contents(store).records if title.startswith("other"))


def test_gc_takes_what_no_study_needs_and_no_more(store: Store) -> None:
    lone, half = "0" * 32, "1" * 32
    store.write("probes", lone, {"probe": "accuracy", "values": {}, "layers": {}})
    store._put(f"steps/11/{half}.{'2' * 32}.safetensors", b"half")
    (store.root / "journals" / lone).mkdir(parents=True)
    (store.root / "journals" / lone / "state.safetensors").write_bytes(b"12345")
    needed = Contents(store).records[titles(store)["first"]].steps[0]
    (store.root / "journals" / needed).mkdir()
    planned = removal(store)
    assert set(planned.results) == {("probes", lone), ("steps", half)}
    assert list(planned.journals.values()) == [5]
    remove(store, planned)
    assert not removal(store)
    assert (store.root / "journals" / needed).is_dir()
    assert all(whole(store, title) for title in Contents(store).records)


def test_gc_asks_and_refuses_where_nobody_can_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("probes", "0" * 32, {"probe": "accuracy", "values": {}, "layers": {}})
    refused = invoke("store", "gc", "--store", store.root)
    assert refused.exit_code == 2
    assert "measurement" in refused.stdout
    assert "bytes" in refused.stdout
    assert "--yes removes it without asking" in refused.stderr
    monkeypatch.setattr("overparam.cli.commands.store._is_terminal", lambda: True)
    assert invoke("store", "gc", "--store", store.root, text="n\n").exit_code == 0
    assert store.has("probes", "0" * 32)
    assert invoke("store", "gc", "--store", store.root, text="y\n").exit_code == 0
    assert not store.has("probes", "0" * 32)
    assert "nothing that no study needs" in invoke("store", "gc", "--store", store.root).stdout


def test_a_record_that_cannot_be_read_keeps_everything(store: Store) -> None:
    title = titles(store)["first"]
    record = next((store.root / "studies" / title).iterdir())
    record.write_bytes(record.read_bytes()[:-20])
    for act in (lambda: removal(store), lambda: removal(store, ["other"])):
        with pytest.raises(StoreError, match=f"what study {title} needs is not known"):
            act()
    assert "is damaged" in invoke("store", "ls", "--store", store.root).stderr
    remove(store, removal(store, [title]))  # itself it can be removed
    remove(store, removal(store))
    assert whole(store, titles_of_other(store))


@pytest.mark.parametrize("given", ["nix", "crit@", "crit@zz", "@"])
def test_what_is_not_there_is_told(store: Store, given: str) -> None:
    result = invoke("store", "rm", given, "--yes", "--store", store.root)
    assert result.exit_code == 2
    assert repr(given) in result.stderr
    assert len(Contents(store).records) == 3


# Beside a run


def test_what_a_run_needs_is_not_removed(store: Store) -> None:
    """While a study runs, its record is gone and others begin: nothing of it is lost."""
    names = titles(store)
    record = Contents(store).records[names["first"]]
    measured = [name for row in record.rows for name in row["measurements"]]
    with using(store, names["first"], record.steps, measured):
        (use,) = uses(Store(store.root, reading=True))
        assert use.study == names["first"]
        assert "is being run by process" in str(use)
        with pytest.raises(StoreError, match="stop it first"):
            removal(store, [names["first"]])
        store.delete(*store.versions(f"studies/{names['first']}"))
        assert not removal(store)
        remove(store, removal(store, [names["wider"], "other"]))
        assert all(store.has("steps", name) for name in record.steps)
    assert uses(store) == []
    assert len(removal(store).results) == 16


def test_who_plans_to_remove_what_a_run_then_needs(store: Store) -> None:
    names = titles(store)
    record = Contents(store).records[names["other"]]
    planned = removal(store, ["crit"])
    store.delete(*store.versions(f"studies/{names['other']}"))
    all_of_it = removal(store)
    with using(store, names["other"], record.steps, []):
        done = remove(store, all_of_it)
    assert not any(kind == "steps" for kind, _ in done.results)
    assert all(store.has("steps", name) for name in record.steps)
    assert remove(store, planned).results


def test_a_run_waits_for_who_removes(store: Store) -> None:
    begun = threading.Event()

    def run() -> None:
        with using(store, "later@0", [], []):
            begun.set()

    with alone(store):
        thread = threading.Thread(target=run)
        thread.start()
        assert not begun.wait(0.2)
    thread.join(10)
    assert begun.is_set()


def test_a_killed_run_needs_nothing(store: Store) -> None:
    program = (
        "import os, sys\nfrom overparam.lab.store import Store\nfrom overparam.lab.in_use import using\n"
        "with using(Store(sys.argv[1]), 'a@1', ['0' * 32], []):\n    print('in', flush=True)\n    os.read(0, 1)\n"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, str(store.root)], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        assert [use.process for use in uses(store)] == [process.pid]
        process.kill()
    assert uses(store) == []
    remove(store, removal(store))
    assert [path.name for path in (store.root / "in-use").iterdir()] == ["store.lock"]


def test_gc_all_the_while_a_study_runs(tmp_path: Path) -> None:
    """A run with somebody who removes without end beside it computes each step once, and loses none."""
    study = Study.from_mapping({**GIVEN, "sweep": {"seed": [0, 1, 2, 3]}})
    over = threading.Event()
    rounds: list[int] = []
    store = Store(tmp_path)

    def sweep() -> None:
        while not over.is_set():
            rounds.append(len(remove(store, removal(store)).results))
            time.sleep(0.005)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        results = study.run(tmp_path, jobs=1, threads=1)
    finally:
        over.set()
        thread.join()
    assert results.complete
    assert results.facts["run"].startswith("16 steps run and 0 found")
    assert not any(rounds)
    assert len(rounds) > 1
    assert not results.notes
