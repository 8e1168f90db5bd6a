"""Running studies: each step once, failures where they belong, the same bits for any number of jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from counted import BROKEN, FILE, BrokenProbe, CountingProbe, CountingTrain, Failing, RandomFeatures, counted, forget

from overparam import (
    Chain,
    IncompleteWarning,
    LabelNoise,
    Length,
    Network,
    Prune,
    Repeat,
    Results,
    Rewind,
    Store,
    Study,
    Train,
    World,
    load_results,
)
from overparam.lab import Reporter, load_module
from overparam.lab.execute import Done
from overparam.lab.plan import Node
from overparam.lab.results import MEASURED
from overparam.train import StopAt, evaluate
from small import CONV, MLP, begin, built, context_of, given, images, same_bits, vectors

SHORT = {"epochs": 1, "batch_size": 25}
TRAIN = Train(**SHORT)
COUNTED = CountingTrain(**SHORT)
TICKET = Chain(COUNTED, Repeat(2, Prune(fraction=0.5), Rewind(), COUNTED))


@pytest.fixture(autouse=True)
def counts(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, str(tmp_path_factory.mktemp("counts") / "calls"))
    monkeypatch.setenv(BROKEN, "yes")


def study(chain: Any = TICKET, name: str = "s", **changes: Any) -> Study:
    given = {"world": World(vectors()), "network": MLP, "probes": [CountingProbe()], **changes}
    return Study(name, given.pop("world"), given.pop("network"), chain, **given)


def run(made: Study, store: Path, **options: Any) -> Results:
    return made.run(store, **{"jobs": 1, "threads": 1, **options})


def failing(made: Study, store: Path, **options: Any) -> Results:
    """Run a study of which some rows, but not all, cannot be computed."""
    with pytest.warns(IncompleteWarning, match=r"\d of the \d rows of study 's' are missing: ") as told:
        results = run(made, store, **options)
    assert results.failures[0] in str(told[0].message)
    assert told[0].filename == __file__, "the line that called"
    return results


def ran(results: Results) -> tuple[int, int]:
    """How many steps the run ran and found."""
    found = re.match(r"(\d+) steps? run and (\d+) found in the store", results.facts["run"])
    assert found
    return int(found[1]), int(found[2])


def exact(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(*MEASURED, strict=False)


def test_each_step_and_measurement_is_run_once(tmp_path: Path) -> None:
    first = run(study(), tmp_path)
    assert counted() == {"train 0": 3, "probe": 3}
    assert ran(first) == (8, 0)
    assert first.complete
    assert first.frame["level_times"].to_list() == [0.0, 1.0, 2.0]
    again = run(study(), tmp_path)
    assert counted() == {"train 0": 3, "probe": 3}
    assert ran(again) == (0, 8)
    assert again.frame.equals(first.frame)
    assert again.layers.equals(first.layers)


def test_sweeps_share_what_begins_alike(tmp_path: Path) -> None:
    results = run(study(sweep={"prune.criterion": ["magnitude", "gradient", "random"], "seed": [0, 1]}), tmp_path)
    assert counted() == {"train 0": 1 + 3 * 2, "train 1": 1 + 3 * 2, "probe": 2 * 7}
    assert len(results.frame) == 3 * 2 * 3
    dense = results.frame.filter(pl.col("level") == 0)
    assert dense.group_by("seed").agg(pl.col("fingerprint").n_unique())["fingerprint"].to_list() == [1, 1]
    forget()
    run(study(Chain(*TICKET.steps, Prune(fraction=0.5), COUNTED), name="longer"), tmp_path)
    assert counted() == {"train 0": 1, "probe": 1}, "another study finds what it shares"


def test_a_new_probe_measures_what_is_there(tmp_path: Path) -> None:
    run(study(), tmp_path)
    forget()
    results = run(study(probes=[CountingProbe(factor=3.0), "density"]), tmp_path)
    assert counted() == {"probe": 3}
    assert ran(results) == (0, 8)
    assert results.frame["level_times"].to_list() == [0.0, 3.0, 6.0]
    assert "dead_units" in results.frame.columns


def test_what_is_missing_alone_is_computed(tmp_path: Path) -> None:
    first = run(study(), tmp_path)
    store, plan = Store(tmp_path), study().plan
    middle = first.frame["fingerprint"][1]
    measurement = plan.rows[2].measurements[0]
    store.remove("steps", middle)
    store.remove("probes", measurement)
    assert load_results(store, "s").missing == 2
    forget()
    again = run(study(), tmp_path)
    assert counted() == {"train 0": 1, "probe": 1}
    assert ran(again) == (1, 7)
    assert exact(again.frame).equals(exact(first.frame))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def chain(how: str) -> Chain:
        return Chain(COUNTED, Repeat(3, Prune(fraction=0.5), Failing(how=how, at=2), COUNTED))

    whole = run(study(chain("never")), tmp_path / "whole")
    assert counted()["train 0"] == 4
    forget()
    with pytest.raises(KeyboardInterrupt):
        run(study(chain("KeyboardInterrupt")), tmp_path / "stopped")
    assert counted() == {"train 0": 2, "probe": 2, "failing": 2}
    before = load_results(Store(tmp_path / "stopped"), "s")
    assert before.missing == 2
    assert before.facts["run"] == "under way, or stopped"
    assert before.frame["level_times"].to_list() == whole.frame["level_times"].to_list()[:2]
    with pytest.raises(KeyboardInterrupt):
        run(study(chain("KeyboardInterrupt")), tmp_path / "stopped")
    assert counted() == {"train 0": 2, "probe": 2, "failing": 3}


def test_a_diverging_arm_stops_only_what_depends_on_it(tmp_path: Path) -> None:
    def chain(lr: float) -> dict[str, Chain]:
        return {"chain": Chain(TRAIN, Prune(fraction=0.5), CountingTrain(**SHORT, lr=lr), finetune)}

    finetune = Train(called="finetune", **SHORT)

    made = study(Chain(TRAIN), variants={"good": chain(0.1), "bad": chain(1e30)})
    results = failing(made, tmp_path)
    assert results.missing == 2
    assert not results.complete
    assert len(results.frame) == 4
    assert results.frame.filter(variant="bad")["level"].to_list() == [0]
    assert len(results.failures) == 1
    assert "counting-train (level 1), bad, seed 0: training diverged: the loss became" in results.failures[0]
    assert counted()["train 0"] == 2
    again = failing(made, tmp_path)
    assert counted()["train 0"] == 2, "the failure is remembered"
    assert again.failures == results.failures
    assert again.missing == 2
    retried = failing(made, tmp_path, retry_failed=True)
    assert counted()["train 0"] == 3, "that step alone is tried again"
    assert retried.failures == results.failures


def test_an_error_of_somebody_else_s_code_is_told_but_not_remembered(tmp_path: Path) -> None:
    made = study(Chain(TRAIN, Failing(how="ValueError"), TRAIN))
    results = failing(made, tmp_path)
    (failure,) = results.failures
    assert failure.startswith("failing (level 0), seed 0: ValueError: two")
    assert "\n" not in failure
    assert "counted.py" in failure, "where it was raised"
    assert results.missing == 1
    assert not (tmp_path / "failures").exists()
    failing(made, tmp_path)
    assert counted()["failing"] == 2
    assert run(study(Chain(TRAIN, Failing(how="never"), TRAIN)), tmp_path).complete


def test_a_failing_probe_does_not_stop_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    made = study(probes=[CountingProbe(), BrokenProbe(), "density"])
    results = failing(made, tmp_path, reporter=heard)
    assert counted()["train 0"] == 3
    assert ran(results) == (8, 0)
    assert results.missing == 1
    assert results.frame["level"].to_list() == [1, 2]
    assert results.failures == ["probe broken of counting-train (level 0), seed 0: nothing to be seen"]
    assert [event for event in heard.said if event[0] == "failed"] == [("failed", 0)], "nothing is blocked"
    monkeypatch.delenv(BROKEN)
    forget()
    mended = run(made, tmp_path)
    assert mended.complete
    assert counted() == {}, "only what was missing is measured"
    assert mended.frame["seen"].to_list() == [1, 1, 1]


def test_a_point_that_training_did_not_reach_is_told(tmp_path: Path) -> None:
    early = Train(epochs=6, batch_size=25, stop_at=StopAt(train_loss=1e9))
    results = failing(study(Chain(early, Prune(fraction=0.5), Rewind("4ep"), early)), tmp_path)
    (failure,) = results.failures
    assert failure == (
        "rewind (level 1), seed 0: there is no 4ep of the training to go back to: it reached its stop_at before"
    )
    reached = run(study(Chain(early, Prune(fraction=0.5), Rewind("1ep"), early), name="reached"), tmp_path)
    assert reached.complete


@pytest.mark.parametrize("network", [MLP, CONV], ids=["mlp", "batch norm and dropout"])
@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_chains_agree_with_steps_run_by_hand(network: Network, engine: str, tmp_path: Path) -> None:
    data = built(images(), label_noise=LabelNoise("symmetric", 0.2))
    training = Train(epochs=2, batch_size=16, optimizer={"sgd": {"momentum": 0.9}})
    steps = [training, Prune("gradient", fraction=0.5), Rewind("5it"), training]
    world = World(images(), label_noise=LabelNoise("symmetric", 0.2))
    results = run(study(Chain(*steps), world=world, network=network, seed=4), tmp_path, engine=engine)
    init = begin(network, data, 4)
    context = context_of(network, data, 4, engine=engine)
    trained = training.saving((Length.of("5it"),)).run(init, context)
    pruned = steps[1].run(trained.checkpoint, context).checkpoint
    rewound = steps[2].run(pruned, replace(context, given=given(network, data, trained.points))).checkpoint
    final = training.run(rewound, context).checkpoint
    module = load_module(Store(tmp_path), results.frame["fingerprint"][1], network.build(data.input_shape, 3, 0))
    assert same_bits(module.state_dict(), final.state)


def test_two_jobs_give_the_bits_of_one(tmp_path: Path) -> None:
    world = World(images(), label_noise=LabelNoise("symmetric", 0.2))
    training = Train(epochs=2, batch_size=16, optimizer={"sgd": {"momentum": 0.9, "weight_decay": 0.01}})
    chain = Chain(training, Repeat(2, Prune("gradient", fraction=0.5), Rewind("3it"), training))
    probes = ["accuracy", "learning-distance", "density", "cost"]
    made = study(chain, world=world, network=CONV, probes=probes, sweep={"seed": [0, 1]})
    one = run(made, tmp_path / "one", jobs=1, threads=1)
    two = run(made, tmp_path / "two", jobs=2, threads=1)
    assert one.complete
    assert exact(two.frame).equals(exact(one.frame))
    assert two.layers.equals(one.layers)
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.safetensors")}
        for root in (tmp_path / "one", tmp_path / "two")
    ]
    assert len(files[0]) == 1 + 1 + 14 + 2
    assert files[0] == files[1]


def test_the_world_of_a_step_is_the_one_it_trains_in(tmp_path: Path) -> None:
    noise = LabelNoise("symmetric", 0.5)
    training = {"epochs": 30, "batch_size": 25, "lr": 0.5}
    probes = ["accuracy"]
    arms = {
        "noisy": {},
        "clean": {"chain": Chain(Train(**training, world={"label_noise": None}))},
        "fewer": {"chain": Chain(Train(**training, world={"train_size": 10}))},
    }
    made = study(Chain(Train(**training)), world=World(vectors(), label_noise=noise), variants=arms, probes=probes)
    results = run(made, tmp_path)
    by_arm = {row["variant"]: row for row in results.frame.iter_rows(named=True)}
    assert by_arm["clean"]["train_accuracy_clean"] > 0.9 > by_arm["noisy"]["train_accuracy_clean"]
    assert by_arm["clean"]["train_accuracy"] < 0.7, "measured in the study's world, half of whose labels are wrong"
    assert len({row["fingerprint"] for row in by_arm.values()}) == 3


def test_modules_with_random_parts_are_those_of_their_seed(tmp_path: Path) -> None:
    chain = Chain(TRAIN, Prune(fraction=0.2), TRAIN)
    network = Network(RandomFeatures)
    together = run(study(chain, network=network, sweep={"seed": [0, 1, 2]}, probes=["accuracy"]), tmp_path / "all")
    for seed in (0, 1, 2):
        alone = run(study(chain, network=network, seed=seed, probes=["accuracy"]), tmp_path / str(seed))
        mine = together.frame.filter(seed=seed)
        assert mine["train_loss"].to_list() == alone.frame["train_loss"].to_list()


def test_a_stored_checkpoint_is_the_network_that_was_measured(tmp_path: Path) -> None:
    results = run(study(probes=["accuracy"]), tmp_path)
    data = World(vectors()).build()
    for row in results.frame.iter_rows(named=True):
        module = load_module(Store(tmp_path), row["fingerprint"], MLP.build(data.input_shape, data.classes, 9))
        found = evaluate(module, data.test.examples(), data.task)
        assert {name: row[f"test_{name}"] for name in data.task.metrics} == {n: found[n] for n in data.task.metrics}
        kept = sum(int((weight != 0).sum()) for name, weight in module.named_parameters() if weight.dim() == 2)
        assert kept == row["kept"]


def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run(study(Chain(TRAIN)), tmp_path, threads=before + 1)
    assert torch.get_num_threads() == before
    with pytest.raises(KeyboardInterrupt):
        run(study(Chain(TRAIN, Failing(how="KeyboardInterrupt"), TRAIN)), tmp_path, threads=before + 1)
    assert torch.get_num_threads() == before


class Heard(Reporter):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def begin(self, nodes: int, finished: int, jobs: int, trainings: int) -> None:
        self.said.append(("begin", nodes, finished, jobs, trainings))

    def started(self, node: Node) -> None:
        self.said.append(("started", node.title))

    def progress(self, node: Node, done: int, total: int, row: Mapping[str, float]) -> None:
        assert "loss" in row
        self.said.append(("progress", done, total))

    def finished(self, node: Node, done: Done) -> None:
        self.said.append(("finished", node.title, done.ran))

    def failed(self, node: Node, reason: str, blocked: int) -> None:
        self.said.append(("failed", blocked))

    def end(self) -> None:
        self.said.append(("end",))


def test_a_reporter_hears_everything_in_order(tmp_path: Path) -> None:
    heard = Heard()
    training = CountingTrain(epochs=2, batch_size=25)
    run(study(Chain(training, Prune(fraction=0.5), training)), tmp_path, reporter=heard)
    progress = [("progress", 2, 4), ("progress", 4, 4)]
    assert heard.said == [
        ("begin", 4, 0, 1, 2),
        ("started", "initialisation"),
        ("finished", "initialisation", True),
        ("started", "counting-train (level 0)"),
        *progress,
        ("finished", "counting-train (level 0)", True),
        ("started", "prune (level 1)"),
        ("finished", "prune (level 1)", True),
        ("started", "counting-train (level 1)"),
        *progress,
        ("finished", "counting-train (level 1)", True),
        ("end",),
    ]
    heard.said.clear()
    run(study(Chain(training, Prune(fraction=0.5), training)), tmp_path, reporter=heard)
    assert heard.said == [("end",)], "nothing to do"


def test_what_is_blocked_is_counted(tmp_path: Path) -> None:
    heard = Heard()
    failing(study(Chain(TRAIN, Failing(), TRAIN, Prune(fraction=0.5), TRAIN)), tmp_path, reporter=heard)
    assert ("failed", 3) in heard.said
