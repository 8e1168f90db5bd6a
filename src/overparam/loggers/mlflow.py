"""MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from overparam.loggers.base import LOGGERS, LoggedChain, Logger, Row, Session, Told
from overparam.spec import spec

TAG = "overparam.study"
MOST = 1000  # metrics that one call takes


@LOGGERS.named("mlflow")
@spec
class Mlflow(Logger):
    """MLflow: a run for each chain, in an experiment named after the study, with what was swept as its parameters.

    Under ``measured/`` are the numbers of the table by level, under ``curve/`` learning curves by iteration.

    Args:
        uri: of the tracking server, or a folder's; None: as MLflow is set up (``MLFLOW_TRACKING_URI``).
        experiment: what runs are filed under; None: the study's name.

    Example:
        {mlflow: {uri: "sqlite:///mlflow.db"}}
    """

    target = "uri"
    needs = "mlflow"

    uri: str | None = None
    experiment: str | None = None

    def begin(self, told: Told) -> Session:
        """Begin; the runs of this revision are deleted, since all of its rows are told anew."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        name = self.experiment or told.name
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        ours = f"tags.`{TAG}` = '{told.title}'"
        while runs := client.search_runs([experiment], ours):  # of those that are not deleted, some at a time
            for run in runs:
                client.delete_run(run.info.run_id)
        return _Runs(client, experiment, told)


class _Runs(Session):
    def __init__(self, client: Any, experiment: str, told: Told) -> None:
        self.client, self.experiment, self.told = client, experiment, told
        self.left = {number: chain.rows for number, chain in told.chains.items()}
        self.open: dict[int, str] = {}

    def _run(self, number: int) -> str:
        if number not in self.open:
            self.open[number] = self._begun(self.told.chains[number])
        return self.open[number]

    def _begun(self, chain: LoggedChain) -> str:
        made = self.client.create_run(self.experiment, run_name=chain.name, tags={TAG: self.told.title})
        run: str = made.info.run_id
        for name, value in chain.settings.items():
            self.client.log_param(run, name, value)
        self.client.log_text(run, self.told.spec, "study.yaml")
        return run

    def _log(self, chain: int, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now, run = round(1000 * time.time()), self._run(chain)
        metrics = [Metric(name, float(value), now, step) for name, value in numbers.items()]
        for start in range(0, len(metrics), MOST):
            self.client.log_batch(run, metrics=metrics[start : start + MOST])

    def point(self, chain: int, iteration: int, numbers: Mapping[str, float]) -> None:
        self._log(chain, iteration, {f"curve/{name}": value for name, value in numbers.items()})

    def row(self, row: Row) -> None:
        self._log(row.chain, row.place, {f"measured/{name}": value for name, value in row.numbers.items()})
        self.left[row.chain] -= 1
        if not self.left[row.chain]:
            self.client.set_terminated(self.open.pop(row.chain))

    def end(self, complete: bool) -> None:
        for run in self.open.values():
            self.client.set_terminated(run, None if complete else "KILLED")
