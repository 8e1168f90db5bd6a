"""`Network`: names, import paths, functions and options; what is wrong is said in one sentence."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks import NETWORKS, Network

MY_MODELS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, classes, hidden=5):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(x))

class Zoo:
    @staticmethod
    def tiny(input_shape, classes):
        return Net(input_shape, classes, hidden=1)

number = 5
layer = nn.Linear(2, 2)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of the user's with modules in it."""
    before = set(sys.modules)
    (tmp_path / "my_models.py").write_text(MY_MODELS)
    (tmp_path / "broken_model.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "wrong_syntax.py").write_text("def net(:\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "models.py").write_text(MY_MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("my_models", "broken_model", "wrong_syntax", "own_package"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "lenet-300-10"}, "Network.name: unknown network 'lenet-300-10'; did you mean 'lenet-300-100'?"),
        ({"name": "my_models.net"}, "your own as 'package.module:name'"),
        ({"name": 5}, "a function or class that makes a new torch.nn.Module at each call, got 5"),
        ({"name": None}, "network must be one of conv-2, "),
        ({"name": "my models:net"}, "network 'my models:net': an import path is written 'package.module:name'"),
        ({"name": "my_models:"}, "an import path is written 'package.module:name'"),
        ({"name": nn.Linear(2, 2)}, "a function or class that makes a new torch.nn.Module at each call, got Linear"),
        ({}, "Network.name: is required"),
        ({"name": "mlp", "option": {}}, "Network.option: no such field; did you mean 'options'?"),
        (
            {"name": "mlp", "init": "kaiming"},
            "Network.init: input should be 'kaiming-normal', 'glorot-normal', 'gpt-2' or",
        ),
        ({"name": "mlp", "options": {"hiden": [5]}}, "no such option of network 'mlp'; did you mean 'hidden'?"),
        ({"name": "mlp", "options": {"hidden": [5, -1]}}, "options.hidden.1: input should be greater than 0, got -1"),
        ({"name": "mlp", "options": {"hidden": [2.5]}}, "options.hidden.0: input should be a valid integer, got 2.5"),
        ({"name": "mlp", "options": {"hidden": 300}}, "options.hidden: input should be a list, got 300"),
        ({"name": "mlp", "options": {"bias": "perhaps"}}, "options.bias: input should be true or false"),
        ({"name": "mlp", "options": {"classes": 5}}, "options.classes: is given by the world"),
        ({"name": "vgg-16", "options": {"width": 0}}, "options.width: input should be greater than 0, got 0"),
        ({"name": "vgg-16", "options": {"width": float("nan")}}, "options.width"),
        ({"name": "vgg-16", "options": {"width": float("inf")}}, "options.width: input should be a finite number"),
        ({"name": "vgg-16", "options": {"width": "wide"}}, "options.width: input should be a valid number, got 'wide'"),
        ({"name": "vgg-16", "options": [1]}, "Network.options: input should be a mapping"),
        ({"name": lambda: None, "options": {"depth": 3}}, "options.depth: no such option .* \\(it takes none\\)"),
        (
            {"name": lambda depth: None},
            "options.depth: is required by network .*; its factory is given .* default",
        ),
    ],
)
def test_wrong_specs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("?", r"\?").replace("*", "*")) as caught:
        Network(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["my_models:Net", "my_models:Zoo.tiny", "own_package.models:Net"])
def test_import_paths_find_modules_in_the_working_directory(folder: Path, path: str) -> None:
    module = Network(path).build((4,), 3, seed=0)
    assert module(torch.zeros(7, 4)).shape == (7, 3)


def test_a_file_written_a_moment_ago_is_found(folder: Path) -> None:
    Network("my_models:Net").build((4,), 3, seed=0)
    (folder / "my_models_later.py").write_text(MY_MODELS)
    Network("my_models_later:Net").build((4,), 3, seed=0)
    del sys.modules["my_models_later"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_model:Net", "there is no module 'my_model', neither in the current folder nor installed"),
        ("own_package.nothing:Net", "there is no module 'own_package.nothing'"),
        ("my_models:Nett", "'my_models' has no 'Nett'; did you mean 'Net'?"),
        ("my_models:Zoo.huge", "'Zoo' has no 'huge'"),
        ("my_models:number", "must be a function or class that makes a new torch.nn.Module at each call, got 5"),
        ("my_models:layer", "must be a function or class that makes a new torch.nn.Module at each call, got Linear"),
        ("broken_model:net", "importing 'broken_model' failed with ModuleNotFoundError: No module named 'nowhere"),
        ("wrong_syntax:net", "importing 'wrong_syntax' failed with SyntaxError"),
    ],
)
def test_import_paths_that_lead_nowhere(folder: Path, path: str, message: str) -> None:
    network = Network(path)  # a spec may be written before the code is there
    for use in (network.build, network.identity):
        with pytest.raises(SpecError) as caught:
            use((4,), 3, seed=0)
        assert message in str(caught.value)


def test_options_reach_a_factory_of_ones_own(folder: Path) -> None:
    module = Network("my_models:Net", {"hidden": 11}).build((4,), 3, seed=0)
    assert module.get_parameter("head.weight").shape == (3, 11)
    with pytest.raises(SpecError, match=r"options.hiden: no such option .*; did you mean 'hidden'\?"):
        Network("my_models:Net", {"hiden": 11}).build((4,), 3, seed=0)


def plain() -> nn.Module:
    return nn.Linear(4, 3)


def only_classes(classes: int) -> nn.Module:
    return nn.Linear(4, classes)


def keyword_options(input_shape: tuple[int, ...], **options: Any) -> nn.Module:
    return nn.Linear(*input_shape, 3, **options)


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (plain, {}),
        (only_classes, {}),
        (keyword_options, {"bias": False}),
        (lambda input_shape, classes: nn.Linear(*input_shape, classes), {}),
        (functools.partial(nn.Linear, 4, 3), {}),
        (nn.Linear, {"in_features": 4, "out_features": 3}),
    ],
)
def test_factories_get_the_parameters_that_they_name(
    factory: Callable[..., nn.Module], options: dict[str, Any]
) -> None:
    module = Network(factory, options).build((4,), 3, seed=0)
    assert module(torch.zeros(2, 4)).shape == (2, 3)


def test_user_networks_stay_as_constructed_unless_asked() -> None:
    assert (Network(plain, init="glorot-normal").build((4,), 3, seed=0).get_parameter("bias") == 0).all()
    assert (Network(plain).build((4,), 3, seed=0).get_parameter("bias") != 0).any()


def test_a_registered_factory_of_ones_own_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NETWORKS, "_things", dict(NETWORKS._things))
    NETWORKS.register("mine", only_classes)
    module = Network("mine").build((4,), 3, seed=0)
    assert torch.equal(module.get_parameter("weight"), Network(only_classes).build((4,), 3, 0).get_parameter("weight"))


def explode() -> nn.Module:
    raise KeyError("depth")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (explode, "cannot be made for inputs of shape \\(4,\\) and 3 outputs: KeyError: 'depth'"),
        (lambda: 5, "its factory must return a torch.nn.Module, got 5"),
        (lambda: nn.Linear(5, 3), "fails on a batch of shape \\(2, 4\\) and dtype torch.float32: RuntimeError: mat1"),
        (lambda: nn.Linear(4, 2), "gives an output of shape \\(2, 2\\) for two inputs .*; \\(2, 3\\) is needed"),
        (lambda: nn.GRU(4, 3), "gives an output of type tuple"),
        (lambda: nn.Linear(4, 3).double(), "fails on a batch .* dtype torch.float32"),
    ],
)
def test_factories_that_do_not_fit(factory: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Network(factory).build((4,), 3, seed=0)


@pytest.mark.parametrize("hidden", [10**12, 10**19])
def test_networks_that_no_machine_can_hold(hidden: int) -> None:
    with pytest.raises(SpecError, match="network 'mlp' cannot be made for inputs of shape") as caught:
        Network("mlp", {"hidden": [hidden]}).build((4,), 3, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: nn.Sequential(layer, nn.Linear(3, 3))])
def test_a_factory_must_make_new_layers_at_each_call(wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = nn.Linear(4, 3)
    with pytest.raises(SpecError, match="that it returned before; it must construct a new one at each call"):
        Network(lambda: wrap(layer)).build((4,), 3, seed=0)


def test_layers_without_tensors_may_be_shared() -> None:
    act = nn.ReLU()
    network = Network(lambda: nn.Sequential(nn.Linear(4, 3), act))
    network.build((4,), 3, seed=0)
    network.build((4,), 3, seed=1)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((), 3, "input_shape"),
        ((0,), 3, "input_shape"),
        ((4, -1), 3, "input_shape"),
        ((4,), 0, "outputs"),
        ((4,), 2.5, "outputs"),
    ],
)
def test_impossible_worlds(shape: tuple[int, ...], classes: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Network("mlp").build(shape, classes, seed=0)


class Restless(nn.Module):
    """Counts its calls in a buffer, draws numbers, and has a part in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.frozen = nn.BatchNorm1d(4).eval()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1  # type: ignore[operator]
        return self.head(self.frozen(x) + torch.randn(4))


def test_the_trial_run_leaves_modes_buffers_and_generators_as_they_were() -> None:
    state = torch.get_rng_state()
    module = Network(Restless).build((4,), 3, seed=0)
    assert module.get_buffer("calls") == 0
    assert module.training
    assert not module.get_submodule("frozen").training
    assert torch.equal(torch.get_rng_state(), state)


def test_lazy_layers_are_given_their_weights_from_the_stream() -> None:
    network = Network(lambda classes: nn.Sequential(nn.Flatten(), nn.LazyLinear(classes)), init="kaiming-normal")
    a, b = network.build((2, 3), 4, seed=1), network.build((2, 3), 4, seed=1)
    assert a.get_parameter("1.weight").shape == (4, 6)
    assert torch.equal(a.get_parameter("1.weight"), b.get_parameter("1.weight"))


def test_cloudpickle_round_trip_of_a_lambda() -> None:
    width = 6
    network = Network(
        lambda classes, depth: nn.Sequential(nn.Linear(4, width), nn.Linear(width, classes)), {"depth": 2}
    )
    back = cloudpickle.loads(cloudpickle.dumps(network))
    assert back.options == {"depth": 2}
    first, second = network.build((4,), 3, seed=0), back.build((4,), 3, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert back.identity((4,), 3, 0) == network.identity((4,), 3, 0)


@pytest.mark.parametrize("network", [Network("mlp", {"hidden": [3]}), Network(NETWORKS.get("conv-2"))])
def test_cloudpickle_round_trip_of_built_in_networks(network: Network) -> None:
    back = cloudpickle.loads(cloudpickle.dumps(network))
    assert back.identity((1, 4, 4), 3, 0) == network.identity((1, 4, 4), 3, 0)


def test_a_spec_does_not_share_its_options_with_the_caller() -> None:
    options = {"width": 0.5}
    network = Network("vgg-11", options)
    options["width"] = 3.0
    assert network.options == {"width": 0.5}
