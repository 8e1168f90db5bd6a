"""The public names: what stands in the ``__all__`` of a module, each described where it has the shortest path."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import overparam
from overparam.registry import Registry
from overparam.report import Axis

ROOT = Path(overparam.__file__).parent


@dataclass(frozen=True)
class Name:
    """One public name.

    Attributes:
        module: the module of the shortest path that has it.
        name: the name there.
    """

    module: str
    name: str

    @cached_property
    def value(self) -> Any:
        """Return what it stands for."""
        return getattr(import_module(self.module), self.name)

    @property
    def path(self) -> str:
        """Return the whole path, such as ``overparam.prune.prune``."""
        return f"{self.module}.{self.name}"

    @cached_property
    def words(self) -> str:
        """Return its docstring; that of a constant stands behind it in the source."""
        value = self.value
        if inspect.isclass(value) or inspect.isroutine(value):
            return inspect.cleandoc(value.__doc__ or "") if _has_own(value) else ""
        return constants(self.module).get(self.name) or _told(value)

    def members(self) -> list[tuple[str, Any]]:
        """Return public methods and properties of a class, those of bases that have no entry of their own included."""
        if not inspect.isclass(self.value):
            return []
        found: dict[str, Any] = {}
        fields = getattr(self.value, "__dataclass_fields__", {})
        for cls in reversed(self.value.__mro__):
            if cls.__module__.startswith("overparam") and (cls is self.value or id(cls) not in homes()):
                found |= {name: each for name, each in vars(cls).items() if name[0] != "_" and _is_member(each)}
        return sorted((name, each) for name, each in found.items() if name not in fields)


def _told(value: Any) -> str:
    """Return what a registry or an axis says of itself, whose constant has no words."""
    if isinstance(value, Registry):
        return f"Each {value.kind} by name, as ``overparam list`` shows them: a :class:`overparam.registry.Registry`."
    return f"The axis {value.title or value.word}." if isinstance(value, Axis) else ""


def _has_own(value: Any) -> bool:
    """Tell whether a class or function says something itself; a dataclass without words is given its signature."""
    return bool(value.__doc__) and not value.__doc__.startswith(f"{value.__name__}(")


def _is_member(each: Any) -> bool:
    return inspect.isroutine(each) or isinstance(each, property | cached_property | classmethod | staticmethod)


@lru_cache
def modules() -> dict[str, tuple[str, ...]]:
    """Return the public modules, those with an ``__all__``, shortest first, each with its names."""
    found = [
        module
        for path in ROOT.rglob("*.py")
        if re.search(r"^__all__\b", path.read_text(), re.M)
        for module in [_dotted(path)]
    ]
    return {
        name: tuple(import_module(name).__all__) for name in sorted(found, key=lambda name: (name.count("."), name))
    }


def _dotted(path: Path) -> str:
    return ".".join(("overparam", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


@lru_cache
def public() -> tuple[Name, ...]:
    """Return every public name once: of several modules that have it, in the one of the shortest path."""
    first: dict[int, Name] = {}
    for module, names in modules().items():
        for name in names:
            made = Name(module, name)
            first.setdefault(id(made.value), made)
    return tuple(first.values())


@lru_cache
def homes() -> dict[int, Name]:
    """Return the public name of each public thing, by identity."""
    return {id(name.value): name for name in public()}


@lru_cache
def constants(module: str) -> dict[str, str]:
    """Return what is said of the constants of a module: the text behind each; of those it imports, where they stand."""
    tree = ast.parse(_source(module))
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("overparam.") and node.module != module:
            wanted = {alias.name: alias.asname or alias.name for alias in node.names}
            if any(name.isupper() or name.istitle() for name in wanted):
                known = constants(node.module or "")
                found |= {ours: known[name] for name, ours in wanted.items() if name in known}
    return found | dict(_stated(tree))


def module_words(module: str) -> str:
    """Return what a module says of itself."""
    return inspect.cleandoc(import_module(module).__doc__ or "")


def _source(module: str) -> str:
    path = ROOT.joinpath(*module.split(".")[1:])
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def _stated(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and text of each assignment with a text behind it."""
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if isinstance(target, ast.Name) and isinstance(text, str):
            yield target.id, inspect.cleandoc(text)


def variables() -> dict[str, str]:
    """Return the environment variables, each with what stands behind its constant in the source."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        for constant, variable in re.findall(r'^(\w+) = "(OVERPARAM_\w+)"$', text, re.M):
            found[variable] = dict(_stated(ast.parse(text))).get(constant, "")
    return found


def undescribed() -> list[str]:
    """Return public names, and public members of classes, of which nothing is said; and variables."""
    found = [name.path for name in public() if not name.words]
    for name in public():
        found += [
            f"{name.path}.{member}" for member, each in name.members() if not inspect.getdoc(_bound(name, member))
        ]
    return found + [variable for variable, words in variables().items() if not words]


def _bound(name: Name, member: str) -> Any:
    """Return a member as its class has it, so that what overrides a described one is described by it."""
    return inspect.getattr_static(name.value, member) if _is_property(name, member) else getattr(name.value, member)


def _is_property(name: Name, member: str) -> bool:
    return isinstance(inspect.getattr_static(name.value, member), property | cached_property)
