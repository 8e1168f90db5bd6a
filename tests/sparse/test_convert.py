"""A converted network computes and learns what the masked dense module does."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from network_cases import agree, built, pruned
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.prune import apply_masks, prune
from overparam.sparse import convert, replace_layers
from overparam.sparse.layers.kinds import SparseConv2d, SparseLayer, SparseLinear
from overparam.sparse.layers.layout import transposed
from overparam.sparse.networks.tiles import OnTiles, Tiles, to_first
from small import same_bits

pytestmark = pytest.mark.filterwarnings("ignore:layer collapse")  # layers of eight weights, masked at random


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def noisy() -> Any:
    """Batch norm."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64, 12),
            norm1=nn.BatchNorm1d(12),
            relu1=nn.ReLU(),
            fc2=nn.Linear(12, 3),
        )
    )


OPTIMISERS: list[Callable[..., torch.optim.Optimizer]] = [
    lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    lambda parameters: torch.optim.Adam(parameters, lr=0.003),
]


def learn(model: nn.Module, make: Callable[..., torch.optim.Optimizer], masks: dict[str, Tensor], data: Any) -> None:
    """Ten steps; weights outside ``masks`` are held at zero."""
    optimiser = make(model.parameters())
    torch.manual_seed(1)
    model.train()
    for inputs, labels in data:
        optimiser.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        for name, mask in masks.items():
            gradient = model.get_parameter(name).grad
            assert gradient is not None
            gradient *= mask
        optimiser.step()


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("dense", [(), ("fc1.weight",), ("conv.weight", "fc2.weight")])
def test_training_follows_the_dense_trajectory(
    make: Callable[..., torch.optim.Optimizer], dense: tuple[str, ...]
) -> None:
    model, masks = pruned(noisy().double())
    data = [(torch.randn(20, 3, 4, 4, dtype=torch.float64), torch.randint(3, (20,))) for _ in range(10)]
    network = convert(model, masks, dense=dense)
    assert network.fallbacks == ()
    learn(network, make, {}, data)
    learn(model, make, masks, data)
    state = network.dense_state()
    assert list(state) == list(model.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-7)
    assert all(not state[name][~mask].any() for name, mask in masks.items())
    probe = data[0][0]
    torch.testing.assert_close(network.eval()(probe), model.eval()(probe), rtol=1e-4, atol=1e-6)


def test_a_dense_state_round_trip_keeps_all_bits() -> None:
    model, masks = pruned(built("resnet-20", (3, 8, 8), {"width": 0.5}))
    with torch.no_grad():  # a nonzero may be zero, of either sign
        weight = model.get_parameter("conv.weight")
        weight.view(-1)[masks["conv.weight"].view(-1).nonzero()[0]] = -0.0
    untouched = copy.deepcopy(model.state_dict())
    network = convert(model, masks, dense=["output.weight"])
    assert same_bits(network.dense_state(), untouched)
    dense = network.to_dense()
    assert type(dense) is type(model)
    assert same_bits(dense.state_dict(), untouched)
    assert [name for name, _ in dense.named_parameters()] == [name for name, _ in model.named_parameters()]
    network(torch.randn(3, 3, 8, 8))
    assert same_bits(model.state_dict(), untouched)
    other = built("resnet-20", (3, 8, 8), {"width": 0.5})
    network.load_dense_state(other.state_dict())
    wanted = {
        name: torch.where(masks[name], value, 0) if name in masks else value
        for name, value in other.state_dict().items()
    }
    assert same_bits(network.dense_state(), wanted)
    assert {name: mask.tolist() for name, mask in network.masks().items()} == {
        name: mask.tolist() for name, mask in masks.items()
    }
    assert network.nonzeros == sum(int(mask.sum()) for mask in masks.values())
    assert network.density == network.nonzeros / sum(mask.numel() for mask in masks.values())


def test_copies_and_states() -> None:
    model, masks = pruned(noisy())
    network = convert(model, masks, dense=["fc2.weight"]).eval()
    inputs = torch.randn(6, 3, 4, 4)
    wanted = network(inputs)
    twin = copy.deepcopy(network)
    assert torch.equal(twin(inputs), wanted)
    assert same_bits(twin.dense_state(), network.dense_state())
    assert not {id(each) for each in twin.parameters()} & {id(each) for each in network.parameters()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(twin(inputs), wanted)
    network = twin
    fresh = convert(noisy(), masks, dense=["fc2.weight"]).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(inputs), wanted)
    assert network.names["model.fc1.values"] == "fc1.weight"


def test_masks_none_takes_the_nonzeros() -> None:
    model, masks = pruned(noisy())
    network = convert(model, dense=["fc1.weight"])
    assert all(torch.equal(mask, masks[name]) for name, mask in network.masks().items())
    assert isinstance(network.model.get_submodule("conv"), SparseConv2d)
    assert type(network.model.get_submodule("fc1")) is nn.Linear


def test_layers_without_a_mask_stay_dense() -> None:
    model, masks = pruned(noisy().double())
    network = convert(model, {"fc1.weight": masks["fc1.weight"]}, strict=True)
    assert [name for name, part in network.model.named_modules() if isinstance(part, SparseLayer)] == ["fc1"]
    assert network.nonzeros == int(masks["fc1.weight"].sum()) + 36 + 4 * 27
    agree(model, torch.randn(9, 3, 4, 4, dtype=torch.float64), network, 1e-9)


@pytest.mark.parametrize("dense", [["0.weight"], ["2.weight"], ["4.weight"], ["0.weight", "2.weight", "4.weight"]])
def test_dense_layers_anywhere(dense: list[str]) -> None:
    layers = nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(24, 3)
    model, masks = pruned(nn.Sequential(*layers).double())
    network = convert(model, masks, dense=dense, strict=True)
    agree(model, torch.randn(9, 3, 5, 6, dtype=torch.float64), network, 1e-9)


def test_fallbacks_are_stated_and_right() -> None:
    """Operations without a batch-last form."""
    up = nn.ConvTranspose2d(4, 4, 2)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), up, nn.ReLU(), nn.Flatten(), nn.Linear(100, 100), nn.Unflatten(1, (4, 25))
    model, masks = pruned(nn.Sequential(*layers, nn.Flatten(), nn.Linear(100, 2)).double())
    masks["2.weight"] = torch.rand(up.weight.shape) < 0.5
    network = convert(model, masks)
    assert network.fallbacks == (
        "2.weight stays dense, as it is not the weight of a linear layer or a convolution over one or two axes",
        "2: ConvTranspose2d",
        "6: Unflatten",
    )
    with torch.no_grad():
        up.weight *= masks["2.weight"]
    agree(model, torch.randn(6, 3, 6, 6, dtype=torch.float64), network, 1e-9)
    with pytest.raises(SpecError, match=r"strict: .*2: ConvTranspose2d; 6: Unflatten"):
        convert(model, masks, strict=True)


def test_dropout_falls_back_and_draws_what_torch_does() -> None:
    layers = nn.Conv2d(3, 4, 3), nn.Dropout2d(0.4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 8)
    model, masks = pruned(nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)).double())
    network = convert(model, masks)
    assert network.fallbacks == ("1: Dropout2d", "7: Dropout")  # what 4 gets is batch-first already
    inputs = torch.randn(5, 3, 6, 6, dtype=torch.float64)
    torch.manual_seed(3)
    found = network(inputs)
    torch.manual_seed(3)
    torch.testing.assert_close(found, model(inputs))


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (2, 4, 3, 5), (5,)])
def test_linear_layers_over_positions(shape: tuple[int, ...]) -> None:
    """As of transformers; the norm has no batch-last form."""
    layers = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 2)
    model, masks = pruned(nn.Sequential(*layers).double())
    network = convert(model, masks)
    assert network.whole
    assert network.fallbacks == ("4: LayerNorm",)
    inputs = torch.randn(*shape, dtype=torch.float64)
    torch.testing.assert_close(network(inputs), model(inputs))
    if len(shape) > 1:
        agree(model, inputs, network, 1e-9)


def test_linear_layers_after_convolutions() -> None:
    """Over the last axis of what a convolution gives."""
    model, masks = pruned(nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Linear(6, 4), nn.MaxPool1d(2)).double())
    agree(model, torch.randn(5, 2, 8, dtype=torch.float64), convert(model, masks), 1e-9)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.again = self.layer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.again(F.relu(self.layer(inputs)))


@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_called_twice(whole: bool) -> None:
    layer = nn.Linear(5, 5)
    model, _ = pruned((nn.Sequential(layer, nn.ReLU(), layer) if whole else Shared()).double())
    network = convert(model)
    assert network.whole == whole
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)
    assert sum(isinstance(part, SparseLayer) for part in network.modules()) == 1
    assert same_bits(network.dense_state(), model.state_dict())
    parts = list(network.to_dense()._modules.values())
    assert parts[0] is parts[-1]


def tied() -> Any:
    model = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    model[2].weight = model[0].weight
    return model


class Reading(nn.Module):
    """Uses a weight outside of its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tied, self.one = tied(), nn.Linear(5, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.tied(inputs)
        return self.one(hidden) + F.linear(hidden, self.one.weight)


def test_tied_weights_stay_dense_under_their_mask() -> None:
    model, _ = pruned(tied().double())
    network = convert(model)
    assert network.whole
    assert network.fallbacks == ("0.weight stays dense, as its weight is held elsewhere, too",)
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)
    assert same_bits(network.dense_state(), model.state_dict())
    dense: Any = network.to_dense()
    assert dense[0].weight is dense[2].weight


def test_a_mask_may_go_by_a_second_name() -> None:
    model = tied().double()
    mask = torch.rand(5, 5) < 0.5
    network = convert(model, {"2.weight": mask})
    assert list(network.masks()) == ["0.weight"]
    with torch.no_grad():
        model[0].weight *= mask
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)


def test_a_forward_that_reads_weights_keeps_its_layers_dense() -> None:
    model, _ = pruned(Reading().double())
    network = convert(model)
    assert not network.whole
    assert network.fallbacks[0] == "the network runs layer by layer, as the forward of Reading is its own"
    assert network.fallbacks[1:] == (
        "tied.0.weight stays dense, as its weight is held elsewhere, too",
        "tied.4.weight stays dense, as Reading mentions 'weight' in its code",
        "one.weight stays dense, as Reading mentions 'weight' in its code",
    )
    agree(model, torch.randn(6, 5, dtype=torch.float64), network, 1e-9)


def test_a_layer_whose_weight_is_made_is_named() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.ReLU(), nn.Linear(4, 3))
    assert convert(model).fallbacks[1:] == ("0 stays dense, as its weight is no parameter of its own",)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(inputs) if inputs.sum() > 0 else self.fc(-inputs)


def test_any_forward_runs_with_its_layers_replaced() -> None:
    model = Branching().double()
    masks = {"fc.weight": torch.rand(4, 4) < 0.5}
    found = replace_layers(model, masks)
    assert isinstance(found, Branching)
    assert isinstance(found.fc, SparseLinear)
    assert type(model.fc) is nn.Linear
    with torch.no_grad():
        model.fc.weight *= masks["fc.weight"]
    for inputs in (torch.ones(3, 4).double(), -torch.ones(3, 4).double()):
        network: Any = convert(model, masks)
        assert isinstance(network.model.fc, SparseLinear)
        agree(model, inputs, network, 1e-9)
        torch.testing.assert_close(found(inputs), model(inputs))


def test_masks_that_replace_layers_cannot_hold_are_refused_with_what_to_do() -> None:
    encoder = nn.Sequential(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), nn.Linear(16, 3))
    masks = prune(encoder, density=0.2)
    with pytest.raises(SpecError, match=r"masks: 0.self_attn.in_proj_weight stays dense, .* 3 more; take convert"):
        replace_layers(encoder, masks)
    apply_masks(encoder, masks)
    network = convert(encoder, masks)
    assert [name for name, part in network.model.named_modules() if isinstance(part, SparseLayer)] == ["1"]
    agree(encoder.eval(), torch.randn(2, 5, 16), network)
    assert not any(isinstance(part, SparseLayer) for part in replace_layers(encoder[0]).modules())
    with pytest.raises(SpecError, match=r"masks: norm1.weight stays dense, as it is not the weight of a linear layer"):
        replace_layers(encoder[0], {"norm1.weight": torch.ones(16, dtype=torch.bool)})


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.also = [*self.layers]  # the same layers in a plain list

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.also:
            inputs = F.relu(layer(inputs))
        return inputs


def test_layers_in_lists() -> None:
    model, masks = pruned(Listed().double())
    inputs = torch.randn(3, 4, dtype=torch.float64)
    network = convert(model, masks)
    assert sum(isinstance(part, SparseLinear) for part in network.modules()) == 2
    agree(model, inputs, network, 1e-9)
    replaced = replace_layers(model, masks)
    assert sum(isinstance(part, SparseLinear) for part in replaced.modules()) == 2
    torch.testing.assert_close(replaced(inputs), model(inputs))


def sequence() -> Any:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()


def test_hooks_keep_a_layer_dense() -> None:
    model, _ = pruned(sequence())
    seen: list[torch.Size] = []
    model[2].register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    network = convert(model)
    assert network.fallbacks == (
        "the network runs layer by layer, as 2 (Linear) has hooks",
        "2.weight stays dense, as it has hooks",
    )
    network(torch.randn(3, 4, dtype=torch.float64))
    assert seen == [(3, 4)]


@pytest.mark.parametrize("parameter", ["weight", "bias"])
@pytest.mark.parametrize("kind", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_parameters_are_kept(parameter: str, kind: str) -> None:
    model, _ = pruned(sequence())
    called: list[int] = []
    getattr(model.get_parameter(f"0.{parameter}"), kind)(lambda gradient: called.append(gradient.dim()))
    network = convert(model)
    network(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    assert called == [2 if parameter == "weight" else 1]
    assert not network.whole
    network.to_dense()(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    assert len(called) == 2
    assert not model[0].weight.grad


def test_a_gradient_that_a_hook_sets_to_zero_stays_zero() -> None:
    model, _ = pruned(sequence())
    model[0].weight.register_hook(torch.zeros_like)
    network = convert(model)
    assert "0.weight stays dense, as it has a parameter with hooks" in network.fallbacks
    network(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    gradient = {network.names[name]: each.grad for name, each in network.named_parameters()}["0.weight"]
    assert gradient is not None
    assert not gradient.any()


def test_hooks_put_on_a_converted_network_are_called() -> None:
    model, _ = pruned(sequence())
    network = convert(model)
    called: list[str] = []
    for part in network.model.modules():
        part.register_forward_pre_hook(lambda part, _: called.append(f"before {type(part).__name__}"))
        part.register_full_backward_hook(lambda part, *_: called.append(f"back {type(part).__name__}"))
    inputs = torch.randn(3, 4, dtype=torch.float64)
    network(inputs.requires_grad_()).sum().backward()
    assert called[:4] == ["before Sequential", "before SparseLinear", "before ReLU", "before SparseLinear"]
    assert sorted(called[4:]) == ["back ReLU", "back Sequential", "back SparseLinear", "back SparseLinear"]


def test_a_module_put_into_a_converted_network_is_used() -> None:
    model, _ = pruned(sequence())
    network = convert(model)
    network.model[1] = nn.Tanh()
    model[1] = nn.Tanh()
    inputs = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(network(inputs), model(inputs))


def test_a_hook_for_all_modules_is_called() -> None:
    model, _ = pruned(sequence())
    network = convert(model)
    called: list[type] = []
    handle = nn.modules.module.register_module_forward_hook(lambda part, *_: called.append(type(part)))
    try:
        network(torch.randn(3, 4, dtype=torch.float64))
    finally:
        handle.remove()
    assert called.count(SparseLinear) == 2


class Closing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.last = lambda inputs: self.fc(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(inputs)


def test_functions_that_refer_to_parts_are_refused_as_a_copy_would_be_wrong() -> None:
    for call in (convert, replace_layers):
        with pytest.raises(SpecError, match=r"<lambda>, a function that Closing holds, refers to parts .* method"):
            call(Closing())


class Attending(nn.Module):
    """Modules of torch that have no sparse form, with weights of their own and layers inside."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Embedding(5, 8), nn.Linear(8, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(F.relu(self.encoder(self.fc(self.embed(words)))).mean(1))


@pytest.mark.parametrize("training", [True, False])
def test_composite_modules_stay_dense_under_their_masks(training: bool) -> None:
    model, _ = pruned(Attending())
    words = torch.randint(5, (3, 4))
    network = convert(model.train(training))
    assert len(network.fallbacks) == 4
    assert (
        "encoder.linear1.weight stays dense, as encoder (TransformerEncoderLayer) is torch's own and reads the weights "
        "of what is inside"
    ) in network.fallbacks
    assert set(network.masks()) == {
        *("fc.weight", "encoder.self_attn.out_proj.weight", "encoder.linear1.weight", "encoder.linear2.weight"),
        "out.weight",
    }
    found, wanted = network(words), model(words)
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    gradient = network.model.get_submodule("encoder").linear1.weight.grad  # type: ignore[union-attr]
    assert gradient is not None
    assert not gradient[~network.masks()["encoder.linear1.weight"]].any()
    assert same_bits(network.dense_state(), model.state_dict())


@pytest.mark.parametrize("frozen", [True, False])
def test_masks_of_dense_weights_hold_in_copies_and_when_thawed(frozen: bool) -> None:
    model, masks = pruned(noisy())
    model.fc1.weight.requires_grad_(not frozen)
    network = copy.deepcopy(convert(model, masks, dense=["fc1.weight"]))
    weight = network.model.get_submodule("fc1").weight.requires_grad_()  # type: ignore[operator,union-attr]
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    for _ in range(2):
        network(torch.randn(6, 3, 4, 4)).square().sum().backward()
        optimiser.step()
    assert not weight[~masks["fc1.weight"]].any()
    assert (weight[masks["fc1.weight"]] != model.fc1.weight[masks["fc1.weight"]]).all()


def test_weights_of_torchs_own_pruning() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.nn.utils.prune.random_unstructured(model[0], "weight", 0.5)  # type: ignore[no-untyped-call]
    with pytest.raises(SpecError, match=r"cannot be copied .*remove that first"):
        convert(model)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, left: Tensor, right: Tensor, scale: float = 2.0) -> dict[str, Any]:
        return {"sum": self.left(left) + self.right(right) * scale, "both": (self.left(left), scale)}


def test_several_inputs_and_outputs() -> None:
    model, _ = pruned(Several().double())
    network = convert(model)
    left, right = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for args, named in (((left, right), {}), ((left,), {"right": right, "scale": 0.5})):
        found, wanted = network(*args, **named), model(*args, **named)
        torch.testing.assert_close(found, wanted)
    with pytest.raises(TypeError, match="'right'"):
        network(left)


def test_errors() -> None:
    model, masks = pruned(noisy())
    weight = masks["fc1.weight"]
    cases: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: convert(model, {"fc.weight": weight}),
            "masks name 'fc.weight', which the module lacks; did you mean",
        ),
        (lambda: convert(model, {"fc1.weight": weight[:2]}), r"mask of 'fc1.weight' has shape"),
        (lambda: convert(model, {"fc1.weight": weight.float()}), "must be a bool tensor, got torch.float32"),
        (lambda: convert(model, masks, dense=["fc3.weight"]), "dense: the model has no parameter 'fc3.weight'"),
        (lambda: convert(nn.Linear(3, 2)), "single layer"),
        (lambda: replace_layers(nn.Linear(3, 2)), "single layer"),
        (lambda: convert(nn.Sequential(nn.LazyLinear(3))), "no shape yet"),
        (lambda: convert(convert(model, masks)), "not sparse yet, got SparseNetwork"),
        (lambda: convert("model"), "got str"),  # type: ignore[arg-type]
        (lambda: convert(Shared(), strict=True), "strict: .*the forward of Shared is its own"),
        (lambda: convert(model, masks).load_dense_state({}), "state must have the names"),
        (
            lambda: convert(model, masks).load_dense_state(model.state_dict() | {"fc1.bias": torch.zeros(2)}),
            "'fc1.bias' must be of shape",
        ),
    ]
    for call, message in cases:
        with pytest.raises(SpecError, match=message):
            call()


def test_frozen_parameters_stay_frozen() -> None:
    model, masks = pruned(noisy())
    model.conv.weight.requires_grad_(False)
    model.fc1.bias.requires_grad_(False)
    network = convert(model, masks)
    network(torch.randn(4, 3, 4, 4)).sum().backward()
    found = {network.names[name] for name, parameter in network.named_parameters() if parameter.grad is None}
    assert found == {"conv.weight", "fc1.bias"}


def test_modes_of_parts_are_kept() -> None:
    model, masks = pruned(noisy())
    model.norm.eval()
    network = convert(model, masks)
    assert network.training
    before = network.dense_state()
    network(torch.randn(4, 3, 4, 4))
    after = network.dense_state()
    assert torch.equal(before["norm.running_mean"], after["norm.running_mean"])
    assert not torch.equal(before["norm1.running_mean"], after["norm1.running_mean"])


def test_an_empty_batch_and_no_gradient() -> None:
    model, masks = pruned(built("conv-2", (3, 4, 4), {"width": 0.1}))
    network = convert(model, masks)
    with torch.inference_mode():
        assert network(torch.zeros(0, 3, 4, 4)).shape == (0, 4)


def test_flattened_images_have_torch_s_order() -> None:
    image = torch.randn(6, 4, 3, 2)
    tiles = Tiles(transposed(image, 6))
    assert torch.equal(to_first(tiles), image)
    assert torch.equal(to_first(OnTiles(nn.Flatten())(tiles)), image.flatten(1))
    assert torch.equal(to_first(Tiles(transposed(image > 0, 6))), image > 0)
