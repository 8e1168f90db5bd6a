"""``overparam store``: what is in a store, and what of it goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.cli import completing
from overparam.cli.asked import is_file, is_json, say_json
from overparam.cli.options import FormOption, StoreOption
from overparam.cli.root import app
from overparam.terminal import clear_errors, say, tell

if TYPE_CHECKING:
    from overparam.lab.contents import Contents
    from overparam.lab.differing import Side

store_app = typer.Typer(
    name="store",
    help="Look at a store of results, compare, pack and unpack studies, and remove what is not needed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(store_app)

StoredArgument = Annotated[
    str,
    typer.Argument(
        help="A study in the store: NAME, or NAME@REVISION.",
        show_default=False,
        metavar="STUDY",
        autocompletion=completing.results,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _contents(store: Path) -> Contents:
    from overparam.lab.contents import Contents
    from overparam.lab.store import Store

    return Contents(Store(store, reading=True))


@store_app.command()
def ls(store: StoreOption = Path("runs"), format: FormOption = "text") -> None:
    """List the studies of a store: rows, whether they are complete, size, and when each was run last."""
    with clear_errors():
        from overparam.errors import in_bytes
        from overparam.lab import shown

        contents = _contents(store)
        free = {} if contents.damage else {"unneeded_bytes": contents.inventory.bytes(contents.unneeded())}
        total = contents.inventory.bytes(contents.inventory.sizes)
        if is_json(format):
            say_json({"bytes": total, **free, "studies": [shown.plain(each) for each in contents.studies]})
        else:
            for line in aligned([shown.HEAD, *map(shown.cells, contents.studies)]):
                say(line)
            gone = free.get("unneeded_bytes")
            say(f"{in_bytes(total)} in all" + (f", {in_bytes(gone)} that no study needs (store gc)" if gone else ""))
        for sentence in contents.damage.values():
            tell(f"note: {sentence}")


@store_app.command()
def show(study: StoredArgument, store: StoreOption = Path("runs"), format: FormOption = "text") -> None:
    """Show a study of a store: its revisions, what is there, what failed, and its specification."""
    with clear_errors():
        from overparam.lab import shown

        if is_json(format):
            say_json(shown.plain_study(_contents(store), study))
        else:
            for line in shown.study_lines(_contents(store), study):
                say(line)


@store_app.command()
def diff(
    one: StoredArgument,
    other: Annotated[
        str,
        typer.Argument(
            help="Another one, or the path of a YAML file; without it the revision of STUDY that was run before.",
            show_default=False,
            metavar="OTHER",
        ),
    ] = "",
    store: StoreOption = Path("runs"),
    format: FormOption = "text",
) -> None:
    """Say how two studies differ, field by field, and what they share of what is computed."""
    with clear_errors():
        from overparam.lab.differing import difference

        contents = _contents(store)
        found = difference(_side(contents, one), _side(contents, other or _before(contents, one)), contents.inventory)
        if is_json(format):
            say_json(found.plain())
        for line in () if is_json(format) else found.lines():
            say(line)


def _side(contents: Contents, given: str) -> Side:
    """Return a study of the store, or of a file as it would be run."""
    from overparam.lab.differing import Side

    if not is_file(given):
        return Side.stored(contents, given)
    from overparam.lab import Study

    return Side.planned(Study.from_file(given), given)


def _before(contents: Contents, given: str) -> str:
    """Return the revision that was run before the one that is meant."""
    from overparam.errors import StoreError

    chosen = contents.record(given)
    same = [str(record) for record in contents.records.values() if record.name == chosen.name]  # the last run first
    older = same[same.index(str(chosen)) + 1 :]
    if not older:
        raise StoreError(f"{chosen} has no revision that was run before it; name what to compare it with")
    return older[0]


@store_app.command()
def rm(
    studies: Annotated[
        list[str],
        typer.Argument(help="NAME (all its revisions) or NAME@REVISION.", show_default=False, metavar="STUDY"),
    ],
    store: StoreOption = Path("runs"),
    yes: YesOption = False,
) -> None:
    """Remove studies, with all results that no other study needs; says first what goes."""
    with clear_errors():
        _remove(store, studies, yes)


@store_app.command()
def gc(store: StoreOption = Path("runs"), yes: YesOption = False) -> None:
    """Remove the results that no study needs and no run; says first what goes."""
    with clear_errors():
        _remove(store, [], yes)


@store_app.command()
def pack(
    study: StoredArgument,
    store: StoreOption = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; default: NAME@REVISION.zip.", show_default=False)
    ] = None,
) -> None:
    """Write a study with all of its results as one file, which `store unpack` reads elsewhere."""
    with clear_errors():
        from overparam.errors import counted, in_bytes
        from overparam.lab.packing import pack as packed_study
        from overparam.lab.store import Store

        packed = packed_study(Store(store, reading=True), study, out)
        for sentence in packed.damaged:
            tell(f"note: {sentence}")
        tell(f"{packed.title}: {counted(packed.results, 'result')}, {in_bytes(packed.bytes)}")
        say(str(packed.path))


@store_app.command()
def unpack(
    file: Annotated[Path, typer.Argument(help="What `store pack` wrote.", show_default=False, metavar="FILE")],
    store: StoreOption = Path("runs"),
    max_bytes: Annotated[int, typer.Option(min=1, help="How many bytes it may unpack to.")] = 10_000_000_000,
    own_code: Annotated[
        bool,
        typer.Option(
            "--own-code", help="Allow networks and constraints that are its maker's own code, imported when loaded."
        ),
    ] = False,
) -> None:
    """Put a packed study into a store; what the store has already stays as it is."""
    with clear_errors():
        from overparam.errors import counted
        from overparam.lab.store import Store
        from overparam.lab.unpacking import unpack as unpacked

        done = unpacked(Store(store), file, max_bytes, own_code)
        say(f"{done.title}: {counted(done.new, 'result')} unpacked, {done.there} were there already")
        say(f"next: overparam table {done.title} --store {store}")


def _remove(store: Path, studies: list[str], yes: bool) -> None:
    from overparam.errors import counted, in_bytes
    from overparam.lab.removing import removal, remove
    from overparam.lab.store import Store

    opened = Store(store, reading=True)
    planned = removal(opened, studies)
    for line in aligned(planned.lines(opened)):
        say(line)
    if not planned:
        say("there is nothing that no study needs")
    elif _agreed(yes):
        done = remove(Store(store), planned)
        say(f"removed: {counted(len(done.results), 'result')}, {in_bytes(done.bytes)}")


def _agreed(yes: bool) -> bool:
    """Ask; raises :class:`SpecError` where there is nobody to ask."""
    from overparam.errors import SpecError

    if yes:
        return True
    if not _is_terminal():
        raise SpecError("nothing was removed, since there is no terminal to ask on; --yes removes it without asking")
    return typer.confirm("remove this?")


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def aligned(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as lines with columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
