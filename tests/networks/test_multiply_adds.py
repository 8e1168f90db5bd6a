"""Counting multiply-adds: against paper, and against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from overparam.errors import SpecError
from overparam.networks import Network, applications, multiply_adds
from small import IMAGE_NETWORKS


def of_torch(module: nn.Module, sample: Tensor) -> float:
    """Multiply-adds per sample by torch's counter, which sees each operation (2 FLOPs a multiply-add)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(sample)
    return counter.get_total_flops() / 2 / len(sample)


def test_lenet_300_100_uses_each_weight_once() -> None:
    module = Network("lenet-300-100").build((1, 28, 28), 10, seed=0)
    sample = torch.zeros(3, 1, 28, 28)
    assert applications(module, sample) == {"fc1.weight": 1, "fc2.weight": 1, "output.weight": 1}
    assert multiply_adds(module, sample) == {"fc1.weight": 235_200, "fc2.weight": 30_000, "output.weight": 1_000}


def test_lenet_5_by_hand() -> None:
    module = Network("lenet-5").build((1, 28, 28), 10, seed=0)
    counted = multiply_adds(module, torch.zeros(2, 1, 28, 28))
    assert list(counted.values()) == [24 * 24 * 500, 8 * 8 * 25_000, 400_000, 5_000]
    assert sum(counted.values()) == pytest.approx(2.3e6, rel=0.01)  # the figure of the literature


@pytest.mark.parametrize(("name", "total"), [("resnet-18", 556e6), ("resnet-20", 41e6), ("conv-2", 44e6)])
def test_totals_of_the_literature(name: str, total: float) -> None:
    module = Network(name).build((3, 32, 32), 10, seed=0)
    assert sum(multiply_adds(module, torch.zeros(1, 3, 32, 32)).values()) == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_agrees_with_torchs_counter(name: str) -> None:
    options = {"hidden": [7, 3]} if name == "mlp" else {"width": 0.1}
    module = Network(name, options).build((3, 19, 21), 5, seed=0)
    sample = torch.zeros(2, 3, 19, 21)
    assert sum(multiply_adds(module, sample).values()) == of_torch(module, sample)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, groups=2, stride=2, padding=1, dilation=2),
        nn.Conv1d(4, 6, 5),
        nn.Conv3d(4, 2, 2),
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        nn.ConvTranspose1d(4, 6, 2, groups=2),
    ],
)
def test_kinds_of_convolution(layer: nn.Module) -> None:
    dimensions = {"1d": 1, "2d": 2, "3d": 3}[type(layer).__name__[-2:]]
    sample = torch.zeros(3, 4, *(7, 9, 5)[:dimensions])
    assert sum(multiply_adds(layer, sample).values()) == of_torch(layer, sample)


def test_masks_give_the_effective_cost() -> None:
    module = Network("lenet-5").build((1, 16, 16), 10, seed=0)
    sample = torch.zeros(1, 1, 16, 16)
    mask = torch.zeros(20, 1, 5, 5, dtype=torch.bool)
    mask[:3, 0, 0, 0] = True
    dense, effective = multiply_adds(module, sample), multiply_adds(module, sample, {"conv1.weight": mask})
    assert effective == {**dense, "conv1.weight": 3 * 12 * 12}


def test_tokens_reuse_and_tying() -> None:
    shared = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = shared.weight
    module = nn.Sequential(shared, shared, tied, nn.Linear(4, 2))
    assert applications(module, torch.zeros(3, 5, 4)) == {"0.weight": 15, "3.weight": 5}


def test_layers_that_do_not_run_count_nothing() -> None:
    module = nn.ModuleDict({"used": nn.Linear(4, 2), "unused": nn.Linear(4, 2)})
    module.forward = lambda x: module["used"](x)
    assert applications(module, torch.zeros(3, 4)) == {"used.weight": 1, "unused.weight": 0}


def test_attention_in_an_encoder() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    uses = applications(module, torch.zeros(2, 5, 8))
    assert uses == {
        "self_attn.in_proj_weight": 5,
        "self_attn.out_proj.weight": 5,
        "linear1.weight": 5,
        "linear2.weight": 5,
    }


class Cross(nn.Module):
    """Two learnt queries look at the tokens of the input."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 2, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.query.expand(len(x), -1, -1), key=x, value=x)[0]


def test_cross_attention() -> None:
    separate = applications(Cross(kdim=6, vdim=6), torch.zeros(3, 5, 6))
    assert separate == {
        "attention.q_proj_weight": 2,
        "attention.k_proj_weight": 5,
        "attention.v_proj_weight": 5,
        "attention.out_proj.weight": 2,
    }
    packed = applications(Cross(), torch.zeros(3, 5, 8))
    assert packed == {"attention.in_proj_weight": 4, "attention.out_proj.weight": 2}  # (2 + 5 + 5) / 3


@pytest.mark.parametrize("sample", [torch.zeros(()), torch.zeros(0, 4)])
def test_a_sample_needs_a_batch(sample: Tensor) -> None:
    with pytest.raises(SpecError, match="needs a batch"):
        applications(nn.Linear(4, 2), sample)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_weight_is_used_once_a_token(kind: type[nn.RNNBase]) -> None:
    module = kind(4, 6, num_layers=2, batch_first=True)
    names = [name for name, _ in module.named_parameters() if name.startswith("weight")]
    assert applications(module, torch.zeros(3, 7, 4)) == dict.fromkeys(names, 7)
    cell = nn.ModuleDict({"cell": nn.GRUCell(4, 6)})
    assert applications(cell["cell"], torch.zeros(3, 4)) == {"weight_ih": 1, "weight_hh": 1}


def test_counting_does_not_move_the_buffers_of_a_spectral_norm() -> None:
    module = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6)), nn.Linear(6, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert applications(module, torch.zeros(2, 4)) == {"1.weight": 1}
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
