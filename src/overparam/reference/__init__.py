"""The reference: every field, name and command, read from registries, annotations and docstrings, as Markdown pages.

Nothing is written here twice: what a field means stands in the docstring of its class, under ``Args:``, or in the type
that several share. :func:`overparam.reference.pages.pages` makes all pages; ``make docs`` puts them into the site.
"""

from overparam.reference.docstrings import Docstring, docstring_of
from overparam.reference.fields import REQUIRED, Field, fields_of

#
__all__ = ["REQUIRED", "Docstring", "Field", "docstring_of", "fields_of"]
