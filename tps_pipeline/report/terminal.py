"""Tables for the terminal."""

from __future__ import annotations

import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text

from tps_pipeline.report.gaps import gaps

SHOWN = 10
"""Videos of a kind that are named; the report names all."""


def leaderboard(table: pa.Table) -> Table:
    """The leaderboard (`tables.LEADERBOARD`), in its own order; unread videos are a column if there are any.

    The challenge paper's scores are in the report only: they are of other videos, and eighty columns are full.
    """
    shown = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    left_out = [name for name in ("reported", "not_read") if name in table.column_names]
    if "not_read" in left_out and any(table["not_read"].to_pylist()):
        left_out.remove("not_read")
    table = table.drop_columns(left_out)
    for name in table.column_names:
        header = name.replace("_", "\n")  # all of it in eighty columns
        shown.add_column(header, justify="left" if name in ("method", "split") else "right", overflow="fold")
    for row in table.to_pylist():
        shown.add_row(*map(_text, row.values()))
    return shown


def action_members(accuracy: pa.Table) -> list[str]:
    """A line a split on who names the right action how often (`tables.ACTION_ACCURACY`); none of a single member."""
    lines: dict[str, list[str]] = {}
    for row in accuracy.to_pylist():
        lines.setdefault(row["split"], []).append(f"{row['member']} {row['accuracy']:.4f}")
    return [f"action accuracy, {split}: {', '.join(each)}" for split, each in lines.items() if len(each) > 2]


def not_read(unreadable: pa.Table) -> list[str]:
    """What a run could not read (`tables.UNREADABLE`) and what became of it, a line a split and kind."""
    lines = []
    for gap in gaps(unreadable):
        names = list(gap.videos)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"{gap.sentence}: {', '.join(names[:SHOWN])}{more}")
    return lines


def _text(value: str | float | None) -> Text:
    """A cell, as Text: names may hold what rich takes for its markup."""
    if isinstance(value, float):
        return Text(f"{value:.4f}")
    return Text("–" if value is None else str(value))
