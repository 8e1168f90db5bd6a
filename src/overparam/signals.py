"""Stopping a run from outside: Ctrl-C, the SIGTERM of a batch system, a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

PATIENCE = 10.0  # seconds for which further signals change nothing: stopping is under way, and takes less


class Stopped(SystemExit):
    """SIGTERM or SIGHUP has come; as any :class:`SystemExit`, it ends a script without a traceback."""

    code: int


def obey() -> dict[signal.Signals, Any]:
    """Let SIGINT, SIGTERM and SIGHUP unwind the main thread from here on, so that what must be cleaned up is.

    SIGINT raises :class:`KeyboardInterrupt`, as ever. The others, which would end the process at once, raise
    :class:`Stopped` with the code that a shell gives for them (143 and 129). A second one within :data:`PATIENCE`
    seconds is not obeyed. Handlers of the user's and ignored signals (``nohup``) stay as they are; of those that are
    changed, the handlers before are returned.
    """
    stopped = -PATIENCE

    def stop(number: int, _: Any) -> None:
        nonlocal stopped
        if time.monotonic() - stopped >= PATIENCE:
            stopped = time.monotonic()
            raise KeyboardInterrupt if number == signal.SIGINT else Stopped(128 + number)

    defaults: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        defaults[signal.SIGHUP] = signal.SIG_DFL
    here = threading.current_thread() is threading.main_thread()  # no other may set handlers
    changed = {number: usual for number, usual in defaults.items() if here and signal.getsignal(number) is usual}
    for number in changed:
        signal.signal(number, stop)
    return changed


@contextlib.contextmanager
def obeyed() -> Iterator[None]:
    """:func:`obey` while inside."""
    changed = obey()
    try:
        yield
    finally:
        for number, usual in changed.items():
            signal.signal(number, usual)
