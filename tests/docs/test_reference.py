"""The reference has every public name, every field and every command option, each with words; adding one without fails.

What there is is found here by another way than the generator's: from registries, dataclasses and Python's own
signatures, from ``__all__`` and from the command line's parameters.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import overparam
from overparam import Study
from overparam.cli import app
from overparam.lab import parse_yaml
from overparam.lab.parsing import FIELDS
from overparam.listing import REGISTRIES
from overparam.prune import CRITERIA
from overparam.reference import commands, kinds, names, pages
from overparam.reference.docstrings import parsed
from overparam.reference.linking import SETTINGS
from overparam.spec import spec

ROOT = Path(overparam.__file__).parent
COMMAND: Any = typer.main.get_command(app)
CALLED_WITH = {"input_shape", "classes", "outputs", "vocabulary", "iteration", "total", "per_epoch", "targets"}


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return {**pages.pages(), "reference/commands.md": commands.page(COMMAND)}


def described(page: str, anchor: str) -> bool:
    """Whether a page has an entry of this anchor, with words below it."""
    found = re.search(rf'^<span id="{re.escape(anchor)}">.*\n\n:   (.*)$', page, re.M)
    return found is not None and len(found[1].split()) >= 2


def fields(thing: Any) -> set[str]:
    """The names of what a thing can be given, found by Python's own means."""
    if dataclasses.is_dataclass(thing):
        return {field.name for field in dataclasses.fields(thing)}
    return set(inspect.signature(thing).parameters) - CALLED_WITH


def test_every_field_of_every_thing_is_described(reference: dict[str, str]) -> None:
    lacking = []
    for word, registry in REGISTRIES.items():
        page = reference[f"reference/{word}.md"]
        for name in registry:
            assert f"## {name} {{ #{name} }}" in page
            own = fields(registry.get(name)) - (set(pages.COMMON) if word == "steps" else set())
            lacking += [f"{name}.{field}" for field in sorted(own) if not described(page, f"{name}.{field}")]
    assert lacking == []
    assert all(described(reference["reference/steps.md"], f"every.{field}") for field in pages.COMMON)


def test_every_field_of_a_study_and_its_parts_is_described(reference: dict[str, str]) -> None:
    page = reference["reference/study.md"]
    wanted = [f"study.{field}" for field in FIELDS]
    wanted += [f"{cls.__name__.lower()}.{field}" for cls in SETTINGS[:-1] for field in fields(cls)]
    assert [anchor for anchor in wanted if not described(page, anchor)] == []


def test_every_public_name_is_described(reference: dict[str, str]) -> None:
    """What stands in any ``__all__``, found in the text of the source, has an entry; and so have members of classes."""
    anchors = {anchor for page in reference.values() for anchor in re.findall(r"^###? .* \{ #(\S+) \}$", page, re.M)}
    lacking, public = [], 0
    for path in ROOT.rglob("*.py"):
        if not re.search(r"^__all__\b", path.read_text(), re.M):
            continue
        module = import_module(
            ".".join(("overparam", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        )
        for name in module.__all__:
            public += 1
            homes = [each for each in names.public() if each.value is getattr(module, name)]
            lacking += [] if any(each.path in anchors for each in homes) else [f"{module.__name__}.{name}"]
    assert public > 200
    assert lacking == []
    assert names.undescribed() == []


def test_every_command_argument_and_option_is_described(reference: dict[str, str]) -> None:
    page, lacking, count = reference["reference/commands.md"], [], 0

    def walk(command: Any, path: str) -> None:
        nonlocal count
        for each in command.params:
            count += 1
            if not getattr(each, "hidden", False) and not described(page, f"{path}.{each.name}"):
                lacking.append(f"{path} {each.name}")
        for name, inner in getattr(command, "commands", {}).items():
            if not inner.hidden:
                assert inner.help, f"{path} {name} has no help"
                walk(inner, f"{path}-{name}")

    walk(COMMAND, "overparam")
    assert count > 50
    assert lacking == []


def test_what_the_pages_import_is_public() -> None:
    """A name that a page tells to import has an entry."""
    lacking = []
    for path in [*ROOT.parents[1].glob("docs/*.md"), ROOT.parents[1] / "README.md"]:
        for block in re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.M | re.S):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("overparam"):
                    found = {each.name: getattr(import_module(node.module or ""), each.name) for each in node.names}
                    lacking += [
                        f"{path.name}: {n}"
                        for n, v in found.items()
                        if not inspect.ismodule(v) and id(v) not in names.homes()
                    ]
    assert lacking == []


@spec
class Undescribed:
    """Scores nothing, for a test."""

    amount: float = 1.0

    def __call__(self, seen: Any) -> Any:
        return {}


def test_a_field_without_words_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CRITERIA, "_things", {**CRITERIA._things, "undescribed": Undescribed})
    assert kinds.undescribed(kinds.things()) == ["undescribed.amount: no words"]
    page = pages._kind(kinds.KINDS["criteria"], "reference/criteria.md")
    assert described(page, "woodfisher.block")
    assert not described(page, "undescribed.amount")


def test_a_public_name_without_words_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None: ...

    class Half:
        """It says something."""

        def but_not_here(self) -> None: ...

    Half.__module__ = "overparam.here"
    found = tuple(names.Name("overparam", name) for name in ("silent", "Half"))
    monkeypatch.setattr(overparam, "silent", silent, raising=False)
    monkeypatch.setattr(overparam, "Half", Half, raising=False)
    monkeypatch.setattr(names, "public", lambda: found)
    monkeypatch.setattr(names, "homes", dict)
    assert names.undescribed() == ["overparam.silent", "overparam.Half.but_not_here"]


def test_a_command_and_an_option_without_words_are_found() -> None:
    bare = typer.Typer(help="Something.")

    @bare.command()
    def one(loud: bool = False, name: Annotated[str, typer.Option(help="What it is called.")] = "") -> None:
        """Do one thing."""

    @bare.command()
    def two() -> None: ...

    found = commands.undescribed(typer.main.get_command(bare))
    assert [each for each in found if "completion" not in each] == ["overparam two", "overparam one --loud, --no-loud"]
    assert commands.undescribed(COMMAND) == []


def test_nothing_registered_lacks_words_or_an_example() -> None:
    assert kinds.undescribed(kinds.things()) == []


@pytest.mark.parametrize("each", kinds.things(), ids=lambda each: f"{each.kind.word}-{each.name}")
def test_both_examples_are_one_thing(each: kinds.Thing) -> None:
    """The example of a study file and that of Python are accepted, and mean the same."""
    space: dict[str, Any] = {}
    *lines, last = pages.code(each).split("\n")
    exec("\n".join(lines), space)
    made = eval(last, space)
    study = parse_yaml(each.yaml, "the example")
    if each.kind.word == "loggers":  # no part of a study
        assert made == each.kind.registry.resolve(study)
        return
    base = {"name": "example", "world": "digits", "network": "mlp", "chain": ["train", "prune"], "train": {"epochs": 1}}
    asked = Study.from_mapping({**base, "prune": {"fraction": 0.5}, **study}).experiments[0]
    step = next(iter(asked.chain.flat()))
    match each.kind.word:
        case "steps":
            assert made == dataclasses.replace(step, called=None)
        case "datasets":
            assert made == asked.world
        case "networks":
            assert made == asked.network
        case "probes":
            assert Study.from_mapping({**base, "prune": {"fraction": 0.5}, **study}).probes == (made,)
        case "constraints":
            assert isinstance(made, each.thing)
        case "criteria" | "scopes" | "patterns":
            assert made == list(asked.chain.flat())[1]
        case _:
            assert made == step


def test_docstrings_are_read_in_parts() -> None:
    found = parsed(
        "One.\n\nTwo.\n\nArgs:\n    a, b: first\n        line.\n    c: third.\n\nExample:\n    {x: 1}\n\nReference: R"
    )
    assert (found.summary, found.text, found.example) == ("One.", "Two.\n\nReference: R", "{x: 1}")
    assert found.args == {"a": "first line.", "b": "first line.", "c": "third."}
