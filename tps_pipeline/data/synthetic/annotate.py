"""From what was drawn to what an annotator would have written: boxes with jitter, and parts left out.

Parts are left out for reasons that show in the picture (hidden, cut off, too small, a whole person too small) or by
the habit of an action's annotators; a small share is left out by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tps_pipeline.data.synthetic.render import Extent
from tps_pipeline.labels import PARTS

PERSON_SEEN = 0.25
"""Visible share of a person, below which nothing of them is annotated."""

PERSON_SMALLEST = 0.08
"""Share of the picture's height, below which a person is not annotated."""

WITH_PARTS = 0.42
"""Share of the picture's height, below which a person has a box and no parts."""

PART_SEEN = 0.42
"""Visible share of a part, below which it is left out."""

PART_SMALLEST = 0.028
"""Longer side of the smallest annotated part, as a share of the picture's height."""

FORGOTTEN = 0.03
"""Share of parts that are left out by chance."""

PERSON_JITTER, PART_JITTER = 0.010, 0.018
"""Standard deviation of each edge of an annotated box, as a share of the box's size."""


def person_box(extents: dict[int, Extent]) -> tuple[int, int, int, int]:
    """The box around all that is visible of a person."""
    corners = np.array([extent.box for extent in extents.values()])
    x1, y1 = corners[:, :2].min(axis=0)
    x2, y2 = corners[:, 2:].max(axis=0)
    return int(x1), int(y1), int(x2), int(y2)


def jitter(box: tuple[int, int, int, int], share: float, size: tuple[int, int], rng: np.random.Generator) -> list[int]:
    """A box whose edges are moved by about a share of its size, kept inside the picture, inclusive corners."""
    x1, y1, x2, y2 = box
    wide, tall = x2 - x1 + 1, y2 - y1 + 1
    left, upper, right, lower = rng.normal(0, share, 4).tolist()
    last = (size[0] - 1, size[1] - 1)
    xs, ys = (round(x1 + left * wide), round(x2 + right * wide)), (round(y1 + upper * tall), round(y2 + lower * tall))
    corners = [min(xs), min(ys)], [max(xs), max(ys)]
    return [min(max(edge, 0), most) for corner in corners for edge, most in zip(corner, last, strict=True)]


def human(
    extents: dict[int, Extent],
    states: dict[str, str],
    *,
    number: int,
    seen: float,
    habit: frozenset[str],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """One person's entry of a frame's annotation, or nothing for a person nobody would annotate.

    Args:
        extents: Visible extent of each part (-1: the trunk).
        states: Part -> state.
        number: The person's number in the frame, from 1.
        seen: Visible share of the whole person.
        habit: Parts that this action's annotators leave out.
        size: Picture width and height.
        rng: Source of jitter and of what is forgotten.
    """
    if not extents or seen < PERSON_SEEN:
        return None
    box = person_box(extents)
    tall = max(box[3] - box[1] + 1, box[2] - box[0] + 1) / size[1]
    if tall < PERSON_SMALLEST:
        return None
    parts = {}
    for index, part in enumerate(PARTS):
        extent = extents.get(index)
        if tall < WITH_PARTS or part in habit or extent is None or extent.seen < PART_SEEN:
            continue
        x1, y1, x2, y2 = extent.box
        if max(x2 - x1, y2 - y1) + 1 < PART_SMALLEST * size[1] or rng.random() < FORGOTTEN:
            continue
        moved = jitter(extent.box, PART_JITTER, size, rng)
        parts[part] = {"box": moved, "verb": states[part], "number": number, "name": part}
    return {"number": number, "box": jitter(box, PERSON_JITTER, size, rng), "parts": parts}
