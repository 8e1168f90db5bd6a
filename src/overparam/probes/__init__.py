"""Probes: each looks at a checkpoint in a world and returns numbers; none changes anything."""

from overparam.probes.accuracy import Accuracy
from overparam.probes.activations import Activations
from overparam.probes.base import PROBES, Measurements, PairProbe, Probe, View
from overparam.probes.cost import Cost
from overparam.probes.density import Density
from overparam.probes.early_stop import EarlyStop
from overparam.probes.filter_normalised import FilterNormalised
from overparam.probes.latency import Latency
from overparam.probes.layer_error import LayerError
from overparam.probes.learning_distance import LearningDistance
from overparam.probes.linear_path import LinearPath
from overparam.probes.mask_overlap import MaskOverlap
from overparam.probes.sensitivity import Sensitivity

__all__ = [
    "PROBES",
    "Accuracy",
    "Activations",
    "Cost",
    "Density",
    "EarlyStop",
    "FilterNormalised",
    "Latency",
    "LayerError",
    "LearningDistance",
    "LinearPath",
    "MaskOverlap",
    "Measurements",
    "PairProbe",
    "Probe",
    "Sensitivity",
    "View",
]
