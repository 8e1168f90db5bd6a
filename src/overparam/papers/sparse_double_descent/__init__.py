"""Sparse Double Descent (He et al., 2022): pruning makes overfitting to noisy labels worse, then better."""

from overparam.papers.sparse_double_descent.finding import finding
from overparam.papers.sparse_double_descent.phases import ArmPhases, find_phases, phase_table, phases

__all__ = ["ArmPhases", "find_phases", "finding", "phase_table", "phases"]
