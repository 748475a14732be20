"""Tables for the terminal."""

from __future__ import annotations

import pyarrow as pa
from rich.markup import escape
from rich.table import Table


def leaderboard(table: pa.Table) -> Table:
    """The leaderboard (``tables.LEADERBOARD``), in its own order."""
    shown = Table()
    for name in table.column_names:
        is_text = name in ("method", "split")
        shown.add_column(name.replace("_", " "), justify="left" if is_text else "right", no_wrap=is_text)
    for row in table.to_pylist():
        shown.add_row(*map(_text, row.values()))
    return shown


def _text(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value is None else escape(str(value))
