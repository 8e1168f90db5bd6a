"""What pruning reaches in every kind of module, and that whatever it leaves out is named with its share."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.utils.prune
from hypothesis import given, settings
from hypothesis import strategies as st
from prune_cases import counts
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrizations

from overparam.errors import CoverageWarning, LayerCollapseWarning, SpecError
from overparam.prune import apply_masks, coverage, dense_masks, density, gradients, prune


class ByFunction(nn.Module):
    """Linear layers called by function, with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(16, 8))
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(linear(x, self.hidden)))


def ending(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Linear(16, 3))


def old_prune(layer: nn.Module) -> nn.Module:
    return torch.nn.utils.prune.random_unstructured(layer, "weight", 0.5)


def old_norm(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them old, but people have them
        return ending(norm(nn.Linear(8, 16)))


# module -> the tensors beside the last layer that have masks, and those that are left out, largest first
REACHED = {
    "linear": (lambda: ending(nn.Linear(8, 16)), ["0.weight"], []),
    "transposed convolution": (lambda: nn.Sequential(nn.ConvTranspose1d(8, 4, 3), nn.Linear(16, 3)), ["0.weight"], []),
    "bilinear": (lambda: ending(nn.Bilinear(4, 4, 16)), ["0.weight"], []),
    "rnn": (lambda: ending(nn.RNN(8, 16)), ["0.weight_ih_l0", "0.weight_hh_l0"], []),
    "lstm with projection": (
        lambda: ending(nn.LSTM(8, 20, proj_size=16)),
        ["0.weight_ih_l0", "0.weight_hh_l0", "0.weight_hr_l0"],
        [],
    ),
    "gru cell": (lambda: ending(nn.GRUCell(8, 16)), ["0.weight_ih", "0.weight_hh"], []),
    "attention": (
        lambda: ending(nn.MultiheadAttention(16, 2)),
        ["0.in_proj_weight", "0.out_proj.weight"],
        [],
    ),
    "norms and biases": (lambda: ending(nn.BatchNorm1d(16), nn.LayerNorm(16)), [], []),
    "embedding": (lambda: ending(nn.Embedding(30, 16)), [], ["0.weight"]),
    "by function": (ByFunction, [], ["hidden"]),
    "weight norm": (
        lambda: ending(parametrizations.weight_norm(nn.Linear(8, 16))),
        [],
        ["0.parametrizations.weight.original1", "0.parametrizations.weight.original0"],
    ),
    "spectral norm": (
        lambda: ending(parametrizations.spectral_norm(nn.Linear(8, 16))),
        [],
        ["0.parametrizations.weight.original"],
    ),
    "orthogonal": (
        lambda: ending(parametrizations.orthogonal(nn.Linear(8, 16))),
        [],
        ["0.parametrizations.weight.original"],
    ),
    "old weight norm": (lambda: old_norm(nn.utils.weight_norm), [], ["0.weight_v", "0.weight_g"]),
    "old spectral norm": (lambda: old_norm(nn.utils.spectral_norm), [], ["0.weight_orig"]),
    "torch's own pruning": (lambda: ending(old_prune(nn.Linear(8, 16))), [], ["0.weight_orig"]),
}


@pytest.mark.parametrize("case", REACHED)
def test_what_is_reached_and_what_is_left_out(case: str) -> None:
    make, reached, left_out = REACHED[case]
    module = make()
    found = coverage(module)
    assert list(found.left_out) == left_out
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert found.left_out_share == sum(module.get_parameter(name).numel() for name in left_out) / found.parameters
    if left_out:
        with pytest.warns(CoverageWarning) as caught:
            masks = dense_masks(module)
        (warning,) = caught
        share = found.left_out_share
        assert f"of {found.parameters:,} parameters pruning leaves out {share:.1%}" in str(warning.message)
        assert all(name in str(warning.message) for name in left_out)
        assert warning.filename == __file__  # the user's line, and not ours
    else:
        masks = dense_masks(module)
    last = [name for name, _ in module.named_parameters()][-2]
    assert list(masks) == [*reached, last]


@pytest.mark.parametrize("case", REACHED)
def test_pruned_means_zero_in_what_the_layers_compute_with(case: str) -> None:
    module = REACHED[case][0]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks = prune(module, "random", density=0.5)
    before = {name: parameter.clone() for name, parameter in module.named_parameters() if name not in masks}
    apply_masks(module, masks)
    for name, mask in masks.items():
        layer, _, leaf = name.rpartition(".")
        assert torch.equal(getattr(module.get_submodule(layer), leaf) != 0, mask)
    assert density(masks) == pytest.approx(0.5, abs=0.5 / sum(mask.numel() for mask in masks.values()))
    assert all(torch.equal(module.get_parameter(name), value) for name, value in before.items())


@given(st.sampled_from(list(REACHED)), st.floats(0.1, 1))
@settings(deadline=None, max_examples=40)
def test_density_of_all_counts_every_parameter(case: str, share: float) -> None:
    module = REACHED[case][0]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks = prune(module, "random", density=share, allow_empty=True)
    found = coverage(module, masks)
    zeros = sum(int((~mask).sum()) for mask in masks.values())
    everything = sum(parameter.numel() for parameter in module.parameters())
    assert found.density == density(masks)
    assert found.density_of_all == (everything - zeros) / everything


def test_what_is_named_in_exclude_is_no_surprise() -> None:
    module = REACHED["embedding"][0]()
    assert list(prune(module, density=0.9, exclude="embedding")) == ["1.weight"]
    assert list(prune(module, density=0.9, exclude=module[0])) == ["1.weight"]


@pytest.mark.parametrize("included", ["embedding", "0.*", ["0.weight"]])
def test_an_embedding_is_pruned_when_asked(included) -> None:
    module = REACHED["embedding"][0]()
    masks = prune(module, density=0.5, scope="uniform", include=included)
    assert counts(masks)["0.weight"] + counts(masks)["1.weight"] == (30 * 16 + 48) // 2
    further = prune(module, fraction=0.5, masks={"1.weight": masks["1.weight"]}, scope="uniform", include=module[0])
    assert sum(counts(further).values()) == (480 + counts(masks)["1.weight"] + 1) // 2


def test_a_thousandth_is_left_out_without_a_word() -> None:
    module = nn.Sequential(nn.Linear(40, 30), nn.PReLU(), nn.Linear(30, 10))
    assert list(coverage(module).left_out) == ["1.weight"]
    assert list(dense_masks(module)) == ["0.weight", "2.weight"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_layers_are_named() -> None:
    module = nn.Sequential(nn.Linear(8, 16), nn.LSTM(16, 4), nn.Linear(4, 3))
    half = torch.ao.quantization.quantize_dynamic(module, {"0", "1"}, dtype=torch.qint8)
    found = coverage(half)
    assert found.left_out == {
        "1.weight_ih_l0": ("quantised", 256),
        "0.weight": ("quantised", 128),
        "1.weight_hh_l0": ("quantised", 64),
    }
    assert found.parameters == 256 + 128 + 64 + 12 + 3
    assert "prune before quantising" in found.sentence()


def test_packed_weights_are_not_taken_for_numbers() -> None:
    module = ending(nn.Linear(8, 16))
    module[0].weight = nn.Parameter(torch.zeros(16, 8, dtype=torch.uint8), requires_grad=False)
    with pytest.warns(CoverageWarning, match=r"0\.weight \(quantised"):
        assert list(dense_masks(module)) == ["1.weight"]
    with pytest.raises(
        SpecError, match=r"include: '0\.weight' is quantised, so its elements are no weights; prune before"
    ):
        prune(module, density=0.5, include="0.weight")


def test_what_a_weight_is_computed_from_is_not_pruned_in_its_place() -> None:
    """A row of zeros would have no norm to be divided by: the layer would compute NaN."""
    module = REACHED["weight norm"][0]()
    for include in ("parametrised", "*.original1", module[0]):
        with pytest.raises(SpecError, match=r"is parametrised, so its elements are no weights; make .* plain first"):
            prune(module, density=0.5, include=include)


def test_nothing_but_what_is_left_out() -> None:
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 16)))
    with pytest.raises(
        SpecError, match=r"could be pruned; of 160 parameters pruning leaves out 90.0%.*remove_parametrizations"
    ):
        prune(module, density=0.5)
    torch.nn.utils.parametrize.remove_parametrizations(module[0], "weight")
    assert counts(prune(module, density=0.5)) == {"0.weight": 64}


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_gradients_of_recurrent_weights_are_those_of_backward(kind) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = kind(4, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x)[0][:, -1])

    module = Last()
    batch = torch.randn(5, 7, 4), torch.randint(3, (5,))
    found = gradients(module, batch)
    assert all(parameter.grad is None for parameter in module.parameters())
    nn.functional.cross_entropy(module(batch[0]), batch[1]).backward()
    torch.testing.assert_close(found, {name: parameter.grad for name, parameter in module.named_parameters()})
    masks = prune(module, "gradient", density=0.6, batch=batch, scope="uniform")
    apply_masks(module, masks)
    assert torch.equal(module.memory.weight_hh_l0 != 0, masks["memory.weight_hh_l0"])


def test_a_collapsed_layer_is_named_with_what_to_do() -> None:
    module = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 12), nn.Linear(12, 4))
    with torch.no_grad():
        module[1].weight.mul_(1e-3)
    with pytest.warns(
        LayerCollapseWarning, match=r"'1\.weight' keeps 1 of 360 weights for 30 units; use a scope .*erk"
    ) as caught:
        prune(module, density=0.3)
    assert caught[0].filename == __file__
    for scope in ("erk", "uniform", "per-layer"):
        prune(module, density=0.3, scope=scope)  # and no warning


def test_rounds_tell_of_what_is_left_out_once_and_of_a_collapsed_layer_when_it_collapses() -> None:
    module = nn.Sequential(nn.Embedding(9, 20), nn.Linear(20, 30), nn.Linear(30, 12), nn.Linear(12, 4))
    with torch.no_grad():
        module[2].weight.mul_(1e-3)
    masks, told = None, []
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            masks = prune(module, fraction=0.4, masks=masks)
        told.append([str(warning.message).partition(" keeps")[0] for warning in caught])
    left_out, collapsed = told[0]
    assert left_out.startswith("of 1,234 parameters pruning leaves out 14.6%")
    assert collapsed == "layer collapse: '2.weight'"
    assert told[1:] == [[], []]


@pytest.mark.parametrize("wrong", [{}, {"density": 2}, {"density": 0.5, "scope": "glob"}, {"criterion": "gradient"}])
def test_a_wrong_argument_is_all_that_is_told(wrong: dict[str, object]) -> None:
    module = nn.Sequential(nn.Embedding(9, 20), nn.Linear(20, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SpecError):
            prune(module, **wrong)


def test_what_is_no_module_or_no_masks_is_refused_in_words() -> None:
    module = nn.Linear(3, 2)
    for call in (prune, dense_masks, coverage):
        with pytest.raises(SpecError, match=r"module must be a torch\.nn\.Module, got OrderedDict"):
            call(module.state_dict(), **({"density": 0.5} if call is prune else {}))
    with pytest.raises(
        SpecError, match="masks must be bool tensors by parameter name, as prune returns them, got list"
    ):
        apply_masks(module, [torch.ones(2, 3, dtype=torch.bool)])
    with pytest.raises(SpecError, match=r"masks must be bool tensors by parameter name, .* got Linear"):
        density(module)
