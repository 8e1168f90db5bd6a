"""What the usual recipes for groups of parameters do with a converted network: the same as with the dense one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sparse_cases import normal, same_bits
from torch import Tensor, nn

from overparam.prune import prune
from overparam.sparse import SparseLinear, convert
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.networks.network import SparseNetwork


def twins() -> tuple[nn.Module, SparseNetwork]:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(), nn.Flatten())
    model = nn.Sequential(features, nn.Linear(8 * 16, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 4, bias=False))
    return model, convert(model, prune(model, density=0.4))


def nano_gpt(model: nn.Module) -> set[str]:
    """Weight decay where p.dim() >= 2."""
    return {name for name, parameter in model.named_parameters() if parameter.dim() >= 2}


def timm(model: nn.Module) -> set[str]:
    """param_groups_weight_decay: none where there is one axis, or for biases."""
    return {
        name
        for name, parameter in model.named_parameters()
        if not (parameter.ndim <= 1 or name.endswith(".bias")) and parameter.requires_grad
    }


def transformers(model: nn.Module) -> set[str]:
    """Trainer.get_decay_parameter_names: not what norms have, nor what is called a bias or a norm."""
    inside = {
        f"{path}.{name}" if path else name
        for path, part in model.named_modules()
        if isinstance(part, nn.LayerNorm | nn.BatchNorm2d)
        for name, _ in part.named_parameters(recurse=False)
    }
    forbidden = ("bias", "layernorm", "rmsnorm", ".norm.", "_norm.")
    names = (name for name, _ in model.named_parameters() if name not in inside)
    return {name for name in names if not any(word in name.lower() for word in forbidden)}


def bert(model: nn.Module) -> set[str]:
    """The fine-tuning scripts' no_decay = ["bias", "LayerNorm.weight"]."""
    return {
        name for name, _ in model.named_parameters() if not any(word in name for word in ("bias", "LayerNorm.weight"))
    }


def torchvision(model: nn.Module) -> set[str]:
    """set_weight_decay with a rate of its own for norms and biases."""
    found: set[str] = set()
    for path, part in model.named_modules():
        for name, _ in part.named_parameters(recurse=False):
            if name != "bias" and not isinstance(part, nn.LayerNorm | nn.BatchNorm2d):
                found.add(f"{path}.{name}")
    return found


RECIPES = [nano_gpt, timm, transformers, bert, torchvision]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: each.__name__)
def test_usual_recipes_decay_the_same(recipe: Callable[[nn.Module], set[str]]) -> None:
    model, network = twins()
    assert {network.names[name] for name in recipe(network)} == recipe(model)
    assert any(isinstance(network.get_submodule(name.rpartition(".")[0]), SparseLayer) for name in recipe(network))


@pytest.mark.parametrize("rule", [lambda name: name.endswith("weight"), lambda name: name == "4.weight"])
def test_rules_by_name_need_the_users_names(rule: Callable[[str], bool]) -> None:
    """As the documentation says: the names that end in "values" fall out of such a rule, so the network has a map."""
    model, network = twins()
    found = {network.names[name] for name, _ in network.named_parameters() if rule(network.names[name])}
    assert found == {name for name, _ in model.named_parameters() if rule(name)}


def test_muon_takes_matrices_alone() -> None:
    """Its recipe gives it parameters of two axes; it would take a list of nonzeros for a matrix."""
    _, network = twins()
    assert [name for name, each in network.named_parameters() if each.ndim == 2] == []
    with pytest.raises(ValueError, match="2D"):
        torch.optim.Muon([SparseLinear(8, 4, density=0.5).values])


def optimizers() -> dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]]:
    return {
        "sgd": lambda each: torch.optim.SGD(each, lr=0.05, momentum=0.9, weight_decay=0.1),
        "adamw": lambda each: torch.optim.AdamW(each, lr=0.01, weight_decay=0.1),
        "adamw, fused": lambda each: torch.optim.AdamW(each, lr=0.01, weight_decay=0.1, fused=True),
        "adamw, foreach": lambda each: torch.optim.AdamW(each, lr=0.01, weight_decay=0.1, foreach=True),
        "rmsprop": lambda each: torch.optim.RMSprop(each, lr=0.01),
        "adagrad": lambda each: torch.optim.Adagrad(each, lr=0.01),
        "lbfgs": lambda each: torch.optim.LBFGS(each, lr=0.1, max_iter=2),
    }


@pytest.mark.parametrize("name", optimizers())
def test_optimizers_do_to_three_axes_what_they_do_to_one(name: str) -> None:
    given, target = normal(8, 6), normal(8, 4, seed=1)
    layer = SparseLinear(6, 4, density=0.5, bias=False)
    flat = layer.values.detach().flatten().requires_grad_()

    def sparse() -> Tensor:
        return (layer(given) - target).square().mean()

    def plain() -> Tensor:
        weight = torch.zeros(24).index_put((layer.indices,), flat).view(4, 6)
        return (given @ weight.T - target).square().mean()

    for loss, parameters in ((sparse, [layer.values]), (plain, [flat])):
        optimizer = optimizers()[name](parameters)

        def closure(loss=loss, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            found = loss()
            found.backward()
            return found

        for _ in range(5):
            optimizer.step(closure)
    assert torch.allclose(layer.values.flatten(), flat, rtol=1e-3, atol=1e-4)


def test_adafactor_factors_nothing() -> None:
    """It keeps rows and columns of second moments, which for one row are the moments themselves."""
    layer = SparseLinear(6, 4, density=0.5, bias=False)
    optimizer = torch.optim.Adafactor(layer.parameters(), lr=0.01)
    layer(normal(8, 6)).square().mean().backward()
    gradient = layer.values.grad.clone()
    optimizer.step()
    state = optimizer.state[layer.values]
    moments = state["row_var"] @ state["col_var"] / state["row_var"].mean()
    assert torch.allclose(moments / moments.mean(), gradient**2 / (gradient**2).mean(), rtol=1e-3)


def test_a_layer_keeps_its_bits_in_either_form() -> None:
    layer = SparseLinear(6, 4, density=0.5)
    dense = layer.spread(layer.values.detach())
    assert dense.shape == (4, 6)
    assert same_bits(layer.gather(dense), layer.values)
    assert torch.equal(dense, layer.weight())
