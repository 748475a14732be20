"""Tables for the terminal."""

from __future__ import annotations

import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text


def leaderboard(table: pa.Table) -> Table:
    """The leaderboard (``tables.LEADERBOARD``), in its own order."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for name in table.column_names:
        header = name.replace("_", "\n")
        shown.add_column(header, justify="left" if name in ("method", "split") else "right", overflow="fold")
    for row in table.to_pylist():
        shown.add_row(*map(_text, row.values()))
    return shown


def _text(value: str | float | None) -> Text:
    """A cell, as Text: names may hold what rich takes for its markup."""
    if isinstance(value, float):
        return Text(f"{value:.4f}")
    return Text("–" if value is None else str(value))
