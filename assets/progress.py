"""What `make run` shows while networks train: of each its epoch, loss and time left, from the `log.csv` that it writes.

On a terminal a line a network, in place; elsewhere all of them in one plain line a minute. Whoever trains, in whatever
process, shows no bar of its own meanwhile: only one may draw on a terminal.
"""

import csv
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tps_pipeline.errors import TpsError
from tps_pipeline.graph import Run, Step, workspace_of

EVERY = 60.0
"""Seconds from one plain line to the next."""

FIND_EVERY = 5.0
"""Seconds from one look at the store's records for where a network that waits for others will learn to the next."""

RECENT = 5
"""Epochs that the time left is told from."""


@dataclass
class Training:
    """A network that is to learn.

    Attributes:
        name: Its name.
        epochs: How many it takes; 0 if its budget is in steps or minutes.
        find: Tells the folder where it would learn as of now: it may learn from what is yet to be made.
        folder: Where it learns, as far as that was found; the folder goes into the store when that is done.
        history: Loss, seconds and the share of its budget that was over, of each epoch, as far as its log was seen.
        begun: Whether it was seen at work.
    """

    name: str
    epochs: int
    find: Callable[[], Path]
    folder: Path | None = None
    history: list[tuple[float, float, float]] = field(default_factory=list)
    begun: bool = False
    _asked: float = -math.inf

    def look(self) -> None:
        """See how far it is; what is just being written or moved away is seen the next time."""
        if not self.begun and time.monotonic() - self._asked >= FIND_EVERY:
            with suppress(TpsError, OSError):
                self.folder = self.find()
            self._asked = time.monotonic()
        if self.folder is None:
            return
        with suppress(OSError, ValueError, TypeError, KeyError):
            self.begun = self.begun or any(self.folder.iterdir())
            with (self.folder / "log.csv").open(newline="") as file:
                rows = [*csv.DictReader(file)]
            used = [float(row["used"]) if "used" in row else at / self.epochs for at, row in enumerate(rows, 1)]
            seen = [(float(row["loss"]), float(row["seconds"]), share) for row, share in zip(rows, used, strict=True)]
            self.history = seen or self.history

    @property
    def done(self) -> bool:
        """Whether it was at work and its folder is gone: its last epochs may have been over too soon to be seen."""
        return self.begun and self.folder is not None and not self.folder.exists()

    @property
    def used(self) -> float:
        """The share of its budget that is over."""
        return 1.0 if self.done else self.history[-1][2] if self.history else 0.0

    @property
    def at(self) -> str:
        """The epochs that are over, in words."""
        if not self.epochs:
            return f"epoch {len(self.history)}"
        return f"epoch {self.epochs if self.done else len(self.history)}/{self.epochs}"

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        if self.done:
            return "done"
        if not self.history:
            return "begins" if self.begun else "waits"
        loss = f"loss {self.history[-1][0]:.3f}"
        return f"{loss}, {_words(self.left())} left" if self.used < 1 else f"{loss}, is saved"

    def left(self) -> float:
        """Seconds until its last epoch is over, as its latest epochs went."""
        latest = self.history[-RECENT:]
        before = self.history[-RECENT - 1][2] if len(self.history) > RECENT else 0.0
        pace = sum(seconds for _, seconds, _ in latest) / (self.used - before)
        with suppress(OSError):
            since = time.time() - (self.folder / "log.csv").stat().st_mtime if self.folder else 0.0
            return max(0.0, (1 - self.used) * pace - since)
        return 0.0


def trainings_of(run: Run, steps: Sequence[Step]) -> list[Training]:
    """What learns in some steps, epoch by epoch."""
    return [
        Training(step.learner.name, epochs, partial(workspace_of, run, step))
        for step in steps
        if step.learner and (epochs := _epochs(run.recipe.learned(step.learner.section))) is not None
    ]


@contextmanager
def shown(trainings: Sequence[Training], console: Console, every: float = EVERY) -> Iterator[None]:
    """Show meanwhile how far they are; nobody else draws."""
    before = os.environ.get("TTY_COMPATIBLE")
    with _live(trainings, console) if console.is_interactive else _lines(trainings, console, every):
        os.environ["TTY_COMPATIBLE"] = "0"  # which rich reads, in this process and in those that it starts
        try:
            yield
        finally:
            del os.environ["TTY_COMPATIBLE"]
            if before is not None:
                os.environ["TTY_COMPATIBLE"] = before


def _live(trainings: Sequence[Training], console: Console) -> Live:
    return Live(console=console, get_renderable=lambda: _table(trainings), refresh_per_second=2, transient=True)


def _table(trainings: Sequence[Training]) -> Table:
    table = Table.grid(padding=(0, 2))
    for training in trainings:
        training.look()
        bar = ProgressBar(1.0, training.used, width=24)
        table.add_row(Text(f"  {training.name}"), bar, training.at, training.state)
    return table


@contextmanager
def _lines(trainings: Sequence[Training], console: Console, every: float) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(trainings, console, every, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell(trainings: Sequence[Training], console: Console, every: float, over: threading.Event) -> None:
    while not over.wait(every):
        for training in trainings:
            training.look()
        told = [f"{each.name} ({each.at}, {each.state})" for each in trainings if each.begun and not each.done]
        told += _counted(sum(each.done for each in trainings), "done")
        told += _counted(sum(not each.begun for each in trainings), "to come")
        console.print(f"  training: {', '.join(told)}", highlight=False, markup=False, soft_wrap=True)


def _counted(number: int, what: str) -> list[str]:
    return [f"{number} {what}"] if number else []


def _epochs(settings: Any) -> int | None:
    """The number of epochs among a network's settings, which may be those of a part of it; None without a network."""
    if not isinstance(settings, dict):
        return None
    if "epochs" in settings:
        return settings["epochs"] or 0
    return next((epochs for part in settings.values() if (epochs := _epochs(part)) is not None), None)


def _words(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
