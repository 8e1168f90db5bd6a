"""N:M: of each M neighbours N stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from overparam.errors import SpecError
from overparam.prune.criteria import Scores
from overparam.prune.groups import keep_in_blocks, keep_in_groups
from overparam.prune.masks import Masks, check_scores
from overparam.prune.patterns.base import PATTERNS, Round
from overparam.prune.scopes import SCOPES, Global
from overparam.prune.selection import excluded
from overparam.spec import spec


@PATTERNS.named("n-of-m")
@spec
class NofM:
    """Of each M neighbours along the inputs N stay: ``"2:4"`` is short for ``{n-of-m: {n: 2, m: 4}}``.

    In a convolution these are M input channels at one place of the kernel (see :mod:`overparam.prune.groups`). The
    pattern says how many weights stay. Layers whose inputs are no multiple of M stay as they are; a note names them.

    Reference: Mishra et al., 2021, https://arxiv.org/abs/2104.08378

    Args:
        n: how many stay.
        m: of how many.
        transposable: keep N in each row and each column of blocks of M by M, so that the transposed weight, by which
            gradients go back, is N:M too, nearly the best such mask: a single block may lose a tenth of the best one's
            sum, a layer of many blocks a thousandth. Outputs must be a multiple of M then as well.

    Example:
        {n-of-m: {n: 2, m: 4, transposable: true}}
    """

    decides_count: ClassVar[bool] = True

    n: Annotated[int, Field(ge=1)]
    m: Annotated[int, Field(ge=2)]
    transposable: bool = False

    def __post_init__(self) -> None:
        if self.n >= self.m:
            raise ValueError(f"n must be less than m, got {self.n}:{self.m}")

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Keep the best of each group; raises :class:`SpecError` where there are none, or a count is asked for."""
        self._check(asked)
        spared = excluded(asked.exclude, asked.roles, asked.names)
        fitting, left = self.fitting({n: mask for n, mask in masks.items() if n not in spared}, asked.look()[0])
        if left:
            asked.tell(left)
        for name in fitting:
            check_scores(name, scores.each(), masks[name])
        chosen = {name: self.mask(scores.each()[name], masks[name]) for name in fitting}
        return {name: chosen[name] if name in chosen else mask.clone() for name, mask in masks.items()}

    def fitting(self, tensors: Mapping[str, Tensor], module: nn.Module) -> tuple[list[str], str]:
        """Return the names of the weights of ``module`` that can have this pattern, and a sentence on the others.

        Raises :class:`SpecError` where there is none.
        """
        turned = {f"{path}.weight" for path, part in module.named_modules() if isinstance(part, _ConvTransposeNd)}
        misfits = {name: self.misfit(each) or "inputs come first" * (name in turned) for name, each in tensors.items()}
        left = ", ".join(f"{name!r} ({why})" for name, why in misfits.items() if why)
        if all(misfits.values()):
            raise SpecError(f"pattern {self} fits no layer: {left or 'all are excluded'}")
        return [name for name, why in misfits.items() if not why], left and f"pattern {self} leaves {left} as they are"

    def mask(self, scores: Tensor, alive: Tensor | None = None) -> Tensor:
        """Return the mask of a tensor that fits."""
        alive = torch.ones_like(scores, dtype=torch.bool) if alive is None else alive
        return (keep_in_blocks if self.transposable else keep_in_groups)(scores, alive, self.n, self.m)

    def misfit(self, weight: Tensor) -> str:
        """Say why a tensor ``(outputs, inputs, *kernel)`` cannot have this pattern; empty if it can."""
        if weight.dim() < 2 or 0 in weight.shape:
            return f"the shape is {tuple(weight.shape)}"
        sides = {"inputs": weight.shape[1], **({"outputs": weight.shape[0]} if self.transposable else {})}
        return next((f"{size} {what}, no multiple of {self.m}" for what, size in sides.items() if size % self.m), "")

    def _check(self, asked: Round) -> None:
        if asked.fraction is not None or asked.density is not None:
            raise SpecError(f"pattern {self} says how many weights stay; leave fraction, density and rounds")
        if asked.counting == "all" or asked.allow_empty or not isinstance(SCOPES.resolve(asked.scope), Global):
            raise SpecError(f"pattern {self} chooses within groups; leave scope, counting and allow_empty")


def _shorthand(given: str) -> tuple[str, dict[str, Any]] | None:
    """Return what ``"2:4"`` is short for."""
    found = re.fullmatch(r"(\d+):(\d+)", given)
    return ("n-of-m", {"n": int(found[1]), "m": int(found[2])}) if found else None


PATTERNS.abbreviate(_shorthand)
