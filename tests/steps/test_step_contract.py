"""What every step promises, those that are added later included: a step without a case here fails the first test."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch

from overparam import (
    Checkpoint,
    Compact,
    Complement,
    Hold,
    Length,
    LrRewind,
    Measure,
    Prune,
    Quantise,
    Redense,
    Reinit,
    Restart,
    Rewind,
    Shuffle,
    SrSte,
    Supermask,
    TicketSearch,
    Train,
)
from overparam.lab.fingerprint import fingerprint
from overparam.spec import plain
from overparam.steps import STEPS, Context, Outcome, Step
from overparam.steps.traits import traits_of
from overparam.worlds import Augmentation, LabelNoise
from small import CONV, begin, built, context_of, frozen, half_pruned, images, zeros_are_clean

SHORT = {"epochs": 2, "batch_size": 16}

CASES: dict[str, tuple[Step, ...]] = {
    "train": (
        Train(**SHORT, optimizer={"sgd": {"momentum": 0.9}}, save=("3it",)),
        Train(**SHORT, optimizer="adam", l1=0.01, evaluate_every=1),
    ),
    "finetune": (Train(called="finetune", **SHORT, lr=0.01),),
    "prune": tuple(Prune(criterion, fraction=0.3) for criterion in ("magnitude", "gradient", "random"))
    + tuple(Prune(density=0.2, scope=scope) for scope in ("global", "per-layer", "uniform", "erk"))
    + (Prune(pattern="2:4"), Prune("taylor", fraction=0.3, pattern="units")),
    "rewind": (Rewind(), Rewind("5it"), Rewind("my-label")),
    "lr-rewind": (LrRewind("1ep"), LrRewind()),
    "reinit": (Reinit(),),
    "shuffle": (Shuffle(),),
    "complement": (Complement(("half",)), Complement(("half", "other-half"))),
    "restart": (
        Restart(),
        Restart("reinit", signs="drawn"),
        Restart("reshuffle"),
        Restart("constant", rescale=True),
        Restart("zero-if-toward"),
    ),
    "redense": (Redense(),),
    "compact": (Compact(),),
    "hold": tuple(
        Hold(at) for at in ("zero", "initial", "present", "zero-if-toward", "zero-if-away", "zero-at-random")
    ),
    "measure": (Measure(),),
    "supermask": (
        Supermask(0.3),
        Supermask(None, train_weights=True, rescale="count", others="trained"),
        Supermask(gate="concrete", temperature=0.5, l0=1e-4, score=0.5),
        Supermask(0.3, gate="sigmoid"),
    ),
    "sr-ste": (SrSte("1:2"), SrSte({"n-of-m": {"n": 2, "m": 4}}, decay=0.0)),
    "ticket-search": (
        TicketSearch(0.3, length="5it", batch_size=16),
        TicketSearch(0.3, length="5it", batch_size=16, objective="loss", exclude=("output",)),
    ),
    "quantise": (Quantise(4), Quantise(exclude=("output",))),
}
ALL = [pytest.param(step, id=f"{kind}-{place}") for kind, steps in CASES.items() for place, step in enumerate(steps)]


def start_and_context(step: Step) -> tuple[Checkpoint, Context]:
    data = built(images(), label_noise=LabelNoise("symmetric", 0.2), augmentation=Augmentation(flip=True))
    init = begin(CONV, data)
    trained = Train(**SHORT).run(init, context_of(CONV, data)).checkpoint
    start = (
        trained if isinstance(step, Supermask | SrSte | TicketSearch) else half_pruned(trained, 0.6).counted("prune")
    )
    earlier = {
        "init": init,
        "5it": replace(trained, position=Length(5, "it")),
        "my-label": trained,
        "half": half_pruned(trained, 0.3, seed=1),
        "other-half": half_pruned(trained, 0.3, seed=2),
        "previous": trained,
    }
    return start, context_of(CONV, data, seed=2, references=earlier)


def content(outcome: Outcome) -> dict[str, object]:
    return {
        "checkpoint": frozen(outcome.checkpoint),
        "points": {name: frozen(point) for name, point in outcome.points.items()},
        "curve": outcome.curve,
        "facts": dict(outcome.facts),
    }


def test_there_is_a_case_for_every_step() -> None:
    built_in = {kind for kind in STEPS if STEPS.get(kind).__module__.startswith("overparam.")}
    assert set(CASES) == built_in
    assert all(step.name == kind for kind, steps in CASES.items() for step in steps)


@pytest.mark.parametrize("step", ALL)
def test_it_is_pure(step: Step) -> None:
    start, context = start_and_context(step)
    before = {name: frozen(given.checkpoint) for name, given in context.given.items()}
    looked = frozen(start)
    world = {name: t.clone() for name, t in vars(context.world.train).items()}
    state = torch.get_rng_state()
    first = content(step.run(start, context))
    torch.manual_seed(99)  # nothing depends on the global generator
    assert content(step.run(start, context)) == first
    torch.set_rng_state(state)
    assert frozen(start) == looked, "the checkpoint it started from is unchanged"
    assert {name: frozen(given.checkpoint) for name, given in context.given.items()} == before
    assert all(torch.equal(tensor, world[name]) for name, tensor in vars(context.world.train).items())


@pytest.mark.parametrize("step", ALL)
def test_its_result_is_a_whole_checkpoint(step: Step) -> None:
    start, context = start_and_context(step)
    outcome = step.run(start, context)
    for made in (outcome.checkpoint, *outcome.points.values()):
        assert list(made.state) == list(start.state)
        assert list(made.masks) == list(start.masks)
        assert made.roles == start.roles
        assert zeros_are_clean(made)
        for name, mask in made.masks.items():
            assert mask.dtype == torch.bool
            assert mask.shape == made.state[name].shape
        for name, tensor in made.state.items():
            assert (tensor.dtype, tensor.shape, tensor.requires_grad) == (start.state[name].dtype, tensor.shape, False)
            assert tensor.device.type == "cpu"
        made.load_into(context.module())
    assert json.dumps(outcome.curve, allow_nan=False)
    assert json.dumps(plain(outcome.facts), allow_nan=False)


@pytest.mark.parametrize("step", ALL)
def test_what_stands_for_its_result_in_a_rehearsal_is_like_it(step: Step) -> None:
    start, context = start_and_context(step)
    tried, made = step.rehearse(start, context), step.run(start, context).checkpoint
    assert tried is not None, "quick, or a method rehearse"
    kinds = [{name: type(each) for name, each in found.constraints.items()} for found in (tried, made)]
    assert kinds[0] == kinds[1]
    assert (list(tried.state), tried.position, tried.roles) == (list(made.state), made.position, made.roles)
    assert (tried.kept < tried.weights) == (made.kept < made.weights)


@pytest.mark.parametrize("step", ALL)
def test_its_result_shares_no_memory_with_a_module(step: Step) -> None:
    start, context = start_and_context(step)
    modules = []

    def module() -> torch.nn.Module:
        modules.append(context.module())
        return modules[-1]

    made = step.run(start, replace(context, module=module)).checkpoint
    own = {tensor.untyped_storage().data_ptr() for made_by in modules for tensor in made_by.state_dict().values()}
    assert not own & {tensor.untyped_storage().data_ptr() for tensor in made.state.values()}


@pytest.mark.parametrize("step", ALL)
def test_it_says_what_it_is(step: Step) -> None:
    assert STEPS.get(step.kind) is type(step)
    line = STEPS.summary(step.kind)
    assert 20 < len(line) < 120
    assert line.endswith(".")
    parameters = step.parameters()
    assert set(parameters) == {field.name for field in fields(step)} - {"label", "called", "world"}
    assert json.loads(json.dumps(plain(parameters), allow_nan=False)) == plain(parameters)
    assert fingerprint(parameters) == fingerprint(
        replace(step, label="another", called="so", world={"seed": 3}).parameters()
    )
    assert step.version >= 1


@pytest.mark.parametrize("step", ALL)
def test_it_can_be_written_in_a_study_file_and_read_again(step: Step) -> None:
    values = {key: value for key, value in plain(step.parameters()).items() if value is not None}
    assert replace(type(step)(**values), called=step.called) == step


@pytest.mark.parametrize("kind", CASES)
def test_a_main_field_is_a_field(kind: str) -> None:
    step = STEPS.get(kind)
    names = {field.name for field in fields(step)}
    assert step.main is None or step.main in names
    assert all(set(group) <= names for group in step.alternatives)


@pytest.mark.parametrize("step", ALL)
def test_its_traits_are_words(step: Step) -> None:
    traits = step.traits()
    assert all(isinstance(name, str) and isinstance(value, str) and value for name, value in traits.items())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([Train(epochs=1)], ("none", "none")),
        ([Rewind(), Reinit(), Train(epochs=1)], ("none", "none")),
        ([Prune(fraction=0.5)], ("magnitude", "none")),
        ([Train(epochs=1), Prune("random", fraction=0.5), Train(epochs=1)], ("random", "finetune")),
        (
            [Prune(fraction=0.5), Reinit(), Train(epochs=1), Prune("random", fraction=0.5), Rewind()],
            ("magnitude", "reinit"),
        ),
        (
            [Train(epochs=1), Prune(fraction=0.5), Shuffle(), Rewind(), Train(epochs=1)],
            ("magnitude", "rewind", "shuffled"),
        ),
        ([Train(epochs=1), Prune(fraction=0.5), LrRewind("1ep"), Train(epochs=1)], ("magnitude", "lr-rewind")),
        ([Train(epochs=1), Rewind(), Prune(fraction=0.5), Train(epochs=1)], ("magnitude", "finetune")),
        ([Train(epochs=1), Prune(fraction=0.5), Measure()], ("magnitude", "none")),
    ],
)
def test_the_traits_of_a_chain(steps: list[Step], expected: tuple[str, str]) -> None:
    assert tuple(traits_of(steps).values()) == expected
