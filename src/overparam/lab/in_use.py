"""Who uses a store: a run says what it needs, and nobody removes that while the run is alive.

::

    in-use/store.lock       held for a moment by a run that begins, and by who removes results, so that neither misses
                            the other
    in-use/RUN.json         what a run needs
    in-use/RUN.lock         held by the run for as long as it goes on; the system lets go of it when the process ends

Who only reads holds no lock.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from overparam.errors import StoreError
from overparam.lab.inventory import Result
from overparam.lab.needs import needs_of
from overparam.lab.store import DamagedError, Store

FOLDER = "in-use"


@dataclass(frozen=True)
class Use:
    """A run that goes on.

    Attributes:
        study: NAME@REVISION.
        process, machine: whose run it is.
        began: when, in seconds since 1970.
        needs: the results that it has or may make.
    """

    study: str
    process: int
    machine: str
    began: float
    needs: frozenset[Result]

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.began))
        return f"{self.study} is being run by process {self.process} on {self.machine} since {when}"


@contextmanager
def using(store: Store, study: str, steps: Collection[str], measured: Collection[str]) -> Iterator[None]:
    """Keep what a run needs from being removed while it goes on; waits for who is removing something.

    Raises:
        StoreError: the store cannot be written.
    """
    name = uuid.uuid4().hex
    key = f"{FOLDER}/{name}.json"
    about = {
        **{"study": study, "process": os.getpid(), "machine": platform.node(), "began": time.time()},
        **{"steps": [*steps], "measured": [*measured]},
    }
    with _held(store, name) as holds:
        if holds:
            with alone(store):
                store.put(key, about)
        try:
            yield
        finally:
            with contextlib.suppress(StoreError):
                store.delete(key)


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Hold the lock of a store, for which others wait; raises :class:`StoreError` where there are no locks."""
    from filelock import FileLock

    try:
        lock = FileLock(_folder(store) / "store.lock")
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"store {str(store.root)!r} cannot be locked ({error})") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _held(store: Store, name: str) -> Iterator[bool]:
    """Hold the lock of a run; False where the file system has no locks: then nobody else can remove anything."""
    from filelock import FileLock

    try:
        lock = FileLock(_folder(store) / f"{name}.lock")
        lock.acquire()
    except (OSError, NotImplementedError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)


def uses(store: Store) -> list[Use]:
    """Return the runs that go on; raises :class:`StoreError` where it cannot be told what one of them needs."""
    return [use for key in store.blobs.list(f"{FOLDER}/") if _runs(store, key) and (use := _use(store, key))]


def _runs(store: Store, key: str) -> bool:
    return key.endswith(".json") and _alive((store.root / key).with_suffix(".lock"))


def _use(store: Store, key: str) -> Use | None:
    try:
        body = store.get(key)
        needs = frozenset(needs_of(body.pop("steps"), body.pop("measured")))
        return Use(**body, needs=needs)
    except (DamagedError, KeyError, TypeError) as error:
        if key not in store.blobs.list(key):  # it ended meanwhile
            return None
        raise StoreError(f"what a run needs is not known ({error}): wait for its end") from None


def clear(store: Store) -> None:
    """Remove what killed runs have left; to be called :func:`alone`."""
    for key in store.blobs.list(f"{FOLDER}/"):
        if key.endswith(".json") and not _runs(store, key):
            store.delete(key, key.removesuffix(".json") + ".lock")


def _alive(path: Path) -> bool:
    """Tell whether somebody holds a lock."""
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _folder(store: Store) -> Path:
    folder = store.root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder
