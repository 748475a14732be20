"""Tables whose cells are coloured by value: real tables, which can be read aloud, copied and searched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

COLOURS = mpl.colormaps["cividis"]
"""Looks the same to colour-blind people (Nuñez, Anderton and Renslow, PLoS ONE, 2018)."""


@dataclass(frozen=True)
class Cell:
    """One value."""

    text: str
    """The value as it is shown."""
    style: str
    """CSS: the background, and an ink that is readable on it."""
    marked: bool
    """Whether it stands out among the others."""


@dataclass(frozen=True)
class HeatMap:
    """A table's columns, and its rows by name."""

    columns: list[str]
    """The headings."""
    rows: dict[str, list[Cell]]
    """A row's cells, one for each column, by the row's name."""
    counts: dict[str, int]
    """What a row's values are taken over."""
    scale: tuple[float, float] | None
    """The values that have the first and the last colour; None if there is none."""

    def pieces(self, most: int) -> list[HeatMap]:
        """The same in several maps with that many columns at most, as equally wide as can be: for narrow pages."""
        count = max(1, math.ceil(len(self.columns) / most))
        ends = [len(self.columns) * piece // count for piece in range(count + 1)]
        return [
            replace(self, columns=self.columns[a:b], rows={name: cells[a:b] for name, cells in self.rows.items()})
            for a, b in itertools.pairwise(ends)
        ]

    def __bool__(self) -> bool:
        return bool(self.rows)


def heat_map(
    values: pd.DataFrame,
    counts: Mapping[Any, int],
    *,
    marked: Collection[tuple[str, str]] = (),
    scale: tuple[float, float] | None = None,
    text: Callable[[float], str] = "{:.2f}".format,
) -> HeatMap:
    """Colour a table.

    Args:
        values: What to show; a missing value is a dash without colour.
        counts: What each row is taken over; shown beside its name.
        marked: Row and column of the cells to mark.
        scale: The values of the first and last colour; None takes the lowest and the highest.
        text: Writes a value.
    """
    if scale is None and values.notna().to_numpy().any():
        every = values.to_numpy(dtype=float)
        scale = float(np.nanmin(every)), float(np.nanmax(every))
    rows = {
        str(name): [
            _cell(value, scale, text, marked=(str(name), str(column)) in marked)
            for column, value in zip(values.columns, row, strict=True)
        ]
        for name, row in zip(values.index, values.to_numpy(dtype=float).tolist(), strict=True)
    }
    return HeatMap([str(c) for c in values.columns], rows, {str(k): int(v) for k, v in counts.items()}, scale)


def gradient() -> str:
    """The colours from first to last, as a CSS background."""
    return f"linear-gradient(90deg, {', '.join(to_hex(COLOURS(i / 8)) for i in range(9))})"


def _cell(value: float, scale: tuple[float, float] | None, text: Callable[[float], str], *, marked: bool) -> Cell:
    if scale is None or value != value:
        return Cell("–", "", marked)
    low, high = scale
    red, green, blue, _ = COLOURS((value - low) / (high - low) if high > low else 1.0)
    ink = "#000" if _luminance(red, green, blue) > _EQUAL else "#fff"
    return Cell(text(value), f"background:{to_hex((red, green, blue))};color:{ink}", marked)


_EQUAL = 0.179
"""Luminance on which black and white have the same contrast, 4.58 (WCAG 2.2: (L + 0.05)² = 1.05 · 0.05)."""


def _luminance(*channels: float) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
