"""TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from overparam.files import check_writable
from overparam.loggers.base import LOGGERS, Logger, Row, Session, Told
from overparam.spec import spec

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

SUFFIX = ".overparam"  # of our event files, which are replaced; others in the folder stay


@LOGGERS.named("tensorboard")
@spec
class TensorBoard(Logger):
    """Event files for TensorBoard, a run for each chain: ``FOLDER/NAME@REVISION/CHAIN``.

    Under ``measured/`` are the numbers of the table by level, under ``curve/`` learning curves by iteration, under
    HParams what was swept.

    Args:
        folder: what ``tensorboard --logdir`` is given.

    Example:
        {tensorboard: {folder: logs}}
    """

    target = "folder"
    needs = "tensorboard"

    folder: str

    def check(self) -> None:
        """Refuse a folder that cannot be written."""
        super().check()
        check_writable(Path(self.folder) / "overparam", "log tensorboard:")

    def begin(self, told: Told) -> Session:
        """Begin; the event files of this revision go, since all of its rows are told anew."""
        home = Path(self.folder) / told.title
        for path in home.glob(f"**/events.out.tfevents.*{SUFFIX}"):
            path.unlink(missing_ok=True)
        return _Board(home, told)


class _Board(Session):
    def __init__(self, home: Path, told: Told) -> None:
        self.home, self.told = home, told
        self.left = {number: chain.rows for number, chain in told.chains.items()}
        self.open: dict[int, SummaryWriter] = {}

    def _writer(self, chain: int) -> SummaryWriter:
        if chain not in self.open:
            self.open[chain] = _writer(self.home / folder_name(self.told, chain), self.told.chains[chain].settings)
        return self.open[chain]

    def point(self, chain: int, iteration: int, numbers: Mapping[str, float]) -> None:
        writer = self._writer(chain)
        for name, value in numbers.items():
            writer.add_scalar(f"curve/{name}", value, iteration)
        writer.flush()

    def row(self, row: Row) -> None:
        writer = self._writer(row.chain)
        for name, value in row.numbers.items():
            writer.add_scalar(f"measured/{name}", value, row.place)
        writer.flush()
        self.left[row.chain] -= 1
        if not self.left[row.chain]:
            self.open.pop(row.chain).close()

    def end(self, complete: bool) -> None:
        for writer in self.open.values():
            writer.close()


def _writer(folder: Path, settings: Mapping[str, Any]) -> SummaryWriter:
    """Return a writer into a folder, which has written what HParams needs."""
    from torch.utils.tensorboard.summary import hparams
    from torch.utils.tensorboard.writer import SummaryWriter

    writer: Any = SummaryWriter(str(folder), filename_suffix=SUFFIX)
    plain = {name: value for name, value in settings.items() if isinstance(value, bool | int | float | str)}
    for summary in cast(Any, hparams)(plain, {"measured/test_accuracy": 0.0, "measured/test_loss": 0.0}):
        writer.file_writer.add_summary(summary)
    return cast("SummaryWriter", writer)


def folder_name(told: Told, chain: int) -> str:
    """Return what a chain's folder is called, whatever a user's variants are."""
    plain = re.sub(r"[^\w .,=+-]+", "_", told.chains[chain].name).strip(" .")[:100]
    return f"{chain:03} {plain}".strip()
