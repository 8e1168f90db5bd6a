"""What is in a store, study by study, for people: how much of each is there, how large it is, and when it was run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from overparam.errors import StoreError, suggest
from overparam.lab.in_use import Use, uses
from overparam.lab.inventory import Inventory, Result
from overparam.lab.needs import needed
from overparam.lab.record import Record, read_record, titles
from overparam.lab.store import DamagedError, Store


@dataclass(frozen=True)
class Stored:
    """One revision of a study in a store.

    Attributes:
        record: its name, revision and specification, and when it was run last (``written``).
        present: how many of its rows are there.
        checkpoints: how many checkpoints are stored of it.
        bytes: the size of all that it needs; what two studies share counts in both.
        running: whether it is being run now.
    """

    record: Record
    present: int
    checkpoints: int
    bytes: int
    running: bool

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.present == len(self.record.rows)


class Contents:
    """The studies of a store and what none of them needs, looked at once.

    Args:
        store: a folder, or a :class:`Store`; it is only read.

    Attributes:
        records: the readable records by their titles, NAME@REVISION: by name, of each the last run first.
        damage: what is wrong with those that cannot be read, by title.
        uses: the runs that go on.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.inventory = store, Inventory(store)
        self.uses: Sequence[Use] = uses(store)
        found: list[Record] = []
        self.damage: dict[str, str] = {}
        for title in titles(store):
            try:
                if record := read_record(store, title):
                    found.append(record)
            except DamagedError as damage:
                self.damage[title] = str(damage)
        found.sort(key=lambda record: (record.name, -record.written))
        self.records: Mapping[str, Record] = {str(record): record for record in found}
        self._needs: dict[str, set[Result]] = {}

    def titles(self, given: str) -> list[str]:
        """Return the titles that ``NAME`` (of all its revisions) or ``NAME@REVISION`` (or its first digits) means.

        Raises:
            StoreError: none, or of a revision more than one; the message names those there are.
        """
        name, at, revision = given.partition("@")
        known = [*self.records, *self.damage]
        own = [title for title in known if title.partition("@")[0] == name]
        fitting = [title for title in own if title.startswith(given)] if at else own
        if not fitting or (at and (not revision or len(fitting) > 1)):
            names = sorted({title.partition("@")[0] for title in known})
            has = f"it has: {', '.join(own or names)}" if known else "it has none"
            which = "more than one study" if fitting else "no study"
            hint = "" if own else suggest(name, names)
            raise StoreError(f"store {str(self.store.root)!r} has {which} {given!r}{hint} ({has})")
        return fitting

    def record(self, given: str) -> Record:
        """Return the record of ``NAME@REVISION``, or of the newest revision of ``NAME``; raises :class:`StoreError`."""
        title = self.titles(given)[0]
        if title in self.damage:
            raise DamagedError(f"{self.damage[title]}; run the study again to write it anew")
        return self.records[title]

    def needs(self, title: str) -> set[Result]:
        """Return what a study needs; raises :class:`DamagedError` as :func:`overparam.lab.needs.needed` does."""
        if title not in self._needs:
            self._needs[title] = needed(self.records[title], self.inventory)
        return self._needs[title]

    @cached_property
    def studies(self) -> list[Stored]:
        """Every revision of every study, in the order of :attr:`records`."""
        return [self.stored(title) for title in self.records]

    def stored(self, title: str) -> Stored:
        """Return what is there of a study."""
        record, there = self.records[title], self.needs(title) & self.inventory.sizes.keys()
        return Stored(
            record,
            present=sum(record.present(self.inventory, row) for row in record.rows),
            checkpoints=sum(self.inventory.has(*result) for result in there if result.kind == "steps"),
            bytes=self.inventory.bytes(there),
            running=title in {use.study for use in self.uses},
        )

    def kept(self, without: Collection[str] = ()) -> set[Result]:
        """Return what runs and studies need, but for the studies of the titles ``without``, whether it is there or not.

        Raises:
            StoreError: a record cannot be read, so that what its study needs is not known.
        """
        for title in self.damage.keys() - without:
            raise StoreError(
                f"what study {title} needs is not known ({self.damage[title]}): run it again, which writes its record "
                "anew, or remove it (overparam store rm)"
            )
        studies = (self.needs(title) for title in self.records.keys() - without)
        return set().union(*(use.needs for use in self.uses), *studies)

    def unneeded(self, without: Collection[str] = ()) -> set[Result]:
        """Return the results that are there though no run and no study needs them; see :meth:`kept`."""
        return self.inventory.sizes.keys() - self.kept(without)
