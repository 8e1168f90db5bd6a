"""Two different results never share an address, and equal ones do: each field that changes results is in it."""

from __future__ import annotations

import dataclasses
import os
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overparam import Chain, Checkpoint, Dataset, Network, Prune, Reinit, SpecError, Store, Study, Train, World
from overparam.lab.execute import Setup, StepFailure, Workshop
from overparam.lab.plan import Plan
from overparam.lab.weights import checkpoint_from_bytes
from overparam.networks import NETWORKS, architecture
from overparam.prune import SCOPES, Global
from overparam.recent import Recent
from overparam.spec import spec
from overparam.steps import Context, Outcome, Step
from overparam.streams import torch_stream
from overparam.worlds import sources
from small import bits, images, vectors

TRAIN = Train(epochs=1, batch_size=25)


def data_of(shape: tuple[int, ...], classes: int, seed: int = 0) -> Dataset:
    """Random data of a shape; the same arguments make the same data."""
    inputs = torch.randn(30, *shape, generator=torch_stream(seed, "inputs", *shape))
    labels = torch.arange(30) % classes
    return Dataset("random", inputs[:20], labels[:20], inputs[20:], labels[20:])


def flexible(input_shape: tuple[int, ...], classes: int, width: int = 3, slope: Any = 0.1) -> nn.Module:
    """A network of the user's whose initial weights do not depend on the input's shape."""
    layers = [nn.Flatten(), nn.Unflatten(1, (1, -1)), nn.Conv1d(1, width, 1), nn.LeakyReLU(float(slope))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, classes))


BASE: Mapping[str, Any] = {
    "shape": (4,),
    "classes": 3,
    "data": 0,
    "train_size": None,
    "noise": 0.0,
    "world_seed": 0,
    "seed": 0,
    "network": "mlp",
    "width": 3,
    "slope": 0.1,
    "init": None,
    "lr": 0.1,
    "optimizer": "sgd",
    "drop_last": False,
    "fraction": 0.5,
    "criterion": "magnitude",
    "scope": "global",
}
OTHER: Mapping[str, tuple[Any, ...]] = {
    "shape": ((5,), (2, 2), (1, 4), (4, 1)),
    "classes": (2, 4),
    "data": (1,),
    "train_size": (19,),
    "noise": (0.5,),
    "world_seed": (1,),
    "seed": (1,),
    "network": ("flexible",),
    "width": (4,),
    "slope": (0.2, True),
    "init": ("glorot-normal",),
    "lr": (0.2,),
    "optimizer": ({"sgd": {"momentum": 0.5}}, "rmsprop"),
    "drop_last": (True,),
    "fraction": (0.25,),
    "criterion": ("random", "gradient"),
    "scope": ("uniform",),
}


def study_of(given: Mapping[str, Any]) -> Study:
    options = {"hidden": [given["width"]]}
    network = Network("mlp", options, given["init"])
    if given["network"] == "flexible":
        network = Network(flexible, {"width": given["width"], "slope": given["slope"]}, given["init"])
    noise = {"kind": "pair-flip", "rate": given["noise"]}
    data = data_of(given["shape"], given["classes"], given["data"])
    prune = Prune(given["criterion"], fraction=given["fraction"], scope=given["scope"], batch_size=8)
    train = Train(length="1it", batch_size=8, **{name: given[name] for name in ("lr", "optimizer", "drop_last")})
    world = World(data, train_size=given["train_size"], label_noise=noise, seed=given["world_seed"])
    return Study("s", world, network, Chain(train, prune, train, Reinit(), train), seed=given["seed"], probes=[])


def computed(plan: Plan, root: Path) -> list[tuple[str, dict[str, bytes]]]:
    """Each address of a plan with what is stored there, every node run anew."""
    store = Store(root)
    workshop = Workshop(store, Setup(plan.worlds, plan.world_prints, plan.networks, 1, "dense"))
    found = []
    for name, node in plan.nodes.items():
        workshop.run(node)
        made = checkpoint_from_bytes(store.weights(name))
        whole = {**made.state, **{f"mask of {key}": mask for key, mask in made.masks.items()}}
        content = {key: str(tensor.shape).encode() + bits(tensor) for key, tensor in whole.items()}
        found.append((name, {**content, "roles": str(sorted(made.roles.items())).encode()}))
    return found


CHANGES = st.lists(
    st.sampled_from([(field, value) for field, values in OTHER.items() for value in values]),
    max_size=2,
    unique_by=lambda change: change[0],
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["mlp", "flexible"]), CHANGES), min_size=2, max_size=2))
def test_different_results_never_share_an_address(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, list[tuple[str, Any]]]]
) -> None:
    by_address: dict[str, dict[str, bytes]] = {}
    for network, changes in drawn:
        given = {**BASE, "network": network, **dict(changes)}
        assert list(study_of(given).plan.nodes) == list(study_of(given).plan.nodes), "made twice, filed once"
        for address, content in computed(study_of(given).plan, tmp_path_factory.mktemp("store")):
            assert by_address.setdefault(address, content) == content


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in OTHER.items() for value in values])
def test_each_field_has_addresses_of_its_own(field: str, value: Any) -> None:
    base = {**BASE, "network": "flexible"} if field in ("slope", "width") else BASE
    one, two = (list(study_of(given).plan.nodes) for given in (base, {**base, field: value}))
    assert one[-1] != two[-1]
    if field in ("shape", "classes", "seed", "network", "width", "slope", "init"):
        assert not set(one) & set(two), "the initialisation already differs"


def test_digits_and_larger_images_share_a_store(tmp_path: Path) -> None:
    """One after the other in this process, then in one sweep in two others."""
    worlds = [images(side=10, classes=10), images(side=28, classes=10), images(side=10, classes=4)]
    network = {"name": "lenet-300-100", "width": 0.02}

    def study(**sweep: Any) -> Study:
        return Study("two", worlds[0], network, [TRAIN], sweep=sweep, probes=["accuracy"], engine="dense")

    alone = [study(**{"world.dataset": [world]}).run(tmp_path / "one", jobs=1, threads=1) for world in worlds]
    both = study(**{"world.dataset": worlds}).run(tmp_path / "two", jobs=2, threads=1)
    assert (both.failures, both.missing) == ([], 0)
    assert both.frame["test_loss"].to_list() == [results.frame["test_loss"].item() for results in alone]
    assert len(set(both.frame["weights"])) == 3


def test_true_is_not_one() -> None:
    """By ==, which tells neither from the other, the second variant would be computed with the first's network."""

    def either(flag: Any = None) -> nn.Module:
        return nn.Linear(4, 3, bias=flag is True)

    world, arms = World(vectors()), {"one": {"network.flag": 1}, "true": {"network.flag": True}}
    plan = Study("s", world, {"name": either}, [TRAIN], variants=arms).plan
    assert [network.options["flag"] for network in plan.networks] == [1, True]
    assert len({(node.network, node.fingerprint) for node in plan.nodes.values() if node.part is None}) == 2


def test_tensors_among_the_options_are_told_apart() -> None:
    """Their text leaves the middle out."""

    def shifted(by: torch.Tensor) -> nn.Module:
        layer = nn.Linear(4, 3)
        layer.by = float(by.sum())  # type: ignore[assignment]
        return layer

    middle = torch.zeros(5000).index_fill(0, torch.tensor(2500), 1.0)
    assert repr(middle) == repr(torch.zeros(5000))
    found = [
        Study("s", World(vectors()), Network(shifted, {"by": by}), [TRAIN]).plan
        for by in (torch.zeros(5000), middle, torch.zeros(5000))
    ]
    assert list(found[0].nodes) == list(found[2].nodes)
    assert not set(found[0].nodes) & set(found[1].nodes)


@dataclasses.dataclass(frozen=True)
class Twice:
    by: float = 2.0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * self.by


@dataclasses.dataclass(frozen=True)
class Half:
    by: float = 2.0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor / self.by


@spec
class Mapped(Step):
    kind: ClassVar[str] = "mapped"
    change: Any = Twice()

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        return Outcome(start.with_state({name: self.change(tensor) for name, tensor in start.state.items()}))


def addresses(step: Step, network: Any = "mlp") -> list[str]:
    return list(Study("s", World(vectors()), network, Chain(TRAIN, step, TRAIN)).plan.steps)


def test_objects_with_equal_fields_and_other_classes_are_told_apart() -> None:
    assert addresses(Mapped(Twice())) == addresses(Mapped(Twice()))
    assert addresses(Mapped(Twice()))[2] != addresses(Mapped(Half()))[2]
    assert addresses(Mapped([{"a": Twice()}]))[2] != addresses(Mapped([{"a": Half()}]))[2]


def test_a_scope_that_a_user_registers_is_filed_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SCOPES, "_things", dict(SCOPES._things))

    def registered(share: float) -> list[str]:
        class Mine(Global):
            def quotas(self, tensors: Any, keep: int) -> None:
                assert share < 2

        SCOPES._things["mine"] = Mine
        return addresses(Prune(fraction=0.5, scope="mine"))

    assert registered(1.0) == registered(1.0)
    assert registered(1.0)[2] != registered(1.5)[2]


def test_an_architecture_that_a_user_registers_is_filed_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NETWORKS, "_things", dict(NETWORKS._things))

    def registered(hidden: int) -> list[str]:
        NETWORKS._things.pop("mine", None)

        @architecture("mine", init="pytorch", version=1)
        def mine(input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))

        return addresses(Prune(fraction=0.5), "mine")

    assert registered(2) == registered(2)
    assert registered(2)[0] != registered(3)[0]


def test_a_step_of_an_installed_package_is_filed_by_the_package_and_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A plug-in has no code in the user's files; another one, or another version, may do other things."""

    def installed(package: str, version: str) -> list[str]:
        module = types.ModuleType(package)
        path = tmp_path / "site-packages" / f"{package}.py"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        module.__file__, module.__version__ = str(path), version  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, package, module)
        made = spec(type("Plugged", (Step,), {"kind": "plugged", "run": Mapped.run, "__module__": package}))
        return addresses(made())

    found = [installed(*each) for each in (("plug_a", "1"), ("plug_a", "2"), ("plug_b", "1"), ("plug_a", "1"))]
    assert found[0] == found[3]
    assert len({steps[2] for steps in found}) == 3


def test_a_step_s_own_world_must_fit_the_network() -> None:
    def chain(data: Dataset) -> Chain:
        return Chain(dataclasses.replace(TRAIN, world={"dataset": data}), TRAIN)

    for shape, classes in (((5,), 3), ((4,), 2)):
        with pytest.raises(SpecError, match=r"train\.world: inputs of shape .* do not fit the network"):
            Study("s", World(vectors()), "mlp", chain(data_of(shape, classes))).plan  # noqa: B018
    fitting = Study("s", World(vectors()), flexible, chain(data_of((5,), 3))).plan
    assert len(fitting.steps) == 3
    with pytest.raises(SpecError, match=r"train\.world: network .* gives an output of shape"):
        Study("s", World(vectors()), lambda: flexible((4,), 3), chain(data_of((5,), 2))).plan  # noqa: B018


def draws(count: int = 20) -> Dataset:
    """A function that makes data with whatever generators are at hand."""
    inputs = torch.randn(count, 4) + random.random() + torch.from_numpy(np.random.rand(count, 4)).float()  # noqa: NPY002
    return Dataset("drawn", inputs, torch.arange(count) % 3, inputs.clone(), torch.arange(count) % 3)


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget all data that were loaded, as another process has none."""

    def forgotten() -> None:
        monkeypatch.setattr(sources, "_datasets", Recent(4))

    return forgotten


def test_a_function_that_draws_its_data_makes_the_same_everywhere(forget: Callable[[], None]) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        forget()
        found.append(World(lambda: draws()).identity())
    assert found[0] == found[1]


def test_data_that_differ_in_a_worker_are_refused_there(tmp_path: Path, forget: Callable[[], None]) -> None:
    """A function with a generator of the system's own cannot be seeded: no result may be filed under other data."""

    def unseeded() -> Dataset:
        return data_of((4,), 3, int.from_bytes(os.urandom(4), "big"))

    plan = Study("s", World(unseeded), "mlp", [TRAIN]).plan
    forget()
    with pytest.raises(StepFailure, match="not the one that the study was planned with"):
        computed(plan, tmp_path)


@contextmanager
def default(name: str, changed: Any, usual: Any) -> Iterator[None]:
    getattr(torch, name)(changed)
    try:
        yield
    finally:
        getattr(torch, name)(usual)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (lambda: default("set_default_dtype", torch.float64, torch.float32), "default dtype is torch.float64"),
        (lambda: default("set_default_device", "meta", None), "default device is meta"),
        (lambda: torch.autocast("cpu"), "cannot run under torch.autocast"),
        (torch.no_grad, "cannot run under torch.no_grad"),
        (torch.inference_mode, "cannot run under torch.no_grad"),
    ],
)
def test_settings_of_torch_that_change_results_are_refused(setting: Callable[[], Any], message: str) -> None:
    study = Study("s", World(vectors()), "mlp", [TRAIN])
    with setting(), pytest.raises(SpecError, match=message):
        study.plan  # noqa: B018


def test_a_lower_precision_of_products_is_set_back_while_a_study_runs(tmp_path: Path) -> None:
    seen: list[str] = []

    @spec
    class Look(Step):
        kind: ClassVar[str] = "look"

        def run(self, start: Checkpoint, context: Context) -> Outcome:
            seen.append(torch.get_float32_matmul_precision())
            return Outcome(start)

    torch.set_float32_matmul_precision("medium")
    try:
        Study("s", World(vectors()), "mlp", Chain(Look(), TRAIN), engine="dense").run(tmp_path, jobs=1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]
