"""Removing studies from a store, and what no study needs: first what would go, then that and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from overparam.errors import StoreError, counted, in_bytes
from overparam.lab.contents import Contents
from overparam.lab.in_use import alone, clear
from overparam.lab.inventory import Result
from overparam.lab.record import FOLDER
from overparam.lab.store import DamagedError, Store

TOLD = 20  # results that are told one by one
NAMES = {"steps": "step", "probes": "measurement", "failures": "failure"}


@dataclass(frozen=True)
class Removal:
    """What would be removed, or was.

    Attributes:
        titles: the studies, NAME@REVISION, whose records go.
        results: the results that go, with their sizes in bytes, the largest first.
        journals: the states of trainings under way that go, with their sizes.
    """

    titles: Sequence[str]
    results: dict[Result, int]
    journals: dict[Path, int]

    @property
    def bytes(self) -> int:
        """The size of all that goes, but for records."""
        return sum(self.results.values()) + sum(self.journals.values())

    def __bool__(self) -> bool:
        return bool(self.titles or self.results or self.journals)

    def lines(self, store: Store) -> list[list[str]]:
        """Return what goes in words, in three columns: what, its size, and what it is; the largest are told one by one.

        Args:
            store: as it is before.
        """
        largest, rest = list(self.results.items())[:TOLD], list(self.results.values())[TOLD:]
        return [
            *(["record", "", title] for title in self.titles),
            *([NAMES[r.kind], in_bytes(size), _title(store, r)] for r, size in largest),
            *([["more", in_bytes(sum(rest)), counted(len(rest), "result")]] if rest else []),
            *(["journal", in_bytes(size), path.name] for path, size in self.journals.items()),
            *([["in all", in_bytes(self.bytes), counted(len(self.results), "result")]] if self else []),
        ]


def _title(store: Store, result: Result) -> str:
    """Return what a result is in words, as far as its numbers say."""
    try:
        numbers = store.numbers(*result)
    except DamagedError:
        return result.fingerprint
    seed = f", seed {numbers['seed']}" if "seed" in numbers else ""
    return f"{result.fingerprint}  {numbers.get('title') or numbers.get('probe', '')}{seed}"


def removal(store: Store, studies: Sequence[str] = ()) -> Removal:
    """Return what would go if ``studies`` were removed: their records, and what no other study and no run needs.

    Without studies that is what nobody needs as it is: of studies whose record was removed, of probes that are no
    longer asked for, of runs that were killed in the middle of a write.

    Args:
        store: it is only read.
        studies: names, of which all revisions are meant, or NAME@REVISION.

    Raises:
        StoreError: there is no such study, it is being run, or the record of another cannot be read.
    """
    return _removal(Contents(store), studies)


def _removal(contents: Contents, studies: Sequence[str]) -> Removal:
    chosen = list(dict.fromkeys(title for given in studies for title in contents.titles(given)))
    for use in contents.uses:
        if use.study in chosen:
            raise StoreError(f"{use}: stop it first")
    kept = contents.kept(chosen)
    names = {name for _, name in kept}
    results = contents.inventory.sizes.keys() - kept
    journals = [path for path in (contents.store.root / "journals").glob("*") if path.name not in names]
    if chosen:  # and no more than is of them
        own = set[Result]().union(*(_known(contents, title) for title in chosen))
        results &= own
        journals = [path for path in journals if Result("steps", path.name) in own]
    sizes = {result: contents.inventory.bytes([result]) for result in results}
    largest = dict(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))
    return Removal(chosen, largest, {path: _size(path) for path in journals})


def _known(contents: Contents, title: str) -> set[Result]:
    """Return what a study needs as far as it can be told: of one that is damaged the next ``gc`` finds the rest."""
    try:
        return contents.needs(title) if title in contents.records else set()
    except DamagedError:
        return set()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(store: Store, planned: Removal) -> Removal:
    """Remove what :func:`removal` returned, as far as nobody has come to need it since; return what was removed.

    The store is locked meanwhile: a run that begins waits, and one that goes on keeps what it needs.

    Raises:
        StoreError: the store cannot be locked or written, or a study is being run meanwhile.
    """
    with alone(store):
        clear(store)
        now = _removal(Contents(store), planned.titles)
        results = {result: size for result, size in now.results.items() if result in planned.results}
        journals = {path: size for path, size in now.journals.items() if path in planned.journals}
        for title in now.titles:
            store.delete(*reversed(store.versions(f"{FOLDER}{title}")))
        for result in results:
            store.remove(*result)
        for path in journals:
            rmtree(path, ignore_errors=True)
    return Removal(now.titles, results, journals)
