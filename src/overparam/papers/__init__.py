"""Papers as studies: one folder a paper, with its settings, its claims and its numbers beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from overparam.report.claims import Verdict


def claims_for(frame: pl.DataFrame, missing: int = 0) -> list[Verdict]:
    """Test the claims that a results table can speak to: Sparse Double Descent's, if its chains prune.

    With rows ``missing`` from the study every claim is "not tested".
    """
    # Here and not above: whoever only looks for the studies in these folders need not wait for the statistics.
    from overparam.papers.sparse_double_descent.claims import CLAIMS

    if "level" not in frame.columns or (frame["level"].max() or 0) == 0:
        return []
    return [claim(frame, missing) for claim in CLAIMS]
