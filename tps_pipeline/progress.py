"""Progress bars: on a terminal's stderr, silent without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, track

T = TypeVar("T")


def progress(items: Iterable[T], doing: str, *, total: int | None = None) -> Iterable[T]:
    """Iterate with a bar, which goes when it is full; `total` says how many there are of what has no length."""
    console = Console(stderr=True)
    if not console.is_terminal:  # of a stream there are thousands, and what rich makes is freed late
        return items
    return track(items, doing, total, console=console, transient=True)


def bar(doing: str, total: int, *, done: int = 0, shown: bool = True) -> tuple[Progress, TaskID]:
    """A bar to be advanced by hand; its description may be changed."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    made = Progress(*columns, console=console, disable=not (shown and console.is_terminal))
    return made, made.add_task(doing, total=total, completed=done)
