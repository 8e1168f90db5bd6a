from __future__ import annotations

from typing import Any

import pytest

from overparam import Chain, Length, LrRewind, Prune, Reinit, Repeat, Rewind, SpecError, Train
from overparam.lab.chain import chain_from

TRAIN, PRUNE = Train(epochs=2), Prune(fraction=0.2)
SETTINGS = {"train": {"epochs": 2}, "prune": {"fraction": 0.2}}


def kinds(chain: Chain) -> str:
    return " ".join(step.kind for step in chain.flat())


def test_repeats_nest_and_are_written_out_in_order() -> None:
    inner = Repeat(2, PRUNE, TRAIN)
    chain = Chain(TRAIN, Repeat(2, Rewind(), inner), Repeat(0, Reinit()))
    assert kinds(chain) == "train rewind prune train prune train rewind prune train prune train"
    assert [*chain.flat()][2] is PRUNE


@pytest.mark.parametrize("times", [-1, 1.5, "3", True, None])
def test_a_repeat_is_a_whole_number_of_times(times: Any) -> None:
    with pytest.raises(SpecError, match="repeat must be a whole number of times"):
        Repeat(times, TRAIN)


@pytest.mark.parametrize("make", [lambda: Chain(), lambda: Repeat(3)])
def test_an_empty_chain_is_refused(make: Any) -> None:
    with pytest.raises(SpecError, match="has no steps"):
        make()


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'train' is not a step"):
        Chain("train")  # type: ignore[arg-type]


def test_entries_take_the_settings_of_their_name() -> None:
    chain = chain_from(["train", {"repeat": 2, "steps": ["prune", {"rewind": "5it"}, "train"]}], SETTINGS)
    assert chain == Chain(TRAIN, Repeat(2, PRUNE, Rewind("5it"), TRAIN))


@pytest.mark.parametrize(
    ("entry", "step"),
    [
        ({"train": {"lr": 0.5}}, Train(epochs=2, lr=0.5)),
        ({"train": {"epochs": 7}}, Train(epochs=7)),
        ({"train": {"length": "7it"}}, Train(length="7it")),
        ({"train": "7it"}, Train(length="7it")),
        ({"train": 7}, Train(length=Length(7, "ep"))),
        ({"train": None}, TRAIN),
        ({"prune": 0.5}, Prune(fraction=0.5)),
        ({"prune": {"density": 0.5}}, Prune(density=0.5)),
        ({"finetune": {"epochs": 1}}, Train(called="finetune", epochs=1)),
        ({"lr-rewind": "5it"}, LrRewind("5it")),
        ("reinit", Reinit()),
        (Reinit(), Reinit()),
        (Train(lr=0.3, length="9it"), Train(lr=0.3, length="9it")),  # an object has all of its settings
        ({"train": {"epochs": 3, "label": "dense", "world": {"label_noise": None}}},
         Train(epochs=3, label="dense", world={"label_noise": None})),
    ],
)  # fmt: skip
def test_an_entry_becomes_a_step(entry: Any, step: Any) -> None:
    assert chain_from([entry], SETTINGS) == Chain(step)


def test_a_chain_object_is_read_as_its_steps() -> None:
    chain = Chain(Train(epochs=9), Repeat(2, Prune(density=0.5)))
    assert chain_from(chain, {}) == chain
    assert chain_from(chain, SETTINGS) == chain


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("train", r"chain must be a list of steps, got 'train'"),
        ([], r"chain has no steps"),
        ([3], r"chain\[0\] must be a step's name"),
        (["train", "prun"], r"chain\[1\]: unknown step 'prun'; did you mean 'prune'"),
        ([{"train": {}, "prune": {}}], r"chain\[0\] must be a step's name, a mapping with one step"),
        ([{"repeat": 2}], r"chain\[0\]: a repeat has the form"),
        ([{"repeat": 2, "steps": ["train"], "times": 3}], r"chain\[0\]: a repeat has the form"),
        ([{"repeat": 2, "steps": "train"}], r"chain\[0\].steps must be a list"),
        ([{"repeat": "2", "steps": ["train"]}], r"chain\[0\]: repeat must be a whole number"),
        ([{"repeat": 2, "steps": ["train", {"prune": {"fractoin": 0.2}}]}], r"chain\[0\].steps\[1\]: .*'fraction'"),
        ([{"reinit": "now"}], r"chain\[0\]: reinit takes no bare value, got 'now'"),
        ([{"train": {"lr": -1}}], r"chain\[0\]: Train.lr: .*greater than 0, got -1"),
        ([{"rewind": 5}], r"chain\[0\]: Rewind.to: .*string"),
    ],
)
def test_wrong_entries_are_named_with_their_place(entries: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        chain_from(entries, SETTINGS)


def test_a_repeat_of_no_times_has_no_steps() -> None:
    assert list(Chain(Train(epochs=1), Repeat(0, Prune(fraction=0.5))).flat()) == [Train(epochs=1)]


def test_what_is_refused_is_told_in_few_words() -> None:
    with pytest.raises(SpecError, match=r"^chain must be a list of steps, got Train\(epochs=1\.0\)$"):
        chain_from(Train(epochs=1), {})
