"""Criteria of second order on small networks, where all can be computed in full."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from overparam.errors import CoverageWarning, SpecError
from overparam.prune import CRITERIA, Evidence, apply_masks, prune
from overparam.prune.backpropagated import backpropagated_diagonal
from overparam.prune.evidence import Look
from overparam.prune.layer_inputs import second_moments
from overparam.prune.roots import curvature_roots

pytestmark = pytest.mark.filterwarnings("ignore::overparam.errors.LayerCollapseWarning")

LAYER_WISE = ("exact-obs", "l-obs", "sparsegpt", "refit")


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def batch(count: int = 40, width: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, width, dtype=torch.float64, generator=stream)
    return inputs, torch.arange(count) % classes


def seen(module: nn.Module, given: Any, loss: Any = functional.cross_entropy) -> Evidence:
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return Evidence(weights, look=Look(lambda: module, lambda: ([given], loss)))


def flat(found: Any) -> Tensor:
    return torch.cat([found[name].reshape(-1) for name in sorted(found)])


def matrix(module: nn.Module, given: Any, loss: Any, kind: Any) -> Tensor:
    parts = [*curvature_roots(module, given, loss, kind)]
    rows = [torch.cat([part[name] for name in sorted(part)], 1) for part in parts]
    return torch.stack([each.T @ each for each in rows]).sum(0)


def jacobian(module: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs by all parameters in the order of their names: ``(examples, outputs, parameters)``."""
    named = {name: parameter.detach() for name, parameter in module.named_parameters()}
    found = torch.func.jacrev(lambda at: torch.func.functional_call(module, at, (inputs,)))(named)
    return torch.cat([found[name].flatten(2) for name in sorted(found)], 2)


class TestCurvature:
    def test_gauss_newton_is_that_of_the_whole_jacobian(self) -> None:
        module, (inputs, labels) = net(), batch()
        slopes, p = jacobian(module, inputs), module(inputs).detach().softmax(1)
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        whole = torch.einsum("nca,ncd,ndb->ab", slopes, inner, slopes) / len(inputs)
        found = matrix(module, (inputs, labels), functional.cross_entropy, "gauss-newton")
        torch.testing.assert_close(found, whole, rtol=1e-8, atol=1e-12)
        diagonal = seen(module, (inputs, labels)).curvature(kind="gauss-newton")
        torch.testing.assert_close(flat(diagonal), whole.diagonal(), rtol=1e-8, atol=1e-12)

    def test_fisher_is_the_mean_square_of_the_gradients_of_examples(self) -> None:
        module, (inputs, labels) = net(), batch(6)
        rows = []
        for place in range(6):
            part = slice(place, place + 1)
            loss = functional.cross_entropy(module(inputs[part]), labels[part])
            names = dict(module.named_parameters())
            found = torch.autograd.grad(loss, list(names.values()))
            rows.append(flat(dict(zip(names, found, strict=True))))
        whole = torch.stack(rows).T @ torch.stack(rows) / 6
        found = matrix(module, (inputs, labels), functional.cross_entropy, "fisher")
        torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-14)

    def test_several_batches_are_meaned(self) -> None:
        module, (inputs, labels) = net(), batch()
        halves = [(inputs[part], labels[part]) for part in (slice(0, 20), slice(20, 40))]
        weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
        apart = Evidence(weights, look=Look(lambda: module, lambda: (halves, functional.cross_entropy)))
        for kind in ("fisher", "gauss-newton", "backpropagated"):
            whole = seen(module, (inputs, labels)).curvature(kind=kind)
            torch.testing.assert_close(flat(apart.curvature(kind=kind)), flat(whole), rtol=1e-9, atol=1e-14)

    def test_backpropagated_is_exact_in_the_last_layer_and_as_the_paper_says_below(self) -> None:
        module, (inputs, labels) = net(), batch()
        found = backpropagated_diagonal(module, (inputs, labels), functional.cross_entropy)
        exact = seen(module, (inputs, labels)).curvature(kind="gauss-newton")
        torch.testing.assert_close(found["2.weight"], exact["2.weight"], rtol=1e-9, atol=1e-14)
        hidden = module[1](module[0](inputs)).detach()
        p = module(inputs).detach().softmax(1)
        above = (p * (1 - p) / len(inputs)) @ module[2].weight.detach().square()
        units = (1 - hidden.square()).square() * above
        torch.testing.assert_close(found["0.weight"], units.T @ inputs.square(), rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(found["0.bias"], units.sum(0), rtol=1e-9, atol=1e-14)

    def test_backpropagated_sums_over_the_places_of_a_shared_weight(self) -> None:
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten())
        module = nn.Sequential(*layers, nn.Linear(8, 3)).double().eval()
        inputs, labels = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
        found = backpropagated_diagonal(module, (inputs, labels), functional.cross_entropy)
        p = module(inputs).detach().softmax(1)
        above = ((p * (1 - p) / 4) @ module[5].weight.detach().square()).reshape(4, 2, 2, 2)
        maps = module[1](module[0](inputs)).detach()
        _, places = functional.max_pool2d(maps.relu(), 2, return_indices=True)
        units = torch.zeros(4, 2, 16, dtype=torch.float64).scatter_(2, places.flatten(2), above.flatten(2))
        units = units.reshape(maps.shape) * (maps > 0) * (module[1].weight / (1 + 1e-5) ** 0.5).detach().square()[0]
        patches = functional.unfold(inputs.square(), 3)
        whole = torch.einsum("nop,nkp->ok", units.flatten(2), patches)
        torch.testing.assert_close(found["0.weight"].flatten(1), whole, rtol=1e-8, atol=1e-14)

    @pytest.mark.parametrize(
        ("module", "inputs", "message"),
        [
            (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), torch.randn(5, 4), "Softmax is none of them"),
            (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)), torch.randn(5, 4), "LayerNorm is none"),
        ],
    )
    def test_other_networks_are_refused_by_the_recursion(self, module: nn.Module, inputs: Tensor, message: str) -> None:
        with pytest.raises(SpecError, match=f"needs a chain .*{message}.*take curvature gauss-newton"):
            backpropagated_diagonal(module, (inputs, torch.zeros(5, dtype=torch.int64)), functional.cross_entropy)

    def test_a_residual_connection_is_refused_by_the_recursion(self) -> None:
        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

            def forward(self, inputs: Tensor) -> Tensor:
                return self.two(inputs + self.one(inputs))

        with pytest.raises(SpecError, match="given something else than the layer before it returns"):
            backpropagated_diagonal(
                Residual(), (torch.randn(4, 3), torch.zeros(4, dtype=torch.int64)), functional.cross_entropy
            )

    def test_outputs_of_several_axes_are_refused(self) -> None:
        module = nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3)))
        given = (torch.randn(4, 3), torch.zeros(4, 2, 3))
        with pytest.raises(SpecError, match=r"needs outputs \(N, outputs\), got \(4, 2, 3\)"):
            next(curvature_roots(module, given, functional.mse_loss, "fisher"))


class Quadratic(nn.Module):
    """Its outputs are linear in its weights, so that a squared error is quadratic."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(at)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight[:, None]


def least_squares(count: int = 60, size: int = 8) -> tuple[Quadratic, tuple[Tensor, Tensor]]:
    stream = torch.Generator().manual_seed(2)
    inputs = torch.randn(count, size, dtype=torch.float64, generator=stream)
    inputs @= torch.randn(size, size, dtype=torch.float64, generator=stream)
    targets = torch.randn(count, 1, dtype=torch.float64, generator=stream)
    return Quadratic(torch.linalg.lstsq(inputs, targets).solution[:, 0]), (inputs, targets)


@pytest.mark.parametrize("kept", [7, 5, 3, 1])
def test_on_a_quadratic_the_loss_rises_as_optimal_brain_surgeon_says(kept: int) -> None:
    """OBS-1: one deletion costs its score, and what stays is the least-squares fit, whatever number goes."""
    module, given = least_squares()
    before = float(functional.mse_loss(module(given[0]), given[1]).detach())
    obs = CRITERIA.resolve({"obs": {"damping": 1e-10}})
    scores = obs(seen(module, given, functional.mse_loss)).scores["weight"]
    masks = prune(module, obs, density=kept / 8, include="weight", batch=given, loss=functional.mse_loss)
    apply_masks(module, masks)
    rise = float(functional.mse_loss(module(given[0]), given[1]).detach()) - before
    if kept == 7:
        assert rise == pytest.approx(float(scores.min()), rel=1e-5)
    mask = masks["weight"]
    best = torch.linalg.lstsq(given[0][:, mask], given[1]).solution[:, 0]
    torch.testing.assert_close(module.weight.detach()[mask], best, rtol=1e-5, atol=1e-7)


def test_surgeon_and_damage_disagree_where_weights_make_up_for_each_other() -> None:
    """The curvature [[2, 1], [1, 2]] at (1, 1): 0.75 and not 1, and the other becomes 1.5."""
    root = torch.linalg.cholesky(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)).T
    found = Evidence({"w": torch.ones(2, dtype=torch.float64)}, roots={"w": root})
    made = CRITERIA.resolve({"obs": {"damping": 1e-12}})(found)
    assert float(made.scores["w"].min()) == pytest.approx(0.75, rel=1e-9)
    kept = made.scores["w"] > 1
    assert made.values({"w": kept})["w"][kept].item() == pytest.approx(1.5, rel=1e-9)
    damage = CRITERIA.resolve({"obd": {"curvature": "fisher"}})(found)
    assert damage["w"].tolist() == [pytest.approx(1.0), pytest.approx(1.0)]


def test_damage_removes_what_magnitude_keeps() -> None:
    found = Evidence({"w": torch.tensor([0.2, 1.0])}, curvature={"w": torch.tensor([100.0, 1.0])})
    assert CRITERIA.resolve("obd")(found)["w"].tolist() == [pytest.approx(2.0), pytest.approx(0.5)]


def test_obs_prunes_biases_where_they_are_included() -> None:
    module, given = net(), batch()
    masks = prune(module, {"obs": {"damping": 1e-4}}, density=0.5, include="bias", batch=given)
    assert sum(mask.numel() for mask in masks.values()) == 39
    assert sum(int(mask.sum()) for mask in masks.values()) == 20
    assert set(masks.weights) == set(masks)


def test_obs_refuses_what_it_cannot_hold() -> None:
    module = nn.Linear(200, 60)
    with pytest.raises(SpecError, match=r"one matrix of all 12,000 weights, of which there can be 10,000.*woodfisher"):
        prune(module, "obs", density=0.5, batch=(torch.randn(3, 200), torch.zeros(3, dtype=torch.int64)))


def test_what_is_excluded_is_neither_scored_nor_moved() -> None:
    module, given = net(), batch()
    masks = prune(module, "obs", density=0.5, exclude="output", batch=given)
    assert set(masks.weights) == {"0.weight"}
    assert masks["2.weight"].all()


def woodfisher_slow(weights: Tensor, rows: Tensor, damping: float, gone: Tensor) -> tuple[Tensor, Tensor]:
    """One block as the paper has it: the recursion over gradients, then updates that are added up."""
    found = torch.eye(rows.shape[1], dtype=torch.float64) / damping
    for row in rows:
        along = found @ row
        found = found - torch.outer(along, along) / (len(rows) + row @ along)
    scores = weights.square() / (2 * found.diagonal())
    moved = weights - sum(found[:, q] * weights[q] / found[q, q] for q in gone.nonzero()[:, 0].tolist())
    return scores, torch.where(gone, 0.0, moved)


def test_woodfisher_is_its_recursion_in_blocks() -> None:
    stream = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 5, dtype=torch.float64, generator=stream)
    rows = torch.randn(9, 20, dtype=torch.float64, generator=stream)
    found = CRITERIA.resolve({"woodfisher": {"block": 8, "damping": 1e-3}})(
        Evidence({"w": weights}, roots={"w": rows / 3})
    )
    mask = torch.rand(4, 5, generator=stream) < 0.5
    moved = found.values({"w": mask})["w"].where(mask, 0.0).flatten()
    for start in (0, 8, 16):
        part = slice(start, start + 8)
        scores, values = woodfisher_slow(weights.flatten()[part], rows[:, part], 1e-3, ~mask.flatten()[part])
        torch.testing.assert_close(found.scores["w"].flatten()[part], scores, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(moved[part], values, rtol=1e-6, atol=1e-9)


def conv(**changes: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **changes}).double()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": "same", "dilation": 2},
        {"padding": 1, "padding_mode": "circular"},
        {"groups": 2, "bias": False},
    ],
)
def test_inputs_of_a_convolution_are_what_its_weights_multiply(changes: dict[str, Any]) -> None:
    layer = conv(**changes)
    inputs = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    found = seen(layer, (inputs, None)).inputs["weight"]
    groups = layer.groups
    rows = layer.weight.detach().flatten(1).reshape(groups, 6 // groups, -1)
    outputs = (found if groups > 1 else found[None]) @ rows.mT
    outputs = outputs.permute(0, 2, 1).reshape(6, -1)
    if layer.bias is not None:
        outputs = outputs + layer.bias.detach()[:, None]
    torch.testing.assert_close(outputs, layer(inputs).detach().transpose(0, 1).reshape(6, -1))
    moments = second_moments(layer, [(inputs, None), (inputs, None)])["weight"]
    whole = functional.pad(found if groups > 1 else found[None], (0, 1), value=1.0)
    torch.testing.assert_close(moments, whole.mT @ whole / whole.shape[1])


def with_conv() -> tuple[nn.Sequential, tuple[Tensor, Tensor]]:
    torch.manual_seed(3)
    layers = (nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(*layers).double(), (torch.randn(150, 2, 6, 6, dtype=torch.float64), torch.arange(150) % 3)


@pytest.mark.parametrize("criterion", LAYER_WISE)
@pytest.mark.parametrize("include", [(), "bias"])
def test_layers_keep_their_outputs_as_well_as_they_can(criterion: str, include: Any) -> None:
    """The values of all but SparseGPT are the least-squares fit of each row, by another road than the library's."""
    module, given = with_conv()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    masks = prune(module, {criterion: {"damping": 0.0}}, density=0.5, batch=given, include=include, scope="uniform")
    inputs = seen(module, given).inputs
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.5 * sum(m.numel() for m in masks.values()))
    for name in ("0.weight", "2.weight", "4.weight"):
        layer_inputs = inputs[name] if inputs[name].dim() == 3 else inputs[name][None]
        bias = name.replace("weight", "bias")
        for row in range(len(before[name])):
            group = layer_inputs[row * len(layer_inputs) // len(before[name])]
            old, kept, new = (each[name][row].flatten() for each in (before, masks, masks.weights))
            if include:
                group = functional.pad(group, (0, 1), value=1.0)
                old, kept, new = (
                    torch.cat([each, more[bias][row : row + 1]])
                    for each, more in ((old, before), (kept, masks), (new, masks.weights))
                )
            assert not new[~kept].any()
            least = (group @ old - group[:, kept] @ torch.linalg.lstsq(group[:, kept], group @ old).solution).norm()
            error = (group @ (old - new)).norm()
            assert error >= least - 1e-9
            if criterion != "sparsegpt":
                assert float(error) == pytest.approx(float(least), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("criterion", [*LAYER_WISE, "woodfisher", "obs"])
def test_a_second_round_goes_on_from_the_first(criterion: str) -> None:
    """Weights that are gone stay gone and cost nothing, and masks only shrink."""
    module, given = net(), batch()
    first = prune(module, criterion, density=0.6, batch=given)
    apply_masks(module, first)
    second = prune(module, criterion, density=0.3, batch=given, masks=first)
    assert all(not (second[name] & ~mask).any() for name, mask in first.items())
    apply_masks(module, second)
    assert all(not parameter[~second[name]].any() for name, parameter in module.named_parameters() if name in second)


def test_a_dead_input_goes_first_and_its_weights_are_set_to_zero() -> None:
    module, (inputs, labels) = net(), batch()
    inputs[:, 2] = 0.0
    masks = prune(module, "exact-obs", fraction=4 / 32, batch=(inputs, labels))
    assert not masks["0.weight"][:, 2].any()
    module = net()
    masks = prune(module, "refit", density=1.0, batch=(inputs, labels))
    assert not masks.weights["0.weight"][:, 2].any()
    torch.testing.assert_close(masks.weights["0.weight"][:, 3], module[0].weight.detach()[:, 3])


def test_too_few_examples_without_damping_are_told() -> None:
    given = batch(3)
    with pytest.raises(SpecError, match="not positive definite"):
        prune(net(), {"exact-obs": {"damping": 0.0}}, density=0.5, batch=given)


def test_a_layer_of_another_kind_gets_no_scores() -> None:
    module = nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Conv1d(5, 2, 1), nn.Flatten(), nn.Linear(2, 3)).double()
    with pytest.raises(SpecError, match=r"scores lack '1.weight', of which this criterion tells nothing"):
        prune(module, "exact-obs", density=0.5, batch=batch())
    assert set(prune(module, "exact-obs", density=0.5, batch=batch(), exclude="conv").weights) == {"3.weight"}


def test_a_wrapped_criterion_chooses() -> None:
    module, given = net(), batch()
    by_size = prune(module, "magnitude", density=0.5)
    for name in ("refit", "sparsegpt"):
        masks = prune(module, {name: {"of": "magnitude"}}, density=0.5, batch=given)
        assert all(torch.equal(mask, by_size[key]) for key, mask in masks.items())
        assert set(masks.weights) == {"0.weight", "2.weight"}


def test_examples_that_cannot_be_taken_apart_are_told() -> None:
    class Looking(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * float(inputs.sum() > -1e9)

    given = (torch.randn(4, 5), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(SpecError, match="cannot be taken apart"):
        next(curvature_roots(Looking(5, 3), given, functional.cross_entropy, "fisher"))


def test_refit_names_the_layers_that_it_leaves_unfitted() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(2, 4, 3), nn.Linear(24, 8)
            self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.fc(torch.relu(self.conv(x)).flatten(1)))
            mixed = self.attention(hidden[:, None], hidden[:, None], hidden[:, None])[0][:, 0]
            return nn.functional.linear(mixed, self.out.weight, self.out.bias)

    module, batch = Mixed(), (torch.randn(20, 2, 8), torch.arange(20) % 3)
    unseen = "conv.weight, attention.in_proj_weight, attention.out_proj.weight, out.weight as they are"
    with pytest.warns(CoverageWarning, match=f"refit leaves the values of {unseen}: inputs are known of linear"):
        masks = prune(module, "refit", density=0.5, scope="uniform", batch=batch)
    assert list(masks.weights) == ["fc.weight"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prune(module, "refit", density=0.5, scope="uniform", batch=batch, exclude=["conv.*", "attention.*", "out.*"])


@pytest.mark.parametrize("criterion", ["grasp", "obd"])
def test_second_derivatives_go_through_attention(criterion: str) -> None:
    """torch's fused attention has none, so its plain form is taken."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))

    masks = prune(
        Attending(), criterion, density=0.5, scope="uniform", batch=(torch.randn(9, 4, 8), torch.arange(9) % 3)
    )
    assert sum(int(mask.sum()) for mask in masks.values()) == 140
