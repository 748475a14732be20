"""The challenge's metric as a plain statement of its rules, one after the other: slow, and what ours is held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]


def plain_psc(truth: Json, submission: Json) -> dict[str, float]:
    """The metric's rules (see `tps_pipeline.psc`), one after the other, over the decoded JSON files."""
    return {video: plain_video(frames, submission[video]) for video, frames in truth.items()}


def plain_video(frames: Json, submitted: Json) -> float:
    correctness = []
    for name, frame in frames.items():
        if not frame["humans"]:
            continue
        if name not in submitted:
            correctness.append(0.0)
            continue
        credits = plain_frame(frame["humans"], submitted[name]["humans"])
        if credits:
            correctness.append(sum(credits) / len(credits))
    return sum(correctness) / len(correctness) if correctness else 1.0


def plain_frame(truth: list[Json], submitted: list[Json]) -> list[float]:
    partner = plain_match(truth, submitted)
    credits = []
    for i, human in enumerate(truth):
        for part, annotation in human["parts"].items():
            found = submitted[partner[i]]["parts"].get(part) if i in partner else None
            credits.append(plain_credit(annotation, found) if found else 0.0)
    return credits


def plain_match(truth: list[Json], submitted: list[Json]) -> dict[int, int]:
    n, m = len(truth), len(submitted)
    if n == 0 or m == 0:
        return {}
    iou = np.array([[plain_iou(t["box"], s["box"], np.float32) for s in submitted] for t in truth], dtype=np.float32)
    if n != m:
        padded = np.zeros((max(n, m), max(n, m)))
        padded[:n, :m] = iou
        iou = padded
    pairs = zip(*linear_sum_assignment(1 - iou), strict=True)
    return {int(i): int(j) for i, j in pairs if i < n and j < m and iou[i, j] > 0.5}


def plain_credit(annotation: Json, found: Json) -> float:
    states = annotation["verb"] if isinstance(annotation["verb"], list) else [annotation["verb"]]
    for box, verb in zip(found["box"], found["verb"], strict=True):
        if verb in states and plain_iou(annotation["box"], box, float) >= 0.3:
            return 1 / len(found["verb"])
    return 0.0


def plain_iou(a: list[float], b: list[float], number: Callable[[float], Any]) -> float:
    ax1, ay1, ax2, ay2 = (number(v) for v in a)
    bx1, by1, bx2, by2 = (number(v) for v in b)
    width = min(ax2, bx2) - max(ax1, bx1) + 1
    height = min(ay2, by2) - max(ay1, by1) + 1
    if width <= 0 or height <= 0:
        return -1.0
    shared = width * height
    return shared / ((ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1) - shared)


def plain_score(correctness: dict[str, float], correct: dict[str, bool]) -> float:
    total = 0.0
    for t in range(1, 10_000):
        total += sum(1 for v, p in correctness.items() if correct[v] and p >= t / 10_000) / len(correctness) / 10_000
    return total


def to_tables(truth: Json, submission: Json) -> tuple[tuple[pa.Table, pa.Table, pa.Table], tuple[pa.Table, pa.Table]]:
    """The same content as tables: (labelled frames, people, parts), (predictions, submitted frames)."""
    from tps_pipeline.tables import BOX, LABELLED_FRAMES, PARTS, PEOPLE, PREDICTIONS  # the metric needs no tables

    frames, people, parts, guesses, submitted = [], [], [], [], []
    for video, named in truth.items():
        for name, frame in named.items():
            number = int(name[4:-5])
            frames.append((video, number, len(frame["humans"])))
            for p, human in enumerate(frame["humans"]):
                people.append((video, number, p, *human["box"]))
                for part, label in human["parts"].items():
                    states = label["verb"] if isinstance(label["verb"], list) else [label["verb"]]
                    parts += [(video, number, p, part, *label["box"], state) for state in states]
    for video, named in submission.items():
        for name, frame in named.items():
            number = int(name[4:-5])
            submitted.append((video, number, len(frame["humans"])))
            for p, human in enumerate(frame["humans"]):
                for part, found in human["parts"].items():
                    for box, state in zip(found["box"], found["verb"], strict=True):
                        guesses.append((video, number, p, 1.0, *human["box"], part, 1.0, *box, state, 1.0, {}))
    key = ["video_id", "frame", "person"]
    return (
        (
            _table(frames, ["video_id", "frame", "n_people"], LABELLED_FRAMES),
            _table(people, [*key, *BOX], PEOPLE),
            _table(parts, [*key, "part", *BOX, "state"], PARTS),
        ),
        (_table(guesses, PREDICTIONS.names, PREDICTIONS), _table(submitted, LABELLED_FRAMES.names, LABELLED_FRAMES)),
    )


def _table(rows: list[tuple[Any, ...]], names: list[str], schema: pa.Schema) -> pa.Table:
    from tps_pipeline.tables import conform

    if not rows:
        return schema.empty_table()
    return conform(dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True)), schema)
