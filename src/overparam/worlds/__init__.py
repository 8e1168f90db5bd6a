"""What data exists and how it is seen: datasets, subsets, label noise, augmentation, batches."""

from overparam.folders import cache_folder
from overparam.worlds import boolean, mnist_1d, regression, text  # noqa: F401  (they register themselves)
from overparam.worlds.augmentation import Augmentation
from overparam.worlds.batch import Batch
from overparam.worlds.builtin import DATASETS
from overparam.worlds.dataset import Dataset
from overparam.worlds.files import data_folders
from overparam.worlds.images import ImageFolder
from overparam.worlds.label_noise import LabelNoise
from overparam.worlds.sources import load_dataset
from overparam.worlds.splits import EndlessSplit, FiniteSplit, Split
from overparam.worlds.task import Classification, NextToken, Reconstruction, Regression, Task
from overparam.worlds.world import World
from overparam.worlds.world_data import WorldData

__all__ = [
    "DATASETS",
    "Augmentation",
    "Batch",
    "Classification",
    "Dataset",
    "EndlessSplit",
    "FiniteSplit",
    "ImageFolder",
    "LabelNoise",
    "NextToken",
    "Reconstruction",
    "Regression",
    "Split",
    "Task",
    "World",
    "WorldData",
    "cache_folder",
    "data_folders",
    "load_dataset",
]
