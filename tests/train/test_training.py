from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from overparam import Checkpoint, Length, Network, SpecError, StepError, World
from overparam.checkpoint import load_state
from overparam.train import Fit, StopAt, TrainSettings, evaluate, fit
from overparam.worlds import Augmentation, LabelNoise, WorldData
from small import CONV, MLP, begin, built, half_pruned, images, same_bits, vectors

PER_EPOCH = 4  # 50 examples in batches of 16, the last of 2


def train(
    data: WorldData,
    network: Network = MLP,
    start: Checkpoint | None = None,
    at: str = "0it",
    seed: int = 0,
    **settings: object,
) -> Fit:
    start = start or begin(network, data, seed)
    module = start.load_into(network.build(data.input_shape, data.classes, 99))
    chosen = TrainSettings(**{"batch_size": 16, "epochs": 3, **settings})
    return fit(module, data, chosen, masks=start.masks, seed=seed, start=Length.of(at))


def test_training_lowers_the_loss_and_says_so_in_its_curve() -> None:
    data = built(vectors())
    fitted = train(data, epochs=5, evaluate_every=1)
    losses = [row["train_loss"] for row in fitted.curve]
    assert losses[-1] < losses[0]
    assert [row["epoch"] for row in fitted.curve] == [1, 2, 3, 4, 5]
    assert [row["iteration"] for row in fitted.curve] == [4, 8, 12, 16, 20]
    module = MLP.build(data.input_shape, data.classes, 0)
    load_state(module, fitted.state)
    found = evaluate(module, data.test.examples(), data.task)
    last = fitted.curve[-1]
    assert {name: last[f"test_{name}"] for name in data.task.metrics} == {n: found[n] for n in data.task.metrics}


def test_measuring_within_an_epoch_changes_nothing() -> None:
    data = built(images())
    plain = train(data, CONV)
    measured = train(data, CONV, evaluate_every="3it")
    assert same_bits(plain.state, measured.state)
    whole = [row for row in measured.curve if "loss" in row]
    assert [row["loss"] for row in whole] == [row["loss"] for row in plain.curve]
    assert [row["iteration"] for row in measured.curve if "test_loss" in row] == [3, 6, 9, 12]
    assert all(math.isfinite(value) for row in measured.curve for value in row.values())


def test_a_length_in_iterations_ends_within_an_epoch() -> None:
    data = built(vectors())
    fitted = train(data, epochs=None, length="6it", save=("6it",))
    assert fitted.iterations == 6
    assert same_bits(fitted.points["6it"], fitted.state)
    assert same_bits(train(data, epochs=3, save=("6it",)).points["6it"], fitted.state)


def test_points_are_the_weights_before_the_iteration() -> None:
    data = built(vectors())
    start = begin(MLP, data)
    fitted = train(data, start=start, save=("0it", "1ep", "4it", "6it", "3ep"))
    assert list(fitted.points) == ["0it", "1ep", "4it", "6it", "3ep"]
    assert same_bits(fitted.points["0it"], start.state)
    assert same_bits(fitted.points["1ep"], fitted.points["4it"])  # two names of one point
    assert same_bits(fitted.points["1ep"], train(data, epochs=1).state)
    assert same_bits(fitted.points["6it"], train(data, epochs=None, length="6it").state)
    assert same_bits(fitted.points["3ep"], fitted.state)


@pytest.mark.parametrize("network", [MLP, CONV], ids=["mlp", "batch norm and dropout"])
@pytest.mark.parametrize("point", ["1ep", "2ep"])
def test_starting_at_a_saved_epoch_gives_the_tail_of_the_whole_training(network: Network, point: str) -> None:
    data = built(images(), augmentation=Augmentation(crop=1, flip=True))
    settings = {
        "schedule": {"multistep": {"milestones": ["5it", "9it"]}},
        "warmup": "6it",
        "lr": 0.2,
        "optimizer": {"sgd": {"weight_decay": 0.01}},
        "l1": 0.001,
    }
    start = half_pruned(begin(network, data), 0.6)
    whole = train(data, network, start, save=(point,), **settings)
    tail = train(data, network, replace(start, state=whole.points[point]), at=point, save=(point,), **settings)
    assert same_bits(tail.state, whole.state)
    assert tail.curve == whole.curve[int(point[0]) :]


@pytest.mark.parametrize("point", ["1it", "3it", "5it", "11it"])
def test_starting_in_the_middle_of_an_epoch_gives_the_tail_too(point: str) -> None:
    data = built(images(), augmentation=Augmentation(crop=1, flip=True))
    start = begin(MLP, data)
    whole = train(data, start=start, save=(point,), schedule="cosine")
    tail = train(data, start=replace(start, state=whole.points[point]), at=point, schedule="cosine")
    assert same_bits(tail.state, whole.state)


def test_points_before_the_start_are_not_on_the_way() -> None:
    data = built(vectors())
    assert list(train(data, at="5it", save=("2it", "6it")).points) == ["6it"]


def test_points_after_the_end_are_refused() -> None:
    with pytest.raises(SpecError, match=r"13it.*ends at 3ep"):
        train(built(vectors()), save=("13it",))


def test_a_start_at_the_end_is_refused() -> None:
    with pytest.raises(SpecError, match=r"start at 3ep, which is not before its end at 3ep"):
        train(built(vectors()), at="3ep")


def test_stop_at_ends_with_the_first_epoch_that_reaches_the_threshold() -> None:
    data = built(vectors())
    whole = train(data, epochs=12, evaluate_every=1)
    losses = [row["train_loss"] for row in whole.curve]
    goal = sorted(losses)[5]
    epoch = next(place for place, loss in enumerate(losses, 1) if loss <= goal)
    assert 1 < epoch < 12
    assert not whole.stopped_early
    stopped = train(data, epochs=12, stop_at=StopAt(train_loss=goal), save=(f"{epoch}ep",))
    assert stopped.stopped_early
    assert stopped.iterations == PER_EPOCH * epoch
    assert same_bits(stopped.state, train(data, epochs=epoch).state)
    assert same_bits(stopped.state, stopped.points[f"{epoch}ep"])


def test_stop_at_needs_all_of_its_thresholds() -> None:
    data = built(vectors(), label_noise=LabelNoise("symmetric", 0.2))
    whole = train(data, epochs=12, evaluate_every=1)
    best = max(row["train_accuracy"] for row in whole.curve)
    easy = whole.curve[0]["train_loss"]
    epoch = next(place for place, row in enumerate(whole.curve, 1) if row["train_accuracy"] == best)
    assert epoch > 1
    assert train(data, epochs=12, stop_at=StopAt(train_loss=easy)).iterations == PER_EPOCH
    assert train(data, epochs=12, stop_at=StopAt(train_loss=easy, train_accuracy=best)).iterations == PER_EPOCH * epoch
    assert not train(data, epochs=12, stop_at=StopAt(train_loss=1e-9, train_accuracy=best)).stopped_early


def test_stop_at_looks_at_the_labels_that_are_trained_on() -> None:
    data = built(vectors(), label_noise=LabelNoise("symmetric", 0.4))
    fitted = train(data, epochs=40, lr=0.5, evaluate_every=1, stop_at=StopAt(train_accuracy=0.62))
    assert fitted.stopped_early
    module = MLP.build(data.input_shape, data.classes, 0)
    load_state(module, fitted.state)
    found = evaluate(module, data.train.examples(), data.task)
    assert found["accuracy"] >= 0.62
    assert fitted.curve[-1]["train_accuracy"] == found["accuracy"] != found["accuracy_clean"]


def test_divergence_is_told_with_epoch_and_rate() -> None:
    with pytest.raises(
        StepError, match=r"diverged: the loss became (nan|inf) in epoch \d .*lower train.lr \(now 1e\+30\)"
    ):
        train(built(vectors()), lr=1e30)


def test_divergence_in_the_very_last_step_is_found() -> None:
    with pytest.raises(StepError, match=r"diverged"):
        train(built(vectors()), epochs=None, length="1it", lr=1e38, l1=1e10)


def test_buffers_may_hold_infinities() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.register_buffer("bias", torch.tensor([0.0, float("-inf"), 0.0]))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.linear(inputs).clamp(-9, 9)

    fitted = train(built(vectors()), Network(lambda: Masked()), epochs=1)
    assert fitted.state["bias"].isinf().any()


def test_the_order_of_the_data_does_not_depend_on_other_streams() -> None:
    """Noise, augmentation, dropout and pruning draw from streams of their own, so the batches stay the same."""
    seen: dict[str, list[Tensor]] = {}

    class Spy(nn.Module):
        def __init__(self, name: str, dropout: float) -> None:
            super().__init__()
            self.linear, self.dropout, self.name = nn.Linear(4, 3), nn.Dropout(dropout), name

        def forward(self, inputs: Tensor) -> Tensor:
            if self.training:
                seen.setdefault(self.name, []).append(inputs.clone())
            return self.linear(self.dropout(inputs))

    def watch(name: str, world: World, dropout: float = 0.0, density: float = 1.0, **settings: object) -> None:
        data = world.build()
        network = Network(Spy, {"name": name, "dropout": dropout})
        start = half_pruned(begin(network, data), density)
        train(data, network, start, epochs=2, **settings)

    points = vectors()
    watch("plain", World(points))
    watch("noise", World(points, label_noise=LabelNoise("symmetric", 0.4)))
    watch("dropout", World(points), dropout=0.5)
    watch("pruned", World(points), density=0.3, optimizer="adam")
    assert len(seen["plain"]) == 2 * PER_EPOCH
    assert not torch.equal(seen["plain"][0], seen["plain"][PER_EPOCH]), "each epoch has an order of its own"
    for name in ("noise", "dropout", "pruned"):
        assert all(torch.equal(a, b) for a, b in zip(seen["plain"], seen[name], strict=True)), name


def test_seeds_change_the_order_and_the_global_generator_is_left_alone() -> None:
    data = built(images())
    start = begin(CONV, data)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = train(data, CONV, start, seed=0)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(77)
    assert same_bits(first.state, train(data, CONV, start, seed=0).state)
    assert not same_bits(first.state, train(data, CONV, start, seed=1).state)


def test_frozen_parameters_and_unused_ones_stay() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.frozen = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
            self.frozen.requires_grad_(False)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs) + self.frozen(inputs)

    data, network = built(vectors()), Network(Odd)
    start = half_pruned(begin(network, data), 0.5)
    fitted = train(data, network, start, optimizer={"sgd": {"momentum": 0.9, "weight_decay": 0.1}})
    for name, tensor in start.state.items():
        assert torch.equal(fitted.state[name], tensor) == (not name.startswith("used"))
