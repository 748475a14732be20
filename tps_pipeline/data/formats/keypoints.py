"""Keypoints of a person as boxes of parts: a box around a part's points, wider by a margin on each side.

The margin is a share of the longer side of the person's box. A part of several points needs two of them. The names of
COCO's seventeen points make our ten parts; any other point is a part by itself, called as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from tps_pipeline.data.formats.neutral import Edges

PARTS_OF_POINTS: dict[str, tuple[str, ...]] = {
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    "hip": ("left_hip", "right_hip"),
    **{f"{side}_arm": (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist") for side in ("left", "right")},
    **{f"{side}_hand": (f"{side}_wrist",) for side in ("left", "right")},
    **{f"{side}_leg": (f"{side}_hip", f"{side}_knee", f"{side}_ankle") for side in ("left", "right")},
    **{f"{side}_foot": (f"{side}_ankle",) for side in ("left", "right")},
}
"""The points of each of the ten parts."""

MARGINS = {"head": 0.05, "hip": 0.04, "arm": 0.03, "hand": 0.05, "leg": 0.03, "foot": 0.05}
"""By part, without its side; shares of the longer side of the person's box."""

MARGIN = 0.05
"""That of a point which is a part by itself."""

_GROUPED = frozenset(point for points in PARTS_OF_POINTS.values() for point in points)


def part_boxes(points: Mapping[str, tuple[float, float]], person: Edges) -> dict[str, Edges]:
    """The boxes of a person's parts.

    Args:
        points: Where the points are that are given, by name.
        person: The person's box.

    Returns:
        By part; without those that have too few points.

    >>> part_boxes({"left_ankle": (10.0, 90.0)}, (0.0, 0.0, 40.0, 100.0))
    {'left_foot': (5.0, 85.0, 15.0, 95.0)}
    """
    longer = max(person[2] - person[0], person[3] - person[1])
    alone = {point: (point,) for point in points if point not in _GROUPED}
    boxes: dict[str, Edges] = {}
    for part, names in {**PARTS_OF_POINTS, **alone}.items():
        given = [points[name] for name in names if name in points]
        if len(given) >= min(2, len(names)):
            margin = longer * (MARGIN if part in alone else MARGINS[part.split("_")[-1]])
            (left, top), (right, bottom) = (tuple(map(side, zip(*given, strict=True))) for side in (min, max))
            boxes[part] = left - margin, top - margin, right + margin, bottom + margin
    return boxes
