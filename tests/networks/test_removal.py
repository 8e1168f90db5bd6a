"""Removal from seven networks as users write them: the same outputs, smaller in memory and on disk, loaded anywhere."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from user_networks import NETWORKS, SIDE, TransformerBlock

from overparam import Compact, Dataset, Network, Prune
from overparam.errors import SpecError
from overparam.lab.weights import checkpoint_to_bytes
from overparam.networks.forward import run
from overparam.networks.removal import TOLERANCES, removal
from overparam.networks.surgery import operate
from overparam.networks.units import groups
from overparam.prune import Heads, Round, Scores, Units, apply_masks, dense_masks
from small import begin, built, context_of, images

LEFT = {
    "mixer": {"patches": "LayerNorm that cannot be made smaller"},
    "transformer": {"out": "LayerNorm that cannot be made smaller"},
}
"""What cannot be removed, by network: layers, and the reason."""


def network(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor]:
    """A network whose norms have seen data, and inputs."""
    torch.manual_seed(0)
    module, inputs = NETWORKS[name](), torch.randn(8, 3, SIDE, SIDE)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(), part.running_var.uniform_(0.5, 2), nn.init.normal_(part.bias)
    return module.to(dtype).eval(), inputs.to(dtype)


def masked(module: nn.Module, sample: Tensor, pattern: Any = None, fraction: float = 0.5) -> nn.Module:
    """The same network without the smallest half of its units, as zeros."""
    masks = dense_masks(module)
    scores = Scores({name: module.get_parameter(name).detach().abs() for name in masks})
    asked = Round(dict.fromkeys(masks, "linear"), lambda: (module, sample), fraction=fraction, scope="per-layer")
    done = copy.deepcopy(module)
    apply_masks(done, (pattern or Units()).masks(scores, masks, asked))
    return done


def compacted(module: nn.Module, sample: Tensor) -> tuple[nn.Module, Any]:
    found = removal(module, sample)
    smaller = operate(copy.deepcopy(module), found.surgery)
    smaller.load_state_dict(found.state(module.state_dict()))
    return smaller, found


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_half_of_the_units_go_and_outputs_stay(name: str, dtype: torch.dtype) -> None:
    module, inputs = network(name, dtype)
    pruned = masked(module, inputs)
    smaller, found = compacted(pruned, inputs)
    outputs, others = run(pruned, inputs), run(smaller, torch.cat([inputs, inputs]))
    assert float(outputs.std()) > 1e-3, "the comparison is of something"
    assert float((outputs - run(module, inputs)).abs().max()) > 1e-3, "what was pruned did something"
    assert float((others[:8] - outputs).abs().max()) <= TOLERANCES[dtype] * max(1.0, float(outputs.abs().max()))
    free = [unit for group in groups(module, inputs) if not group.kept for unit in group.outputs]
    assert sum(found.removed.values()) == len(free) // 2
    assert size(smaller) < 0.72 * size(module)
    assert found.kept == {}, "nothing dead stays"


@pytest.mark.parametrize("name", NETWORKS)
def test_what_cannot_go_is_said_with_its_reason(name: str) -> None:
    module, inputs = network(name)
    reasons = {unit.path: group.kept for group in groups(module, inputs) for unit in group.outputs if group.kept}
    last = [*module.named_modules()][-1][0] if name == "functional" else None
    for path, why in LEFT.get(name, {}).items():
        assert why in reasons.pop(path)
    outputs = [path for path, why in reasons.items() if why == "it is an output of the network"]
    assert len(outputs) == 1
    assert last in (None, outputs[0])
    with pytest.raises(SpecError, match=r"nothing that can go as a whole: .*\(it is an output of the network\)"):
        Units().masks(
            Scores({}),
            {f"{outputs[0]}.weight": dense_masks(module)[f"{outputs[0]}.weight"]},
            Round({f"{outputs[0]}.weight": "output"}, lambda: (module, inputs), fraction=0.5),
        )


def test_heads_of_ones_own_attention_go_and_those_of_torch_stay() -> None:
    module, inputs = network("transformer")
    smaller, found = compacted(masked(module, inputs, Heads()), inputs)
    assert found.removed == {"query": 8, "key": 8, "value": 8}
    assert isinstance(smaller, TransformerBlock)
    assert (smaller.query.out_features, smaller.out.in_features) == (8, 8)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    tokens = torch.randn(2, 5, 16)
    _, found = compacted(masked(layer, tokens, Heads()), tokens)
    assert (found.removed, list(found.kept)) == ({}, ["self_attn"])
    assert "as many heads as its width allows" in found.kept["self_attn"]


@pytest.mark.filterwarnings("ignore::overparam.errors.CoverageWarning")  # embeddings
def test_heads_of_the_built_in_transformer_go() -> None:
    module = Network("transformer", {"layers": 2, "heads": 4, "width": 16}).build((6,), (6, 11), 0, vocabulary=11)
    tokens = torch.randint(0, 11, (3, 6))
    pruned = masked(module, tokens, Heads())
    smaller, found = compacted(pruned, tokens)
    assert found.removed == {"blocks.0.attention": 24, "blocks.1.attention": 24}
    assert torch.allclose(run(smaller, tokens), run(pruned, tokens), atol=1e-5)


LOAD = """
import json, sys, torch, user_networks
from pathlib import Path
from overparam.lab.weights import checkpoint_from_bytes
torch.set_num_threads(1)
inputs, found = torch.load("inputs.pt", weights_only=True), {}
for name, make in user_networks.NETWORKS.items():
    module = checkpoint_from_bytes(Path(name).read_bytes()).load_into(make())
    found[name] = module.eval()(inputs).tolist()
print(json.dumps(found))
"""


def test_smaller_networks_are_smaller_files_and_load_in_a_fresh_process(tmp_path: Path) -> None:
    grey, inputs = images(classes=10, side=SIDE), torch.randn(4, 3, SIDE, SIDE)
    pictures = (each.repeat(1, 3, 1, 1) for each in (grey.train_inputs, grey.test_inputs))
    data = built(Dataset("pictures", next(pictures), grey.train_targets, next(pictures), grey.test_targets))
    expected = {}
    for name, make in NETWORKS.items():
        own = Network(lambda make=make: make())  # type: ignore[misc]
        context = context_of(own, data)
        start = begin(own, data)
        pruned = Prune(pattern="units", fraction=0.5, scope="per-layer").run(start, context).checkpoint
        smaller = Compact().run(pruned, context).checkpoint
        before, after = checkpoint_to_bytes(start), checkpoint_to_bytes(smaller)
        assert len(after) < 0.8 * len(before)
        (tmp_path / name).write_bytes(after)
        expected[name] = pruned.load_into(make()).eval()(inputs)
    torch.save(inputs, tmp_path / "inputs.pt")
    path = {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, text=True, env=path, check=True
    )
    for name, outputs in json.loads(done.stdout).items():
        assert torch.allclose(torch.tensor(outputs), expected[name], atol=1e-5)


def test_what_runs_in_training_only_is_kept_whole() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.out, self.aux = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)
            self.other, self.last = nn.Linear(3, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.first(x))
            seen = self.out(hidden) + 0.1 * self.aux(hidden) if self.training else self.out(hidden)
            return self.last(torch.relu(self.other(seen)))

    torch.manual_seed(0)
    sample = torch.randn(5, 6)
    module, found = compacted(masked(Auxiliary(), sample), sample)
    assert set(found.removed) == {"other"}
    assert "in training mode" in found.kept["first"]
    module.train()(sample).sum().backward()


def test_a_depth_wise_channel_of_zeros_is_told() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten())
    assert removal(module, torch.randn(2, 3, 5, 5)).kept == {}
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0, 0
    found = removal(module, torch.randn(2, 3, 5, 5))
    assert found.removed == {}
    assert "a depth-wise channel of zeros is not taken for dead by itself" in found.kept["1"]
