"""The pages of the reference, by path."""

from __future__ import annotations

import re
from typing import Any

from overparam.lab import Study
from overparam.reference import names
from overparam.reference.docstrings import docstring_of, parsed
from overparam.reference.fields import fields_of
from overparam.reference.kinds import KINDS, Kind, Thing, things
from overparam.reference.linking import SETTINGS, Links, axes, page_of
from overparam.reference.markdown import field_list, prose
from overparam.reference.python import module_page
from overparam.report.glossary import GLOSSARY

COMMON = ("label", "called", "world")
"""Fields that every step has; they are described once."""


def pages() -> dict[str, str]:
    """Return the reference but for the commands, as Markdown by path; see :mod:`overparam.reference.commands`."""
    return {
        "reference/index.md": _index(),
        "reference/study.md": _study("reference/study.md"),
        **{f"reference/{kind.word}.md": _kind(kind, f"reference/{kind.word}.md") for kind in KINDS.values()},
        "reference/axes.md": _axes(),
        "reference/environment.md": _environment(),
        "reference/glossary.md": _glossary(),
        "reference/python/index.md": _python(),
        **{page_of(module): module_page(module, page_of(module)) for module in names.modules()},
    }


def navigation() -> list[Any]:
    """Return the pages as a list of titles and paths that nests, as MkDocs has it."""
    return [
        "reference/index.md",
        {"Study and world": "reference/study.md"},
        *({kind.word.capitalize(): f"reference/{kind.word}.md"} for kind in KINDS.values()),
        {"Axes": "reference/axes.md"},
        {"Commands": "reference/commands.md"},
        {"Environment variables": "reference/environment.md"},
        {"Glossary": "reference/glossary.md"},
        {"Python": ["reference/python/index.md", *({module: page_of(module)} for module in names.modules())]},
    ]


def _index() -> str:
    found = things()
    named = {word: ", ".join(_link(each) for each in found if each.kind.word == word) for word in KINDS}
    rows = [f"| [{word.capitalize()}]({word}.md) | {links} |" for word, links in named.items()]
    return "\n".join(
        [
            "# Reference\n",
            "Everything that a study file, a command or a line of Python can say. It is made from the source: what a "
            "field means, its default and its range are what the code has.\n",
            "A field is given with the values it takes and its default. In a study file, things with fields are "
            "written `{name: {field: value}}`; names alone take the defaults. Paths such as `prune.criterion` or "
            "`train.optimizer.sgd.momentum` name a field for `--set`, `--sweep`, `sweep` and `variants`.\n",
            "| kind | what there is |\n|---|---|",
            "| [Study and world](study.md) | the fields of a study, its world and its network |",
            *rows,
            "| [Axes](axes.md) | what tables and charts are over |",
            "| [Commands](commands.md) | every command with its options |",
            "| [Environment variables](environment.md) | what is set for a machine |",
            "| [Glossary](glossary.md) | every word that is ours, in one sentence |",
            "| [Python](python/index.md) | every public name |\n",
        ]
    )


def _link(each: Thing) -> str:
    return f"[{each.name}]({each.kind.word}.md#{each.name})"


def _kind(kind: Kind, page: str) -> str:
    links = Links(page)
    found = [each for each in things() if each.kind is kind]
    parts = [f"# {kind.word.capitalize()}", kind.intro]
    if kind.word == "steps":
        common = [field for field in found[0].fields(links.thing) if field.name in COMMON]
        parts += ["Every step has these fields besides its own:", field_list(common, "every", links.dotted)]
    return "\n\n".join([*parts, *(_thing(each, links) for each in found)]) + "\n"


def _thing(each: Thing, links: Links) -> str:
    said = docstring_of(each.thing)
    skipped = COMMON if each.kind.word == "steps" else ()
    listed = [field for field in each.fields(links.thing) if field.name not in skipped]
    home = links.name(each.thing)
    parts = [
        f"## {each.name} {{ #{each.name} }}",
        prose(said.summary, links.dotted),
        prose(said.text, links.dotted),
        f"In Python: [`{each.thing.__name__}`]({home})" if home else "",
        field_list(listed, each.name, links.dotted),
        f"```yaml\n{each.yaml}\n```\n\n```python\n{code(each)}\n```",
    ]
    return "\n\n".join(filter(None, parts))


def code(each: Thing) -> str:
    """Return the Python example of a thing with its imports, ready to be run."""
    text = each.code
    own = names.homes().get(id(each.thing))
    called = {*re.findall(r"\b[A-Z]\w*(?=\()", text), *({own.name} if own else ())}
    found = {name.name: name for name in reversed(names.public()) if name.name in called and name.name in text}
    near = {name.name: name for name in names.public() if own and name.module == own.module and name.name in found}
    imports = sorted({f"from {name.module} import {name.name}" for name in {**found, **near}.values()})
    return "\n".join([*(["import torch\n"] if "torch." in text else []), *imports, "", text])


def _study(page: str) -> str:
    links = Links(page)
    said = docstring_of(Study)
    study = fields_of(Study, ("settings",), links.thing)
    parts = [
        "# Study and world",
        "A study file is one mapping with the fields below, and beside them the settings of its steps by the steps' "
        "names (`train: {...}`, `prune: {...}`); in Python they are the arguments of [`overparam.Study`]"
        f"({links.name(Study)}).",
        "## Study { #study }",
        prose(said.summary, links.dotted),
        field_list(study, "study", links.dotted),
        "## Chain { #chain }",
        "A chain is a list of steps: the name of a step, which takes the settings that the study has for it "
        "(`train`); a step with a value for its main field (`{rewind: init}`); or with fields of its own "
        "(`{prune: {density: 0.1}}`). Two entries hold steps themselves:",
        "`{repeat: TIMES, steps: [...]}`\n\n:   These steps in order, so many times over; repeats nest.",
        "`{branch: NAME, steps: [...]}`\n\n:   These steps leave the chain here and end: they are measured, and the "
        "chain goes on as if they were not there. In tables a branch is a variant of its name.",
        *(_setting(cls, links) for cls in SETTINGS),
    ]
    return "\n\n".join(parts) + "\n"


def _setting(cls: type, links: Links) -> str:
    said, key = docstring_of(cls), cls.__name__.lower()
    example = f"```yaml\n{said.example}\n```" if said.example else ""
    parts = [
        f"## {cls.__name__} {{ #{key} }}",
        prose(said.summary, links.dotted),
        prose(said.text, links.dotted),
        field_list(fields_of(cls, (), links.thing), key, links.dotted) if said.args else "",
        example,
    ]
    return "\n\n".join(filter(None, parts))


def _axes() -> str:
    rows = [
        f"| `{name}` | {axis.title or axis.word} | {axis.at(0.5 if name == 'density' else 4)} |"
        for name, axis in axes()
    ]
    return "\n".join(
        [
            "# Axes\n",
            "What tables, charts and sentences of a study are over: `axis`. Any swept path and any measured column can "
            "be one; these have words of their own.\n",
            "| axis | title | a place on it |\n|---|---|---|",
            *rows,
            "\n```yaml\naxis: network.width\n```\n",
        ]
    )


def _environment() -> str:
    entries = [f"`{name}`\n\n:   {prose(words, lambda path: None)}" for name, words in names.variables().items()]
    return "\n\n".join(
        ["# Environment variables", "They change where things are and how fast, never a result.", *entries, ""]
    )


def _glossary() -> str:
    entries = [
        f'<span id="{word.replace(" ", "-")}">{word}</span>\n\n:   {GLOSSARY[word]}' for word in sorted(GLOSSARY)
    ]
    return "\n\n".join(["# Glossary", "Each word in the one sense in which it is used here.", *entries, ""])


def _python() -> str:
    rows = [
        f"| [`{module}`]({module}.md) | {parsed(names.module_words(module)).summary} |" for module in names.modules()
    ]
    return "\n".join(
        [
            "# Python\n",
            "Every public name. What is used most stands in `overparam` itself; each room also works alone, with plain "
            "tensors and modules.\n",
            "| module | what it is for |\n|---|---|",
            *rows,
            "",
        ]
    )
