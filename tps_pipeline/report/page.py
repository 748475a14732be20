"""The report: one HTML file that needs nothing else, to be opened, mailed and kept."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tps_pipeline.labels import PARTS
from tps_pipeline.lineage import Record
from tps_pipeline.report import plots
from tps_pipeline.report.contact_sheet import Comparison, jpeg

CHALLENGE_SCORES = {
    "video_category": 0.4834,
    "video_level": 0.5911,
    "segment_level": 0.5600,
    "instance_pcp": 0.6624,
    "instance_pp": 0.5589,
    "part_state_detector": 0.6597,
    "voting": 0.6824,
    "by_category": 0.7389,
}
"""Scores on the challenge's own test set, which is not public, from the report of Kinetics-TPS' winners (ECCV 2022)."""


@dataclass(frozen=True)
class _Plot:
    """A plot for light and for dark pages, as data URIs."""

    light: str
    dark: str


def write(
    out: Path,
    *,
    title: str,
    leaderboard: pa.Table,
    psc: pa.Table,
    average_precision: Mapping[str, pa.Table],
    confusion: Mapping[str, pa.Table],
    comparisons: Sequence[Comparison],
    recipe_yaml: str,
    lineage: Iterable[Record],
) -> None:
    """Write the report; an existing file is replaced in one step.

    Args:
        out: The HTML file.
        title: Its heading.
        leaderboard: ``tables.LEADERBOARD``; may be empty.
        psc: ``tables.PSC``; may be empty.
        average_precision: ``tables.AVERAGE_PRECISION`` of each way to detect, by name; may be empty.
        confusion: ``tables.DETECTOR_CONFUSION`` of each way to detect, by name; may be empty.
        comparisons: Frames to show, annotation beside prediction.
        recipe_yaml: The recipe that everything was made with.
        lineage: The records of what the report shows and of what that was made from.
    """
    records = sorted(lineage, key=lambda record: (record.asset, record.partition or ""))
    rows = leaderboard.to_pylist()
    html = _environment().get_template("page.html.jinja").render(
        title=title,
        leaderboard=rows,
        best=_best(rows),
        challenge=CHALLENGE_SCORES,
        psc=[_psc_of(psc, split) for split in plots.splits(psc)],
        precision=_by_split(average_precision),
        detectors=list(average_precision),
        confusion=[{"detections": name, **row} for name, table in confusion.items() for row in table.to_pylist()],
        comparisons=comparisons,
        recipe_yaml=recipe_yaml,
        records=records,
        newest=max((record.finished_at for record in records), default=None),
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _best(leaderboard: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each split's row with the best score."""
    best: dict[str, dict[str, Any]] = {}
    for row in leaderboard:
        if row["split"] not in best or row["score"] > best[row["split"]]["score"]:
            best[row["split"]] = row
    return best


def _psc_of(psc: pa.Table, split: str) -> dict[str, Any]:
    """What the page says about one split's PSC."""
    means = plots.mean_psc(psc, split)
    return {
        "split": split,
        "by_action": _plot(partial(plots.psc_by_action, psc, split)),
        "curve": _plot(partial(plots.score_curve, psc, split)),
        "methods": list(means.columns),
        "rows": list(zip(means.index, means.to_numpy().tolist(), strict=True)),
        "videos": plots.videos_by_action(psc, split),
    }


def _plot(draw: Callable[..., bytes]) -> _Plot:
    light, dark = (_data_uri(draw(theme=theme), "image/svg+xml") for theme in (plots.LIGHT, plots.DARK))
    return _Plot(light, dark)


def _by_split(average_precision: Mapping[str, pa.Table]) -> dict[str, list[dict[str, Any]]]:
    """Each split's classes (the person, the parts in their usual order, then any others) with every detector's row."""
    order = {label: i for i, label in enumerate(("person", *PARTS))}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for name, table in average_precision.items():
        for row in table.to_pylist():
            rows.setdefault(row["split"], {}).setdefault(row["label"], {})[name] = row
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
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "time": _time, "size": _size, "label": _label, "picture": _picture}
    return environment


def _number(value: float | None, digits: int = 4) -> str:
    """A rounded number; a dash where there is none (COCO scores a class without boxes -1)."""
    return "–" if value is None or math.isnan(value) or value < 0 else f"{value:.{digits}f}"


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def _label(name: str) -> str:
    """A class as people read it; left and right also point there."""
    side = {"left": "◂ ", "right": "▸ "}.get(name.partition("_")[0], "")
    return side + name.replace("_", " ")


def _picture(picture: Any) -> str:
    return _data_uri(jpeg(picture), "image/jpeg")


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
