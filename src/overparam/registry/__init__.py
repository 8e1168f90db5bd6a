"""Names for things: how a word in a study file finds the class, function or object that it means."""

from overparam.errors import suggest
from overparam.registry.importing import import_path
from overparam.registry.plug_ins import PlugIn, plug_ins
from overparam.registry.registry import Registry, identified

__all__ = ["PlugIn", "Registry", "identified", "import_path", "plug_ins", "suggest"]
