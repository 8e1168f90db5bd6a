"""Global: one ranking over everything."""

from collections.abc import Sequence

from overparam.prune.scopes.base import SCOPES, Counted
from overparam.spec import spec


@SCOPES.named("global")
@spec
class Global:
    """One ranking over all tensors: the weakest weights go, wherever they are."""

    def quotas(self, tensors: Sequence[Counted], keep: int) -> None:
        """None: the ranking decides."""
        return None
