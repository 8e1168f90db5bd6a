"""Whatever computes a training, its results agree: to the rounding of sums, and to the bit for one engine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from overparam import Chain, Checkpoint, Network, Prune, SpecError, Study, Train, World
from overparam.lab.journal import FileJournal
from overparam.probes import Cost, View
from overparam.sparse.limits import VARIABLE
from overparam.streams import torch_stream
from overparam.train import Fit, StopAt, TrainSettings, fit
from overparam.train.engines import trainee_for
from overparam.train.loop import Journal
from overparam.train.sparse_trainees import NetworkTrainee, PerceptronTrainee
from overparam.train.trainees import ModuleTrainee
from overparam.worlds import Augmentation, LabelNoise, WorldData
from small import CONV, MLP, begin, bits, built, context_of, half_pruned, images, same_bits, vectors, zeros_are_clean


def no_hidden(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), classes, bias=False))


class Own(nn.Module):
    """A network that looks at its numbers, and counts its calls."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.one = nn.Linear(torch.Size(input_shape).numel(), 8)
        self.two = nn.Linear(8, classes)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = self.one(x.flatten(1)).relu()
        return self.two(x if x.sum() > 0 else -x)


def half_square(outputs: Tensor, labels: Tensor) -> Tensor:
    wanted = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return (outputs - wanted).square().sum(1).mean() / 2


LENET = Network("lenet-300-100", {"width": 0.1})
NO_HIDDEN = Network(no_hidden)
CONV2 = Network("conv-2", {"width": 0.1})
RESNET = Network("resnet-20", {"width": 0.25})


def run(
    network: Network,
    data: WorldData,
    start: Checkpoint,
    engine: str,
    journal: Journal | None = None,
    progress: Callable[[int, int, Mapping[str, float]], None] | None = None,
    **changes: Any,
) -> Fit:
    settings = TrainSettings(**{"length": "10it", "batch_size": 16, "lr": 0.05, **changes})
    module = start.load_into(network.build(data.input_shape, data.classes, 99))
    return fit(module, data, settings, masks=start.masks, seed=3, journal=journal, progress=progress, engine=engine)


def agree(one: Mapping[str, Tensor], two: Mapping[str, Tensor], tolerance: float = 1e-4) -> None:
    assert list(one) == list(two)
    for name, expected in two.items():
        assert one[name].dtype == expected.dtype
        if expected.is_floating_point():
            scale = float(expected.abs().max()) + 1e-3
            torch.testing.assert_close(one[name], expected, rtol=tolerance, atol=tolerance * scale, msg=name)
        else:
            assert torch.equal(one[name], expected), name


def fits_agree(one: Fit, two: Fit, tolerance: float = 1e-4) -> None:
    agree(one.state, two.state, tolerance)
    assert list(one.points) == list(two.points)
    for point, state in two.points.items():
        agree(one.points[point], state, tolerance)
    assert len(one.curve) == len(two.curve)
    for row, expected in zip(one.curve, two.curve, strict=True):
        assert row == pytest.approx(expected, rel=tolerance * 10, abs=tolerance)
    assert (one.iterations, one.stopped_early) == (two.iterations, two.stopped_early)


def clean(fitted: Fit, start: Checkpoint) -> bool:
    """Whether pruned weights are +0.0 in all that came out."""
    states = [fitted.state, *fitted.points.values()]
    return all(
        bits(state[name][~mask]) == bytes(state[name][~mask].nbytes)
        for state in states
        for name, mask in start.masks.items()
    )


OPTIMISERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum, multistep": {
        "optimizer": {"sgd": {"momentum": 0.9}},
        "schedule": {"multistep": {"milestones": ["4it", "7it"]}},
    },
    "nesterov, warmup, l1": {"optimizer": {"sgd": {"momentum": 0.9, "nesterov": True}}, "warmup": "5it", "l1": 1e-3},
    "adam, weight decay": {"optimizer": {"adam": {"weight_decay": 0.01}}, "lr": 0.003},
    "adamw, cosine, l1": {
        "optimizer": {"adamw": {"betas": (0.8, 0.95), "weight_decay": 0.1}},
        "lr": 0.003,
        "schedule": "cosine",
        "l1": 1e-3,
    },
    "sgd, weight decay": {"optimizer": {"sgd": {"weight_decay": 0.01}}},
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("network", [LENET, NO_HIDDEN], ids=["lenet", "no hidden layer"])
def test_perceptrons_agree(network: Network, optimiser: str) -> None:
    data = built(images(), label_noise=LabelNoise("symmetric", 0.3))  # 50 examples: the last batch is of 2
    start = half_pruned(begin(network, data), 0.3)
    changes = {**OPTIMISERS[optimiser], "save": ["3it", "4it", "1ep"], "evaluate_every": "3it"}
    dense, sparse = (run(network, data, start, engine, **changes) for engine in ("dense", "sparse"))
    assert set(dense.engines.values()) == {"dense"}
    assert set(sparse.engines.values()) == {"sparse"}
    fits_agree(sparse, dense)
    assert clean(sparse, start)
    assert clean(dense, start)
    assert any("test_loss" in row for row in sparse.curve)


@pytest.mark.parametrize(
    ("network", "optimiser"),
    [
        pytest.param(CONV2, "nesterov, warmup, l1", id="conv-2, nesterov"),
        pytest.param(CONV2, "adamw, cosine, l1", id="conv-2, adamw"),
        pytest.param(RESNET, "momentum, multistep", id="resnet-20, momentum"),
        pytest.param(CONV, "adam, weight decay", id="batch norm and dropout, adam"),
    ],
)
def test_other_networks_agree(network: Network, optimiser: str) -> None:
    data = built(images(train=40, side=8))
    start = half_pruned(begin(network, data), 0.3)
    changes = {**OPTIMISERS[optimiser], "save": ["3it"], "evaluate_every": "3it", "length": "6it"}
    if network is RESNET:
        changes["lr"] = 0.01  # batch norm of small batches multiplies what rounding differs by
    dense, sparse = (run(network, data, start, engine, **changes) for engine in ("dense", "sparse"))
    assert set(sparse.engines.values()) == {"sparse"}
    fits_agree(sparse, dense, 1e-3 if optimiser.startswith("adam") or network is RESNET else 1e-4)
    assert clean(sparse, start)


def test_two_threads_agree_with_one() -> None:
    data = built(images())
    start = half_pruned(begin(LENET, data), 0.3)
    one = run(LENET, data, start, "sparse", batch_size=50, optimizer={"sgd": {"momentum": 0.9}})
    torch.set_num_threads(2)
    try:
        two = [run(LENET, data, start, "sparse", batch_size=50, optimizer={"sgd": {"momentum": 0.9}}) for _ in range(2)]
        convolved = run(CONV2, data, half_pruned(begin(CONV2, data), 0.3), "sparse", length="3it")
    finally:
        torch.set_num_threads(1)
    assert same_bits(two[0].state, two[1].state)
    fits_agree(two[0], one)
    fits_agree(convolved, run(CONV2, data, half_pruned(begin(CONV2, data), 0.3), "dense", length="3it"))


def test_early_stopping_agrees() -> None:
    data = built(images())
    start = half_pruned(begin(LENET, data), 0.5)
    stop = StopAt(train_accuracy=0.6)
    dense, sparse = (
        run(LENET, data, start, engine, length="20ep", stop_at=stop, save=["1it"]) for engine in ("dense", "sparse")
    )
    assert dense.stopped_early
    fits_agree(sparse, dense, 1e-3)


@pytest.mark.parametrize("augmented", [False, True])
def test_what_compiled_epochs_do_not_know_takes_the_converted_network(augmented: bool) -> None:
    data = built(images(), augmentation=Augmentation(crop=1, flip=True) if augmented else None)
    changes = {} if augmented else {"loss": half_square}
    start = half_pruned(begin(LENET, data), 0.3)
    settings = TrainSettings(epochs=1, batch_size=16, **changes)
    module = start.load_into(LENET.build(data.input_shape, data.classes, 99))
    trainee = trainee_for(module, data, settings, start.constraints, "sparse")
    assert isinstance(trainee, NetworkTrainee)
    trainee.close()
    plain = built(images())
    assert isinstance(
        trainee_for(module, plain, TrainSettings(epochs=1), start.constraints, "sparse"), PerceptronTrainee
    )
    dense, sparse = (
        run(LENET, data, start, engine, optimizer={"sgd": {"momentum": 0.9}}, **changes)
        for engine in ("dense", "sparse")
    )
    fits_agree(sparse, dense)


class Killed(Exception):
    pass


class MemoryJournal:
    """Keeps everything, and dies at its first save if it is told to."""

    def __init__(self, dying: bool = True) -> None:
        self.kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self.dying = dying

    def due(self) -> bool:
        return True

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.kept = ({name: tensor.clone() for name, tensor in tensors.items()}, dict(facts))
        if self.dying:
            raise Killed

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self.kept is None:
            return None
        return {name: tensor.clone() for name, tensor in self.kept[0].items()}, dict(self.kept[1])


RESUMED = {
    "lenet, sgd": (LENET, "sgd"),
    "lenet, nesterov": (LENET, "nesterov, warmup, l1"),
    "lenet, adam": (LENET, "adam, weight decay"),
    "conv-2, momentum": (CONV2, "momentum, multistep"),
    "batch norm and dropout, adam": (CONV, "adam, weight decay"),
}


@pytest.mark.parametrize("first", ["dense", "sparse"])
@pytest.mark.parametrize("case", RESUMED)
def test_a_killed_training_is_taken_up_by_either_engine(case: str, first: str) -> None:
    network, optimiser = RESUMED[case]
    data = built(images())
    start = half_pruned(begin(network, data), 0.4)
    changes = {**OPTIMISERS[optimiser], "save": ["3it", "6it"]}
    whole = run(network, data, start, first, **changes)
    journal = MemoryJournal()
    with pytest.raises(Killed):
        run(network, data, start, first, journal, **changes)
    assert journal.kept is not None
    assert all(
        tensor.shape == start.state[name.rpartition("/")[2]].shape
        for name, tensor in journal.kept[0].items()
        if name.startswith("state/")
    )
    journal.dying = False
    kept = journal.kept
    same = run(network, data, start, first, journal, **changes)
    assert same_bits(same.state, whole.state)
    assert same.curve == whole.curve
    assert all(same_bits(same.points[point], state) for point, state in whole.points.items())
    journal.kept = kept
    other = run(network, data, start, "sparse" if first == "dense" else "dense", journal, **changes)
    fits_agree(other, whole, 1e-3 if "adam" in case else 1e-4)
    assert clean(other, start)


@pytest.mark.parametrize("optimiser", ["momentum, multistep", "adam, weight decay"])
def test_engines_leave_the_same_in_a_journal(optimiser: str) -> None:
    data = built(images())
    start = half_pruned(begin(LENET, data), 0.4)
    left = []
    for engine in ("dense", "sparse"):
        journal = MemoryJournal()
        with pytest.raises(Killed):
            run(LENET, data, start, engine, journal, **OPTIMISERS[optimiser])
        assert journal.kept is not None
        left.append(dict(sorted(journal.kept[0].items())))
    agree(left[1], left[0], 1e-3)


@pytest.mark.parametrize("engine", ["dense", "sparse"])
@pytest.mark.parametrize("network", [LENET, CONV], ids=["lenet", "batch norm and dropout"])
def test_the_journal_on_disk_takes_what_an_engine_keeps(network: Network, engine: str, tmp_path: Path) -> None:
    data = built(images())
    start = half_pruned(begin(network, data), 0.4)
    # 1ep and 4it are one point under two names
    changes = {"optimizer": "adam", "lr": 0.01, "length": "3ep", "save": ["1ep", "4it"]}
    whole = run(network, data, start, engine, **changes)

    def stop(iteration: int, total: int, row: Mapping[str, float]) -> None:
        if iteration == 8:
            raise Killed

    with pytest.raises(Killed):
        run(network, data, start, engine, FileJournal(tmp_path / "journal", seconds=0), stop, **changes)
    kept = FileJournal(tmp_path / "journal", seconds=1e9)
    resumed = run(network, data, start, engine, kept, **changes)
    assert kept.notes == []
    assert same_bits(resumed.state, whole.state)
    assert resumed.curve == whole.curve
    assert list(resumed.points) == list(whole.points) == ["1ep", "4it"]


def test_a_forward_of_ones_own_runs_as_it_is_whatever_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "linear=1")
    data = built(images())
    start = half_pruned(begin(Network(Own), data), 0.1)
    fits = {}
    for engine in ("dense", "sparse", "auto"):
        module: Any = start.load_into(Network(Own).build(data.input_shape, data.classes, 99))
        module.calls = 0
        weight = module.one.weight
        fits[engine] = fit(module, data, TrainSettings(epochs=2, batch_size=16), masks=start.masks, engine=engine)
        assert module.calls == 8
        assert type(module.one) is nn.Linear
        assert module.one.weight is weight
        assert same_bits(module.state_dict(), fits[engine].state)
    assert set(fits["sparse"].engines.values()) == set(fits["auto"].engines.values()) == {"sparse"}
    assert "the forward of Own is its own" in fits["auto"].engine_note
    fits_agree(fits["sparse"], fits["dense"])
    fits_agree(fits["auto"], fits["dense"])


class Interrupted(Exception):
    pass


def test_a_module_has_its_own_layers_again_after_a_failure() -> None:
    data = built(images())
    start = half_pruned(begin(CONV2, data), 0.3)
    module = start.load_into(CONV2.build(data.input_shape, data.classes, 99))
    before = dict(module.named_parameters())

    def fail(outputs: Tensor, labels: Tensor) -> Tensor:
        raise Interrupted

    with pytest.raises(Interrupted):
        fit(module, data, TrainSettings(epochs=1, loss=fail), masks=start.masks, engine="sparse")
    assert all(before[name] is parameter for name, parameter in module.named_parameters())
    assert list(before) == [name for name, _ in module.named_parameters()]


class Noisy(nn.Module):
    """Noise on the hidden layer while training."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 30), nn.Linear(30, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return self.two(torch.relu(h + torch.randn(30) if self.training else h))


def test_a_study_of_a_noisy_network_says_what_was_done_and_gives_the_numbers_of_torch(tmp_path: Path) -> None:
    frames = {}
    for engine in ("dense", "sparse"):
        chain = Chain(Prune(density=0.3), Train(epochs=3, batch_size=16, lr=0.1))
        study = Study("noisy", World(vectors()), Network(Noisy), chain, probes=["accuracy", "cost"], engine=engine)
        frames[engine] = study.run(store=tmp_path / engine, jobs=1).frame
    assert frames["sparse"]["engine"][-1] == "sparse"
    assert frames["sparse"]["engine_note"][-1] == "the network runs layer by layer, as the forward of Noisy is its own"
    assert frames["dense"]["engine_note"][-1] == "dense layers, as asked for"
    for column in ("train_loss", "test_loss"):
        one, two = (frame[column].to_list() for frame in frames.values())
        assert one == pytest.approx(two, rel=1e-4)


class Decay:
    """A loss that holds the network, or a part of it."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels) + self.penalty()

    def penalty(self) -> Tensor:
        return self.held.bias.square().sum()


class WeightDecay(Decay):
    def penalty(self) -> Tensor:
        return self.held.two.weight.square().sum()


@pytest.mark.parametrize("kind", [Decay, WeightDecay])
def test_a_loss_that_holds_the_network_sees_the_one_that_is_trained(
    kind: type[Decay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "linear=1")
    data = built(images())
    start = half_pruned(begin(Network(Own), data), 0.3)
    fits = {}
    for engine in ("dense", "sparse", "auto"):
        module: Any = start.load_into(Network(Own).build(data.input_shape, data.classes, 99))
        loss = kind(module.two if kind is Decay else module)
        settings = TrainSettings(epochs=3, batch_size=16, lr=0.1, loss=loss)
        fits[engine] = fit(module, data, settings, masks=start.masks, engine=engine)
        assert set(fits[engine].engines.values()) == {"dense" if kind is WeightDecay or engine == "dense" else "sparse"}
    fits_agree(fits["sparse"], fits["dense"])
    fits_agree(fits["auto"], fits["dense"])
    without = run(Network(Own), data, start, "dense", length="3ep", lr=0.1)
    name = "two.bias" if kind is Decay else "two.weight"
    assert fits["dense"].state[name].norm() < 0.8 * without.state[name].norm()


def test_masks_by_second_names_hold_and_unknown_ones_are_refused() -> None:
    data = built(vectors())
    layers = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)
    mask = torch.rand(4, 4, generator=torch_stream(0, "mask")) < 0.5
    for engine in ("dense", "sparse", "auto"):
        module: Any = nn.Sequential(*layers)
        module[2].weight = module[0].weight
        with torch.no_grad():
            module[0].weight *= mask
        found = fit(module, data, TrainSettings(epochs=1), masks={"2.weight": mask}, engine=engine)
        assert list(found.engines) == ["0.weight"]
        assert not module[2].weight[~mask].any()
        assert module[2].weight is module[0].weight
        with pytest.raises(SpecError, match=r"masks name '3.weight', which the module lacks"):
            fit(module, data, TrainSettings(epochs=1), masks={"3.weight": mask}, engine=engine)


def test_a_module_without_shapes_is_refused() -> None:
    data = built(vectors())
    for engine in ("dense", "sparse", "auto"):
        with pytest.raises(SpecError, match=r"module: '0.weight' has no shape yet; call the module on a batch first"):
            fit(nn.Sequential(nn.LazyLinear(3)), data, TrainSettings(epochs=1), engine=engine)


BELOW = {"dense": "epochs=0", "sparse": "epochs=1", "mixed": "epochs=0.5"}


@pytest.mark.parametrize("expected", BELOW)
def test_auto_goes_by_the_limits_and_the_cost_probe_tells(expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(vectors())
    monkeypatch.setenv(VARIABLE, BELOW[expected])
    start = half_pruned(begin(MLP, data), 0.5)
    names = list(start.masks)
    start = start.masked({**start.masks, names[0]: start.masks[names[0]] & (torch.arange(4) > 0)})  # less than a half
    outcome = Train(epochs=2, batch_size=16).run(start, context_of(MLP, data, engine="auto"))
    found = Cost().measure(
        outcome.checkpoint,
        View(data, lambda: MLP.build(data.input_shape, data.classes, 0), {**outcome.facts, "bytes": 1}),
    )
    assert found.values["engine"] == expected
    one, two = {"mixed": ("sparse", "dense")}.get(expected, (expected, expected))
    assert [row["engine"] for row in found.layers.values()] == [one, two]
    assert zeros_are_clean(outcome.checkpoint)
    dense = Train(epochs=2, batch_size=16).run(start, context_of(MLP, data))
    agree(outcome.checkpoint.state, dense.checkpoint.state)


def test_auto_mixes_engines_in_converted_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(images())
    monkeypatch.setenv(VARIABLE, "linear=0.1,convolution=0.9")
    start = half_pruned(begin(CONV, data), 0.5)
    changes = {"optimizer": {"sgd": {"momentum": 0.9, "weight_decay": 0.01}}, "l1": 1e-3, "save": ["3it"]}
    mixed, dense = (run(CONV, data, start, engine, **changes) for engine in ("auto", "dense"))
    assert list(mixed.engines.values()) == ["sparse", "dense", "dense"]
    fits_agree(mixed, dense)
    assert clean(mixed, start)


def digests() -> list[str]:
    """What the default engine makes of two networks: which layers are sparse, and every bit."""
    data, said = built(images()), []
    for network in (LENET, CONV2):
        found = run(network, data, half_pruned(begin(network, data), 0.3), "auto", length="4it")
        said.append(f"{dict(found.engines)} {hashlib.sha256(b''.join(map(bits, found.state.values()))).hexdigest()}")
    return said


def test_auto_gives_the_same_bits_in_a_fresh_process_beside_a_busy_one() -> None:
    """In ten processes, each with an empty cache: ``benchmarks/sparse_same_bits.py``."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        script = "import torch, test_engines as t; torch.set_num_threads(1); print(*t.digests(), sep='\\n')"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    finally:
        busy.kill()
        busy.wait()
    assert done.stdout.splitlines() == digests(), done.stderr
    assert "sparse" in done.stdout


def test_a_network_without_masks_trains_with_any_engine() -> None:
    data = built(images())
    module = MLP.build(data.input_shape, data.classes, 0)
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    found = []
    for engine in ("dense", "sparse", "auto"):
        module.load_state_dict(state)
        found.append(fit(module, data, TrainSettings(epochs=2, batch_size=16), engine=engine).state)
        assert same_bits(module.state_dict(), found[-1])
    agree(found[1], found[0])
    agree(found[2], found[0])


def test_everything_pruned_and_nothing_pruned() -> None:
    data = built(images())
    whole = begin(LENET, data)
    empty = whole.masked({name: torch.zeros_like(mask) for name, mask in whole.masks.items()})
    for start in (whole, empty):
        dense, sparse = (
            run(LENET, data, start, engine, optimizer={"sgd": {"momentum": 0.9}}) for engine in ("dense", "sparse")
        )
        fits_agree(sparse, dense)
        assert clean(sparse, start)


def test_the_module_given_is_trained_in_place_and_global_chance_left_alone() -> None:
    data = built(images())
    start = half_pruned(begin(CONV, data), 0.5)
    module = start.load_into(CONV.build(data.input_shape, data.classes, 99))
    before = torch.get_rng_state()
    fitted = fit(module, data, TrainSettings(epochs=1, batch_size=16), masks=start.masks, engine="sparse")
    assert torch.equal(torch.get_rng_state(), before)
    assert same_bits(module.state_dict(), fitted.state)


def test_a_diverging_training_is_told_by_either_engine() -> None:
    from overparam import StepError

    data = built(images())
    start = half_pruned(begin(LENET, data), 0.5)
    for engine in ("dense", "sparse"):
        with pytest.raises(StepError, match="diverged"):
            run(LENET, data, start, engine, lr=1e12, length="4ep")


@pytest.mark.parametrize("given", ["spase", "", None, 1])
def test_an_unknown_engine_is_refused(given: Any) -> None:
    data = built(vectors())
    module = MLP.build(data.input_shape, data.classes, 0)
    with pytest.raises(SpecError, match="engine must be one of auto, dense, sparse"):
        fit(module, data, TrainSettings(epochs=1), engine=given)
    with pytest.raises(SpecError, match="engine must be one of auto, dense, sparse"):
        Study("s", World(vectors()), MLP, Train(epochs=1), engine=given)


def test_dense_is_torch_alone() -> None:
    data = built(vectors())
    module = MLP.build(data.input_shape, data.classes, 0)
    found = trainee_for(module, data, TrainSettings(epochs=1), {}, "dense")
    assert type(found) is ModuleTrainee
    assert found.begin(0, torch_stream(0, "order", 0), 0) is None
