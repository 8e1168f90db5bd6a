"""Behaviours: chance, control flow, and state besides parameters."""

from __future__ import annotations

import itertools
import random
from typing import Any, ClassVar

import numpy as np
import torch
from conformance_parts import WIDTH, Net
from torch import Tensor, nn
from torch.nn import functional as F

# chance


def torch_noise(base: type[Net]) -> type[Net]:
    class Noisy(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            h = self.hidden(h)
            return h + 0.1 * torch.randn(WIDTH) if self.training else h

    return Noisy


def python_noise(base: type[Net]) -> type[Net]:
    class Scaled(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            return torch.relu(self.hidden(h)) * (random.random() + 0.5)

    return Scaled


def numpy_noise(base: type[Net]) -> type[Net]:
    class Jittered(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h + torch.from_numpy(np.random.normal(size=WIDTH).astype("float32")))  # noqa: NPY002

    return Jittered


def stochastic_depth(base: type[Net]) -> type[Net]:
    class Depth(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            return h if self.training and torch.rand(1).item() < 0.5 else h + self.hidden(h)

    return Depth


def random_order(base: type[Net]) -> type[Net]:
    class Shuffled(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.more = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def middle(self, h: Tensor) -> Tensor:
            for number in random.sample(range(3), 2):
                h = torch.tanh(self.more[number](h))
            return self.hidden(h)

    return Shuffled


def dropouts(base: type[Net]) -> type[Net]:
    class Dropping(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.drop = nn.Dropout(0.3)

        def middle(self, h: Tensor) -> Tensor:
            return F.dropout(self.hidden(self.drop(h)), 0.2, self.training)

    return Dropping


def own_generator(base: type[Net]) -> type[Net]:
    class Drawing(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.generator = torch.Generator().manual_seed(1)

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h * torch.bernoulli(torch.full((WIDTH,), 0.8), generator=self.generator))

    return Drawing


def own_numpy_generator(base: type[Net]) -> type[Net]:
    class Drawing(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.generator = np.random.default_rng(1)

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) * float(self.generator.uniform(0.5, 1))

    return Drawing


def gumbel_gates(base: type[Net]) -> type[Net]:
    class Gated(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.gate = nn.Linear(WIDTH, 2)

        def middle(self, h: Tensor) -> Tensor:
            return F.gumbel_softmax(self.gate(h), hard=True)[:, :1] * self.hidden(h)

    return Gated


def reseeding(base: type[Net]) -> type[Net]:
    class Reseeding(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            torch.manual_seed(4)
            return self.hidden(h) + torch.randn(WIDTH)

    return Reseeding


# control flow


def branch_on_data(base: type[Net]) -> type[Net]:
    class Branching(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) if h.sum() > 0.1 * len(h) else self.hidden(-h).relu()

    return Branching


def early_exit(base: type[Net]) -> type[Net]:
    class Exiting(base):  # type: ignore[misc,valid-type]
        def forward(self, x: Tensor) -> Tensor:
            h = self.encode(x)
            for _ in range(4):
                if h.norm() > 3:
                    return self.out(h)
                h = h + self.hidden(h)
            return self.out(-h)

    return Exiting


def called_often(base: type[Net]) -> type[Net]:
    class Often(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            for _ in range(3):
                h = torch.tanh(self.hidden(h))
            return h

    return Often


def called_now_and_then(base: type[Net]) -> type[Net]:
    class Sometimes(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.count = 0

        def middle(self, h: Tensor) -> Tensor:
            self.count += 1
            return self.hidden(h) if self.count % 2 else h

    return Sometimes


def never_called(base: type[Net]) -> type[Net]:
    class Never(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.unused = nn.Linear(5, 5)

    return Never


def optional_layer(base: type[Net]) -> type[Net]:
    class Optional(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.extra: nn.Module | None = None

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) if self.extra is None else self.extra(h)

    return Optional


def exceptions(base: type[Net]) -> type[Net]:
    class Trying(base):  # type: ignore[misc,valid-type]
        def middle(self, h: Tensor) -> Tensor:
            try:
                return self.hidden(h[:, :5])
            except Exception:  # noqa: BLE001
                return self.hidden(h).sigmoid()

    return Trying


def iterators(base: type[Net]) -> type[Net]:
    class Cycling(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.signs = itertools.cycle([1.0, -0.5])

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h) * next(self.signs)

    return Cycling


def routed(base: type[Net]) -> type[Net]:
    class Experts(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.experts = nn.ModuleDict({"a": nn.Linear(WIDTH, WIDTH), "b": nn.Linear(WIDTH, WIDTH)})

        def middle(self, h: Tensor) -> Tensor:
            out = torch.zeros_like(h)
            for expert, chosen in zip(self.experts.values(), (h[:, 0] > 0.2, h[:, 0] <= 0.2), strict=True):
                if chosen.any():
                    out = out.index_put((chosen,), expert(h[chosen]))
            return self.hidden(out)

    return Experts


# state


def counter(base: type[Net]) -> type[Net]:
    class Counting(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.n = 0

        def middle(self, h: Tensor) -> Tensor:
            self.n += 1
            return self.hidden(h) / self.n

    return Counting


def class_counter(base: type[Net]) -> type[Net]:
    class Counting(base):  # type: ignore[misc,valid-type]
        calls: ClassVar[list[int]] = []

        def begin(self) -> None:
            self.calls.clear()

        def middle(self, h: Tensor) -> Tensor:
            self.calls.append(len(h))
            return self.hidden(h) / len(self.calls)

    return Counting


def running_mean(base: type[Net]) -> type[Net]:
    class Centred(base):  # type: ignore[misc,valid-type]
        mean: Tensor

        def begin(self) -> None:
            self.register_buffer("mean", torch.zeros(WIDTH))

        def middle(self, h: Tensor) -> Tensor:
            if self.training:
                self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
            return self.hidden(h - self.mean)

    return Centred


def replaced_buffer(base: type[Net]) -> type[Net]:
    class Centred(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.register_buffer("mean", torch.zeros(WIDTH), persistent=False)

        def middle(self, h: Tensor) -> Tensor:
            self.mean = 0.5 * self.mean + 0.5 * h.detach().mean(0)
            return self.hidden(h - self.mean)

    return Centred


def plain_tensor(base: type[Net]) -> type[Net]:
    class Remembering(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.last: Tensor | None = None

        def middle(self, h: Tensor) -> Tensor:
            out = self.hidden(h if self.last is None else h + 0.3 * self.last)
            self.last = out.detach()
            return out

    return Remembering


def history(base: type[Net]) -> type[Net]:
    class Logging(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.seen: list[Any] = []
            self.statistics: dict[str, float] = {}

        def middle(self, h: Tensor) -> Tensor:
            out = self.hidden(h)
            self.seen.append(tuple(out.shape))
            self.statistics["calls"] = self.statistics.get("calls", 0) + 1
            return out * self.statistics["calls"]

    return Logging


def warm_up(base: type[Net]) -> type[Net]:
    class Warming(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.register_buffer("step", torch.zeros((), dtype=torch.int64))

        def middle(self, h: Tensor) -> Tensor:
            self.step += 1
            return self.hidden(h) if self.step > 2 else h

    return Warming


def freezing_parts(base: type[Net]) -> type[Net]:
    class Frozen(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.norm2 = nn.BatchNorm1d(WIDTH)

        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.norm2.eval()
            return self

        def middle(self, h: Tensor) -> Tensor:
            return self.norm2(self.hidden(h))

    return Frozen


CHANCE = {
    "torch noise": torch_noise,
    "python noise": python_noise,
    "numpy noise": numpy_noise,
    "stochastic depth": stochastic_depth,
    "random order": random_order,
    "dropouts": dropouts,
    "own generator": own_generator,
    "own numpy generator": own_numpy_generator,
    "gumbel gates": gumbel_gates,
    "reseeding": reseeding,
    "branch on data": branch_on_data,
    "early exit": early_exit,
    "called often": called_often,
    "called now and then": called_now_and_then,
    "never called": never_called,
    "optional layer": optional_layer,
    "exceptions": exceptions,
    "iterators": iterators,
    "routed": routed,
    "counter": counter,
    "class counter": class_counter,
    "running mean": running_mean,
    "replaced buffer": replaced_buffer,
    "plain tensor": plain_tensor,
    "history": history,
    "warm up": warm_up,
    "freezing parts": freezing_parts,
}
TRACES = {
    "counter": ("n",),
    "called now and then": ("count",),
    "plain tensor": ("last",),
    "replaced buffer": ("mean",),
    "history": ("seen", "statistics"),
    "class counter": ("calls",),
}
