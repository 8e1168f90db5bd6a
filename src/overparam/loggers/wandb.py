"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from overparam.loggers.base import LOGGERS, Logger, Row, Session, Told
from overparam.spec import spec


@LOGGERS.named("wandb")
@spec
class Wandb(Logger):
    """Weights & Biases: a run for each chain, in the group ``NAME@REVISION``, with what was swept as its config.

    Under ``measured/`` are the numbers of the table by level, under ``curve/`` learning curves by iteration. A chain
    has the same run id whenever it is logged.

    Args:
        project: of W&B.
        entity: a user or team of W&B; None: your own.
        mode: ``offline`` writes into ``folder`` alone, for ``wandb sync``; None: as W&B is set up (``WANDB_MODE``).
        folder: where W&B keeps its files; None: where it does by itself.

    Example:
        {wandb: {project: pruning, mode: offline}}
    """

    target = "project"
    needs = "wandb"

    project: str = "overparam"
    entity: str | None = None
    mode: Literal["online", "offline", "disabled"] | None = None
    folder: str | None = None

    def begin(self, told: Told) -> Session:
        """Begin; runs are opened when they have something to tell."""
        return _Runs(self, told)


class _Runs(Session):
    def __init__(self, logger: Wandb, told: Told) -> None:
        self.logger, self.told = logger, told
        self.left = {number: chain.rows for number, chain in told.chains.items()}
        self.open: dict[int, Any] = {}

    def _run(self, chain: int) -> Any:
        if chain not in self.open:
            self.open[chain] = self._begun(chain)
        return self.open[chain]

    def _begun(self, number: int) -> Any:
        import wandb

        chain = self.told.chains[number]
        run = wandb.init(
            project=self.logger.project,
            entity=self.logger.entity,
            mode=self.logger.mode,
            dir=self.logger.folder,
            id=f"{self.told.revision}-{number}",  # the same whenever it is logged
            name=chain.name,
            group=self.told.title,
            config={**chain.settings, "study": self.told.name, "revision": self.told.revision, "yaml": self.told.spec},
            reinit="create_new",  # several runs at a time, and no global one that a script of the user's has
            settings=wandb.Settings(console="off", silent=True),
        )
        run.define_metric("curve/*", step_metric="iteration")
        run.define_metric("measured/*", step_metric="place")
        return run

    def point(self, chain: int, iteration: int, numbers: Mapping[str, float]) -> None:
        self._run(chain).log({"iteration": iteration, **{f"curve/{name}": value for name, value in numbers.items()}})

    def row(self, row: Row) -> None:
        measured = {f"measured/{name}": value for name, value in row.numbers.items()}
        self._run(row.chain).log({"place": row.place, **measured})
        self.left[row.chain] -= 1
        if not self.left[row.chain]:
            self.open.pop(row.chain).finish()

    def end(self, complete: bool) -> None:
        for run in self.open.values():
            run.finish(exit_code=0 if complete else 1)
