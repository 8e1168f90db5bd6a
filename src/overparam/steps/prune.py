"""The step that prunes: score what is alive, keep the best, set the rest to zero."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from overparam.checkpoint import Checkpoint
from overparam.errors import SpecError
from overparam.networks.collapse import almost_empty
from overparam.prune import CRITERIA, PATTERNS, SCOPES, Round, Scope, Scores, coverage
from overparam.prune.patterns.base import decides_count
from overparam.prune.rounds import densities
from overparam.prune.scopes.base import rates_of
from overparam.prune.selection import Named
from overparam.remarks import COLLAPSE_REMEDY
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.train.checks import FEW
from overparam.train.losses import GivenLoss, references_of
from overparam.train.scoring import scored


@STEPS.named("prune")
@spec
class Prune(Step):
    """Prune: the lowest-scored of the weights that are left go, exactly as many as asked for.

    Args:
        criterion: how weights are scored: ``magnitude``, ``gradient``, ``obd``, ``snip``, ``grasp``, ``synflow``,
            ``random``, ..., or one's own.
        fraction: share of the weights left that goes, in [0, 1); this or ``density``.
        density: share of the weights that is kept afterwards, in (0, 1].
        rounds: in so many prunings ``density`` is reached, without training in between: each keeps the same share of
            what is left, and the criterion is asked anew each time, on the pruned weights and the same mini-batches.
        scope: over what the count is spread: ``global``, ``per-layer``, ``uniform``, ``erk``, or one's own;
            ``{"per-layer": {"rates": {"output": 0.5}}}`` prunes the output layer at half the rate.
        pattern: what goes together: ``weights`` (single ones), ``units`` (whole neurons and filters), ``heads`` (of
            attention), ``"2:4"`` (two of each four neighbours, which says how many stay in all), or one's own.
        include: roles (``embedding``, ...) or name patterns of tensors that are pruned from here on, besides the
            weights of linear, convolution and recurrent layers.
        exclude: roles (``output``, ``conv``, ...) or name patterns of tensors that are not pruned. Biases and norms
            never are unless included. A tensor that layers share is spared under each of its names and roles.
        counting: ``prunable`` or ``all``, the counting rule of the Sparse Double Descent code; see
            :func:`overparam.prune.new_masks`.
        allow_empty: whether a layer may lose its last weight.
        batch_size, batches: examples in a training mini-batch, and how many of these, for a criterion that looks at
            gradients, curvature or inputs.
        loss: the loss whose derivatives are taken: as in :class:`~overparam.train.TrainSettings`.

    Example:
        {prune: {criterion: gradient, density: 0.1, batches: 10}}
    """

    kind: ClassVar[str] = "prune"
    main: ClassVar[str | None] = "fraction"
    next_level: ClassVar[bool] = True
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("fraction", "density"),)
    later: ClassVar[Mapping[str, Any]] = {"rounds": 1}
    moved: ClassVar[Mapping[str, str]] = {"rates": "they belong to the scope, as {per-layer: {rates: {output: 0.5}}}"}

    criterion: Annotated[Any, CRITERIA] = "magnitude"
    fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    rounds: Annotated[int, Field(ge=1)] = 1
    scope: Annotated[Any, SCOPES] = "global"
    pattern: Annotated[Any, PATTERNS] = "weights"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    counting: Literal["prunable", "all"] = "prunable"
    allow_empty: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 128
    batches: Annotated[int, Field(ge=1)] = 1
    loss: GivenLoss = None

    def __post_init__(self) -> None:
        given = [name for name in ("fraction", "density") if getattr(self, name) is not None]
        decides = decides_count(self.pattern)
        told = f"pattern {PATTERNS.resolve(self.pattern)} says how many weights stay" if decides else ""
        if given and decides:
            raise ValueError(f"{told}; leave {' and '.join(given)}")
        if len(given) == 2 or (not given and decides is False):
            raise ValueError(
                "needs either fraction (of the weights left that goes) or density (to be kept), got "
                f"{'both' if given else 'neither'}"
            )
        if self.rounds > 1 and decides:
            raise ValueError(f"{told}, at once; leave rounds")
        if self.rounds > 1 and self.density is None:
            raise ValueError(f"rounds: {self.rounds} needs density, the share to be kept in the end, not fraction")

    def references(self) -> tuple[str, ...]:
        """Return what its criterion looks at, such as ``init``, and what its loss does, such as a teacher."""
        return tuple(dict.fromkeys([*self._looked_at(), *references_of(self.loss)]))

    def shares(self, name: str) -> Literal["tensors", "outputs"]:
        """Return that a criterion needs tensors alike, a loss outputs."""
        return "tensors" if name in self._looked_at() else "outputs"

    def _looked_at(self) -> tuple[str, ...]:
        """Return the checkpoints that the criterion looks at."""
        return tuple(getattr(CRITERIA.resolve(self.criterion), "references", tuple)())

    def traits(self) -> Mapping[str, str]:
        """Return by what is pruned."""
        return {"criterion": CRITERIA.label(self.criterion)}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with fewer weights; its randomness is from the stream of (seed, number of prunings)."""
        scope = SCOPES.resolve(self.scope)
        named = self._named(context, scope)
        pruned = self._including(start, named)
        spared = named.meant(self.exclude, "exclude") if named else ()
        notes: list[str] = []
        for density in densities(self.density, self.rounds, pruned.masks, spared, self.counting):
            notes.clear()  # what the last round tells holds for what there is
            asked = self._asked(pruned, context, named, density, notes)
            pruned = self._once(pruned, context, asked, spared)
        if few := almost_empty(pruned.masks, start.masks):
            notes.append(f"at level {start.level + 1} {', '.join(few)}; {COLLAPSE_REMEDY}")
        return Outcome(pruned.counted("prune"), notes=[f"prune: {note}" for note in dict.fromkeys(notes)])

    def check_after(self, before: Sequence[Step], given: Mapping[str, Sequence[Step]]) -> None:
        """Raise :class:`SpecError` for a density above one that the chain has already been pruned to."""
        for step in reversed(before):
            if isinstance(step, Prune):
                if self.density is not None and self._counts_like(step) and self.density > (step.density or 1):
                    raise SpecError(
                        f"density {self.density:g} is more than the {step.density:g} that a step before it leaves; "
                        "pruning never revives a weight: prune to less, give a fraction of what is left, or put a step "
                        "'redense' between them"
                    )
            elif not step.keeps_counts:
                return

    def _counts_like(self, other: "Prune") -> bool:
        """Tell whether densities are of the same weights, in the same units."""
        return all(
            getattr(self, name) == getattr(other, name) for name in ("pattern", "include", "exclude", "counting")
        )

    def rehearse(self, start: Checkpoint, context: Context) -> Checkpoint:
        """Return ``start`` without a weight of each tensor that is pruned.

        The criterion is asked for scores by a few examples, which shows whether there is what it looks at; masks are
        made by magnitude, as those scores would not be the real ones. Counts are checked where nothing is pruned yet.
        """
        named = self._named(context, SCOPES.resolve(self.scope))
        start = self._including(start, named)
        small = dataclasses.replace(self, batch_size=min(self.batch_size, FEW), batches=1)
        found = small._scores(start, context, named.meant(self.exclude, "exclude") if named else ())
        asked = self._asked(start, context, named, self.density, [])
        if start.kept < start.weights and not decides_count(self.pattern):
            asked = dataclasses.replace(asked, fraction=0.0, density=None)
        sizes = dataclasses.replace(found, scores={name: start.state[name].abs() for name in found.scores})
        masks = PATTERNS.resolve(self.pattern).masks(sizes, start.masks, asked)
        less = {name: _one_less(mask, masks[name]) for name, mask in start.masks.items()}
        return start.masked(less).counted("prune")

    def _asked(
        self, start: Checkpoint, context: Context, named: Named | None, density: float | None, notes: list[str]
    ) -> Round:
        """Return what is asked of one round."""
        return Round(
            roles=named.uses if named else start.roles,
            look=lambda: (start.load_into(context.module()), context.world.test.inputs[:1]),
            names=named.names if named else None,
            fraction=self.fraction,
            density=density,
            scope=SCOPES.resolve(self.scope),
            exclude=self.exclude,
            counting=self.counting,
            allow_empty=self.allow_empty,
            tell=notes.append,
        )

    def _once(self, start: Checkpoint, context: Context, asked: Round, spared: Collection[str]) -> Checkpoint:
        """Return ``start`` after one round; what is ``spared`` is neither scored nor moved."""
        scores = self._scores(start, context, spared)
        if scores.note:
            asked.tell(scores.note)
        masks = PATTERNS.resolve(self.pattern).masks(scores, start.masks, asked)
        return start.with_state({**start.state, **scores.weights(masks, start.state)}).masked(masks)

    def _scores(self, start: Checkpoint, context: Context, spared: Collection[str]) -> Scores:
        """Return what the criterion makes of the weights that have a mask and are not ``spared``."""
        seen = {name: each for name, each in start.constraints.items() if name not in spared} or start.constraints
        return scored(
            self.criterion,
            dataclasses.replace(start, constraints=seen),
            context.module,
            context.world,
            batches=self.batches,
            batch_size=self.batch_size,
            loss=self.loss,
            seed=context.seed,
            draw=start.level,
            given=context.given,
        )

    def _named(self, context: Context, scope: Scope) -> Named | None:
        """Return all names and roles of the network's tensors, if needed: a checkpoint has only the first of each."""
        if not (self.include or self.exclude or rates_of(scope)):
            return None
        return Named.of(context.module(), context.world.test.inputs[:1])

    def _including(self, start: Checkpoint, named: Named | None) -> Checkpoint:
        """Return ``start`` with masks of ones for the tensors that are pruned from here on."""
        added = named.wanted(self.include) - set(start.masks) if named else set[str]()
        masks = {name: torch.ones_like(start.state[name], dtype=torch.bool) for name in start.roles if name in added}
        return start.masked({**start.masks, **masks})


def _one_less(before: Tensor, after: Tensor) -> Tensor:
    """Return the mask ``before`` without its last weight, if any has gone in ``after``."""
    if after.equal(before):
        return before
    less = before.clone().reshape(-1)
    less[before.reshape(-1).nonzero()[-1]] = False
    return less.reshape(before.shape)


def left_out(module: nn.Module, parts: Iterable[object]) -> str:
    """Say what none of the pruning steps among ``parts`` reaches in ``module`` or excludes; empty if nothing.

    Raises :class:`SpecError` for an entry of ``include`` or ``exclude`` that means nothing there.
    """
    named, found = Named.of(module), [part for part in parts if isinstance(part, Prune)]
    told = {name for step in found for name in named.wanted(step.include)}
    told |= {name for step in found for name in named.meant(step.exclude, "exclude")}
    return coverage(module).without(told).sentence() if found else ""
