"""The report: one HTML file that needs nothing else, to be opened, mailed and kept."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tps_pipeline.labels import PERSON, parts_of
from tps_pipeline.lineage import Record
from tps_pipeline.report import plots, provenance
from tps_pipeline.report.breakdown import Breakdown
from tps_pipeline.report.clips import Clip
from tps_pipeline.report.gaps import gaps
from tps_pipeline.report.heat_map import HeatMap, gradient, heat_map
from tps_pipeline.report.learning import learnings
from tps_pipeline.report.lineage_graph import lay_out
from tps_pipeline.whole_file import whole_file

_STATES = 20
"""States shown at once; the rarer ones unfold."""
_DISPUTED = 12
"""Parts' states that methods differ on most; those with fewer boxes than `_FEW` are left out."""
_FEW = 10


@dataclass(frozen=True)
class _Plot:
    """A plot for light and for dark pages, as data URIs."""

    light: str
    dark: str


def write(
    out: Path,
    *,
    title: str,
    method: str,
    leaderboard: pa.Table,
    actions: pa.Table,
    psc: pa.Table,
    chosen: pa.Table,
    members: pa.Table,
    gain: pa.Table,
    split: str | None,
    breakdown: Breakdown | None,
    typical: Clip | None,
    worst: Sequence[Clip],
    best: Sequence[Clip],
    average_precision: Mapping[str, pa.Table],
    confusion: Mapping[str, pa.Table],
    unreadable: pa.Table,
    logs: Mapping[str, Path],
    recipe_yaml: str,
    recipe: str,
    store: str,
    lineage: Iterable[Record],
) -> None:
    """Write the report; an existing file is replaced in one step.

    Args:
        out: The HTML file.
        title: Its heading.
        method: What is submitted: whose scores stand first, whose confusion of states and whose clips are shown.
        leaderboard: `tables.LEADERBOARD`; may be empty.
        actions: `tables.ACTION_ACCURACY`; may be empty.
        psc: `tables.PSC`; may be empty.
        chosen: `tables.METHOD_BY_CATEGORY`; may be empty.
        members: `tables.STACKING_MEMBERS`; may be empty.
        gain: `tables.STACKING_GAIN`; may be empty.
        split: Whose parts, states and clips are shown; None if no split is labelled.
        breakdown: What the methods make of that split's parts.
        typical: A video between those; None if there is none.
        worst: The videos with the lowest PSC, worst first.
        best: The videos with the highest PSC, best first.
        average_precision: `tables.AVERAGE_PRECISION` of each way to detect, by name; may be empty.
        confusion: `tables.DETECTOR_CONFUSION` of each way to detect, by name; may be empty.
        unreadable: `tables.UNREADABLE`; may be empty.
        logs: What each network's training has left, as CSV: a row an epoch, with `loss` and `seconds`.
        recipe_yaml: The recipe that everything was made with.
        recipe: The name or file that the recipe goes by in commands.
        store: The store that everything is in, as commands name it.
        lineage: The records of what is delivered and of all that it was made from.
    """
    records = sorted(lineage, key=lambda record: (record.asset, record.partition or ""))
    rows = leaderboard.to_pylist()
    html = _environment().get_template("page.html.jinja").render(
        title=title,
        method=method,
        leaderboard=rows,
        actions=actions.to_pylist(),
        best=_best(rows),
        standing=[_standing(rows, method, name) for name in _splits(rows, method, split)],
        gaps=gaps(unreadable),
        learnings=learnings(logs),
        psc=[_psc_of(psc, chosen, split, _ranked(rows, split)) for split in plots.splits(psc)],
        stack={"gain": gain.to_pylist()[0], "members": members.to_pylist()} if len(members) else None,
        split=split,
        parts=breakdown and split and _parts_of(breakdown, method, _ranked(rows, split)),
        clips={"typical": typical, "worst": worst, "best": best},
        precision=_by_split(average_precision),
        detectors=list(average_precision),
        confusion=[{"detections": name, **row} for name, table in confusion.items() for row in table.to_pylist()],
        gradient=gradient(),
        recipe_yaml=recipe_yaml,
        recipe=recipe,
        store=store,
        lineage=_lineage_of(records) if records else None,
        newest=max((record.finished_at for record in records), default=None),
    )  # fmt: skip
    with whole_file(out) as partial:
        partial.write_text(html, encoding="utf-8")


def _lineage_of(records: Sequence[Record]) -> dict[str, Any]:
    """What the page says about where everything came from; the assets in the order of the drawing."""
    assets = provenance.made(records)
    graph = lay_out(assets)
    delivered, networks = provenance.files(assets)
    return {
        "graph": graph,
        "assets": [[assets[name] for name in box.assets] for box in graph.boxes],
        "delivered": delivered,
        "networks": networks,
        "packages": provenance.packages(assets),
        "doubts": provenance.doubts(assets),
        "records": records,
    }


def _best(leaderboard: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each split's row with the best score."""
    best: dict[str, dict[str, Any]] = {}
    for row in leaderboard:
        if row["split"] not in best or row["score"] > best[row["split"]]["score"]:
            best[row["split"]] = row
    return best


def _splits(leaderboard: list[dict[str, Any]], method: str, first: str | None) -> list[str]:
    """The splits that a method is scored on, beginning with one of them."""
    return sorted({row["split"] for row in leaderboard if row["method"] == method}, key=lambda name: name != first)


def _standing(leaderboard: list[dict[str, Any]], method: str, split: str) -> dict[str, Any]:
    """A method's row of a split, its place, the best other one's row, and all rows, best first."""
    rows = [row for row in leaderboard if row["split"] == split]
    own = next(row for row in rows if row["method"] == method)
    return {
        "split": split,
        "row": own,
        "place": 1 + sum(row["score"] > own["score"] for row in rows),
        "other": max((row for row in rows if row is not own), key=lambda row: row["score"], default=None),
        "rows": rows,
        "most": max(row["score"] for row in rows) or 1.0,
    }


def _ranked(leaderboard: list[dict[str, Any]], split: str) -> list[str]:
    """A split's methods, best score first."""
    return [row["method"] for row in leaderboard if row["split"] == split]


def _psc_of(psc: pa.Table, chosen: pa.Table, split: str, ranked: list[str]) -> dict[str, Any]:
    """What the page says about one split's PSC."""
    means = plots.mean_psc(psc, split)
    place = {name: at for at, name in enumerate(ranked)}
    means = means.loc[:, sorted(means.columns.astype(str), key=lambda name: place.get(name, len(place)))]
    choices = [row for row in chosen.to_pylist() if row["chosen"]]
    return {
        "split": split,
        "by_action": heat_map(
            means, plots.videos_by_action(psc, split), marked={(row["action"], row["method"]) for row in choices}
        ),
        "chosen_on": choices[0]["split"] if choices else None,
        "curve": _plot(partial(plots.score_curve, psc, split)),
    }


def _parts_of(breakdown: Breakdown, method: str, ranked: list[str]) -> dict[str, Any]:
    """What the page says about parts and states."""
    methods = [name for name in ranked if name in breakdown.methods]
    by_part, by_state = (breakdown.mean_correctness(by).loc[:, [*methods, "boxes"]] for by in ("part", "state"))
    scale = _scale(by_part.loc[:, methods], by_state.loc[:, methods])
    several = len(methods) > 1
    disputed = breakdown.disagreement("part", "state")
    confused = {part: breakdown.confusion(method, part) for part in breakdown.parts}
    return {
        "by_part": _correctness(by_part, scale),
        "by_state": [_correctness(rows, scale) for rows in (by_state.iloc[:_STATES], by_state.iloc[_STATES:])],
        "agreement": heat_map(_of_two(breakdown.agreement().loc[methods, methods]), {}) if several else None,
        "disputed_parts": breakdown.disagreement("part").reset_index().to_dict("records"),
        "disputed": disputed.loc[disputed["boxes"] >= _FEW].head(_DISPUTED).reset_index().to_dict("records"),
        "confused": {part: _confused(counts) for part, counts in confused.items() if len(counts)},
    }


def _of_two(agreement: pd.DataFrame) -> pd.DataFrame:
    """Without that of each method with itself, which says nothing."""
    return agreement.mask(np.eye(len(agreement), dtype=bool))


def _correctness(means: pd.DataFrame, scale: tuple[float, float] | None) -> HeatMap:
    return heat_map(means.drop(columns="boxes"), means["boxes"].to_dict(), scale=scale)


def _confused(counts: pd.DataFrame) -> HeatMap:
    """Per cent of each annotated state's boxes; the right ones marked."""
    shares = 100 * counts.div(counts.sum(axis=1), axis=0)
    right = {(state, state) for state in shares.index if state in shares.columns}
    return heat_map(shares, counts.sum(axis=1).to_dict(), marked=right, scale=(0, 100), text="{:.0f}".format)


def _scale(*values: pd.DataFrame) -> tuple[float, float] | None:
    """The lowest and the highest of several tables' values."""
    found = np.concatenate([table.to_numpy(dtype=float).ravel() for table in values])
    found = found[~np.isnan(found)]
    return (found.min().item(), found.max().item()) if found.size else None


def _plot(draw: Callable[..., bytes]) -> _Plot:
    light, dark = (_data_uri(draw(theme=theme), "image/svg+xml") for theme in (plots.LIGHT, plots.DARK))
    return _Plot(light, dark)


def _by_split(average_precision: Mapping[str, pa.Table]) -> dict[str, list[dict[str, Any]]]:
    """Each split's classes (the person, the parts in their usual order, then their mean) with every detector's row."""
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for name, table in average_precision.items():
        for row in table.to_pylist():
            rows.setdefault(row["split"], {}).setdefault(row["label"], {})[name] = row
    labels = {label for of_split in rows.values() for label in of_split}
    order = {label: i for i, label in enumerate((PERSON, *parts_of(labels - {PERSON, "parts"})))}
    return {
        split: [
            {
                "label": label,
                "boxes": max(row["boxes"] for row in rows[split][label].values()),
                "of": rows[split][label],
            }
            for label in sorted(rows[split], key=lambda label: (order.get(label, len(order)), label))
        ]
        for split in sorted(rows)
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"number": _number, "time": _time, "size": _size, "label": _label, "uri": _data_uri}
    filters |= {"ordinal": _ordinal, "duration": _duration, "commit": provenance.commit, "shell": shlex.quote}
    environment.filters.update(filters)
    return environment


def _number(value: float | None, digits: int = 4) -> str:
    """A rounded number; a dash where there is none (COCO scores a class without boxes -1)."""
    return "–" if value is None or math.isnan(value) or value < 0 else f"{value:.{digits}f}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _label(name: str) -> str:
    """A class as people read it; left and right also point there."""
    side = {"left": "◂ ", "right": "▸ "}.get(name.partition("_")[0], "")
    return side + name.replace("_", " ")


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
