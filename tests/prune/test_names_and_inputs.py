"""What a tensor may be called, what a module may be called with, and modules that are not ready to be pruned."""

from __future__ import annotations

import pytest
import torch
from prune_cases import counts, same, total
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam.errors import SpecError, TiedScoresWarning
from overparam.networks import applications, tensor_roles
from overparam.prune import PerLayer, apply_masks, dense_masks, gradients, hold, prune


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.hidden, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.hidden(self.emb(x))))


@pytest.mark.parametrize("exclude", ["emb.weight", "head.weight", "head.*", "embedding", "output", ["head.weight"]])
def test_a_tied_tensor_is_spared_under_each_of_its_names_and_roles(exclude) -> None:
    module = Tied()
    for sample in (None, torch.zeros(2, 5, dtype=torch.long)):
        masks = prune(module, density=0.25, exclude=exclude, sample=sample)
        assert counts(masks) == {"emb.weight": 160, "hidden.weight": 16}


@pytest.mark.parametrize("name", ["emb", "head"])
def test_parts_and_parameters_can_be_given_themselves(name: str) -> None:
    module = Tied()
    part = module.get_submodule(name)
    for exclude in (part, [part], (part.weight,), part.weight, [part, "bias"]):
        assert counts(prune(module, density=0.25, exclude=exclude)) == {"emb.weight": 160, "hidden.weight": 16}


def test_a_sequential_is_a_part_and_not_a_list_of_them() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 8), nn.Linear(8, 3))
    assert counts(prune(module, density=0.5, exclude=module[0])) == {
        "0.0.weight": 24,
        **counts(prune(nn.Sequential(nn.Identity(), *module[1:]), density=0.5)),
    }


@pytest.mark.parametrize(
    "stranger", [nn.Linear(8, 8), nn.Parameter(torch.zeros(8, 8)), nn.ReLU(), 3, None, [nn.Linear]]
)
def test_what_is_no_part_of_the_module(stranger) -> None:
    for argument in ("include", "exclude"):
        with pytest.raises(SpecError, match=f"{argument}"):
            prune(Tied(), density=0.5, **{argument: stranger})


@pytest.mark.parametrize("name", ["emb.weight", "head.weight"])
def test_masks_may_use_any_name(name: str) -> None:
    module = Tied()
    mask = torch.rand(20, 8) < 0.5
    apply_masks(module, {name: mask})
    assert torch.equal(module.emb.weight != 0, mask)
    found = prune(module, fraction=0.5, masks={name: mask})
    assert list(found) == ["emb.weight"]
    assert not (found["emb.weight"] & ~mask).any()
    hold(module, {name: mask}, torch.optim.SGD(module.parameters(), lr=0.1)).close()
    batch = torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, dtype=torch.long)
    slopes = gradients(module, batch, lambda out, labels: cross_entropy(out[:, 0], labels), names=[name])
    assert list(slopes) == [name]
    assert slopes[name].any()


def test_two_names_of_one_tensor_need_one_mask() -> None:
    half = torch.arange(160).reshape(20, 8) < 80
    apply_masks(Tied(), {"emb.weight": half, "head.weight": half.clone()})
    with pytest.raises(SpecError, match=r"masks of 'head\.weight' and 'emb\.weight' differ, but they are one tensor"):
        apply_masks(Tied(), {"emb.weight": half, "head.weight": ~half})


def test_rates_may_use_any_name() -> None:
    module = Tied()
    found = [
        prune(module, fraction=0.2, scope=PerLayer(rates={name: 0})) for name in ("emb.weight", "head.*", "embedding")
    ]
    assert counts(found[0])["emb.weight"] == 160
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_a_module_used_in_two_places_is_one() -> None:
    layer = nn.Linear(6, 6)
    module = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(6, 2))
    assert counts(prune(module, density=0.5, exclude="2.weight")) == {"0.weight": 36, "3.weight": 6}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out, self.a, self.b = nn.Linear(16, 3), nn.Linear(8, 16), nn.Linear(4, 16)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.a(x) + self.b(y))
        return self.out(hidden), hidden


X, Y, LABELS = torch.randn(5, 8), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])


def first_output(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return cross_entropy(outputs[0], labels)


@pytest.mark.parametrize("inputs", [(X, Y), [X, Y], {"x": X, "y": Y}, {"y": Y, "x": X}], ids=str)
def test_several_inputs(inputs) -> None:
    module = Two()
    assert tensor_roles(module, inputs)["out.weight"] == "output"
    assert tensor_roles(module)["out.weight"] == "linear"  # the last that was registered is another
    assert total(dense_masks(module, inputs)) == 240
    assert applications(module, inputs) == {"out.weight": 1, "a.weight": 1, "b.weight": 1}
    slopes = gradients(module, (inputs, LABELS), first_output)
    first_output(module(X, Y), LABELS).backward()
    torch.testing.assert_close(slopes, {name: parameter.grad for name, parameter in module.named_parameters()})
    masks = prune(
        module, "gradient", density=0.5, batch=(inputs, LABELS), loss=first_output, sample=inputs, scope="erk"
    )
    assert total(masks) == 120


def test_one_input_that_is_a_tuple_is_wrapped_in_one() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(8, 3)

        def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            return self.out(pair[0]) + pair[1].sum()

    assert tensor_roles(Pair(), ((X, Y),))["out.weight"] == "output"
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 4), torch.randn(2, 4)])  # a tuple, but of one kind
    assert applications(nn.Sequential(nn.GRU(4, 5)), (packed,))["0.weight_ih_l0"] == 1


def test_inputs_that_do_not_fit_are_described() -> None:
    with pytest.raises(SpecError, match=r"fails on a batch of shape \(5, 8\) and dtype torch.float32, shape \(5, 8\)"):
        dense_masks(Two(), (X, X))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(6), nn.Linear(6, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda net: prune(net, density=0.5),
        lambda net: prune(net, density=0.5, sample=X),
        lambda net: prune(net, density=0.5, masks={"1.weight": torch.ones(3, 6, dtype=torch.bool)}),
        dense_masks,
        tensor_roles,
        lambda net: apply_masks(net, {"0.weight": torch.ones(6, 8, dtype=torch.bool)}),
        lambda net: gradients(net, (X, LABELS)),
    ],
)
def test_a_lazy_module_has_to_be_called_first(call) -> None:
    net = lazy()
    with pytest.raises(SpecError, match=r"'0\.weight' has no shape yet; call the module on a batch first"):
        call(net)
    net(X)
    dense_masks(net)


@pytest.mark.parametrize(
    "call",
    [
        dense_masks,
        lambda net: prune(net, density=0.5),
        lambda net: apply_masks(net, {"weight": torch.ones(3, 6, dtype=torch.bool)}),
    ],
)
def test_a_module_without_values_is_refused(call) -> None:
    with pytest.raises(SpecError, match=r"'weight' is on the meta device and has no values; load its weights first"):
        call(nn.Linear(6, 3, device="meta"))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_parameters_without_elements() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 0), nn.Linear(0, 3))
    masks = prune(module, density=0.5)
    assert counts(masks) == {"0.weight": 12, "1.weight": 0, "2.weight": 0}
    apply_masks(module, masks)


def test_a_second_round_without_the_masks_of_the_first_is_refused() -> None:
    """Else nothing would happen: the weakest half are the zeros of the first round."""
    net = nn.Sequential(nn.Linear(20, 16), nn.Linear(16, 4))
    masks = prune(net, fraction=0.5, scope="uniform")
    apply_masks(net, masks)
    for amount in ({"fraction": 0.5}, {"density": 0.2}):
        with pytest.raises(SpecError, match=r"160 of 320 weights of '0\.weight' are exactly zero.* give masks="):
            prune(net, scope="uniform", **amount)
    assert total(prune(net, fraction=0.5, scope="uniform", masks=masks)) == 96
    assert total(prune(net, fraction=0.5, scope="uniform", masks=dense_masks(net))) == 192
    assert total(prune(net, fraction=0.25, include="*.bias", exclude="*.weight")) == 384 + 15  # nothing of the zeros


def test_rounds_compound_with_the_masks_of_the_round_before() -> None:
    net, masks = nn.Sequential(nn.Linear(20, 16), nn.Linear(16, 4)), None
    for left in (192, 96, 48):
        masks = prune(net, fraction=0.5, scope="erk", masks=masks)
        apply_masks(net, masks)
        assert total(masks) == left


def test_weights_that_are_zero_from_the_start_are_alive() -> None:
    net = nn.Sequential(nn.Linear(20, 16), nn.Linear(16, 4))
    nn.init.zeros_(net[1].weight)
    with torch.no_grad():
        net[0].weight[0, :3] = 0  # fewer than one in a hundred
    with pytest.warns(TiedScoresWarning, match="100 % of 64 scores are equal"):
        assert total(prune(net, fraction=0.5, scope="uniform")) == 192
