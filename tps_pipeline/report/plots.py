"""Plots as SVG or PNG bytes, drawn without any global matplotlib state.

Methods are told apart by colour and by marker. The colours are the eight of Okabe and Ito (*Color Universal Design*,
2008), which people with the common kinds of colour blindness can tell apart; yellow is left out (too faint on white)
and black becomes the ink's colour.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tps_pipeline.tables import distinct

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "ink")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_WIDTH = 4.9
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "tps",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


@dataclass(frozen=True)
class Theme:
    """Colours of what is not data; the background stays transparent."""

    ink: str
    """Text, as a hexadecimal colour."""
    muted: str
    """What matters less than text, as a hexadecimal colour."""
    grid: str
    """Lines behind the data, as a hexadecimal colour."""


LIGHT = Theme(ink="#1c1e21", muted="#5d646b", grid="#e3e5e8")
"""For a light page."""

DARK = Theme(ink="#e8eaed", muted="#a2aab3", grid="#343941")
"""For a dark page."""


def score_curve(psc: pa.Table, split: str, *, theme: Theme = LIGHT) -> bytes:
    """Share of videos with the right action and a PSC of at least t, over t; the area below a line is the score.

    Args:
        psc: `tables.PSC`.
        split: Whose videos to show; it must have some.
        theme: The page's colours.

    Returns:
        An SVG. The challenge's score sums this share over t = 1e-4, ..., 0.9999 (Kinetics-TPS evaluator).
    """
    with mpl.rc_context(_STYLE):
        return _svg(_score_curve(psc, split, theme))


def preview(psc: pa.Table) -> str:
    """PSC by action as Markdown with small embedded PNGs (under 50 KB each), one a split: for an asset's metadata."""
    images = []
    for split in splits(psc):
        with mpl.rc_context(_STYLE):
            content = _png(_psc_by_action(psc, split, LIGHT))
        images.append(f"![PSC by action, {split}](data:image/png;base64,{base64.b64encode(content).decode()})")
    return "\n\n".join(images)


def splits(table: pa.Table) -> list[str]:
    """The splits that a table has rows of, sorted."""
    return distinct(table["split"])


def mean_psc(psc: pa.Table, split: str) -> pd.DataFrame:
    """Mean PSC, one row an action (best average first), one column a method (sorted); NaN where a method has no row."""
    means = _rows(psc, split).pivot_table(index="action", columns="method", values="psc", aggfunc="mean")
    return means.loc[means.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def videos_by_action(psc: pa.Table, split: str) -> dict[str, int]:
    """How many videos of each action were scored."""
    videos = _rows(psc, split).groupby("action")["video_id"].nunique()
    return {str(action): int(count) for action, count in videos.items()}


def _psc_by_action(psc: pa.Table, split: str, theme: Theme) -> Figure:
    means, videos = mean_psc(psc, split), videos_by_action(psc, split)
    figure, axes = _axes(theme, height=0.7 + _legend_height(psc) + 0.27 * len(means))
    rows = np.arange(len(means))[::-1]
    axes.hlines(rows, means.min(axis=1), means.max(axis=1), color=theme.grid, linewidth=4, zorder=1)
    for method, (colour, marker) in _looks(psc, theme).items():
        if method in means:
            axes.scatter(means[method], rows, s=30, color=colour, marker=marker, linewidths=0, label=method, zorder=2)
    axes.set_yticks(rows, [_plain(f"{action}  ({videos[action]})") for action in means.index])
    axes.set_ylim(-0.7, len(means) - 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("mean PSC", color=theme.muted)
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)
    _legend(figure, axes, theme)
    return figure


def _score_curve(psc: pa.Table, split: str, theme: Theme) -> Figure:
    figure, axes = _axes(theme, height=4.2 + _legend_height(psc))
    thresholds = np.linspace(0, 1, 401)
    rows = _rows(psc, split)
    for i, (method, (colour, marker)) in enumerate(_looks(psc, theme).items()):
        of_method = rows[rows["method"] == method]
        if of_method.empty:
            continue
        right = np.where(of_method["action_correct"], of_method["psc"], -1.0)
        share = (right[:, None] >= thresholds).mean(axis=0)
        axes.plot(
            thresholds,
            share,
            color=colour,
            marker=marker,
            markersize=5,
            markevery=(10 + 7 * i, 80),
            linestyle="-" if i < len(_COLOURS) else "--",
            label=method,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("PSC threshold", color=theme.muted)
    axes.set_ylabel("share of videos", color=theme.muted)
    axes.grid(color=theme.grid, linewidth=0.8)
    _legend(figure, axes, theme)
    return figure


def _rows(psc: pa.Table, split: str) -> pd.DataFrame:
    rows = psc.to_pandas().astype(dict.fromkeys(("video_id", "method", "split", "action"), str))
    return rows[rows["split"] == split]


def _looks(psc: pa.Table, theme: Theme) -> dict[str, tuple[str, str]]:
    """Colour and marker of each of a table's methods; colours return sooner than markers."""
    looks = {}
    for i, method in enumerate(distinct(psc["method"])):
        colour = _COLOURS[i % len(_COLOURS)]
        looks[method] = (theme.ink if colour == "ink" else colour, _MARKERS[i % len(_MARKERS)])
    return looks


def _legend_height(psc: pa.Table) -> float:
    """Inches of a legend with all of a table's methods, two a row."""
    return 0.22 * -(-len(psc["method"].unique()) // 2)


def _axes(theme: Theme, *, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(length=0, pad=6, colors=theme.ink)
    axes.tick_params(axis="x", colors=theme.muted)
    axes.spines["bottom"].set_color(theme.muted)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, axes: Axes, theme: Theme) -> None:
    handles, names = axes.get_legend_handles_labels()
    names = [_plain(name) for name in names]
    figure.legend(
        handles, names, loc="outside upper left", ncols=2, frameon=False, handlelength=1.8, labelcolor=theme.ink
    )


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _svg(figure: Figure) -> bytes:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue().replace("'DejaVu Sans'", _FONTS).encode()


def _png(figure: Figure) -> bytes:
    """A PNG of 64 colours: a third of the full one's size."""
    canvas, small = io.BytesIO(), io.BytesIO()
    figure.savefig(canvas, format="png", dpi=90, facecolor="white")
    Image.open(canvas).convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return small.getvalue()
