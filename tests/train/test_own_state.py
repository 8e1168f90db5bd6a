"""Networks and losses with chance and state of their own: the plain loop's numbers, whatever interrupts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_resume import Killed, MemoryJournal
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam import Network, StepError
from overparam.checkpoint import state_of
from overparam.streams import global_stream, torch_stream
from overparam.train import Fit, StopAt, TrainSettings, fit
from overparam.train.optimisers import SGD
from small import built, same_bits, vectors

DATA = built(vectors())
SETTINGS = TrainSettings(epochs=4, batch_size=16, optimizer={"sgd": {"momentum": 0.9}})


class Net(nn.Module):
    """Two layers; subclasses add what users add."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.relu(self.a(x)))


class Lambda(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body = lambda x: self.o(torch.relu(self.a(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ClosureOverAWeight(Net):
    def __init__(self) -> None:
        super().__init__()
        weight = self.a.weight
        self.first = lambda x: x @ weight.T

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.relu(self.first(x)))


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        other = self.o
        self.a.register_forward_hook(lambda layer, args, output: output + other.weight.sum())


class Listed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.order = [self.a, torch.relu, self.o]
        self.steps = {"norm": lambda x: x / (1 + self.o.weight.norm())}

    def forward(self, x: Tensor) -> Tensor:
        for part in self.order:
            x = part(x)
        return self.steps["norm"](x)


class PythonRandom(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (random.random() if self.training else 0.5)


class NumpyRandom(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (float(np.random.randn()) if self.training else 0.0)  # noqa: NPY002


class RandomInEvaluation(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x) * np.random.rand())  # noqa: NPY002


class Drawn(Net):
    """Numbers that the constructor draws and the state dict does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.randn(4, 4) + random.random() + float(np.random.rand())  # noqa: NPY002

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ self.features)


class Logged(Net):
    """Keeps what it saw, and forgets it at the next call."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.a(x)
        self.shown = {"mean": float(self.last.detach().mean())}
        return self.o(torch.relu(self.last))


class Counter(Net):
    """Counts its calls, for nothing."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class WarmUp(Net):
    """In training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x) * (min(1.0, self.calls / 100) if self.training else 1.0)


class InABuffer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().forward(x) * (self.calls / 100).clamp(max=1)


class ExtraState(Net):
    """Torch's own way for state that is no tensor of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        self.calls = int(state)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x) * min(1.0, self.calls / 100)


class OwnGenerator(Net):
    def __init__(self) -> None:
        super().__init__()
        self.noise = random.Random(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (self.noise.random() if self.training else 1.0)


class OwnNumpyGenerator(Net):
    def __init__(self) -> None:
        super().__init__()
        self.noise = np.random.default_rng(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (float(self.noise.random()) if self.training else 1.0)


class Running(Net):
    """A running mean in a plain attribute: what it computes cannot be told from its state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return super().forward(x - self.mean)


class NotPersistent(Running):
    def __init__(self) -> None:
        super().__init__()
        del self.mean
        self.register_buffer("mean", torch.zeros(4), persistent=False)


class OfTheClass(Net):
    total = 0

    def forward(self, x: Tensor) -> Tensor:
        OfTheClass.total += self.training
        return super().forward(x)


class ClosureCounter(Net):
    """Counts in a cell of a closure: a copy of the function would count with it."""

    def __init__(self) -> None:
        super().__init__()
        calls = 0

        def scaled(x: Tensor) -> Tensor:
            nonlocal calls
            calls += self.training
            return self.o(torch.relu(self.a(x))) * min(1.0, calls / 100)

        self.body = scaled

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ClosureWarmUp(ClosureCounter):
    """In training alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else self.o(torch.relu(self.a(x)))


def weight_norm() -> nn.Module:
    net = Net()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(net.a)  # the old form: a hook puts the weight into a plain attribute
    return net


def trained(
    factory: Callable[[], nn.Module],
    journal: MemoryJournal | None = None,
    settings: TrainSettings = SETTINGS,
    seed: int = 0,
) -> Fit:
    network = Network(factory)
    shape, classes = DATA.input_shape, DATA.classes

    def fresh() -> nn.Module:
        return network.fresh(shape, classes, seed)

    return fit(network.build(shape, classes, seed), DATA, settings, seed=seed, journal=journal, fresh=fresh)


def plain_loop(factory: Callable[[], nn.Module], loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy) -> Any:
    """The loop that a user would write around a module that the factory has just made."""
    with global_stream(0, "network", "init"):
        module = factory()
    torchs = SGD(momentum=0.9).over(list(module.parameters()), SETTINGS.lr)
    for epoch in range(4):
        module.train()
        with global_stream(0, "dropout", epoch):
            for batch in DATA.batches(SETTINGS.batch_size, torch_stream(0, "order", epoch)):
                torchs.zero_grad()
                loss(module(batch.inputs), batch.targets).backward()
                torchs.step()
    return state_of(module)


RIGHT = [Net, Lambda, ClosureOverAWeight, Hooked, Listed, PythonRandom, NumpyRandom, RandomInEvaluation, Drawn]
KEPT = [Logged, InABuffer, ExtraState, weight_norm]  # nothing is lost between trainings
SAID = [
    Counter,
    WarmUp,
    OwnGenerator,
    OwnNumpyGenerator,
    OfTheClass,
    ClosureWarmUp,
]  # a later training begins anew, and a note says so
REFUSED = {Running: "mean", NotPersistent: "mean", ClosureCounter: "body"}


@pytest.mark.parametrize("factory", [*RIGHT, *KEPT, *SAID], ids=lambda factory: factory.__name__)
def test_a_training_is_the_plain_loop_bit_for_bit(factory: Callable[[], nn.Module]) -> None:
    found = trained(factory)
    assert same_bits(found.state, plain_loop(factory))
    assert not same_bits(found.state, state_of(Network(factory).build((4,), 3, 0)))
    assert bool(found.notes) == (factory in SAID)


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("factory", [*RIGHT, *KEPT, *SAID], ids=lambda factory: factory.__name__)
def test_a_training_that_is_killed_ends_with_the_same_bits(factory: Callable[[], nn.Module], stop: int) -> None:
    """Where state would be lost it starts over; the journal is empty then."""
    whole = trained(factory)
    journal = MemoryJournal(die_after=stop)
    if factory in SAID:
        trained(factory, journal)
        assert journal.saves == 0
        return
    with pytest.raises(Killed):
        trained(factory, journal)
    journal.die_after = None
    again = trained(factory, journal)
    assert journal.saves == 3
    assert same_bits(again.state, whole.state)
    assert again.curve == whole.curve


@pytest.mark.parametrize("factory", REFUSED, ids=lambda factory: factory.__name__)
def test_outputs_that_depend_on_what_no_checkpoint_has_are_refused(factory: Callable[[], nn.Module]) -> None:
    with pytest.raises(StepError, match=rf"not in its state dict \({REFUSED[factory]}\).*register_buffer"):
        trained(factory)
    if factory is not ClosureCounter:  # which cannot be looked at before the end
        with pytest.raises(StepError, match="not in its state dict"):
            trained(factory, MemoryJournal(), TrainSettings(epochs=10**6, batch_size=16))


def test_what_changes_is_named() -> None:
    assert trained(WarmUp).notes[0].startswith("calls: changed in training")
    assert trained(OfTheClass).notes[0].startswith("class OfTheClass: changed")


@pytest.mark.parametrize("factory", [PythonRandom, RandomInEvaluation], ids=lambda factory: factory.__name__)
def test_chance_does_not_depend_on_what_ran_before(factory: Callable[[], nn.Module]) -> None:
    settings = TrainSettings(epochs=9, batch_size=16, evaluate_every="3it", stop_at=StopAt(train_accuracy=0.9))
    found = []
    for seed in (1, 2):
        random.seed(seed)
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        states = random.getstate(), torch.get_rng_state()
        found.append(trained(factory, settings=settings))
        assert (random.getstate(), torch.get_rng_state().tolist()) == (states[0], states[1].tolist())
    assert found[0].curve == found[1].curve
    assert same_bits(found[0].state, found[1].state)


def test_measuring_does_not_shift_the_chance_of_training() -> None:
    often = TrainSettings(epochs=4, batch_size=16, optimizer={"sgd": {"momentum": 0.9}}, evaluate_every="1it")
    assert same_bits(trained(RandomInEvaluation).state, trained(RandomInEvaluation, settings=often).state)


class Ramp:
    """A loss that grows with its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return cross_entropy(outputs, labels) * min(1.0, self.calls / 8)


def random_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(outputs, labels) * random.random() * float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("loss", [Ramp(), random_loss], ids=["with state", "with chance"])
def test_losses_begin_anew_in_each_training(loss: Any) -> None:
    settings = TrainSettings(epochs=4, batch_size=16, optimizer={"sgd": {"momentum": 0.9}}, loss=loss)
    first, second = (trained(Net, settings=settings) for _ in range(2))
    assert same_bits(first.state, second.state)
    assert same_bits(first.state, plain_loop(Net, Ramp() if isinstance(loss, Ramp) else loss))
    journal = MemoryJournal(die_after=1)
    if isinstance(loss, Ramp):
        assert "the loss: changed" in trained(Net, journal, settings).notes[0]
        assert journal.saves == 0
    else:
        with pytest.raises(Killed):
            trained(Net, journal, settings)
        assert same_bits(trained(Net, journal, settings).state, first.state)


@pytest.mark.parametrize("factory", [ClosureWarmUp, OfTheClass, Counter, WarmUp], ids=lambda factory: factory.__name__)
def test_looking_for_state_changes_none(factory: Callable[[], nn.Module]) -> None:
    """The journal is asked when time has passed, and results do not depend on when that is."""
    before = OfTheClass.total
    asked = trained(factory, MemoryJournal())
    assert same_bits(asked.state, plain_loop(factory))
    assert "body: changed" in asked.notes[0] or factory is not ClosureWarmUp
    if factory is OfTheClass:
        assert OfTheClass.total == before + 2 * 16, "sixteen iterations in either"
