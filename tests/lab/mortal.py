"""A network that kills its own process: in a module of its own, since worker processes import it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from torch import Tensor, nn


class Mortal(nn.Module):
    """A linear network that ends its process in training, once or always; ``flag`` is a file that notes deaths."""

    def __init__(self, input_shape: tuple[int, ...], classes: int, flag: str, times: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], classes)
        self.flag, self.times = Path(flag), times

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            deaths = self.flag.stat().st_size if self.flag.exists() else 0
            if deaths < self.times:
                with self.flag.open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(inputs)
