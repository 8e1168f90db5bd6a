"""The pages of the public Python names: signatures, what they say, arguments, methods and properties."""

from __future__ import annotations

import inspect
import re
from functools import cached_property
from importlib import import_module
from typing import Any

from overparam.reference import names
from overparam.reference.docstrings import parsed
from overparam.reference.fields import fields_of
from overparam.reference.linking import Links, page_of
from overparam.reference.markdown import field_list, prose

WIDE = 88
"""Characters of a signature that stands in one line."""


def module_page(module: str, page: str) -> str:
    """Return the page of the names of a module; those described elsewhere are linked to."""
    links = Links(page)
    here = [name for name in names.public() if name.module == module]
    others = [name for name in names.modules()[module] if name not in {each.name for each in here}]
    said = parsed(names.module_words(module))
    parts = [f"# {module}", prose(said.summary, links.dotted), prose(said.text, links.dotted)]
    if others:
        parts.append("Also here: " + ", ".join(_elsewhere(module, name, links) for name in others) + ".")
    return "\n\n".join(filter(None, [*parts, *(_entry(name, links) for name in here)])) + "\n"


def _elsewhere(module: str, name: str, links: Links) -> str:
    home = names.homes()[id(getattr(import_module(module), name))]
    return f"[`{name}`]({links.to(page_of(home.module), home.path)})"


def _entry(name: names.Name, links: Links) -> str:
    value = name.value
    head = f"## {name.name} {{ #{name.path} }}"
    if not callable(value) or not (inspect.isclass(value) or inspect.isroutine(value)):
        return "\n\n".join(filter(None, [head, prose(name.words, links.dotted)]))
    own = links.entry(value)
    more = f"Its fields: [{value.__name__}]({own})." if own and own != links.name(value) else ""
    said = parsed(name.words)
    fields = "" if more else field_list(_said(value, links), name.path, links.dotted)
    members = [_member(name, member, each, links) for member, each in name.members()]
    signature = f"```python\n{name.name}{_signature(value)}\n```"
    return "\n\n".join(
        filter(
            None,
            [
                head,
                signature,
                prose(said.summary, links.dotted),
                prose(said.text, links.dotted),
                more,
                fields,
                *members,
            ],
        )
    )


def _said(value: Any, links: Links) -> list[Any]:
    """Return the arguments of which something is said; the signature has them all."""
    try:
        return [field for field in fields_of(value, (), links.thing) if field.words]
    except (TypeError, ValueError):  # such as an exception, whose constructor is Python's own
        return []


def _member(name: names.Name, member: str, each: Any, links: Links) -> str:
    is_property = isinstance(each, property | cached_property)
    call = "" if is_property else _signature(getattr(name.value, member))
    said = parsed(inspect.getdoc(each if is_property else getattr(name.value, member)) or "")
    args = "\n".join(f"- `{key}`: {prose(words, links.dotted)}" for key, words in said.args.items())
    head = f"### {name.name}.{member} {{ #{name.path}.{member} }}"
    code = f"```python\n{name.name}.{member}{call}\n```"
    return "\n\n".join(
        filter(None, [head, code, prose(said.summary, links.dotted), prose(said.text, links.dotted), args])
    )


def _signature(value: Any) -> str:
    """Return a signature without ``self``, a parameter a line where it is long."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    kept = [each for each in found.parameters.values() if each.name not in ("self", "cls")]
    returned = inspect.Signature.empty if inspect.isclass(value) else found.return_annotation
    whole = _plain(str(found.replace(parameters=kept, return_annotation=returned)))
    if len(whole) <= WIDE:
        return whole
    lines = [f"    {_plain(str(each))}," for each in _with_marks(kept)]
    end = "" if returned is inspect.Signature.empty else f" -> {_plain(inspect.formatannotation(returned))}"
    return "\n".join(["(", *lines, f"){end}"])


def _with_marks(parameters: list[inspect.Parameter]) -> list[Any]:
    """Return parameters with the star before those that are given by name only."""
    named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    others = [each for each in parameters if each.kind is not each.KEYWORD_ONLY]
    open_ended = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    first = [each for each in others if each.kind is not each.VAR_KEYWORD]
    star = ["*"] if named and not open_ended else []
    return [*first, *star, *named, *(each for each in others if each.kind is each.VAR_KEYWORD)]


def _plain(text: str) -> str:
    """Return annotations without modules, quotes and limits, which stand with the fields."""
    text = re.sub(r"(?<=: )'([^']*)'|(?<=-> )'([^']*)'", lambda found: found[1] or found[2], text)
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)
    while (start := text.find("Annotated[")) >= 0:
        first, end = _parts(text, start + len("Annotated["))
        text = text[:start] + text[start + len("Annotated[") : first] + text[end + 1 :]
    return re.sub(r"<(?:function|class) '?([\w.]+).*?>|<factory>|<\w.*>(?=\)?$)", lambda found: found[1] or "...", text)


def _parts(text: str, start: int) -> tuple[int, int]:
    """Return where the first of the parts in brackets ends that begin at ``start``, and where their bracket closes."""
    depth, first = 0, 0
    for place in range(start, len(text)):
        if not depth and text[place] in ",]":
            first = first or place
            if text[place] == "]":
                return first, place
        depth += (text[place] in "[(") - (text[place] in ")]")
    raise AssertionError(f"a bracket is not closed in {text!r}")
