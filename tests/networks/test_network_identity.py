"""Identity: the same network has it in every process, a changed one never."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.identity import Digest, state_digest
from overparam.networks import NETWORKS, Network

Identity = dict[str, Any]
Load = Callable[..., Network]


def identity(network: Network | Callable[..., nn.Module], seed: int = 0, **options: Any) -> Identity:
    if not isinstance(network, Network):
        network = Network(network, options)
    found = network.identity((4,), 3, seed)
    assert json.loads(json.dumps(found)) == found
    return found


# Built-in networks


def test_built_in_networks_are_their_name_version_options_and_initialisation() -> None:
    """Literals: results in people's stores hang on them."""
    assert Network("lenet-300-100").identity((1, 28, 28), 10, 0) == {
        "input_shape": [1, 28, 28],
        "outputs": [10],
        "vocabulary": None,
        "architecture": "lenet-300-100",
        "version": 1,
        "options": {"width": 1.0},
        "init": "kaiming-normal",
    }
    assert Network("mlp", {"hidden": [7]}, init="glorot-normal").identity((1, 28, 28), 10, 0) == {
        "input_shape": [1, 28, 28],
        "outputs": [10],
        "vocabulary": None,
        "architecture": "mlp",
        "version": 1,
        "options": {"hidden": [7], "bias": True},
        "init": "glorot-normal",
    }


def test_defaults_written_out_change_nothing() -> None:
    assert identity(Network("mlp")) == identity(
        Network("mlp", {"hidden": (300, 100), "bias": True}, init="kaiming-normal")
    )
    assert identity(Network("lenet-300-100", {"width": 1})) == identity(Network("lenet-300-100"))


def test_built_in_networks_differ_from_one_another() -> None:
    found = [json.dumps(Network(name).identity((3, 32, 32), 10, 0)) for name in NETWORKS]
    assert len(set(found)) == len(NETWORKS)


# Networks of one's own, in files

MODELS = """
import torch
from torch import nn

import activations
from settings import SCALE

class Net(nn.Module):
    slope = 1.0

    def __init__(self, input_shape, classes, depth=1):
        super().__init__()
        self.depth = depth
        self.temperature = 2.0
        self.body = nn.Linear(input_shape[0], 5)
        self.head = nn.Linear(5, classes)

    def forward(self, x):
        return self.head(torch.relu(activations.act(self.body(x)) * SCALE)) / self.temperature
"""
ACTIVATIONS = """
import math

import helpers

def act(x):
    return helpers.shifted(x)
"""
HELPERS = """
SHIFT = 0.5

def shifted(x):
    return x + SHIFT
"""
SETTINGS = "SCALE = 3.0\n"
FILES = {"models": MODELS, "activations": ACTIVATIONS, "helpers": HELPERS, "settings": SETTINGS}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write the files of a user's folder, changed as told, and load the network in them as a new process would."""

    def write_and_load(**changes: tuple[str, str]) -> Network:
        for name, text in FILES.items():
            before, after = changes.get(name, ("", ""))
            assert before in text
            (tmp_path / f"{name}.py").write_text(text.replace(before, after) if before else text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return Network("models:Net")

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within the resolution of their times
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield write_and_load
    for name in FILES:
        sys.modules.pop(name, None)


def test_unchanged_files_keep_the_identity(load: Load) -> None:
    first = identity(load())
    assert identity(load()) == first
    assert set(first["sources"]) == set(FILES)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": ("torch.relu", "torch.tanh")},
        {"models": ("slope = 1.0", "slope = 2.0")},
        {"models": ("temperature = 2.0", "temperature = 2.5")},
        {"models": ("depth=1", "depth=2")},
        {"activations": ("helpers.shifted(x)", "helpers.shifted(x) + 1")},
        {"helpers": ("x + SHIFT", "x - SHIFT")},
        {"helpers": ("0.5", "0.25")},
        {"settings": ("3.0", "4.0")},
        {"helpers": ("SHIFT = 0.5", "SHIFT = 0.5\nUNUSED = 1")},
    ],
    ids=str,
)
def test_a_change_in_any_file_involved_is_seen(load: Load, changes: dict[str, tuple[str, str]]) -> None:
    first = identity(load())
    second = identity(load(**changes))
    assert second["state"] == first["state"]
    assert second != first


def test_import_path_and_function_are_the_same_network(load: Load) -> None:
    network = load()
    by_path = identity(network)
    assert identity(Network(importlib.import_module("models").Net)) == by_path


def test_the_seed_the_options_and_the_initialisation_count(load: Load) -> None:
    load()
    found = [
        identity(Network("models:Net")),
        identity(Network("models:Net"), seed=1),
        identity(Network("models:Net", {"depth": 3})),
        identity(Network("models:Net", init="kaiming-normal")),
    ]
    assert len({json.dumps(each) for each in found}) == len(found)


def test_a_value_set_from_outside_is_seen(load: Load) -> None:
    """As in ``my_settings.SCALE = 3`` in the script that starts the study; no file changes."""
    first = identity(load())
    load()
    importlib.import_module("helpers").SHIFT = 7.0  # type: ignore[attr-defined]
    second = identity(Network("models:Net"))
    assert second["sources"] == first["sources"]
    assert second["digest"] != first["digest"]


def test_a_value_set_from_outside_is_seen_in_a_module_imported_inside_a_function(load: Load) -> None:
    inside = ("return self.head", "from settings import SCALE as s; return s * self.head")
    first = identity(load(models=inside))
    assert identity(Network("models:Net")) == first
    importlib.import_module("settings").SCALE = 7.0  # type: ignore[attr-defined]
    second = identity(Network("models:Net"))
    assert second["sources"] == first["sources"]
    assert second["digest"] != first["digest"]


def test_comments_in_files_count_and_those_in_scripts_do_not(load: Load) -> None:
    """It is not looked at what an edit of a file means."""
    first = identity(load())
    second = identity(load(helpers=("SHIFT = 0.5", "# half\nSHIFT = 0.5")))
    assert second["digest"] == first["digest"]
    assert second["sources"] != first["sources"]


def test_code_that_is_older_than_its_file_is_not_taken_for_the_new_one(load: Load, tmp_path: Path) -> None:
    """A notebook that imported the module before the file was edited still runs the old code."""
    old = identity(load())
    (tmp_path / "helpers.py").write_text(HELPERS.replace("x + SHIFT", "x - SHIFT"))
    stale = identity(Network("models:Net"))
    fresh = identity(load(helpers=("x + SHIFT", "x - SHIFT")))
    assert stale["sources"] == fresh["sources"]
    assert stale["digest"] == old["digest"] != fresh["digest"]


def test_modules_imported_inside_functions_are_involved(load: Load) -> None:
    inside = ("return self.head", "from settings import SCALE as s; import helpers as h; return s * self.head")
    first = identity(load(models=inside))
    for name in FILES:
        sys.modules.pop(name, None)
    assert set(first["sources"]) == set(FILES)
    assert identity(load(models=inside, settings=("3.0", "5.0"))) != first


PACKAGE = {
    "mine/__init__.py": "",
    "mine/deep/__init__.py": "RATE = 1\n",
    "mine/deep/net.py": """
from torch import nn
from ..blocks import head

def net(more=False):
    if more:
        import mine_not.deep
        from . import later
    return nn.Sequential(nn.Linear(4, 4), head())
""",
    "mine/deep/later.py": "import nowhere\n",
    "mine/blocks.py": "from torch import nn\n\ndef head(): return nn.Linear(4, 3)\n",
    "mine/other.py": "",
    "site-packages/mine_not/__init__.py": "raise SystemExit('a library is imported to look at its name')\n",
}


def test_the_sources_of_a_package_are_what_it_imports_and_the_packages_around(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    found = identity(Network("mine.deep.net:net"))
    assert list(found["sources"]) == ["mine", "mine.blocks", "mine.deep", "mine.deep.later", "mine.deep.net"]
    assert identity(Network("mine.deep.net:net")) == found, "whatever ran before"


# Networks of one's own, without files (notebooks, scripts, exec), and what modules hold


def notebook(source: str) -> Callable[..., nn.Module]:
    """Run ``source`` as a notebook cell does and return its ``net``."""
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), cell)
    net: Callable[..., nn.Module] = cell["net"]
    return net


CELL = """
import torch
from torch import nn

GAIN = 1.5

def act(x):
    return torch.relu(x) * GAIN

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

class Net(Base):
    factor = 1

    @property
    def shift(self):
        return 1

    @staticmethod
    def soft(x):
        return x.tanh()

    def forward(self, x, flip=False):
        return self.soft(act(self.layer(x))) + [y for y in (1, 2)][0] + self.shift

def net():
    return Net()
"""


def test_a_cell_run_again_keeps_the_identity() -> None:
    assert identity(notebook(CELL)) == identity(notebook(CELL))
    assert identity(notebook(CELL))["sources"] == {}


def test_other_lines_of_a_script_change_nothing() -> None:
    """Adding a seed to the script that defines the model must not make its results unfindable."""
    moved = "seeds = range(3)\n# a comment\n\n" + CELL + "\nresults = 'other things'\n"
    assert identity(notebook(moved)) == identity(notebook(CELL))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("torch.relu", "torch.sigmoid"),
        ("GAIN = 1.5", "GAIN = 1.25"),
        ("x.tanh()", "x.sigmoid()"),
        ("factor = 1", "factor = 2"),
        ("return 1\n", "return 2\n"),
        ("(1, 2)", "(1, 3)"),
        ("flip=False", "flip=True"),
        ("class Net(Base)", "class Net(Base, dict)"),
        ("nn.Linear(4, 3)", "nn.Linear(4, 3, bias=False)"),
    ],
)
def test_a_change_in_a_cell_is_seen(before: str, after: str) -> None:
    assert CELL.count(before) == 1
    if "dict" in after:  # a base that adds members, without a clash of layouts
        before, after = "class Net(Base)", "class Mixin:\n    extra = 1\n\nclass Net(Base, Mixin)"
    assert identity(notebook(CELL.replace(before, after))) != identity(notebook(CELL))


class Holder(nn.Module):
    """A layer that holds anything beside its weights."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def closure(constant: Any) -> Callable[[Tensor], Any]:
    def scaled(x: Tensor) -> Any:
        return x * constant

    return scaled


def noted(decay: bool) -> Tensor:
    weight = torch.ones(2)
    weight.decay = decay  # type: ignore[attr-defined]
    return weight


class Slots:
    """An object without a ``__dict__``."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


def with_default(x: Tensor, by: float = 1.0) -> Tensor:
    return x * by


def changed_default(x: Tensor, by: float = 2.0) -> Tensor:
    return x * by


changed_default.__qualname__ = with_default.__qualname__

PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "int": (lambda: 1, lambda: 2),
    "int and float": (lambda: 1, lambda: 1.0),
    "int and bool": (lambda: 1, lambda: True),
    "signed zero": (lambda: 0.0, lambda: -0.0),
    "str": (lambda: "relu", lambda: "tanh"),
    "none": (lambda: None, lambda: "None"),
    "tuple": (lambda: (1, 2), lambda: (1, 3)),
    "tuple and list": (lambda: (1, 2), lambda: [1, 2]),
    "nesting": (lambda: ((1,), 2), lambda: ((1, 2),)),
    "list": (lambda: [1, [2]], lambda: [1, [3]]),
    "order of a dict": (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    "set": (lambda: {"a", "b", "c"}, lambda: {"a", "b", "d"}),
    "bytes": (lambda: b"a", lambda: b"b"),
    "tensor": (lambda: torch.ones(3), lambda: torch.tensor([1.0, 1.0, 1.5])),
    "dtype of a tensor": (lambda: torch.zeros(3), lambda: torch.zeros(3, dtype=torch.int32)),
    "shape of a tensor": (lambda: torch.zeros(2, 3), lambda: torch.zeros(3, 2)),
    "large tensor": (lambda: torch.zeros(10_000), lambda: torch.zeros(10_000).index_fill(0, torch.tensor(5_000), 1)),
    "sparse tensor": (lambda: torch.eye(3).to_sparse(), lambda: torch.eye(3).roll(1, 0).to_sparse()),
    "array": (lambda: np.arange(3), lambda: np.arange(1, 4)),
    "masked array": (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ma.array([1, 2], mask=[1, 0])),
    "fields of an array": (lambda: np.zeros(2, [("a", "i4")]), lambda: np.zeros(2, [("b", "i4")])),
    "attribute of a tensor": (lambda: noted(True), lambda: noted(False)),
    "array of objects": (lambda: np.array([1, "a"], object), lambda: np.array([1, "b"], object)),
    "function": (lambda: F.relu, lambda: F.gelu),
    "closure": (lambda: closure(2.0), lambda: closure(3.0)),
    "lambda": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "default": (lambda: with_default, lambda: changed_default),
    "partial": (lambda: functools.partial(F.leaky_relu, negative_slope=0.1), lambda: functools.partial(F.leaky_relu)),
    "method": (lambda: Slots(1).__eq__, lambda: Slots(2).__eq__),
    "object with slots": (lambda: Slots(1), lambda: Slots(2)),
    "module in a list": (lambda: [nn.Dropout(0.1)], lambda: [nn.Dropout(0.2)]),
    "class": (lambda: nn.ReLU, lambda: nn.GELU),
    "cached function": (lambda: functools.cache(closure(1)), lambda: functools.cache(closure(2))),
    "decorated by a library": (lambda: torch.no_grad()(closure(1)), lambda: torch.no_grad()(closure(2))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_whatever_a_module_holds_counts_by_its_content(name: str) -> None:
    one, other = PAIRS[name]
    first = identity(lambda held=one: Holder(held()))
    assert Digest().add(one()).hex() == Digest().add(one()).hex()
    assert Digest().add(one()).hex() != Digest().add(other()).hex()
    assert identity(lambda held=one: Holder(held())) == first
    assert identity(lambda held=other: Holder(held())) != first


def linear() -> nn.Linear:
    return nn.Linear(4, 3)


def changed(change: Callable[[nn.Linear], object]) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        layer = linear()
        change(layer)
        return layer

    return factory


CHANGES: dict[str, Callable[[nn.Linear], object]] = {
    "nothing": lambda layer: None,
    "a weight": lambda layer: layer.weight.data[0, 0].add_(1),
    "frozen": lambda layer: layer.weight.requires_grad_(False),
    "evaluation mode": lambda layer: layer.eval(),
    "a buffer outside the state": lambda layer: layer.register_buffer("more", torch.ones(1), persistent=False),
    "a hook": lambda layer: layer.register_forward_hook(lambda module, args, output: output * 2),
    "another hook": lambda layer: layer.register_forward_hook(lambda module, args, output: output * 3),
    "a forward of its own": lambda layer: setattr(layer, "forward", lambda x: F.linear(x, layer.weight)),
    "a reason in repr": lambda layer: setattr(layer, "extra_repr", lambda: "different"),
}


def test_each_change_to_a_module_has_an_identity_of_its_own() -> None:
    digests = {name: Digest().add(changed(change)()).hex() for name, change in CHANGES.items() if name != "a weight"}
    assert len(set(digests.values())) == len(digests)
    assert identity(changed(CHANGES["a weight"]))["state"] != identity(changed(CHANGES["nothing"]))["state"]


def test_hooks_count_by_what_they_do_not_by_when_they_were_made() -> None:
    assert identity(changed(CHANGES["a hook"])) == identity(changed(CHANGES["a hook"]))


def test_tied_weights_differ_from_equal_ones() -> None:
    def pair(tie: bool) -> nn.Module:
        module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        if tie:
            module[1].weight = module[0].weight
        else:
            module[1].weight = nn.Parameter(module[0].weight.detach().clone())
        return module

    torch.manual_seed(0)
    tied = Digest().add(pair(True)).hex()
    torch.manual_seed(0)
    assert Digest().add(pair(False)).hex() != tied


def test_activation_switch_without_parameters() -> None:
    def factory(act: type[nn.Module]) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), act(), nn.Linear(4, 3))

    found = [identity(factory, act=act) for act in (nn.ReLU, nn.Tanh)]
    assert found[0]["state"] == found[1]["state"]
    assert found[0]["digest"] != found[1]["digest"]


def test_values_that_contain_themselves_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    chain: Any = None
    for _ in range(5_000):  # deeper than Python's stack
        chain = [chain]
    assert Digest().add(loop, chain).hex() != Digest().add(loop, [chain]).hex()


def test_things_that_cannot_be_pickled_are_no_obstacle() -> None:
    import threading

    assert identity(lambda: Holder(threading.Lock())) == identity(lambda: Holder(threading.Lock()))


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


def test_a_traced_graph_counts() -> None:
    def traced(scale: float) -> nn.Module:
        return torch.fx.symbolic_trace(Scaled(scale))

    found = [identity(traced, scale=scale)["digest"] for scale in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_module_is_its_original() -> None:
    digests = []
    for scale in (2.0, 2.0, 3.0):
        torch.manual_seed(0)
        digests.append(Digest().add(torch.compile(Scaled(scale))).hex())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_functions_count_and_torchscript_modules_are_refused() -> None:
    functions = [torch.jit.trace(closure(constant), torch.zeros(2)) for constant in (2.0, 2.0, 3.0)]
    digests = [Digest().add(function).hex() for function in functions]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(SpecError, match="let the factory return the Python module that it was made from"):
        identity(lambda: torch.jit.trace(Scaled(2.0), torch.zeros(2, 4)))


def test_versions_of_libraries_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages" / "layers_of_others"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from torch import nn\n__version__ = '1.2'\nclass Layer(nn.Linear): pass\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    package = importlib.import_module("layers_of_others")
    first = identity(lambda: package.Layer(4, 3))
    assert first["packages"] == {"layers_of_others": "1.2"}
    assert "layers_of_others" not in first["sources"]
    monkeypatch.setattr(package, "__version__", "1.3")
    assert identity(lambda: package.Layer(4, 3)) != first
    del sys.modules["layers_of_others"]


def test_weights_that_no_seed_determines_are_refused() -> None:
    def hardware() -> nn.Module:
        layer = nn.Linear(4, 3)
        nn.init.constant_(layer.weight, int.from_bytes(os.urandom(4)))
        return layer

    with pytest.raises(SpecError, match="starts from other weights each time though the seed is the same"):
        identity(hardware)


# Other processes

SCRIPT = """
import dataclasses, enum, functools, json, sys
import cloudpickle, numpy as np, torch
from torch import nn
import activations
from overparam.networks import Network

class Mode(enum.Enum):
    SOFT = "soft"
    HARD = "hard"

@dataclasses.dataclass
class Config:
    modes: frozenset = frozenset(Mode)
    names: set = dataclasses.field(default_factory=lambda: {"a", "b", "c", "d"})
    table: dict = dataclasses.field(default_factory=lambda: {"x": np.arange(3), "y": torch.ones(2)})

def noted(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

@noted
def factor(n):
    return n * 0.5

class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layer = nn.Linear(4, 3)
        self.layer.register_forward_hook(lambda module, args, output: output * factor(4))
        self.forward_later = functools.partial(self.forward, flip=True)

    def forward(self, x, flip=False):
        x = activations.act(self.layer(x))
        return -x if flip and "a" in {"a", "b", "c"} else x

def net(bias=True):
    return Net(Config())

networks = {
    "import path": Network("models:Net"),
    "function of a script": Network(net),
    "lambda": Network(lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh())),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], "wb") as file:
            file.write(cloudpickle.dumps(networks))
    print(json.dumps({name: network.identity((4,), 3, 0) for name, network in networks.items()}))
"""
READER = """
import json, sys
import cloudpickle
from overparam.networks import Network
from overparam.identity import state_digest
networks = cloudpickle.load(open(sys.argv[1], "rb"))
found = {name: network.identity((4,), 3, 0) for name, network in networks.items()}
bits = state_digest(Network("resnet-20", {"width": 0.25}).build((3, 8, 8), 10, seed=7))
print(json.dumps({**found, "bits": bits}))
"""


def run(folder: Path, script: str, *arguments: str, hash_seed: int) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_process_finds_the_same_identity_and_makes_the_same_bits(load: Load, tmp_path: Path) -> None:
    here = identity(load())
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "reader.py").write_text(READER)
    first = run(tmp_path, "script.py", "networks.pickle", hash_seed=1)
    worker = run(tmp_path, "reader.py", "networks.pickle", hash_seed=2)
    bits = worker.pop("bits")
    assert bits == state_digest(Network("resnet-20", {"width": 0.25}).build((3, 8, 8), 10, seed=7))
    assert first == worker
    assert first["import path"] == here
    assert set(first["function of a script"]["sources"]) == {"activations", "helpers"}


def test_identity_survives_cloudpickle_and_training() -> None:
    network = Network(notebook(CELL))
    before = identity(network)
    module = network.build((4,), 3, seed=0)
    module(torch.randn(8, 4)).sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(parameter.grad)
    assert identity(network) == before
    assert identity(cloudpickle.loads(cloudpickle.dumps(network))) == before
