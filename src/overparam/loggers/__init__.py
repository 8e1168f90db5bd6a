"""Loggers: what a study's rows are told to as they come in, one file a kind; none of them can change a result."""

from overparam.loggers.base import LOGGERS, LoggedChain, Logger, Row, Session, Told
from overparam.loggers.csv import Csv
from overparam.loggers.jsonl import JsonLines
from overparam.loggers.mlflow import Mlflow
from overparam.loggers.tensorboard import TensorBoard
from overparam.loggers.wandb import Wandb

__all__ = [
    "LOGGERS",
    "Csv",
    "JsonLines",
    "LoggedChain",
    "Logger",
    "Mlflow",
    "Row",
    "Session",
    "TensorBoard",
    "Told",
    "Wandb",
]
