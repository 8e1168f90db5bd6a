"""The step that prunes: score what is alive, keep the best, set the rest to zero."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PlainValidator
from torch import nn

from overparam.checkpoint import Checkpoint
from overparam.content import for_one_use
from overparam.identity import comes_with_overparam, identity_of
from overparam.prune import CRITERIA, Criterion, PerLayer, coverage, criterion_named, gradients, new_masks, scope_named
from overparam.prune.evidence import Evidence
from overparam.prune.selection import Named
from overparam.spec import spec
from overparam.steps.base import STEPS, Context, Outcome, Step
from overparam.streams import global_stream, torch_stream
from overparam.train.losses import checked_loss, loss_identity, loss_named, on_batch


def checked_criterion(given: Any) -> Any:
    """Return ``given`` if it may mean a criterion, by its name if it has one; raises :class:`SpecError` if not."""
    if isinstance(given, str) and ":" in given:
        return given
    criterion = criterion_named(given)
    return next((name for name in CRITERIA if CRITERIA.get(name)() == criterion), criterion)


def criterion_identity(given: str | Criterion) -> Any:
    """Return what a criterion is, JSON-able, for fingerprints: a registered name, or what one's own is made of."""
    criterion = criterion_named(given)
    if isinstance(given, str) and given in CRITERIA:
        return given if comes_with_overparam(criterion) else identity_of(criterion)
    return identity_of(criterion)


@STEPS.named("prune")
@spec
class Prune(Step):
    """Prune once: the lowest-scored of the weights that are left go, exactly as many as asked for.

    Args:
        criterion: how weights are scored: a name of ``CRITERIA``, an import path ``package.module:name``, or an
            object such as ``Magnitude()`` or one's own.
        fraction: share of the weights left that goes, in [0, 1); this or ``density``.
        density: share of the weights that is kept afterwards, in (0, 1].
        scope: over what the count is spread: ``global``, ``per-layer``, ``uniform`` or ``erk``.
        rates: with ``scope: per-layer``, factors of the fraction by role or name, e.g. ``{"output": 0.5}``.
        include: roles (``embedding``, ...) or name patterns of tensors that are pruned from here on, besides the
            weights of linear, convolution and recurrent layers.
        exclude: roles (``output``, ``conv``, ...) or name patterns of tensors that are not pruned. Biases and norms
            never are unless included. A tensor that layers share is spared under each of its names and roles.
        counting: ``prunable`` or ``all``, the counting rule of the Sparse Double Descent code; see
            :func:`overparam.prune.new_masks`.
        allow_empty: whether a layer may lose its last weight.
        batch_size: examples in the training mini-batch of a criterion that needs gradients.
        loss: the loss whose gradients are taken: as in :class:`~overparam.train.TrainSettings`.
    """

    kind: ClassVar[str] = "prune"
    main: ClassVar[str | None] = "fraction"
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("fraction", "density"),)

    criterion: Annotated[str | Criterion, PlainValidator(checked_criterion)] = "magnitude"
    fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    scope: str = "global"
    rates: Mapping[str, float] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    counting: Literal["prunable", "all"] = "prunable"
    allow_empty: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 128
    loss: Annotated[str | Callable[..., Any], PlainValidator(checked_loss)] = "cross-entropy"

    def __post_init__(self) -> None:
        scope_named(self.scope)
        if (self.fraction is None) == (self.density is None):
            got = "neither" if self.fraction is None else "both"
            raise ValueError(
                f"needs either fraction (of the weights left that goes) or density (to be kept), got {got}"
            )
        if self.rates is not None and self.scope != "per-layer":
            raise ValueError(f"rates belong to scope: per-layer, got scope {self.scope!r}")

    def parameters(self) -> dict[str, Any]:
        """Return every parameter; what is the user's own by its content."""
        own = {"criterion": criterion_identity(self.criterion), "loss": loss_identity(self.loss)}
        scope = scope_named(self.scope)
        code = {} if comes_with_overparam(scope) else {"scope_code": identity_of(scope)}  # one that a user registered
        return {**super().parameters(), **own, **code}

    def run(self, start: Checkpoint, context: Context) -> Outcome:
        """Return ``start`` with fewer weights; its randomness is from the stream of (seed, number of prunings)."""
        criterion, draw = criterion_named(self.criterion), start.level
        named = self._named(context)
        start = self._including(start, named)
        found = self._gradients(start, context, draw) if "gradients" in criterion.needs else None
        weights = {name: start.state[name] for name in start.masks}
        evidence = Evidence(weights=weights, gradients=found, seed=context.seed, draw=draw)
        with global_stream(context.seed, "criterion", draw):
            scores = for_one_use(criterion)(evidence)
        masks = new_masks(
            scores,
            start.masks,
            named.uses if named else start.roles,
            names=named.names if named else None,
            fraction=self.fraction,
            density=self.density,
            scope=PerLayer(rates=self.rates) if self.rates else self.scope,
            exclude=self.exclude,
            counting=self.counting,
            allow_empty=self.allow_empty,
        )
        return Outcome(start.masked(masks).counted("prune"))

    def _named(self, context: Context) -> Named | None:
        """Return all names and roles of the network's tensors, if needed: a checkpoint has only the first of each."""
        if not (self.include or self.exclude or self.rates):
            return None
        return Named.of(context.module(), context.world.test.inputs[:1])

    def _including(self, start: Checkpoint, named: Named | None) -> Checkpoint:
        """Return ``start`` with masks of ones for the tensors that are pruned from here on."""
        added = named.wanted(self.include) - set(start.masks) if named else set[str]()
        masks = {name: torch.ones_like(start.state[name], dtype=torch.bool) for name in start.roles if name in added}
        return start.masked({**start.masks, **masks})

    def _gradients(self, start: Checkpoint, context: Context, draw: int) -> Mapping[str, Any]:
        """Take gradients on one random training mini-batch, labels as trained on."""
        data = context.world.train
        order = data.order(draw, torch_stream(context.seed, "prune-batch", draw))
        batch = data.fetch(order[: self.batch_size])
        module = start.load_into(context.module())
        loss = on_batch(for_one_use(loss_named(self.loss)))
        return gradients(module, (batch.inputs, batch), loss, names=start.masks, seed=context.seed, draw=draw)


def left_out(module: nn.Module, steps: Iterable[Step | None]) -> str:
    """Say what none of the pruning steps among ``steps`` reaches in ``module`` or excludes; empty if nothing.

    Raises :class:`SpecError` for an entry of ``include`` or ``exclude`` that means nothing there.
    """
    named, found = Named.of(module), [step for step in steps if isinstance(step, Prune)]
    told = {name for step in found for name in named.wanted(step.include)}
    told |= {name for step in found for name in named.meant(step.exclude, "exclude")}
    return coverage(module).without(told).sentence() if found else ""
