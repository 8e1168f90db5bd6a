"""The commands of the command line, with every argument and option, as Markdown."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument


def commands(root: Any, path: str = "overparam") -> Iterator[tuple[str, Any]]:
    """Yield every command below ``root`` that runs something, with its whole name, in alphabetical order."""
    children = getattr(root, "commands", {})
    if not children or getattr(root, "invoke_without_command", False):
        yield path, root
    for name in sorted(children):
        if not children[name].hidden:
            yield from commands(children[name], f"{path} {name}")


def parameters(command: Any) -> list[Any]:
    """Return the arguments and options of a command that are to be seen."""
    return [each for each in command.params if not getattr(each, "hidden", False)]


def undescribed(root: Any) -> list[str]:
    """Return the commands without a word, and the arguments and options without one."""
    every = [("overparam", root), *commands(root)]
    found = [path for path, command in every if not command.help]
    return found + [
        f"{path} {_spelled(each)}" for path, command in every for each in parameters(command) if not _help(each)
    ]


def page(root: Any) -> str:
    """Return the page of all commands."""
    own = "\n\n".join(_parameter(each, "overparam") for each in parameters(root))
    intro = f"{root.help} `--help` behind a command says what stands here."
    parts = [f"# Commands\n\n{intro}\n\n```\noverparam [OPTIONS] COMMAND ...\n```\n\n{own}"]
    return "\n\n".join([*parts, *(_command(path, each) for path, each in commands(root))]) + "\n"


def _command(path: str, command: Any) -> str:
    arguments = [each for each in parameters(command) if isinstance(each, TyperArgument)]
    usage = " ".join([path, *(str(each.metavar or each.name) for each in arguments)])
    words = inspect.cleandoc(command.help or "").replace("<", "&lt;").replace("*", r"\*")
    listed = "\n\n".join(_parameter(each, path) for each in parameters(command))
    return f"## `{path}` {{ #{_anchor(path)} }}\n\n{words}\n\n```\n{usage} [OPTIONS]\n```\n\n{listed}"


def _parameter(each: Any, path: str) -> str:
    name = f'<span id="{_anchor(path)}.{each.name}">`{_spelled(each)}`</span>'
    return f"{name}{_default(each)}\n\n:   {_help(each).replace('<', '&lt;')}"


def _spelled(each: Any) -> str:
    """Return a parameter as it is typed, with what stands behind it."""
    if isinstance(each, TyperArgument):
        return str(each.metavar or each.name)
    flags = ", ".join([*each.opts, *each.secondary_opts])
    return flags if each.is_flag else f"{flags} {each.metavar or each.name.upper()}"


def _help(each: Any) -> str:
    return str(getattr(each, "help", None) or "").strip()


def _default(each: Any) -> str:
    if each.required:
        return " · **required**"
    shown: Any = each.default
    if shown is None or shown == "" or callable(shown) or getattr(each, "is_flag", False):
        return " · may be repeated" if each.multiple else ""
    return f" · default `{shown}`"


def _anchor(path: str) -> str:
    return path.replace(" ", "-")
