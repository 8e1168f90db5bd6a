"""Branches: steps that leave a chain and are measured, while the chain goes on as if they were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from overparam import Branch, Chain, Prune, Reinit, Repeat, Rewind, SpecError, Study, Train, World
from overparam.report.arms import arms
from small import MLP, vectors

TRAIN = Train(epochs=1, batch_size=16)
PRUNE = Prune(fraction=0.3)
ROUND = (PRUNE, Branch("reinit", Reinit(), TRAIN), Rewind(), TRAIN)


def study(chain: Any, **fields: Any) -> Study:
    return Study("branched", World(vectors()), MLP, chain, probes=["accuracy"], engine="dense", **fields)


def test_the_trunk_is_what_it_is_without_branches() -> None:
    trunk = study(Chain(TRAIN, Repeat(2, PRUNE, Rewind(), TRAIN))).plan
    plan = study(Chain(TRAIN, Repeat(2, *ROUND))).plan
    assert trunk.nodes.keys() <= plan.nodes.keys()
    assert len(plan.steps) == len(trunk.steps) + 2 * 2, "a new initialisation and a training at each level"
    assert [(row.experiment, row.level, row.kind) for row in plan.rows] == [
        *((0, level, "train") for level in range(3)),
        *((branch, branch, "train") for branch in (1, 2)),
    ]


def test_a_branch_s_step_comes_from_where_it_branches_off() -> None:
    plan = study(Chain(TRAIN, Repeat(2, *ROUND))).plan
    reinits = [node for node in plan.steps.values() if node.part == Reinit()]
    prunings = [node.fingerprint for node in plan.steps.values() if node.part == PRUNE]
    assert [node.start for node in reinits] == prunings


def test_a_branch_is_an_arm_of_its_own(tmp_path: Path) -> None:
    results = study(Chain(TRAIN, Repeat(2, *ROUND)), sweep={"seed": [0, 1]}).run(tmp_path, jobs=1, threads=1)
    ticket, control = arms(results.frame)
    assert (ticket.values["retraining"], control.values["retraining"]) == ("rewind", "reinit")
    assert (ticket.places, control.places) == ([0, 1, 2], [1, 2])
    assert control.positions == ticket.positions[1:]
    assert control.seeds == [0, 1]


def test_its_own_steps_say_what_it_is() -> None:
    """The trunk was rewound before; a branch that trains on from pruned weights is finetuned none the less."""
    chain = Chain(TRAIN, Repeat(2, PRUNE, Branch("tuned", TRAIN), Rewind(), TRAIN))
    plan = study(chain)
    rows = plan._record(plan.plan).rows
    found = {row["about"]["retraining"] for row in rows if row["variant"] == "tuned"}
    assert found == {"finetune"}


@pytest.mark.parametrize("where", ["trunk", "branch"])
def test_points_on_the_way_are_shared(where: str) -> None:
    """Whichever refers to a point, both have the same dense network."""
    late = Rewind("2it")
    own, other = (late, Rewind()) if where == "branch" else (Rewind(), late)
    plan = study(Chain(TRAIN, PRUNE, Branch("late", own, TRAIN), other, TRAIN)).plan
    assert sum(node.trains for node in plan.nodes.values()) == 3


def test_in_a_study_file_with_settings_and_changes_by_path() -> None:
    written = ["train", {"repeat": 2, "steps": ["prune", {"branch": "reinit", "steps": ["reinit", "train"]}, "train"]}]
    settings = {"train": {"epochs": 1, "batch_size": 16}, "prune": {"fraction": 0.3}}
    made = study(written, **settings)
    same = study(Chain(TRAIN, Repeat(2, PRUNE, Branch("reinit", Reinit(), TRAIN), TRAIN)))
    assert list(made.plan.nodes) == list(same.plan.nodes)
    assert list(Study.from_mapping({**_document(same), "world": World(vectors()), "network": MLP}).plan.nodes) == list(
        same.plan.nodes
    )
    shorter = made.with_changes({"train.epochs": 2})
    assert [step.epochs for step in _trainings(shorter)] == [2] * len(_trainings(made)), "branches are changed too"


def _trainings(made: Study) -> list[Train]:
    return [node.part for node in made.plan.steps.values() if isinstance(node.part, Train)]


def _document(made: Study) -> dict[str, Any]:
    from overparam.lab import parse_yaml

    return parse_yaml(made.yaml(), "study")


def test_variants_have_branches_of_their_own() -> None:
    made = study(Chain(TRAIN, *ROUND), variants={"adam": {"train.lr": 0.01}, "sgd": {}})
    assert [each.variant for each in made.experiments] == ["adam", "adam, reinit", "sgd", "sgd, reinit"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Branch("", TRAIN), "branch must be a name"),
        (lambda: Branch("a/b", TRAIN), "branch must be a name"),
        (lambda: Branch("a"), "branch 'a' has no steps"),
        (lambda: Branch("a", Branch("b", TRAIN)), "branch 'a' has a branch itself"),
        (lambda: Branch("a", Repeat(2, Branch("b", TRAIN))), "branch 'a' has a branch itself"),
        (
            lambda: study([{"branch": "a"}]).experiments,
            r"chain\[0\]: a branch has the form \{branch: reinit, steps: \[...\]\}, got the keys branch",
        ),
        (lambda: study([{"branch": "a", "steps": []}]).experiments, r"chain\[0\]: branch 'a' has no steps"),
        (
            lambda: study(Chain(TRAIN, Branch("a", TRAIN), Branch("a", TRAIN))).experiments,
            "branch 'a' twice at one place",
        ),
        (
            lambda: study(Chain(TRAIN, Branch("a", TRAIN)), variants={"b": {}, "b, a": {}}).experiments,
            "branch 'a' would be called as variant 'b, a' is",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def test_probes_of_two_checkpoints_look_along_the_branch() -> None:
    made = Study("pairs", World(vectors()), MLP, Chain(TRAIN, *ROUND), probes=["mask-overlap"], sweep={"seed": [0, 1]})
    plan = made.plan
    branch = next(row for row in plan.rows if made.experiments[row.experiment].variant == "reinit")
    (probe,) = (plan.nodes[name] for name in branch.measurements)
    assert probe.given["previous"].node == plan.rows[0].node
