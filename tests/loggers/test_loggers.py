"""Loggers hear every row once, in whatever way a run goes on, and change nothing of it, however they behave."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from own_probes import Late, Picky
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from overparam import Chain, Prune, Repeat, Results, Rewind, SpecError, Store, Study, Train, World
from overparam.cli import app
from overparam.lab import PlainReporter, Reporter
from overparam.lab.results import MEASURED
from overparam.loggers import LOGGERS, Csv, JsonLines, Logger, Mlflow, Row, Session, TensorBoard, Told, Wandb
from sampling import WHOLE
from small import MLP, vectors

TRAIN = Train(epochs=2, batch_size=25)
NAMES = ["csv", "jsonl", "mlflow", "tensorboard", "wandb"]
SMALL = {"variants": None, "sweep": None}
VARIANTS = {"magnitude": {}, "=rand/om": {"prune.criterion": "random"}}


def study(name: str = "told", **more: Any) -> Study:
    chain = Chain(TRAIN, Repeat(2, Prune(fraction=0.5), Rewind(), TRAIN))
    given = {"variants": VARIANTS, "sweep": {"seed": range(2)}, **more}
    return Study(name, World(vectors(), validation=10), MLP, chain, **given)


def run(store: Path, log: Any, made: Study | None = None, **how: Any) -> Results:
    return (made or study()).run(store, **{"jobs": 1, "threads": 1, "log": log, "reporter": Reporter(), **how})


class Heard(Logger, Session):
    """Keeps what it hears, in a memory of its own."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.points: list[tuple[int, int, dict[str, float]]] = []
        self.ends: list[bool] = []

    def begin(self, told: Told) -> Session:
        self.told = told
        self.rows, self.points = [], []
        return self

    def point(self, chain: int, iteration: int, numbers: Any) -> None:
        self.points.append((chain, iteration, numbers))

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def end(self, complete: bool) -> None:
        self.ends.append(complete)


def frame_of(rows: list[Row], like: pl.DataFrame) -> pl.DataFrame:
    frame = pl.DataFrame([dict(row.columns) for row in rows], like.schema)
    return frame.sort("chain", "step")


def test_every_row_and_every_point_is_heard_once_and_as_it_is_in_the_table(tmp_path: Path) -> None:
    heard = Heard()
    results = run(tmp_path, heard)
    check_heard(heard, results)


def check_heard(heard: Heard, results: Results) -> None:
    assert_frame_equal(frame_of(heard.rows, results.frame), results.frame.sort("chain", "step"))
    for chain in range(4):
        assert [row.place for row in heard.rows if row.chain == chain] == [0, 1, 2], "in order"
        points = [(at, numbers["loss"]) for number, at, numbers in heard.points if number == chain]
        curves = results.curves.filter(chain=chain)
        assert [loss for _, loss in points] == curves["loss"].to_list()
        assert [at for at, _ in points] == [2, 4, 6, 8, 10, 12], "iterations count on over the trainings"
    assert heard.ends == [True]
    assert heard.told.chains[3].name == "=rand/om, seed 1"
    assert heard.told.chains[3].settings | {"variant": "=rand/om", "seed": 1} == heard.told.chains[3].settings


class Hostile(Heard):
    """Does all that could change a training, with whatever it is handed."""

    def act(self) -> None:
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")

    def begin(self, told: Told) -> Session:
        self.act()
        return self

    def point(self, chain: int, iteration: int, numbers: Any) -> None:
        self.act()
        numbers.clear()

    def row(self, row: Row) -> None:
        self.act()
        row.columns.clear()
        row.numbers.clear()
        row.curve.clear()


def contents(store: Path) -> dict[str, Any]:
    """All results of a store by address, without what differs between any two runs."""
    opened = Store(store, reading=True)
    steps = {name: opened.numbers("steps", name) for name in opened.fingerprints("steps")}
    probes = {name: opened.numbers("probes", name)["values"] for name in opened.fingerprints("probes")}
    kept = {name: (each["tensors"], each["curve"]) for name, each in steps.items()}
    return {**kept, **{n: {k: v for k, v in each.items() if k not in MEASURED} for n, each in probes.items()}}


def test_results_have_the_same_bits_and_addresses_with_and_without(tmp_path: Path) -> None:
    run(tmp_path / "without", None)
    heard = Heard()
    log = [Hostile(), f"csv:{tmp_path}/rows.csv", f"jsonl:{tmp_path}/rows.jsonl", str(tmp_path / "events"), heard]
    for jobs in (1, 2):
        heard.ends.clear()
        results = run(tmp_path / f"with {jobs}", log, jobs=jobs)
        assert contents(tmp_path / f"with {jobs}") == contents(tmp_path / "without")
        assert len(csv_rows(tmp_path / "rows.csv")) == len(lines(tmp_path / "rows.jsonl")) == len(results.frame)
        check_heard(heard, results)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


class Failing(Heard):
    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.where, self.error, self.calls = where, error, 0

    def fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            raise self.error

    def begin(self, told: Told) -> Session:
        self.fail("begin")
        return self

    def point(self, chain: int, iteration: int, numbers: Any) -> None:
        self.fail("point")

    def row(self, row: Row) -> None:
        self.fail("row")

    def end(self, complete: bool) -> None:
        self.fail("end")


@pytest.mark.parametrize("where", ["begin", "point", "row", "end"])
@pytest.mark.parametrize("error", [ConnectionError("no network\nmore"), SystemExit(3)], ids=["error", "exit"])
def test_a_logger_that_fails_is_told_once_and_stops_nothing(where: str, error: BaseException, tmp_path: Path) -> None:
    failing, heard, shown = Failing(where, error), Heard(), io.StringIO()
    results = run(tmp_path, [failing, heard], study(**SMALL), reporter=PlainReporter(shown))
    assert results.complete
    assert len(heard.rows) == len(results.frame)
    assert failing.calls == 1
    told = [note for note in results.notes if "logger" in note]
    assert len(told) == 1
    assert told[0].startswith("logger Failing 1 failed and hears no more; no result depends on it (")
    assert shown.getvalue().count("logger Failing 1 failed") == 1


def test_a_full_disk_under_a_log_is_told_and_stops_nothing(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full, which is always full")
    results = run(tmp_path, ["csv:/dev/full", "jsonl:/dev/full"], study(**SMALL))
    assert results.complete
    assert [("No space left" in note) for note in results.notes if "logger" in note] == [True, True]


class Stopping(Reporter):
    """Stops a run as Ctrl-C does, after some trainings."""

    def __init__(self, after: int) -> None:
        self.left = after

    def finished(self, node: Any, done: Any) -> None:
        self.left -= node.trains
        if not self.left:
            raise KeyboardInterrupt


def lines(path: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda r: (r["chain"], r["step"]))


def csv_rows(path: Path) -> list[dict[str, str]]:
    return sorted(csv.DictReader(path.read_text().splitlines()), key=lambda row: (int(row["chain"]), int(row["step"])))


def test_a_run_that_is_stopped_and_goes_on_leaves_the_log_of_one_that_was_not(tmp_path: Path) -> None:
    log = [f"csv:{tmp_path}/rows.csv", JsonLines(str(tmp_path / "rows.jsonl"))]
    for after in (3, 2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "runs", log, reporter=Stopping(after))
    half = len(lines(tmp_path / "rows.jsonl"))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"study": "told", "revi')  # a kill in the middle of a line
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("told,")
    results = run(tmp_path / "runs", log)
    again = run(tmp_path / "runs", log)
    assert again.frame.equals(results.frame)
    told = lines(tmp_path / "rows.jsonl")
    assert 0 < half < len(told) == len(results.frame) == 12
    for row, here in zip(results.frame.sort("chain", "step").iter_rows(named=True), told, strict=True):
        curve = here.pop("curve")
        assert here.pop("revision") == results.revision
        assert here == row
        assert curve["iteration"] == [2, 4]
    cells = csv_rows(tmp_path / "rows.csv")
    assert [float(row["test_accuracy"]) for row in cells] == [row["test_accuracy"] for row in told]
    assert [row["variant"] for row in cells[-3:]] == ["'=rand/om"] * 3, "no spreadsheet computes it"


def test_one_file_takes_several_studies_and_revisions(tmp_path: Path) -> None:
    log = [f"csv:{tmp_path}/rows.csv", f"jsonl:{tmp_path}/rows.jsonl"]
    run(tmp_path / "runs", log)
    run(tmp_path / "runs", log, study("other", variants=None, probes=["density"]))
    run(tmp_path / "runs", log, study(sweep={"seed": [0]}))
    found = {(row["study"], row["revision"]): 0 for row in lines(tmp_path / "rows.jsonl")}
    for row in lines(tmp_path / "rows.jsonl"):
        found[row["study"], row["revision"]] += 1
    assert sorted(found.values()) == [6, 6, 12]
    assert len(csv_rows(tmp_path / "rows.csv")) == 24


def test_a_column_that_comes_late_is_in_the_table(tmp_path: Path) -> None:
    run(tmp_path / "runs", f"csv:{tmp_path}/rows.csv", study(probes=[Late()], variants=None))
    assert [row["late, or not"] for row in csv_rows(tmp_path / "rows.csv")] == ["", "2.0", "2.0"] * 2


def test_rows_behind_one_that_failed_are_heard_at_the_end(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.warns(match="are missing"):
        run(tmp_path, heard, study(probes=[Picky()], variants=None))
    assert [(row.chain, row.place) for row in heard.rows] == [(0, 0), (1, 0), (0, 2), (1, 2)]
    assert heard.ends == [False]


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("csvv:rows.csv", "unknown logger 'csvv:rows.csv'|csvv"),
        ({"csv": {"pat": "x"}}, "path: is required|pat: no such field"),
        ("csv:", "csv"),
        (42, "logger must be one of csv, jsonl, mlflow, tensorboard, wandb"),
        ("csv:mine.csv", "log csv: 'mine.csv' is there already and is no log of overparam's"),
        ("jsonl:mine.csv", "log jsonl: 'mine.csv' is there already and is no log of overparam's"),
        ("mine.csv/events", "log 'mine.csv/events' cannot be written"),
    ],
)
def test_a_log_that_cannot_be_is_told_before_anything_runs(
    log: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SpecError, match=told):
        run(tmp_path / "runs", log)
    assert not (tmp_path / "runs").exists()
    assert Path("mine.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("name", ["mlflow", "tensorboard", "wandb"])
def test_a_package_that_is_not_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overparam.loggers.base.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=rf"needs the package {name}; pip install 'overparam\[{name}\]'"):
        run(tmp_path / "runs", f"{name}:{tmp_path}/x")


def test_the_command_line_takes_several_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(
        "{name: small, world: {dataset: digits, train_size: 50, test_size: 50}, network: {mlp: {hidden: [4]}}, "
        "chain: [train], train: {epochs: 1}, probes: [accuracy]}"
    )
    words = ["run", "small.yaml", "--jobs", "1", "--log", "csv:rows.csv", "--log", "{jsonl: {path: rows.jsonl}}"]
    done = CliRunner().invoke(app, [*words, "--log", "events"])
    assert done.exit_code == 0, done.output
    assert len(csv_rows(Path("rows.csv"))) == len(lines(Path("rows.jsonl"))) == 1
    assert "finished" in Path("events").read_text()
    wrong = CliRunner().invoke(app, ["run", "small.yaml", "--log", "csvv:rows.csv"])
    assert wrong.exit_code == 2
    assert "error: " in wrong.output


# What is told to TensorBoard, W&B and MLflow


class FakeRun:
    """A run of W&B by the calls that its documentation has."""

    def __init__(self, **given: Any) -> None:
        self.given, self.metrics, self.history, self.exit = given, {}, [], None

    def define_metric(self, name: str, step_metric: str) -> None:
        self.metrics[name] = step_metric

    def log(self, data: dict[str, Any]) -> None:
        assert self.exit is None
        self.history.append(data)

    def finish(self, exit_code: int = 0) -> None:
        self.exit = exit_code


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **things: Any) -> None:
    module = SimpleNamespace(__spec__=ModuleSpec(name, None), **things)
    monkeypatch.setitem(sys.modules, name, module)


def wandb_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    runs: list[FakeRun] = []

    def init(**given: Any) -> FakeRun:
        runs.append(FakeRun(**given))
        return runs[-1]

    fake(monkeypatch, "wandb", init=init, Settings=dict)
    run(tmp_path / "runs", Wandb("mine", mode="offline", folder=str(tmp_path)))
    return sorted(runs, key=lambda each: each.given["id"])


def test_wandb_has_a_run_for_each_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = wandb_runs(tmp_path, monkeypatch)
    assert [each.given["name"] for each in runs] == [f"{v}, seed {s}" for v in VARIANTS for s in (0, 1)]
    assert len({each.given["id"] for each in runs}) == 4
    assert all(len(each.given["id"]) <= 64 for each in runs), "W&B takes no longer one"
    assert {(each.given["project"], each.given["mode"], each.exit) for each in runs} == {("mine", "offline", 0)}
    assert runs[3].given["config"] | {"variant": "=rand/om", "seed": 1, "study": "told"} == runs[3].given["config"]
    assert runs[0].metrics == {"curve/*": "iteration", "measured/*": "place"}
    measured = [row for row in runs[0].history if "place" in row]
    assert [(row["place"], row["measured/density"]) for row in measured] == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert [row["iteration"] for row in runs[0].history if "iteration" in row] == [2, 4, 6, 8, 10, 12]
    again = wandb_runs(tmp_path, monkeypatch)
    assert [(a.given, a.history) for a in again] == [(b.given, b.history) for b in runs], "from the store, to one id"


class FakeClient:
    """A client of MLflow by the calls that its documentation has, all of one server."""

    runs: list[SimpleNamespace]

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.uri = tracking_uri

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, experiments: list[str], filter_string: str) -> list[SimpleNamespace]:
        alive = [each for each in self.runs if each.state != "deleted" and each.experiment in experiments]
        return [each for each in alive if filter_string == f"tags.`overparam.study` = '{each.tags['overparam.study']}'"]

    def delete_run(self, run_id: str) -> None:
        self.of(run_id).state = "deleted"

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
        made = SimpleNamespace(info=SimpleNamespace(run_id=str(len(self.runs))), name=run_name, tags=tags)
        vars(made).update(experiment=experiment, state="running", params={}, metrics=[], texts={})
        self.runs.append(made)
        return made

    def of(self, run_id: str) -> SimpleNamespace:
        return self.runs[int(run_id)]

    def log_param(self, run_id: str, key: str, value: Any) -> None:
        self.of(run_id).params[key] = value

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        self.of(run_id).texts[artifact_file] = text

    def log_batch(self, run_id: str, metrics: list[SimpleNamespace]) -> None:
        self.of(run_id).metrics += metrics

    def set_terminated(self, run_id: str, status: str | None = None) -> None:
        self.of(run_id).state = status or "FINISHED"


def test_mlflow_has_a_run_for_each_chain_and_no_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def metric(key: str, value: float, timestamp: int, step: int) -> SimpleNamespace:
        assert isinstance(value, float)
        assert isinstance(step, int)
        return SimpleNamespace(key=key, value=value, step=step)

    FakeClient.runs = []
    fake(monkeypatch, "mlflow", MlflowClient=FakeClient)
    fake(monkeypatch, "mlflow.entities", Metric=metric)
    for _ in range(2):
        run(tmp_path / "runs", Mlflow("file:here"))
    assert [each.state for each in FakeClient.runs] == ["deleted"] * 4 + ["FINISHED"] * 4
    last = FakeClient.runs[-1]
    assert (last.experiment, last.name, last.params["seed"]) == ("told", "=rand/om, seed 1", 1)
    assert "name: told" in last.texts["study.yaml"]
    assert [m.step for m in last.metrics if m.key == "curve/loss"] == [2, 4, 6, 8, 10, 12]
    assert [(m.step, m.value) for m in last.metrics if m.key == "measured/density"] == [(0, 1.0), (1, 0.5), (2, 0.25)]


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
def test_tensorboard_has_event_files_for_each_chain(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'overparam[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    home = tmp_path / "logs" / "x"
    foreign = home / "events.out.tfevents.1.other"
    home.mkdir(parents=True)
    foreign.write_bytes(b"")
    for _ in range(2):
        results = run(tmp_path / "runs", f"tensorboard:{home}")
    assert foreign.exists()
    folders = sorted((home / f"told@{results.revision}").iterdir())
    assert [path.name for path in folders] == [
        "000 magnitude, seed 0",
        "001 magnitude, seed 1",
        "002 =rand_om, seed 0",
        "003 =rand_om, seed 1",
    ]
    read = EventAccumulator(str(folders[3]))
    read.Reload()
    accuracy = [(event.step, event.value) for event in read.Scalars("measured/test_accuracy")]
    expected = results.frame.filter(chain=3).select("level", "test_accuracy").rows()
    assert accuracy == [(level, pytest.approx(value)) for level, value in expected]
    assert [event.step for event in read.Scalars("curve/loss")] == [2, 4, 6, 8, 10, 12]


if WHOLE:  # their imports and services take seconds

    @pytest.mark.sampled
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", ["mlflow", "wandb"])
    def test_the_real_packages_take_what_they_are_told(
        name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'overparam[{name}]'")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        log = Wandb(mode="offline", folder=str(tmp_path)) if name == "wandb" else Mlflow(f"file:{tmp_path}/mlruns")
        results = run(tmp_path / "runs", log, study(variants=None))
        assert results.notes == []
        if name == "wandb":
            assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 2
            return
        from mlflow import MlflowClient

        client = MlflowClient(f"file:{tmp_path}/mlruns")
        found = client.search_runs([client.get_experiment_by_name("told").experiment_id])
        steps = [[m.step for m in client.get_metric_history(each.info.run_id, "curve/loss")] for each in found]
        assert steps == [[2, 4, 6, 8, 10, 12]] * 2


CASES = {
    "csv": Csv("rows.csv"),
    "jsonl": JsonLines("rows.jsonl"),
    "mlflow": Mlflow(),
    "tensorboard": TensorBoard("logs"),
    "wandb": Wandb(),
}


@pytest.mark.parametrize("name", CASES)
def test_a_logger_is_what_its_settings_are(name: str) -> None:
    logger = CASES[name]
    assert LOGGERS.resolve(LOGGERS.checked(logger)) == logger
    assert getattr(LOGGERS.resolve(f"{name}:there"), logger.target) == "there"
    assert set(LOGGERS) == set(CASES)
