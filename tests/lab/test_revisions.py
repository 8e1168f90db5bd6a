"""Results belong to a specification: a changed study of the same name stands beside the first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from overparam import Chain, Store, StoreError, Study, Train, World, load_results
from overparam.cli import app
from overparam.lab.record import LENGTH, records
from small import MLP, vectors

GIVEN: dict[str, Any] = {
    "name": "crit",
    "world": {"dataset": "small:vectors", "train_size": 30},
    "network": {"name": "mlp", "hidden": [6]},
    "train": {"lr": 0.1, "batch_size": 15, "epochs": 1},
    "prune": {"fraction": 0.5},
    "chain": ["train", "prune", "train"],
    "sweep": {"seed": [0, 1, 2]},
}


def study(**changes: Any) -> Study:
    return Study.from_mapping({**GIVEN, **changes})


def run(made: Study, store: Path) -> Any:
    return made.run(store, jobs=1, threads=1)


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run, then a trial of it with other values and another sweep."""
    folder = tmp_path_factory.mktemp("revisions")
    (folder / "crit.yaml").write_text(yaml.safe_dump(GIVEN))
    common = ["--store", folder / "runs", "--jobs", 1]
    assert invoke("run", folder / "crit.yaml", *common).exit_code == 0
    trial = ["--set", "train.lr=0.05", "--sweep", "seed=7"]
    assert invoke("run", folder / "crit.yaml", *common, *trial).exit_code == 0
    return folder


def rows(result: Result) -> int:
    assert result.exit_code == 0, result.output
    return len(json.loads(result.stdout))


def test_a_file_shows_its_own_results_and_a_name_the_newest(done: Path) -> None:
    how = ["--store", done / "runs", "--format", "json"]
    own, newest = invoke("table", done / "crit.yaml", *how), invoke("table", "crit", *how)
    trial = invoke("table", done / "crit.yaml", *how, "--set", "train.lr=0.05", "--sweep", "seed=7")
    assert (rows(own), rows(newest), rows(trial)) == (6, 2, 2)
    first, last = (load_results(Store(done / "runs"), "crit", r.revision).revision for r in both(done))
    assert own.stderr.startswith(f"results of crit@{first}: 6 of 6 rows, run ")
    assert own.stderr.endswith(f", not the newest (that is crit@{last}) of 2 revisions\n")
    for shown in (newest, trial):
        assert shown.stderr.startswith(f"results of crit@{last}: 2 of 2 rows, run ")
        assert shown.stderr.endswith(", the newest of 2 revisions\n")
    assert rows(invoke("table", f"crit@{first[:5]}", *how)) == 6


def both(done: Path) -> tuple[Any, Any]:
    """The records of the study as it is in its file, and of the trial."""
    newest, older = records(Store(done / "runs"), "crit")[0]
    return older, newest


def test_reports_are_of_what_is_asked_for_and_do_not_replace_each_other(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done)
    first, last = (record.revision for record in both(done))
    for given, page in (("crit.yaml", "crit.html"), (f"crit@{last}", f"crit@{last}.html")):
        result = invoke("report", given)
        assert result.exit_code == 0
        assert result.stdout.strip() == str(done / page)
        assert f"results of crit@{last if '@' in given else first}: " in result.stderr
        assert f"crit@{last if '@' in given else first}: " in (done / page).read_text()


def test_the_revisions_of_a_store_are_listed_with_what_differs(done: Path) -> None:
    listed = invoke("list", "results", "--store", done / "runs").stdout.strip().split("\n")
    first, last = both(done)
    assert [line.split("  ")[0] for line in listed] == [str(last), str(first)]
    assert "  2 of 2 rows, run 20" in listed[0]
    assert listed[1].endswith("; differs from the newest in sweep.seed, train.lr")


def test_a_study_that_was_never_run_so_is_refused(done: Path) -> None:
    result = invoke("table", done / "crit.yaml", "--store", done / "runs", "--set", "train.lr=0.01")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: study 'crit' as it is now was never run in store ")
    assert "2 of 2 rows" in result.stderr
    assert "6 of 6 rows" in result.stderr
    with pytest.raises(StoreError, match=r"has no revision 'f{12}' of study 'crit' \(it has crit@"):
        load_results(Store(done / "runs"), "crit", "f" * LENGTH)
    with pytest.raises(StoreError, match=r"has no study 'cirt'; did you mean 'crit'\?"):
        study(name="cirt").results(done / "runs")


def test_in_python_a_study_finds_its_own(done: Path) -> None:
    mine = Study.from_file(done / "crit.yaml").results(done / "runs")
    assert (len(mine.frame), mine.revision) == (6, both(done)[0].revision)
    assert load_results(Store(done / "runs"), "crit").revision == both(done)[1].revision
    assert "the newest of 2 revisions" in load_results(Store(done / "runs"), "crit").facts["results"]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"description": "in other words"}, True),
        ({"engine": "dense"}, True),
        ({"train": {**GIVEN["train"], "lr": 0.2}}, False),
        ({"sweep": {"seed": [0, 1]}}, False),
        ({"sweep": {"seed": [0, 1, 2], "prune.fraction": [0.5]}}, False),
        ({"probes": ["accuracy"]}, False),
        ({"variants": {"a": {}}}, False),
        ({"world": {"dataset": "small:vectors", "train_size": 20}}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_changes_rows_makes_another_revision(changes: dict[str, Any], same: bool) -> None:
    one, other = (made._record(made.plan).revision for made in (study(), study(**changes)))
    assert len(one) == LENGTH
    assert (one == other) == same


def scaled(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return scale * nn.functional.cross_entropy(outputs, labels)

    return loss


def test_things_that_are_described_alike_are_told_apart(tmp_path: Path) -> None:
    """Two functions of one name, as a loop in a script makes them."""
    tables = []
    for scale in (0.5, 1.0):
        train = Train(epochs=1, batch_size=15, loss=scaled(scale))
        made = Study("loop", World(vectors()), MLP, Chain(train))
        tables.append((made, run(made, tmp_path)))
    assert len({made.yaml() for made, _ in tables}) == 1
    assert len({results.revision for _, results in tables}) == 2
    for made, results in tables:
        assert made.results(tmp_path).frame.equals(results.frame)


def test_running_again_makes_a_revision_the_newest(tmp_path: Path) -> None:
    one, other = study(sweep={"seed": [0]}), study(sweep={"seed": [1]})
    for made in (one, other, one):
        run(made, tmp_path)
    found = load_results(Store(tmp_path), "crit")
    assert found.frame["seed"].unique().to_list() == [0]
    assert len(records(Store(tmp_path), "crit")[0]) == 2
    assert not run(other, tmp_path).notes, "what another revision has made is no sign of a lost record"


def test_a_damaged_record_hides_no_other(done: Path, tmp_path: Path) -> None:
    store = Store(shutil.copytree(done / "runs", tmp_path / "runs"))
    older, newer = both(done)
    (path,) = (store.root / "studies" / str(newer)).iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    seen = load_results(store, "crit")
    assert seen.revision == older.revision
    assert seen.notes == [f"{path} is damaged: its checksum does not match; run the study again to write it anew"]
    listed = invoke("list", "results", "--store", store.root).stdout
    assert f"{path} is damaged" in listed
    shutil.rmtree(path.parent)
    (store.root / "studies" / str(older)).rename(path.parent)
    with pytest.raises(StoreError, match=f"is damaged: it belongs to studies/{older}/"):
        load_results(store, "crit")


def test_the_record_says_what_it_was_made_of(done: Path) -> None:
    older, _ = both(done)
    body = Store(done / "runs").newest(f"studies/{older}")
    assert body is not None
    told = {"name", "spec", "rows", "steps", "about", "columns", "layer_columns", "failures", "run", "written", "made"}
    assert told == set(body)
    assert body["columns"]["test_accuracy"] == "float"
