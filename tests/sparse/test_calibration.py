"""What auto compares: times by shape, measured once for each machine and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sparse_cases import threads
from torch import nn

from overparam.sparse import calibration
from overparam.sparse.calibration import Shape, Times, calibration_file, known_times, measured
from overparam.sparse.choice import MARGIN, choose, layer_shapes, usual_shapes
from overparam.sparse.judge import judge
from overparam.sparse.perceptron import perceptron_layers

LINEAR = Shape((8, 4), (), 1, 16, 1, "float32")
CONV = Shape((4, 2, 3, 3), ((6, 3, 1, 1, 1, 1), (6, 3, 1, 1, 1, 1)), 1, 16, 1, "float32")
TIMES = Times(dense=100, matrix=50, fixed=10, each=100, compiled_fixed=5, compiled_each=100, border=4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, though the kernels are still those of the machine."""
    calibration.kernel_folder()  # which remembers where it is
    monkeypatch.setenv("OVERPARAM_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration, "_known", {})
    calibration_file.cache_clear()
    yield tmp_path
    calibration_file.cache_clear()


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """The shapes that are measured, without spending the time."""
    seen: list[Shape] = []

    def measure(shape: Shape) -> Times:
        seen.append(shape)
        return replace(TIMES, dense=float(len(seen)))

    monkeypatch.setattr(calibration, "_measure", measure)
    return seen


def forget() -> None:
    """Do as another process would."""
    calibration._known.clear()


def test_a_shape_is_measured_once(folder: Path, measurements: list[Shape]) -> None:
    first = measured(LINEAR)
    assert measured(LINEAR) == first
    forget()
    assert measured(LINEAR) == first
    assert measurements == [LINEAR]
    assert calibration_file().is_relative_to(folder)
    assert known_times() == {LINEAR.key: first}


def test_every_part_of_a_shape_matters(folder: Path, measurements: list[Shape]) -> None:
    shapes = [
        LINEAR,
        replace(LINEAR, threads=2),
        replace(LINEAR, batch=17),
        replace(LINEAR, dtype="float64"),
        replace(LINEAR, weight=(4, 8)),
        CONV,
        replace(CONV, axes=((7, 3, 1, 1, 1, 1), (6, 3, 1, 1, 1, 1))),
        replace(CONV, axes=((6, 3, 2, 1, 1, 1), (6, 3, 1, 1, 1, 1))),
        replace(CONV, groups=2),
    ]
    for _ in range(2):
        for shape in shapes:
            measured(shape)
        forget()
    assert measurements == shapes
    assert len(known_times()) == len(shapes)


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", '{"x": 3}', "null"])
def test_a_damaged_file_is_measured_anew(damage: str, folder: Path, measurements: list[Shape]) -> None:
    measured(LINEAR)
    calibration_file().write_text(damage)
    forget()
    assert known_times() == {}
    measured(LINEAR)
    assert len(measurements) == 2
    assert json.loads(calibration_file().read_text()).keys() == {LINEAR.key}


def test_times_of_another_form_are_measured_anew(folder: Path, measurements: list[Shape]) -> None:
    measured(LINEAR)
    measured(CONV)
    kept = json.loads(calibration_file().read_text())
    kept[LINEAR.key].pop("border")
    calibration_file().write_text(json.dumps(kept))
    forget()
    measured(CONV)
    measured(LINEAR)
    assert measurements == [LINEAR, CONV, LINEAR]


@pytest.mark.parametrize("shape", [LINEAR, CONV, replace(CONV, groups=2, weight=(4, 1, 3, 3))])
def test_real_times_are_positive(shape: Shape, folder: Path) -> None:
    found = measured(shape)
    assert min(found.dense, found.sparse(0.5), found.border) > 0
    assert (found.matrix > 0) == (found.compiled(0.5) > 0) == (not shape.axes)
    assert 0 <= found.crossover <= 1


def test_the_crossover_is_where_both_take_as_long() -> None:
    assert TIMES.crossover == pytest.approx(0.9)
    assert TIMES.sparse(TIMES.crossover) == pytest.approx(TIMES.dense)
    assert replace(TIMES, dense=5).crossover == 0
    assert replace(TIMES, dense=500).crossover == 1
    assert replace(TIMES, each=0).crossover == 1


def masks_of(module: nn.Module, densities: dict[str, float]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(module.get_parameter(name).shape, generator=generator) < density
        for name, density in densities.items()
    }


def test_perceptrons_choose_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 20))
    asked: list[Shape] = []

    def times(shape: Shape) -> Times:
        asked.append(shape)
        return TIMES  # sparse is faster below a density of about 0.43

    monkeypatch.setattr(calibration, "measured", times)
    masks = masks_of(module, {"0.weight": 0.1, "2.weight": 0.9})
    found = choose(module, masks, 64, None, perceptron_layers(module), judge(module))
    assert found.dense == ("2.weight", "4.weight"), "one for its density, one because it has no mask"
    assert found.gain == pytest.approx(300 / (15 + 50 + 50) / MARGIN, rel=0.05)
    assert [shape.weight for shape in asked] == [(40, 50), (30, 40), (20, 30)]
    assert {(shape.batch, shape.threads, shape.dtype) for shape in asked} == {(64, 1, "float32")}
    with threads(2):
        choose(module, masks, 64, None, perceptron_layers(module), judge(module))
    assert asked[-1].threads == 2


def test_converted_networks_choose_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
    module.append(nn.Linear(4 * 4 * 4, 3))
    monkeypatch.setattr(calibration, "measured", lambda shape: TIMES)
    masks = masks_of(module, {"0.weight": 0.1, "2.weight": 0.99, "4.weight": 0.1})
    found = choose(module, masks, 16, torch.zeros(1, 2, 6, 6), None, judge(module))
    assert found.dense == ("2.weight",)
    assert found.gain > 1
    nothing = choose(
        module, masks_of(module, dict.fromkeys(masks, 1.0)), 16, torch.zeros(1, 2, 6, 6), None, judge(module)
    )
    assert nothing.gain == 0, "there is no reason to convert"


def test_the_shapes_of_a_network_are_those_it_computes_with() -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, (3, 1), groups=2, dilation=(2, 1), padding="same")
    )
    module.extend([nn.Flatten(), nn.Linear(4 * 3 * 4, 3)])
    found = layer_shapes(module, torch.zeros(1, 2, 6, 7), 5)
    assert found == {
        "0.weight": Shape((4, 2, 3, 3), ((6, 3, 2, 1, 1, 1), (7, 3, 2, 1, 1, 1)), 1, 5, 1, "float32"),
        "1.weight": Shape((4, 2, 3, 1), ((3, 3, 1, 2, 2, 2), (4, 1, 1, 0, 0, 1)), 2, 5, 1, "float32"),
        "3.weight": Shape((3, 48), (), 1, 5, 1, "float32"),
    }


class Counting(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.line, self.out = nn.Conv2d(2, 4, 11, dilation=2), nn.Conv1d(4, 4, 3), nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        out: torch.Tensor = self.out(self.line(self.conv(x).flatten(2)).mean(2))
        return out


def test_a_network_whose_forward_is_not_known_is_not_run_and_each_layer_pays_for_its_borders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = Counting()
    shapes = usual_shapes(module, 16)
    assert [axis[0] for axis in shapes["conv.weight"].axes] == [21, 21], "as large as the kernel"
    assert [axis[0] for axis in shapes["line.weight"].axes] == [64]
    assert shapes["out.weight"].axes == ()
    masks = masks_of(module, {"conv.weight": 0.1, "line.weight": 0.1, "out.weight": 0.99})
    asked: list[Shape] = []

    def times(shape: Shape) -> Times:
        asked.append(shape)
        return replace(TIMES, border=90 if len(shape.axes) == 1 else 0)

    monkeypatch.setattr(calibration, "measured", times)
    found = choose(module, masks, 16, torch.zeros(1, 2, 30, 30), None, judge(module))
    assert found.dense == ("line.weight", "out.weight"), "one for its borders, one for its density"
    assert asked == list(shapes.values())
    assert module.calls == 0


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_an_even_kernel_with_the_same_padding_can_be_measured(folder: Path) -> None:
    module: Any = nn.Sequential(nn.Conv2d(2, 4, 2, padding="same"))
    (shape,) = layer_shapes(module, torch.zeros(1, 2, 6, 6), 4).values()
    assert shape.axes[0][3:5] == (0, 1)
    assert measured(shape).dense > 0
