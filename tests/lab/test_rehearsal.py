"""What a run would refuse, however late, is refused before anything is run, in one sentence that names the step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from overparam import Chain, Checkpoint, Dataset, Hold, Prune, Repeat, Rewind, SpecError, Study, Train, World
from overparam.lab import Store
from overparam.lab.record import records
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step
from overparam.worlds import NextToken
from small import MLP, vectors

TRAIN = {"epochs": 1, "batch_size": 16}
LEVELS = ["train", {"repeat": 2, "steps": ["prune", "rewind", "train"]}]
RECURRENT = {"name": "gru", "hidden": 8, "embedding": 4}


def tokens() -> Dataset:
    """The same few tokens over and over."""
    windows = torch.arange(40 * 6).remainder(5).reshape(40, 6)
    train, test = windows[:30], windows[30:]
    return Dataset("tokens", train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:], task=NextToken(5))


def study(chain: Any = LEVELS, world: Any = None, network: Any = MLP, **changes: Any) -> Study:
    given = {"train": TRAIN, "prune": {"fraction": 0.2}, "probes": ["density"], **changes}
    return Study("tried", World(vectors()) if world is None else world, network, chain, **given)


def early(*steps: Any, **changes: Any) -> Study:
    """A study whose first training is long over when the step comes that cannot be."""
    return study(["train", *steps, "train"], **changes)


REFUSED: dict[str, tuple[Study, str]] = {
    "exclude": (
        study(prune={"fraction": 0.2, "exclude": ["outptu"]}),
        r"^prune \(level 1\): exclude: 'outptu' is no role .*did you mean 'output'",
    ),
    "include": (study(prune={"fraction": 0.2, "include": ["embeding"]}), "include: 'embeding' is no role"),
    "rates": (
        study(prune={"fraction": 0.2, "scope": {"per-layer": {"rates": {"outptu": 0.5}}}}),
        "rates: 'outptu' is no role",
    ),
    "exclude of another step": (early({"quantise": {"exclude": ["outptu"]}}), "^quantise .*exclude: 'outptu'"),
    "exclude of an event": (
        early(train={**TRAIN, "events": [{"set": {"every": "1it", "exclude": ["outptu"]}}]}),
        r"^train \(level 0\): exclude: 'outptu'",
    ),
    "all is excluded": (early({"prune": {"fraction": 0.2, "exclude": ["linear", "output"]}}), "all are excluded"),
    "more than is left": (early({"prune": {"density": 0.02}}), "would empty a tensor"),
    "pruned under a supermask": (early({"supermask": 0.5}, "train", "prune"), "a supermask keeps weights by its"),
    "an event under a supermask": (
        study([{"supermask": 0.5}, "train"], train={**TRAIN, "events": [{"set": {"every": "1it"}}]}),
        "a supermask keeps weights by its scores",
    ),
    "a supermask on what is pruned": (early("prune", {"supermask": 0.5}), "is pruned already.*redense first"),
    "quantised under a supermask": (early({"supermask": 0.5}, "quantise"), "'hold: zero'"),
    "compact of what is quantised": (early("prune", "quantise", "train", "compact"), "compact: .* is under Quantised"),
    "rewind beyond compact": (early("prune", "compact", "train", "rewind"), r"^rewind \(level 1\): .*such as compact"),
    "a point beyond compact": (early("prune", "compact", {"rewind": "1it"}), "such as compact"),
    "sparse and quantised": (early("quantise", engine="sparse"), "under Quantised, and sparse layers know plain masks"),
    "sparse and bfloat16": (early(train={**TRAIN, "precision": "bfloat16"}, engine="sparse"), "and this is bfloat16"),
    "sparse and a supermask": (early({"supermask": 0.5}, engine="sparse"), "under Supermask, and sparse layers"),
    "no such device": (early(device="cuda:9"), r"device 'cuda:9': torch .* finds \d+ CUDA devices here; take cpu"),
    "a schedule that is over": (early({"lr-rewind": "3ep"}), "would start at 3ep, which is not before its end at 1ep"),
    "units of a gru": (
        study(world=World(tokens()), network=RECURRENT, prune={"fraction": 0.2, "pattern": "units"}),
        r"that can go.*: recurrent.weight_ih_l0 \(it is no layer .*; output.weight \(it is an output of the network\)",
    ),
    "a density above the present one": (
        early({"prune": {"density": 0.4}}, "train", "prune", "rewind", {"prune": {"density": 0.5}}),
        r"^prune \(level 3\): density 0.5 is more than the 0.4 that a step before it leaves; pruning never revives",
    ),
    "nothing to complement": (
        study([{"train": {**TRAIN, "label": "dense"}}, "prune", {"complement": ["dense"]}, "train"]),
        r"^complement.*: nothing is pruned in dense, so there is no rest to turn to; name a checkpoint after a step",
    ),
    "no initial weights": (early({"prune": {"criterion": "test_rehearsal:movement"}}), "a method references"),
}  # fmt: skip


def movement(seen: Any) -> dict[str, Tensor]:
    return {name: (weight - seen.initial[name]).abs() for name, weight in seen.weights.items()}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_run_would_refuse_is_refused_before_it(what: str, tmp_path: Path) -> None:
    made, message = REFUSED[what]
    with pytest.raises(SpecError, match=message):
        made.checked()
    with pytest.raises(SpecError, match=message):
        made.run(tmp_path, jobs=1)
    assert not list(tmp_path.iterdir()), "no revision of the study that has no rows"


def test_a_refused_try_is_not_the_newest_revision(tmp_path: Path) -> None:
    kept = study(["train"]).run(tmp_path, jobs=1)
    with pytest.raises(SpecError):
        REFUSED["exclude"][0].run(tmp_path, jobs=1)
    assert [record.revision for record in records(Store(tmp_path, reading=True), "tried")[0]] == [kept.revision]


@pytest.mark.parametrize(
    "made",
    [
        study(),
        study([*LEVELS, "redense", "train"], prune={"density": 0.5}),
        early({"prune": {"density": 0.05}}, "redense", {"prune": {"density": 0.5}}),
        early({"prune": {"density": 0.3, "exclude": ["output"]}}, {"prune": {"density": 0.4}}),
        early({"prune": {"density": 0.4, "label": "one"}}, {"complement": ["one"]}, {"prune": {"density": 0.5}}),
        early("prune", "quantise", "train", "prune"),
        early("prune", {"hold": "initial"}, "train", "prune", {"rewind": "1it"}),
        early({"supermask": 0.5}, "train", {"hold": "zero"}, "train", "prune"),
        early("prune", "compact", "train", "compact"),
        early("prune", {"hold": "present"}, engine="auto", train={**TRAIN, "precision": "bfloat16"}),
        study(engine="sparse"),
        study(
            train={**TRAIN, "events": [{"rigl": {"every": "1it"}}]}, prune={"criterion": "gradient", "fraction": 0.5}
        ),
        study(world=World(tokens()), network=RECURRENT, prune={"criterion": "gradient", "fraction": 0.5}),
    ],
)
def test_what_runs_is_not_refused(made: Study, tmp_path: Path) -> None:
    made.checked()
    assert made.run(tmp_path, jobs=1).complete


@spec
class Unpruned(Step):
    """Somebody's step, of which nobody knows what it leaves: here plain masks of ones."""

    refuses: bool = False
    tried: ClassVar[list[int]] = []

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        self.tried.append(1)
        if self.refuses:
            raise SpecError("this network is not for me")
        ones = {name: torch.ones_like(mask) for name, mask in start.masks.items()}
        return Outcome(Hold("zero").run(start, context).checkpoint.masked(ones))


@spec
class Quick(Unpruned):
    quick: ClassVar[bool] = True


def test_what_comes_after_somebody_s_step_is_not_refused_for_what_came_before_it(tmp_path: Path) -> None:
    chain = Chain(Train(**TRAIN), Prune(fraction=0.5), Unpruned(), Train(**TRAIN))
    Unpruned.tried.clear()
    study(Chain(*chain.steps, *study([{"supermask": 0.5}, "train"]).experiments[0].chain.steps)).checked()
    assert not Unpruned.tried, "nor is it run to try a study"
    with pytest.raises(SpecError, match="exclude: 'nothing' is no role"):
        study(Chain(*chain.steps, Prune(fraction=0.5, exclude=("nothing",)))).checked()


def test_somebody_s_quick_step_is_tried_and_may_refuse() -> None:
    with pytest.raises(SpecError, match=r"^quick \(level 0\): this network is not for me"):
        study(Chain(Train(**TRAIN), Quick(refuses=True), Train(**TRAIN))).checked()


def test_levels_and_seeds_that_are_alike_are_tried_once() -> None:
    Unpruned.tried.clear()
    chain = Chain(Train(**TRAIN), Repeat(5, Prune(fraction=0.2), Quick(), Rewind(), Train(**TRAIN)))
    study(chain, sweep={"seed": [0, 1, 2]}).checked()
    assert len(Unpruned.tried) == 1


def unready(seen: Any) -> dict[str, Tensor]:
    raise ValueError("the weights were not trained")


def test_what_fails_for_want_of_training_is_not_refused() -> None:
    early({"prune": {"criterion": unready, "fraction": 0.5}}).checked()
