"""The laboratory: chains, studies, the plan, the store and the workers. It knows files and no science."""

from overparam.lab.chain import Branch, Chain, Repeat
from overparam.lab.dialect import parse_yaml
from overparam.lab.parsing import built_in_studies
from overparam.lab.progress import LogReporter, PlainReporter, Reporter, reporter_for
from overparam.lab.results import Results, load_module, load_results
from overparam.lab.status import status
from overparam.lab.store import Store
from overparam.lab.study import Study

__all__ = [
    "Branch",
    "Chain",
    "LogReporter",
    "PlainReporter",
    "Repeat",
    "Reporter",
    "Results",
    "Store",
    "Study",
    "built_in_studies",
    "load_module",
    "load_results",
    "parse_yaml",
    "reporter_for",
    "status",
]
