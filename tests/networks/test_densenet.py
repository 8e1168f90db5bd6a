"""DenseNet: the parameters of the published models, what reads what, and units that go from layers side by side."""

from __future__ import annotations

import pytest
import torch

from overparam import Compact, Dataset, Network, Prune, SpecError
from overparam.networks import NETWORKS
from overparam.streams import torch_stream
from small import begin, built, context_of


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({}, 176_122),  # DenseNet-BC, L = 40, k = 12
        ({"depth": 100}, 769_162),  # the paper's Table 2: 0.8M
        ({"bottleneck": False}, 1_019_722),  # L = 40, k = 12 without BC: 1.0M
    ],
)
def test_the_papers_models_have_their_parameters(options: dict[str, object], total: int) -> None:
    module = NETWORKS.get("densenet")((3, 32, 32), 10, **options)
    assert sum(parameter.numel() for parameter in module.parameters()) == total


def test_each_layer_reads_all_before_it() -> None:
    module = NETWORKS.get("densenet")((3, 8, 8), 10, growth=3, depth=13, bottleneck=False).eval()
    block, inputs = module.get_submodule("block1"), torch.randn(2, 16, 8, 8)
    found = block(inputs)
    assert found.shape == (2, 16 + 3 * 3, 8, 8)
    assert torch.equal(found[:, :16], inputs)
    torch.testing.assert_close(found[:, 22:], block.get_submodule("layers.2")(found[:, :22]))


def test_width_multiplies_the_growth_rate() -> None:
    half, same = (NETWORKS.get("densenet")((3, 8, 8), 10, depth=10, **o) for o in ({"width": 0.5}, {"growth": 6}))
    assert {n: p.shape for n, p in half.named_parameters()} == {n: p.shape for n, p in same.named_parameters()}


@pytest.mark.parametrize(("depth", "bottleneck", "step"), [(41, True, 6), (4, True, 6), (12, False, 3)])
def test_a_depth_that_blocks_cannot_share_is_refused(depth: int, bottleneck: bool, step: int) -> None:
    with pytest.raises(
        SpecError, match=rf"options.depth: a densenet .* a multiple of {step}, such as \d+, got {depth}"
    ):
        NETWORKS.get("densenet")((3, 8, 8), 10, depth=depth, bottleneck=bottleneck)


def test_a_smaller_densenet_has_the_same_outputs() -> None:
    pictures = torch.randint(0, 255, (40, 3, 8, 8), generator=torch_stream(0, "pictures")).to(torch.uint8)
    labels = torch.arange(40) % 3
    data = built(Dataset("pictures", pictures, labels, pictures[:10], labels[:10]))
    network = Network("densenet", {"growth": 4, "depth": 16})
    context = context_of(network, data)
    pruned = Prune(fraction=0.4, pattern="units").run(begin(network, data), context).checkpoint
    small = Compact().run(pruned, context)
    inputs = data.test.inputs
    before, after = (each.load_into(context.module()).eval()(inputs) for each in (pruned, small.checkpoint))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    assert sum(small.facts["removed_units"].values()) > 20
    kept, all_of_them = (sum(tensor.numel() for tensor in each.state.values()) for each in (small.checkpoint, pruned))
    assert kept < 0.8 * all_of_them
