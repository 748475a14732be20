"""How networks learned: the curves of their epochs, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WIDTH, HEIGHT = 240, 80
"""Of a drawing, in its own units; the page stretches it."""
_EDGE = 4
_FIGURES = ("ap50", "accuracy", "part_accuracy")
"""What a network is watched by beside its loss: fractions, as its log names them."""


@dataclass(frozen=True)
class Line:
    """One curve of a drawing.

    Attributes:
        name: The column of the log.
        first: Its first value.
        last: Its last.
        path: What SVG draws.
    """

    name: str
    first: float
    last: float
    path: str


@dataclass(frozen=True)
class Learning:
    """How one network learned.

    Attributes:
        network: Its name.
        epochs: How many it took.
        seconds: All of them together.
        lines: Its loss, from 0 to its highest; then what it is watched by, from 0 to 1.
    """

    network: str
    epochs: int
    seconds: float
    lines: tuple[Line, ...]


def learnings(logs: Mapping[str, Path]) -> list[Learning]:
    """Read what trainings have left (`log.csv`), by the network's name; the longest training first.

    No version covers a log: one that is damaged is left out.
    """
    found: list[Learning] = []
    for name, path in logs.items():
        with suppress(ValueError, KeyError):
            found.append(_learning(name, pd.read_csv(path)))
    return sorted(found, key=lambda each: -each.seconds)


def _learning(name: str, log: pd.DataFrame) -> Learning:
    columns = {column: log[column].to_numpy(float) for column in log}
    loss = columns["loss"]
    tops = {"loss": float(loss[np.isfinite(loss)].max(initial=0))} | dict.fromkeys(_FIGURES, 1.0)
    lines = [_line(column, columns[column], top) for column, top in tops.items() if column in columns]
    return Learning(name, len(log), float(columns["seconds"].sum()), tuple(line for line in lines if line))


def _line(name: str, values: NDArray[np.float64], top: float) -> Line | None:
    """A column over the epochs; those without a value are passed over, a single one is a dot."""
    (there,) = np.nonzero(np.isfinite(values))
    if not len(there):
        return None
    x = _EDGE + (WIDTH - 2 * _EDGE) * there / max(1, len(values) - 1)
    y = HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * np.clip(values[there] / (top or 1.0), 0, 1)
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
    return Line(name, float(values[there[0]]), float(values[there[-1]]), f"M{'L'.join([*points, points[-1]])}")
