from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overparam.errors import DataError, SpecError
from overparam.worlds import Augmentation, Dataset, ImageFolder, LabelNoise, World, WorldData


def toy(train: int = 40, test: int = 12, channels: int = 2, classes: int = 4, seed: int = 0) -> Dataset:
    """Images whose first pixel is the number of the example."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (train + test, channels, 3, 4), generator=generator, dtype=torch.uint8)
    inputs[:, 0, 0, 0] = torch.arange(train + test).byte()
    labels = torch.arange(train + test) % classes
    return Dataset("toy", inputs[:train], labels[:train], inputs[train:], labels[train:], asymmetric={0: 1})


TOY = toy()


def numbers(inputs: torch.Tensor) -> list[int]:
    """Which examples of a world built without normalisation these are."""
    return (inputs[:, 0, 0, 0] * 255).round().int().tolist()


def make_toy() -> Dataset:
    return TOY


NOT_A_DATASET = 7
DESCRIBED = ImageFolder("no-such-folder", (2, 2))


def epoch(data: WorldData, size: int, seed: int, **how: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    batches = data.batches(size, torch.Generator().manual_seed(seed), **how)
    return [(batch.inputs, batch.targets) for batch in batches]


# subsets


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 20))
def test_subsets_have_the_exact_size_and_are_nested(one: int, other: int, test: int, seed: int) -> None:
    small, large = (
        World(TOY, train_size=size, test_size=test, normalize=False, seed=seed).build() for size in sorted((one, other))
    )
    assert len(small.train) == min(one, other)
    assert len(small.train.inputs) == len(small.train.targets) == len(small.train)
    assert set(numbers(small.train.inputs)) <= set(numbers(large.train.inputs))
    assert len(set(numbers(large.train.inputs))) == max(one, other)
    assert len(small.test) == test
    for data in (small, large):
        for split in (data.train, data.test):
            assert split.clean is None
            assert split.targets.tolist() == [number % 4 for number in numbers(split.inputs)]


def test_a_subset_of_everything_is_everything() -> None:
    whole, named = World(TOY), World(TOY, train_size=40, test_size=12)
    assert whole.identity() == named.identity()
    assert torch.equal(named.build().train.inputs, whole.build().train.inputs)


def test_seeds_choose_other_examples() -> None:
    chosen = [World(TOY, train_size=20, normalize=False, seed=seed).build() for seed in (0, 1)]
    assert numbers(chosen[0].train.inputs) != numbers(chosen[1].train.inputs)


def test_sizes_above_what_there_is() -> None:
    for world in (World(TOY, train_size=41), World(TOY, train_size=1, test_size=13)):
        for act in (world.build, world.identity):
            with pytest.raises(SpecError, match=r"World.(train_size must be at most 40|test_size .* 12).*got"):
                act()


# normalisation


def test_normalisation_as_torchvision_does_it() -> None:
    data = Dataset.from_arrays(
        TOY.train_inputs, TOY.train_targets, TOY.test_inputs, TOY.test_targets, mean=[0.1, 0.2], std=[0.3, 0.4]
    )
    built = World(data).build()
    mean, std = torch.tensor([0.1, 0.2]).view(2, 1, 1), torch.tensor([0.3, 0.4]).view(2, 1, 1)
    expected = torch.stack([image.float().div(255).sub(mean).div(std) for image in TOY.train_inputs])
    assert torch.equal(built.train.inputs, expected)
    torch.testing.assert_close(built.black, torch.tensor([-0.1 / 0.3, -0.2 / 0.4]))
    raw = World(data, normalize=False).build()
    assert torch.equal(raw.train.inputs, TOY.train_inputs.float() / 255)
    assert torch.equal(raw.black, torch.zeros(2))


def test_computed_statistics_are_those_of_the_whole_training_set() -> None:
    whole = World(TOY).build().train.inputs.transpose(0, 1).flatten(1)
    torch.testing.assert_close(whole.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.std(1, correction=0), torch.ones(2))
    part, all_of_it = World(TOY, train_size=5).build(), World(TOY).build()
    assert all(any(torch.equal(one, other) for other in all_of_it.train.inputs) for one in part.train.inputs)


def test_floats_are_taken_as_they_are() -> None:
    inputs = torch.randn(5, 7)
    data = Dataset.from_arrays(inputs, [0, 1, 0, 1, 0], inputs[:2], [0, 1])
    built = World(data).build()
    assert torch.equal(built.train.inputs, inputs)
    assert built.input_shape == (7,)
    shifted = Dataset.from_arrays(inputs, [0, 1, 0, 1, 0], inputs[:2], [0, 1], mean=[1.0], std=[2.0])
    torch.testing.assert_close(World(shifted).build().train.inputs, (inputs - 1) / 2)
    assert torch.equal(data.train_inputs, inputs)


# label noise in a world


@given(
    st.sampled_from(["symmetric", "random-labels", "asymmetric", "pair-flip"]),
    st.floats(0, 1),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_noise_is_reported_exactly_and_touches_training_labels_only(
    kind: Any, rate: float, size: int, seed: int
) -> None:
    clean = World(TOY, train_size=size, seed=seed).build()
    noisy = World(TOY, train_size=size, seed=seed, label_noise=LabelNoise(kind, rate)).build()
    before = noisy.train.targets if rate == 0 else noisy.train.clean
    assert torch.equal(before, clean.train.targets)
    assert torch.equal(noisy.train.inputs, clean.train.inputs)
    changed = int((noisy.train.targets != before).sum())
    assert noisy.noise_realised == changed / size
    assert torch.equal(noisy.test.targets, clean.test.targets)
    assert noisy.test.clean is None
    assert clean.noise_realised == 0
    if kind == "symmetric":
        assert changed == round(rate * size) or abs(rate * size % 1 - 0.5) < 1e-9


def test_no_map_for_asymmetric_noise() -> None:
    data = Dataset.from_arrays([[0.0], [1.0]], [0, 1], [[0.5]], [1])
    world = World(data, label_noise=LabelNoise("asymmetric", 0.5))
    for act in (world.build, world.identity):
        with pytest.raises(SpecError, match=r"label_noise.kind 'asymmetric' needs a map .* choose 'symmetric'"):
            act()


# batches


@given(st.integers(1, 50), st.integers(0, 99), st.booleans(), st.booleans())
def test_an_epoch_has_every_example_once(size: int, seed: int, noisy: bool, drop_last: bool) -> None:
    noise = LabelNoise("symmetric", 0.5) if noisy else None
    data = World(TOY, normalize=False, label_noise=noise).build()
    if drop_last and size > 40:
        with pytest.raises(SpecError, match="batch_size must be at most 40"):
            data.batches(size, torch.Generator(), drop_last=True)
        return
    batches = epoch(data, size, seed, drop_last=drop_last)
    assert len(batches) == data.batch_count(size, drop_last)
    assert [len(labels) for _, labels in batches[:-1]] == [size] * (len(batches) - 1)
    seen = [number for inputs, _ in batches for number in numbers(inputs)]
    if drop_last:
        assert len(set(seen)) == len(seen) == 40 // size * size
    else:
        assert sorted(seen) == list(range(40))
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(labels, data.train.targets[torch.tensor(seen)])


@given(st.integers(1, 50), st.integers(0, 99), st.booleans(), st.data())
def test_starting_late_gives_the_tail_bit_for_bit(size: int, seed: int, augmented: bool, draws: st.DataObject) -> None:
    data = World(TOY, augmentation=Augmentation(crop=2, flip=True) if augmented else None).build()
    start = draws.draw(st.integers(0, data.batch_count(size)))
    one, other = (torch.Generator().manual_seed(seed) for _ in range(2))
    whole, tail = list(data.batches(size, one)), list(data.batches(size, other, start=start))
    assert len(tail) == len(whole) - start
    for batch, late in zip(whole[start:], tail, strict=True):
        assert torch.equal(batch.inputs, late.inputs)
        assert torch.equal(batch.targets, late.targets)
    assert torch.equal(one.get_state(), other.get_state())


def test_epochs_differ_and_seeds_repeat() -> None:
    data = World(TOY, normalize=False).build()
    generator = torch.Generator().manual_seed(0)
    first, second = (numbers(next(data.batches(40, generator)).inputs) for _ in range(2))
    assert first != second
    assert first != sorted(first)
    assert numbers(epoch(data, 40, 0)[0][0]) == first


def test_an_epoch_is_drawn_when_it_is_asked_for() -> None:
    data = World(TOY).build()
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    data.batches(8, one)  # not even begun
    list(data.batches(8, other))
    assert torch.equal(one.get_state(), other.get_state())


def test_augmentation_pads_with_black_and_keeps_the_test_set() -> None:
    plain = World(TOY).build()
    data = World(TOY, augmentation=Augmentation(crop=2)).build()
    assert torch.equal(data.test.inputs, plain.test.inputs)
    assert torch.equal(data.train.inputs, plain.train.inputs)
    inputs, _ = epoch(data, 40, 0)[0]
    assert inputs.shape == (40, 2, 3, 4)
    known = [{*channel.flatten().tolist()} for channel in plain.train.inputs.transpose(0, 1)]
    for channel, values in enumerate(known):
        assert {*inputs[:, channel].flatten().tolist()} <= values | {float(data.black[channel])}
    assert (inputs == data.black.view(1, 2, 1, 1)).all(1).any()


def test_wrong_batches() -> None:
    data = World(TOY).build()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"batch_size": 10, "start": 5}, r"start must be in \[0, 4\]"),
        ({"batch_size": 10, "start": -1}, r"start must be in \[0, 4\]"),
    ]
    for arguments, message in cases:
        with pytest.raises(SpecError, match=message):
            data.batches(generator=torch.Generator(), **arguments)


def test_to_a_device() -> None:
    data = World(TOY, augmentation=Augmentation(crop=1)).build().to("meta")
    assert data.train.inputs.device.type == data.test.targets.device.type == data.black.device.type == "meta"


# identity


def test_identity_is_json_and_knows_the_data_by_contents(tmp_path: Path) -> None:
    world = World(TOY, train_size=10, label_noise=LabelNoise("symmetric", 0.2), augmentation=Augmentation(1))
    identity = world.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["dataset"] == TOY.digest()
    assert identity["train_size"] == 10
    copies = [make_toy, "test_world:make_toy", "test_world:TOY", toy(), cloudpickle.loads(cloudpickle.dumps(TOY))]
    for dataset in copies:
        assert World(dataset, 10, None, world.label_noise, world.augmentation).identity() == identity


def test_every_field_counts() -> None:
    worlds = [
        World(TOY),
        World(toy(seed=1)),
        World(TOY, train_size=39),
        World(TOY, test_size=11),
        World(TOY, label_noise=LabelNoise("symmetric", 0.2)),
        World(TOY, label_noise=LabelNoise("symmetric", 0.3)),
        World(TOY, label_noise=LabelNoise("pair-flip", 0.2)),
        World(TOY, label_noise=LabelNoise("asymmetric", 0.2)),
        World(TOY, augmentation=Augmentation(crop=1)),
        World(TOY, augmentation=Augmentation(flip=True)),
        World(TOY, normalize=False),
        World(TOY, seed=1),
    ]
    assert len({json.dumps(world.identity()) for world in worlds}) == len(worlds)


def test_statistics_and_the_map_count_where_they_are_used() -> None:
    arrays = (TOY.train_inputs, TOY.train_targets, TOY.test_inputs, TOY.test_targets)
    one = Dataset.from_arrays(*arrays, mean=[0.5], std=[0.5], asymmetric={0: 1})
    other = Dataset.from_arrays(*arrays, mean=[0.4], std=[0.5], asymmetric={0: 2})
    assert World(one).identity() != World(other).identity()
    assert World(one, normalize=False).identity() == World(other, normalize=False).identity()
    noise = LabelNoise("asymmetric", 0.2)
    assert (
        World(one, label_noise=noise, normalize=False).identity()
        != World(other, label_noise=noise, normalize=False).identity()
    )


def test_what_changes_nothing_does_not_count() -> None:
    nothing = World(TOY, label_noise=LabelNoise("symmetric", 0.0), augmentation=Augmentation())
    assert nothing.identity() == World(TOY).identity()
    assert torch.equal(nothing.build().train.targets, TOY.train_targets)


def test_worlds_that_differ_in_noise_share_their_inputs() -> None:
    one, other = (World(TOY, label_noise=LabelNoise("symmetric", rate)).build() for rate in (0.1, 0.3))
    assert one.train.inputs.data_ptr() == other.train.inputs.data_ptr()


def test_the_identity_is_the_same_in_another_process() -> None:
    program = (
        "from overparam.worlds import *; import json;"
        "world = World('test_world:make_toy', 20, label_noise=LabelNoise('symmetric', 0.2), normalize=False);"
        "data = world.build();"
        "print(json.dumps([world.identity(), data.train.targets.tolist(), data.train.inputs.tolist()]))"
    )
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, check=True)
    world = World(TOY, 20, label_noise=LabelNoise("symmetric", 0.2), normalize=False)
    data = world.build()
    assert json.loads(done.stdout) == [
        world.identity(),
        data.train.targets.tolist(),
        data.train.inputs.tolist(),
    ]


def test_literal_values_are_pinned() -> None:
    """A change here means other subsets and noise, and that results of older versions are not found again."""
    world = World("digits", 500, label_noise=LabelNoise("symmetric", 0.2), normalize=False)
    data = world.build()
    noisy, clean = data.train.targets[:20].tolist(), data.train.clean[:20].tolist()
    assert noisy == [3, 2, 4, 8, 7, 0, 1, 7, 1, 4, 0, 8, 5, 7, 8, 8, 7, 0, 2, 4]
    assert clean == [3, 2, 4, 8, 7, 0, 1, 7, 1, 4, 0, 2, 5, 7, 1, 8, 1, 2, 2, 4]
    assert world.identity() == {
        "dataset": "aeabb4e6aaf691c54e9cb4dd0599222f774091a0a169d638a3449c4746da6a6f",
        "statistics": None,
        "train_size": 500,
        "test_size": 500,
        "label_noise": {"kind": "symmetric", "rate": 0.2},
        "augmentation": None,
        "normalize": False,
        "seed": 0,
        "task": {"task": "Classification", "classes": 10},
        "validation": 0,
        "endless": None,
    }


# construction


def test_from_nested_mappings_as_yaml_gives_them() -> None:
    written: dict[str, Any] = {
        "dataset": "digits",
        "train_size": 1000,
        "label_noise": {"kind": "random-labels", "rate": 0.2},
        "augmentation": {"crop": 1, "flip": True},
    }
    made = World(**written)
    assert made == World(
        "digits", train_size=1000, label_noise=LabelNoise("random-labels", 0.2), augmentation=Augmentation(1, True)
    )
    assert made.label_noise == LabelNoise("random-labels", 0.2)
    assert World(dataset={"path": "x", "size": [3, 4]}).dataset == ImageFolder("x", (3, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"World.dataset: is required"),
        ({"dataset": "mnits"}, r"World.dataset: unknown dataset 'mnits'; did you mean 'mnist'\? \(known: digits"),
        ({"dataset": 3}, r"World.dataset: dataset must be one of digits, .* got 3"),
        ({"dataset": TOY, "train_size": 0}, r"World.train_size: .*greater than or equal to 1, got 0"),
        ({"dataset": TOY, "train_size": "many"}, r"World.train_size: .*got 'many'"),
        ({"dataset": TOY, "train_size": 1.5}, r"World.train_size: .*got 1.5"),
        ({"dataset": TOY, "label_noise": {"rate": 2}}, r"World.label_noise.*rate.*got 2"),
        ({"dataset": TOY, "label_noise": 0.2}, r"World.label_noise.*got 0.2"),
        ({"dataset": TOY, "noise": 0.2}, r"World.noise: no such field; did you mean"),
        ({"dataset": TOY, "seed": None}, r"World.seed: .*got None"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        World(**fields)


def fails() -> Dataset:
    raise RuntimeError("no disk")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("no_such_module:data", SpecError, "there is no module 'no_such_module'"),
        ("test_world:make_toi", SpecError, "has no 'make_toi'; did you mean 'make_toy'"),
        ("test_world:NOT_A_DATASET", SpecError, "must be a Dataset, a function that returns one, or a folder .* got 7"),
        ("test_world:DESCRIBED", DataError, "cannot find the images 'no-such-folder'"),
        (lambda: 3, SpecError, "must return a Dataset, got int"),
        (fails, DataError, "the dataset function fails failed with RuntimeError: no disk"),
    ],
)
def test_sources_that_fail(source: Any, error: type[Exception], message: str) -> None:
    world = World(source)
    for act in (world.build, world.identity):
        with pytest.raises(error, match=message):
            act()


def test_worlds_can_be_sent_to_another_process() -> None:
    offset = 3

    def closure() -> Dataset:
        return toy(seed=offset)

    for dataset in (TOY, make_toy, closure, "digits", ImageFolder("x", (2, 2))):
        world = World(dataset, train_size=10, label_noise=LabelNoise("symmetric", 0.2))
        again = cloudpickle.loads(cloudpickle.dumps(world))
        assert again.label_noise == world.label_noise
        if not isinstance(dataset, ImageFolder):
            assert again.identity() == world.identity()
            assert torch.equal(again.build().train.targets, world.build().train.targets)
    assert pickle.loads(pickle.dumps(World(TOY))).identity() == World(TOY).identity()
