"""Between the commands and the terminal: what it cannot show, and output that nobody takes."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

import typer

from overparam.errors import OverparamError

GLYPHS = {
    **{"±": "+-", "×": "x", "·": "-", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">="},
    **{"━": "=", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " "},
}
WIDEST = 1000  # columns of a table
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
BROKEN_PIPE = 141  # what a shell gives for a program that SIGPIPE ended


class OutputError(OverparamError):
    """What a command found cannot be printed."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Say what an encoding cannot hold in what every encoding can."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(GLYPHS.get(glyph, "?") for glyph in error.object[error.start : error.end]), error.end


codecs.register_error("overparam", _plainly)


def harmless(text: str) -> str:
    """Return a text without characters that a terminal obeys: of a name or a reason that came from elsewhere, say.

    >>> harmless("a\\x1b[2Jb")
    'a?[2Jb'
    """
    return CONTROL.sub("?", text)


def say(text: str, end: str = "\n") -> None:
    """Print a text on the standard output; raises :class:`OutputError` if it does not take it."""
    with _taken():
        sys.stdout.write(harmless(text) + end)


def say_exactly(text: str) -> None:
    """Print data, of which nothing may be replaced; raises :class:`OutputError` if the encoding cannot hold it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"the output's encoding {encoding!r} has no {error.object[error.start]!r}; "
            "write to a file with --out, or set PYTHONIOENCODING=utf-8"
        ) from None
    with _taken():
        sys.stdout.write(text)


def show(thing: Any) -> None:
    """Print a sentence, or something of rich's as wide as it needs: a narrow terminal breaks lines, but nothing is cut.

    Raises:
        OutputError: the standard output does not take it.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # and no exit from inside of rich

    console = Plain()
    if not isinstance(thing, str):
        needed = console.measure(thing, options=console.options.update(max_width=WIDEST)).maximum
        console = Plain(width=max(needed, console.width))
    with _taken():
        console.print(thing, highlight=False, markup=False)


def tell(text: str) -> None:
    """Print a line on the standard error; if that does not take it there is nobody left to be told."""
    try:
        if sys.stderr is not None:
            print(harmless(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _abandon(sys.stderr)


@contextlib.contextmanager
def _taken() -> Iterator[None]:
    if sys.stdout is None:
        raise OutputError("the standard output is closed, so nothing can be printed; write to a file with --out")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: somebody closed it within this process
        _abandon(sys.stdout)
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"the standard output cannot be written ({why})") from None


def _abandon(stream: IO[str] | None) -> None:
    """Let what a stream still holds go nowhere, or Python would try to write it once more as it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn our errors, and what the system refuses, into one sentence on stderr and an exit code.

    2 for an error, 130 for Ctrl-C, 141, in silence, where nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # what is no file of text has no encoding either
            stream.reconfigure(errors="overparam")  # type: ignore[union-attr]
    try:
        yield
    except OverparamError as error:
        tell(f"error: {error}")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        tell("stopped")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        _abandon(sys.stdout)
        _abandon(sys.stderr)
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        where = f"{error.filename!r}" if error.filename else "a file"
        tell(f"error: {where} cannot be read or written ({error.strerror or error})")
        raise typer.Exit(2) from None


def open_standard_streams() -> None:
    """Let the numbers of closed standard streams lead nowhere, or the next file that is opened gets them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
