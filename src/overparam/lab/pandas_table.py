"""Tables as those of pandas, column by column: polars' own way needs pyarrow as well, ten times the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from overparam.errors import SpecError

if TYPE_CHECKING:
    import pandas


def pandas_table(frame: pl.DataFrame) -> pandas.DataFrame:
    """Return a table of pandas with the same rows and columns; raises :class:`SpecError` where it is not installed.

    Floats without a value are NaN, whole numbers and truths without one make a column of pandas' own nullable type.
    """
    try:
        import pandas
    except ImportError:
        raise SpecError(
            "to_pandas() needs the package pandas; pip install 'overparam[pandas]', or use the table of polars as it is"
        ) from None
    columns = {each.name: pandas.Series(each.to_list(), dtype=_kind(each)) for each in frame}
    return pandas.DataFrame(columns)


def _kind(column: pl.Series) -> str:
    """Return what pandas calls the type of a column."""
    if column.dtype.is_float():
        return "float64"
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        plain = "bool" if column.dtype == pl.Boolean else "int64"
        nullable = "boolean" if plain == "bool" else "Int64"
        return nullable if column.null_count() else plain
    return "object"
