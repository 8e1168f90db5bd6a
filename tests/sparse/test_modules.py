"""Sparse layers are modules like others: what torch and its users do to these works, or is refused in a sentence."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from sparse_cases import close, normal, same_bits
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune

from overparam.errors import SpecError
from overparam.identity import Digest
from overparam.sparse import SparseConv1d, SparseConv2d, SparseLinear, rewire
from overparam.sparse.layers.kinds import SparseLayer

MAKE = {
    "linear": lambda **options: SparseLinear(6, 4, density=0.5, **options),
    "conv1d": lambda **options: SparseConv1d(6, 4, 3, density=0.5, **options),
    "conv2d": lambda **options: SparseConv2d(6, 4, 3, density=0.5, **options),
}
SHAPES = {"linear": (5, 6), "conv1d": (5, 6, 7), "conv2d": (5, 6, 4, 4)}
kinds = pytest.mark.parametrize("kind", MAKE)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


# making them


@kinds
def test_made_on_meta_and_filled_later(kind):
    with torch.device("meta"):
        within = MAKE[kind]()
    skipped = nn.utils.skip_init(type(within), **_arguments(kind))
    source, inputs = MAKE[kind](), normal(*SHAPES[kind])
    for layer in (within, MAKE[kind](device="meta")):
        assert {each.device.type for each in layer.parameters()} == {"meta"}
        assert layer.indices.device.type == "cpu"
        with pytest.raises(SpecError, match=r"this one is in torch.float32 on meta; .* \(from meta: .to_empty"):
            layer(inputs)
        layer.to_empty(device="cpu")
        layer.reset_parameters()
        assert close(layer(inputs), layer.to_dense()(inputs))
        layer = layer.to("meta").to_empty(device="cpu")
        layer.load_state_dict(source.state_dict())
        assert torch.equal(layer(inputs), source(inputs))
        layer.to("meta").load_state_dict(source.state_dict(), assign=True)
        assert torch.equal(layer(inputs), source(inputs))
    skipped.reset_parameters()
    assert close(skipped(inputs), skipped.to_dense()(inputs))


def _arguments(kind):
    if kind == "linear":
        return {"in_features": 6, "out_features": 4, "density": 0.5}
    return {"in_channels": 6, "out_channels": 4, "kernel_size": 3, "density": 0.5}


@kinds
def test_devices_and_dtypes_as_arguments(kind):
    assert MAKE[kind](device="cpu", dtype=torch.float64)(normal(*SHAPES[kind]).double()).dtype == torch.float64
    assert MAKE[kind](device=torch.device("cpu")).values.device.type == "cpu"
    with pytest.raises(
        SpecError, match="device must be 'cpu' or 'meta', as sparse layers compute on the CPU, got 'cuda:1'"
    ):
        MAKE[kind](device="cuda:1")
    with torch.device("meta"):
        dense = MAKE[kind](device="cpu").to_dense()
        copied = SparseLayer.from_dense(dense)
        assert copied.mask().any()
        rewire(copied, torch.tensor([0], device="cpu"), copied.indices[:1])
    assert copied(normal(*SHAPES[kind])).device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if dtype == torch.float64:
            layer = SparseLinear(6, 4, density=0.5)
            assert layer.values.dtype == dtype
            layer(normal(5, 6, dtype=dtype))
        else:
            with pytest.raises(SpecError, match=r"dtype must be torch.float32 or torch.float64, got torch.bfloat16"):
                SparseLinear(6, 4, density=0.5)
            SparseLinear(6, 4, density=0.5, dtype=torch.float32)(normal(5, 6))
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "use",
    [
        nn.init.xavier_uniform_,
        nn.init.kaiming_normal_,
        nn.init.orthogonal_,
        nn.init.normal_,
        nn.init.zeros_,
        lambda weight: weight.data.normal_(0, 0.02),
        lambda weight: weight.dim(),
        lambda weight: weight.shape[0],
        lambda weight: nn.functional.linear(torch.ones(2, 6), weight),
        torch.norm,
    ],
)
def test_the_weight_is_no_tensor(use):
    layer = SparseLinear(6, 4, density=0.5)
    before = layer.weight()
    with pytest.raises(SpecError, match=r"layer.weight is no tensor: .* use layer.reset_parameters\(\)"):
        use(layer.weight)
    assert not hasattr(layer.weight, "data")
    nn.init.constant_(layer.values, 1.0)
    assert torch.equal(layer.weight(), (before != 0).float())


class Noisy(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs + torch.randn_like(inputs))


def hooked(register, owner=lambda layer: layer):
    layer = nn.Linear(6, 4)
    register(owner(layer))
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noisy(6, 4), "has a forward of its own"),
        (lambda: nn.LazyLinear(4), "has no shape yet; call the layer on a batch first"),
        (lambda: parametrizations.weight_norm(nn.Linear(6, 4)), "made by a parametrisation"),
        (lambda: torch_prune.l1_unstructured(nn.Linear(6, 4), "weight", 0.5), "or by torch.nn.utils.prune"),
        (lambda: hooked(lambda layer: layer.register_forward_hook(lambda *_: None)), "has hooks"),
        (lambda: hooked(lambda layer: layer.register_full_backward_hook(lambda *_: None)), "has hooks"),
        (lambda: hooked(lambda each: each.register_hook(torch.zeros_like), lambda layer: layer.weight), "has hooks"),
        (
            lambda: hooked(lambda each: each.register_post_accumulate_grad_hook(print), lambda layer: layer.bias),
            "has hooks",
        ),
        (lambda: nn.Linear(6, 4, device="meta"), "must be on the CPU"),
    ],
)
def test_what_a_sparse_copy_would_lose(make, message):
    with pytest.raises(SpecError, match=message):
        SparseLayer.from_dense(make())


def test_a_lazy_layer_that_was_called_is_like_others():
    layer = nn.LazyLinear(4)
    layer(normal(5, 6))
    assert close(SparseLayer.from_dense(layer)(normal(5, 6)), layer(normal(5, 6)))


# using them


@kinds
def test_hooks_are_called_as_on_any_module(kind):
    sparse = MAKE[kind]()
    dense = sparse.to_dense()
    seen: dict[nn.Module, list[tuple[str, tuple[int, ...]]]] = {sparse: [], dense: []}
    for layer, calls in seen.items():

        def note(name, tensor, calls=calls):
            calls.append((name, tuple(tensor.shape)))

        layer.register_forward_pre_hook(lambda _, given, note=note: note("before", given[0]))
        layer.register_forward_hook(lambda _, given, found, note=note: note("after", found))
        layer.register_full_backward_pre_hook(lambda _, errors, note=note: note("errors", errors[0]))
        layer.register_full_backward_hook(lambda _, found, errors, note=note: note("gradient", found[0]))
        layer.bias.register_hook(lambda gradient, note=note: note("bias", gradient))
        layer.bias.register_post_accumulate_grad_hook(lambda bias, note=note: note("kept", bias.grad))
        layer(normal(*SHAPES[kind]).requires_grad_()).sum().backward()
    assert seen[sparse] == seen[dense]
    assert len(seen[sparse]) == 6
    sparse.values.register_hook(torch.zeros_like)
    sparse.zero_grad()
    sparse(normal(*SHAPES[kind]).requires_grad_()).sum().backward()
    assert not sparse.values.grad.any()
    sparse.register_forward_hook(lambda _, __, found: torch.zeros_like(found))
    assert not sparse(normal(*SHAPES[kind]).requires_grad_()).any()


@kinds
def test_inference_and_frozen_layers(kind):
    layer, inputs = MAKE[kind](), normal(*SHAPES[kind])
    expected = layer(inputs)
    with torch.inference_mode():
        found = layer(inputs)
        assert found.is_inference()
        within = MAKE[kind]()
        assert close(within(inputs), within.to_dense()(inputs))
    assert same_bits(found, expected)
    layer.requires_grad_(False)
    assert not layer(inputs).requires_grad
    given = inputs.clone().requires_grad_()
    layer(given).sum().backward()
    assert given.grad.any()
    assert layer.values.grad is None


@kinds
def test_batches_of_nothing_and_inputs_in_other_orders(kind):
    layer, inputs = MAKE[kind](), normal(*SHAPES[kind])
    assert layer(inputs[:0]).shape == layer.to_dense()(inputs[:0]).shape
    turned = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    assert same_bits(layer(turned), layer(inputs))
    if kind == "conv2d":
        assert same_bits(
            layer.to(memory_format=torch.channels_last)(inputs.to(memory_format=torch.channels_last)), layer(inputs)
        )


@kinds
def test_copies_files_and_shared_memory(kind):
    layer, inputs = MAKE[kind](), normal(*SHAPES[kind])
    expected = layer(inputs)
    file, states = io.BytesIO(), io.BytesIO()
    torch.save(layer, file)
    torch.save(layer.state_dict(), states)
    file.seek(0)
    states.seek(0)
    loaded = MAKE[kind]()
    loaded.load_state_dict(torch.load(states, weights_only=True))
    for other in (
        copy.deepcopy(layer),
        copy.copy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(file, weights_only=False),
        loaded,
        copy.deepcopy(layer).share_memory(),
        copy.deepcopy(layer).to("cpu"),
    ):
        assert torch.equal(other(inputs), expected)
        assert same_bits(other.values, layer.values)


def test_what_a_layer_makes_for_itself_is_no_part_of_it():
    layer = SparseLinear(6, 4, density=0.5)
    before = Digest().add(layer).hex()
    layer(normal(5, 6))
    assert Digest().add(layer).hex() == before
    rewire(layer, torch.tensor([0]), torch.tensor([], dtype=torch.int64))
    assert Digest().add(layer).hex() != before


def test_state_dict_hooks_are_called():
    layer = SparseLinear(6, 4, density=0.5)
    seen = []
    layer.register_state_dict_pre_hook(lambda *_: seen.append("pre"))
    layer.register_state_dict_post_hook(lambda _, state, *__: seen.append(sorted(state)))
    layer.register_load_state_dict_pre_hook(lambda *_: seen.append("load"))
    layer.register_load_state_dict_post_hook(lambda *_: seen.append("loaded"))
    layer.load_state_dict(layer.state_dict())
    assert seen == ["pre", ["bias", "checksum", "indices", "values"], "load", "loaded"]
    state = layer.state_dict()
    found = layer.load_state_dict({"values": state["values"]}, strict=False)
    assert found.missing_keys == ["indices", "bias", "checksum"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "indices"'):
        layer.load_state_dict({name: each for name, each in state.items() if name != "indices"})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "weight"'):
        layer.load_state_dict({**state, "weight": torch.ones(4, 6)})


class Doubled(nn.Module):
    def forward(self, values):
        return 2 * values


def test_values_cannot_be_parametrised():
    layer, inputs = SparseLinear(6, 4, density=0.5), normal(5, 6)
    expected = layer(inputs)
    with pytest.raises(SpecError, match="can be neither deleted nor parametrised; parametrise a dense layer"):
        parametrize.register_parametrization(layer, "values", Doubled())
    with pytest.raises(ValueError, match="weight"):
        parametrizations.weight_norm(layer)
    assert torch.equal(layer(inputs), expected)
    assert type(layer) is SparseLinear
    parametrize.register_parametrization(layer, "bias", Doubled())
    assert close(layer(inputs), expected + layer.bias / 2)
    other = copy.deepcopy(layer)
    del layer
    assert close(other(inputs), other.to_dense()(inputs))
    rewire(other, torch.tensor([0]), torch.tensor([], dtype=torch.int64), averages=[])
    assert close(other(inputs), other.to_dense()(inputs))


def test_torch_s_own_pruning_of_the_values():
    layer, inputs = SparseLinear(6, 4, density=0.5), normal(5, 6)
    torch_prune.l1_unstructured(layer, "values", amount=4)
    assert int((layer.weight() != 0).sum()) == 8
    assert close(layer(inputs), layer.to_dense()(inputs))
    layer(inputs).sum().backward()
    assert int((layer.values_orig.grad != 0).sum()) == 8
    with pytest.raises(SpecError, match=r"cannot be replaced while torch.nn.utils.prune makes its values"):
        rewire(layer, torch.tensor([0]), torch.tensor([], dtype=torch.int64))
    torch_prune.remove(layer, "values")
    rewire(layer, (layer.values == 0).flatten().nonzero().flatten(), torch.tensor([], dtype=torch.int64))
    assert layer.nonzeros == 8
    assert close(layer(inputs), layer.to_dense()(inputs))
