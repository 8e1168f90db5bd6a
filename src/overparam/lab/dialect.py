"""The one dialect of YAML that is read and written: YAML 1.2, core schema, each key once.

PyYAML alone reads YAML 1.1, where ``1e-3`` is text, ``yes`` is true, ``010`` is 8 and ``1:30`` is 90. Here a plain word
is a number, ``true``, ``false`` or ``null`` where the core schema (https://yaml.org/spec/1.2.2/#103-core-schema) says
so, and text everywhere else; keys are always text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from overparam.errors import Keys, SpecError

_TAG = "tag:yaml.org,2002:"


class _Word(NamedTuple):
    """How plain words of one kind look, the characters they begin with, and what they mean."""

    pattern: re.Pattern[str]
    first: list[str]
    meaning: Callable[[str], Any]


_WORDS = {
    "null": _Word(re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""], lambda word: None),
    "bool": _Word(
        re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"), lambda word: word.lower() == "true"
    ),
    "int": _Word(
        re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
        list("-+0123456789"),
        lambda word: int(word, {"0o": 8, "0x": 16}.get(word[:2], 10)),
    ),
    "float": _Word(
        re.compile(r"(?:[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"),
        list("-+.0123456789"),
        lambda word: float(re.sub(r"\.(?=[iInN])", "", word)),
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  PyYAML's name for what plain words mean


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice twice, and not a reference to the first."""
        return True


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    broken = re.search("[\x85\u2028\u2029\ufeff]", text)  # PyYAML takes them for ends of lines and writes them as such
    return dumper.represent_scalar(f"{_TAG}str", text, style='"' if broken else None)


_Dumper.add_representer(str, _written)
for _kind, _word in _WORDS.items():
    _Loader.add_implicit_resolver(_TAG + _kind, _word.pattern, _word.first)


def parse_yaml(text: str, source: str) -> Any:
    """Return what one YAML document means; raises :class:`SpecError` naming ``source``, line and column.

    >>> parse_yaml("{lr: 1e-3, flip: yes, size: 010, name: '1'}", "example")
    {'lr': 0.001, 'flip': 'yes', 'size': 10, 'name': '1'}
    """
    try:
        document = yaml.compose(text, _Loader)
        return None if document is None else _meaning(document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise SpecError(f"{source}{where}: not valid YAML ({what})") from None
    except RecursionError:
        raise SpecError(f"{source}: not valid YAML (it is nested too deeply, or contains itself)") from None


def lines_of(text: str) -> dict[Keys, int]:
    """Return the line, from 1 on, of each key and each entry of a list in a document that can be parsed, by its keys.

    >>> lines_of("a:\\n  b: 1\\nc: [x]")
    {('a',): 1, ('a', 'b'): 2, ('c',): 3, ('c', 0): 3}
    """
    document = yaml.compose(text, _Loader)
    return {} if document is None else dict(_lines(document, ()))


def _lines(node: yaml.Node, at: Keys) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, yaml.MappingNode):
        below = [(key, (*at, key.value), value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = [(value, (*at, place), value) for place, value in enumerate(node.value)]
    else:
        below = []
    for marked, keys, value in below:
        yield keys, marked.start_mark.line + 1
        yield from _lines(value, keys)


def dump_yaml(value: Any) -> str:
    """Return ``value`` (mappings with text as keys, lists, text, numbers, booleans, None) as YAML.

    :func:`parse_yaml` reads it back as the same value: text that looks like a number is put in quotes.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def in_line(value: Any) -> str:
    """Return ``value`` as YAML in one line.

    >>> in_line({"hidden": [300, 100], "name": "mlp"})
    '{hidden: [300, 100], name: mlp}'
    """
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, default_flow_style=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _meaning(node: yaml.Node) -> Any:
    kind, value = node.tag.removeprefix(_TAG), node.value
    if kind == "map" and isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if kind == "seq" and isinstance(node, yaml.SequenceNode):
        return [_meaning(each) for each in value]
    if not isinstance(node, yaml.ScalarNode) or kind not in (*_WORDS, "str"):
        raise _fault(node, f"the tag {node.tag.replace(_TAG, '!!')} is not known here")
    if kind == "str":
        return value
    try:
        if _WORDS[kind].pattern.match(value):
            return _WORDS[kind].meaning(value)
    except ValueError:  # thousands of digits
        pass
    raise _fault(node, f"{value if len(value) < 40 else value[:40] + '...'} is no {kind}")


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if not isinstance(key, str):
            raise _fault(key_node, "a key must be text")
        if key == "<<":
            raise _fault(key_node, "merge keys '<<' are no part of YAML 1.2; write the fields out")
        if key in made:
            raise _fault(key_node, f"the key {key!r} stands here a second time")
        made[key] = _meaning(value_node)
    return made


def _fault(node: yaml.Node, what: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)
