"""References: how a step, its loss or a probe names a checkpoint of its own chain or of another chain of the study.

========================  ==============================================================================================
``init``                  the chain's initialisation
``previous``              the result of the training before it in its chain; the initialisation if there is none
``last``                  the result of the chain's last training
``LABEL``                 the result of the step with this label; of several the latest
``500it``, ``2ep``        a point on the way of the chain's first training
``LABEL@500it``           a point on the way of the training that is named; likewise ``last@2ep``, ``previous@2ep``
``VARIANT/...``           any of the above but ``previous``, in the chain of another variant with the same coordinates
``seed+1``                for probes: the checkpoint at the same place of the chain with the next seed
========================  ==============================================================================================

Within its own chain a step sees what comes before it; a probe, and whoever names another chain, sees all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from overparam.errors import SpecError
from overparam.lab.experiment import Experiment
from overparam.length import Length, is_length
from overparam.registry import suggest
from overparam.steps import Step

OTHER_SEED = re.compile(r"seed\+([1-9]\d*)")
MEANINGS = ("init", "previous", "last")  # labels that are there without being given


@dataclass(frozen=True)
class Reference:
    """A reference taken apart; without ``label`` it is a ``point`` of the first training."""

    text: str
    variant: str | None = None
    label: str | None = None
    point: Length | None = None
    seeds: int = 0

    @classmethod
    def of(cls, text: str) -> Reference:
        """Read ``[variant/]label[@point]``; raises :class:`SpecError` for another form."""
        if found := OTHER_SEED.fullmatch(text):
            return cls(text, seeds=int(found[1]))
        if text.startswith("seed+"):
            raise SpecError(f"{text!r} must be seed+1, seed+2, ...: how many seeds further on the other chain is")
        variant, slash, rest = text.rpartition("/")
        label, at, point = rest.partition("@")
        if is_length(rest):
            label, point = "", rest
        elif at and not is_length(point):
            raise SpecError(f"{text!r} must end in a point of training such as '500it' or '2ep', got {point!r}")
        if at and label == "init":
            raise SpecError(f"{text!r}: the initialisation has no points on its way")
        if slash and label == "previous":
            raise SpecError(f"{text!r}: another chain has no place before this one; name a label of it, or last")
        return cls(text, variant if slash else None, label or None, Length.of(point) if point else None)


_read = lru_cache(maxsize=4096)(Reference.of)


class Place(NamedTuple):
    """A checkpoint of a study: of which chain, after which of its steps (-1: none), and at which point of it."""

    chain: int
    position: int
    point: Length | None = None


class Chains:
    """The chains of a study, and those with other seeds that they refer to, which come behind.

    Args:
        experiments: the chains of the study.
    """

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self.experiments = list(experiments)
        self.measured = len(self.experiments)
        self.steps = [list(experiment.chain.flat()) for experiment in self.experiments]
        self._groups: dict[tuple[str, tuple[int, ...]], dict[int, int]] = {}  # chains that differ in the seed alone
        self._groups_of: list[tuple[str, tuple[int, ...]]] = []
        self._seeds: list[int] = []
        for index, experiment in enumerate(self.experiments):
            # by identity: a sweep's values are the same objects in all of its chains, and may have no answer to ==
            values = tuple(id(value) for path, value in experiment.coordinates.items() if path != "seed")
            variant = f"{experiment.variant}@{experiment.begins}" if experiment.begins else experiment.variant
            self._file(index, (variant, values), experiment.coordinates.get("seed", 0))
            for step in self.steps[index]:
                check_label(step)

    def find(self, name: str, chain: int, position: int, part: str, measures: bool = False) -> Place:
        """Return what ``name`` means after the step at ``position`` of a chain, in a probe, or else in that step.

        ``part`` is what is said to refer to it where that cannot be. Raises :class:`SpecError`.
        """
        reference = _read(name)
        if reference.seeds:
            if not measures:
                raise SpecError(f"{part} refers to {name!r}: probes alone can look at the same place of another seed")
            return Place(self._with_seed(chain, reference.seeds), position)
        own = reference.variant is None
        where = chain if reference.variant is None else self._variant(reference.variant, chain, name, part)
        whole = len(self.steps[where])
        seen = whole if measures or not own else position
        if reference.label == "init":
            return Place(where, -1)
        found = self._position(reference, where, {"previous": position, "last": whole}.get(str(reference.label), seen))
        if found is None and reference.label == "previous" and reference.point is None:
            return Place(where, -1)
        if found is None:
            raise SpecError(self._unknown(reference, where, seen, part))
        step = self.steps[where][found]
        if reference.point is not None and not step.trains:
            raise SpecError(f"{part} refers to {name!r}, but {step.kind} does not train and has no points on its way")
        return Place(where, found, reference.point)

    def _position(self, reference: Reference, chain: int, before: int) -> int | None:
        """Return which of the first ``before`` steps of a chain is meant; None if none of them is."""
        steps = self.steps[chain]
        if reference.label is None:
            return next((place for place in range(before) if steps[place].trains), None)
        if reference.label in ("previous", "last"):
            return next((place for place in reversed(range(before)) if steps[place].measured), None)
        return next((place for place in reversed(range(before)) if steps[place].label == reference.label), None)

    def _unknown(self, reference: Reference, chain: int, seen: int, part: str) -> str:
        """Return why a reference means nothing, as a sentence."""
        where = f"in variant {self.experiments[chain].variant!r}" if reference.variant is not None else "here"
        if reference.label in (None, "previous", "last"):
            what = "the chain has no training" if where != "here" else "no training comes before it in the chain"
            return f"{part} refers to {reference.text!r}: {what}"
        known = [*MEANINGS, *dict.fromkeys(step.label for step in self.steps[chain][:seen] if step.label)]
        others = [variant for variant, _ in self._groups if variant]
        also = f"; of another variant as {others[0]}/last" if others and where == "here" else ""
        return (
            f"{part} refers to {reference.text!r}, which is not known {where}{suggest(str(reference.label), known)} "
            f"(known: {', '.join(known)}, or a point of the first training such as '500it'{also})"
        )

    def _variant(self, variant: str, chain: int, name: str, part: str) -> int:
        """Return the chain of a variant that has the coordinates of ``chain``, as far as it is swept over them."""
        values = self._groups_of[chain][1]
        there = [group for group in self._groups if group[0] == variant and set(group[1]) <= set(values)]
        if not there:
            known = [other for other, _ in self._groups if other]
            has = f"known: {', '.join(dict.fromkeys(known))}" if known else "the study has none"
            if variant in known:
                raise SpecError(f"{part} refers to {name!r}: {variant!r} is swept over more, so which is meant is open")
            raise SpecError(
                f"{part} refers to {name!r}: there is no variant {variant!r}{suggest(variant, known)} ({has})"
            )
        return self._at(max(there, key=lambda group: len(group[1])), self._seeds[chain])

    def _with_seed(self, chain: int, more: int) -> int:
        return self._at(self._groups_of[chain], self._seeds[chain] + more)

    def _at(self, group: tuple[str, tuple[int, ...]], seed: int) -> int:
        """Return the chain of a group with a seed; one that the study does not have is made, not to be measured."""
        chains = self._groups[group]
        if seed not in chains:
            known, like = next(iter(chains.items()))
            experiment = self.experiments[like]
            swept = {"seed": seed} if "seed" in experiment.coordinates else {}
            made = replace(
                experiment,
                seed=experiment.seed + seed - known,
                coordinates={**experiment.coordinates, **swept},
            )
            self.experiments.append(made)
            self.steps.append(self.steps[like])
            self._file(len(self.experiments) - 1, group, seed)
        return chains[seed]

    def _file(self, chain: int, group: tuple[str, tuple[int, ...]], seed: int) -> None:
        self._groups.setdefault(group, {})[seed] = chain
        self._groups_of.append(group)
        self._seeds.append(seed)


def check_label(step: Step) -> None:
    """Raise :class:`SpecError` for a label that could not be referred to."""
    label = step.label
    if label is None:
        return
    if label in MEANINGS or is_length(label) or OTHER_SEED.fullmatch(label):
        raise SpecError(f"{step.kind}.label: {label!r} has a meaning of its own; choose another name")
    if not label or set(label) & set("/@"):
        raise SpecError(f"{step.kind}.label: must be a name without '/' and '@', got {label!r}")
