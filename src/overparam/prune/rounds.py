"""One round of pruning as a pure function: scores and masks in, new masks out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from overparam.errors import SpecError
from overparam.networks.roles import foremost
from overparam.prune.counts import exact, exact_count
from overparam.prune.masks import Masks, check_masks, check_room, count_kept, keep_top
from overparam.prune.scopes.base import SCOPES, Counted, Scope, checked_quotas, rates_of
from overparam.prune.selection import excluded, pruning_rates

Counting = Literal["prunable", "all"]

FEW_TIES, TIED_SHARE = 3, 0.01
"""So many equal scores, or this share of a ranking, are chance: floats of half precision have few values."""


def new_masks(
    scores: Mapping[str, Tensor],
    masks: Masks,
    roles: Mapping[str, str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
    fraction: float | None = None,
    density: float | None = None,
    scope: str | Mapping[str, Any] | Scope = "global",
    exclude: str | Iterable[str] = (),
    counting: Counting = "prunable",
    allow_empty: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Tensor]:
    """Return the masks after one round: of the weights alive the best stay, exactly as many as asked for.

    Args:
        scores: by name, finite, higher means "keep"; those of excluded tensors are not needed.
        masks: bool, by name; only weights still alive are ranked, none comes back.
        roles: role of every tensor (see :func:`overparam.networks.tensor_roles`); None if roles play no part.
        names: where tensors have several names and a role under each (:func:`overparam.networks.roles_by_name`), the
            name in ``masks`` by each of them (:func:`overparam.networks.first_names`). ``exclude`` and the rates of a
            scope may use all; a scope is told the foremost role.
        fraction: share of the weights still alive that goes, in [0, 1).
        density: share of the weights, pruned ones included, that is kept afterwards, in (0, 1].
            Give one of the two.
        scope: ``global``, ``per-layer``, ``uniform``, ``erk``, or an object such as ``PerLayer(rates=...)``.
        exclude: roles or parameter-name patterns of tensors that stay as they are.
        counting: which weights the share is of. ``prunable``: of those not excluded; the number that goes
            (``fraction``) or stays (``density``) is rounded to the nearest, halves up. ``all``: of all
            tensors with a mask, the excluded ones too, but taken from the others only, and with ``fraction``
            rounded up: the rule of the code of He et al., ICML 2022, https://arxiv.org/abs/2206.08684, and of
            open_lth (which, where scores are compared with a threshold, then removes one weight more; here
            the count is exact).
        allow_empty: unless True, a tensor that has weights keeps at least one.
        tell: called with a sentence where more than a few scores are equal and position decides which of them stay.

    Raises:
        SpecError: a wrong argument; too few weights left to prune that many; a density above the present one.
    """
    check_masks(masks)
    roles = dict.fromkeys(masks, "other") if roles is None else roles
    known = foremost(roles, names or {})
    unknown = sorted(set(masks) - set(known))
    if unknown:
        raise SpecError(f"roles lack {', '.join(unknown)}; give the role of every tensor that has a mask")
    scope = SCOPES.resolve(scope)
    spared = excluded(exclude, roles, names)
    rates = pruning_rates(rates_of(scope), roles, names)
    counted = [
        Counted(
            name=name,
            role=known[name],
            shape=tuple(masks[name].shape),
            alive=(alive := count_kept({name: masks[name]})),
            least=0 if allow_empty else min(alive, 1),
            rate=rates[name],
        )
        for name in sorted(masks)
    ]
    tensors = [tensor for tensor in counted if tensor.name not in spared]
    if not masks:
        raise SpecError(
            "nothing is left to prune: no tensor has a mask; weights of linear, convolution and recurrent layers get "
            "one, but not those under a parametrisation such as weight norm; name others in include"
        )
    if not tensors:
        raise SpecError(f"nothing is left to prune: of {len(masks)} tensors with a mask all are excluded")
    keep = number_to_keep(tensors, [tensor for tensor in counted if tensor.name in spared], fraction, density, counting)
    check_room(keep, {tensor.name: tensor.alive for tensor in tensors}, allow_empty)
    quotas = checked_quotas(scope, tensors, keep)
    ties: list[tuple[int, int]] = []
    chosen = keep_top(
        scores,
        {tensor.name: masks[tensor.name] for tensor in tensors},
        keep if quotas is None else quotas,
        allow_empty=allow_empty,
        tied=lambda equal, ranked: ties.append((equal, ranked)),
    )
    if told := tied_sentence(ties):
        tell(told)
    return {name: chosen[name] if name in chosen else mask.clone() for name, mask in masks.items()}


def tied_sentence(ties: Iterable[tuple[int, int]]) -> str:
    """Say that position decides, given how many scores of how many are equal; empty if they are few in each ranking.

    >>> tied_sentence([(3, 8), (50, 10_000), (900, 1000)])
    '90 % of 1,000 scores are equal at the threshold, so position decides between them: those that come first are kept'
    """
    many = [(equal, ranked) for equal, ranked in ties if equal > max(FEW_TIES, TIED_SHARE * ranked)]
    equal, ranked = (sum(each) for each in zip(*many, strict=True)) if many else (0, 0)
    share = f"{100 * equal / max(ranked, 1):.0f} % of {ranked:,} scores are equal at the threshold"
    return f"{share}, so position decides between them: those that come first are kept" if many else ""


def densities(
    density: float | None, rounds: int, masks: Masks, spared: Collection[str] = (), counting: Counting = "prunable"
) -> list[float | None]:
    """Return the density after each of ``rounds`` prunings: falling by one factor, from that of ``masks`` to the last.

    Those ``spared`` do not count, unless ``counting`` is ``all``. One round is just what was asked for.

    Reference: the exponential schedule of Tanaka et al., 2020, https://arxiv.org/abs/2006.05467, algorithm 1

    Raises :class:`SpecError` for several rounds without a density to arrive at.
    """
    if rounds == 1:
        return [density]
    if rounds < 1 or density is None:
        raise SpecError(f"rounds must be 1, or more towards a density, got {rounds} with density {density}")
    base = [mask for name, mask in masks.items() if counting == "all" or name not in spared]
    present = count_kept(dict(enumerate(base))) / max(1, sum(mask.numel() for mask in base))  # type: ignore[arg-type]
    if density >= present:
        return [density]
    return [*(present * (density / present) ** (place / rounds) for place in range(1, rounds)), density]


def number_to_keep(
    tensors: Sequence[Counted],
    spared: Sequence[Counted],
    fraction: float | None,
    density: float | None,
    counting: Counting,
) -> int:
    """Return how many weights of ``tensors`` stay, given the ``spared`` ones; see :func:`new_masks`."""
    if counting not in ("prunable", "all"):
        raise SpecError(f"counting must be 'prunable' or 'all', got {counting!r}")
    base = [*tensors, *spared] if counting == "all" else tensors
    alive = sum(tensor.alive for tensor in tensors)
    if fraction is not None and density is None:
        if not 0 <= exact(fraction, "fraction") < 1:
            raise SpecError(f"fraction must be in [0, 1), the share of the weights left that goes; got {fraction}")
        gone = exact_count(
            fraction,
            sum(tensor.rate * tensor.alive for tensor in base),
            "up" if counting == "all" else "half-up",
        )
        if gone > alive:
            raise SpecError(
                f"fraction {fraction} of all {sum(tensor.alive for tensor in base):,} weights left is "
                f"{gone:,}, but only {alive:,} are not excluded; "
                "stop at an earlier level, or use counting='prunable'"
            )
        return alive - gone
    if density is not None and fraction is None:
        if not 0 < exact(density, "density") <= 1:
            raise SpecError(f"density must be in (0, 1], the share of the weights that is kept; got {density}")
        total = exact_count(density, sum(tensor.size for tensor in base))
        outside = sum(tensor.alive for tensor in base) - alive
        if total < outside:
            raise SpecError(
                f"density {density} of all tensors is {total:,} weights, but the excluded ones hold "
                f"{outside:,}; ask for a higher density, or use counting='prunable'"
            )
        if total - outside > alive:
            raise SpecError(
                f"density {density} is {total:,} weights, but only {alive + outside:,} are left; "
                "pruning never revives a weight"
            )
        return total - outside
    given = "neither" if fraction is None else "both"
    raise SpecError(f"give either fraction (of the weights left that goes) or density (to be kept), got {given}")
