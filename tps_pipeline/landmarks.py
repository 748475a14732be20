"""A person as 33 landmarks, and the ten parts that they make.

Here are the landmarks' names and the rule from landmarks to boxes, as plain functions on arrays; who finds landmarks in
pictures stands in `detection/pose.py`. What generates motion makes its boxes by the same rule.

**The rule.** Each part is a box around some of a person's points, each point with a margin around it
(`PARTS_OF_POINTS`). Margins are shares of the person's stature in the picture, which is told from the least
foreshortened of the trunk, the neck, the shoulders, the thighs and the shins (`stature`): it stays the same when the
person crouches. A point that is not seen is left out; a part of which fewer than half the points are seen is left out
with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps_pipeline.labels import PARTS, swap

_SIDES = ("left", "right")

LANDMARKS: tuple[str, ...] = (
    "nose",
    *(f"{side}_eye_{which}" for side in _SIDES for which in ("inner", "middle", "outer")),
    *(f"{side}_{name}" for name in ("ear", "mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb",
                                    "hip", "knee", "ankle", "heel", "toe") for side in _SIDES),
)  # fmt: skip
"""The landmarks in the order in which BlazePose gives them (Bazarevsky et al. 2020, arXiv 2006.10204, figure 2); left
is the person's left."""

SEEN = 0.3
"""Visibility from which a landmark counts as seen."""

STATURES: dict[tuple[str, str], float] = {
    ("shoulder", "hip"): 0.288, ("ear", "shoulder"): 0.125, ("left_shoulder", "right_shoulder"): 0.230,
    ("left_hip", "left_knee"): 0.245, ("right_hip", "right_knee"): 0.245,
    ("left_knee", "left_ankle"): 0.246, ("right_knee", "right_ankle"): 0.246,
}  # fmt: skip
"""Lengths between landmarks as shares of stature, after Drillis and Contini (1966); a name without a side is the middle
of both sides."""

MIDDLES: dict[str, tuple[tuple[str, float], ...]] = {
    "ears": (("left_ear", 0.5), ("right_ear", 0.5)),
    **{f"{side}_waist": ((f"{side}_hip", 0.7), (f"{side}_shoulder", 0.3)) for side in _SIDES},
    **{
        f"{side}_fingers": ((f"{side}_wrist", -0.7), (f"{side}_index", 0.85), (f"{side}_pinky", 0.85))
        for side in _SIDES
    },
}
"""Points that are told from landmarks, with the share of each: the middle of the head, the waist, and the fingertips
(the landmarks of a hand are its knuckles, not quite half way from the wrist)."""

_EYES = tuple(f"{side}_eye_{which}" for side in _SIDES for which in ("inner", "middle", "outer"))
_FACE = ("nose", *_EYES, "left_ear", "right_ear", "left_mouth", "right_mouth")

PARTS_OF_POINTS: dict[str, dict[str, float]] = {
    "head": {**dict.fromkeys(_FACE, 0.015), "ears": 0.068},
    "hip": dict.fromkeys(("left_hip", "right_hip", "left_waist", "right_waist"), 0.05),
    **{f"{side}_arm": {f"{side}_{joint}": 0.028 for joint in ("shoulder", "elbow", "wrist")} for side in _SIDES},
    **{
        f"{side}_hand": {f"{side}_{joint}": 0.02 for joint in ("wrist", "pinky", "index", "thumb", "fingers")}
        for side in _SIDES
    },
    **{f"{side}_leg": {f"{side}_{joint}": 0.04 for joint in ("hip", "knee", "ankle")} for side in _SIDES},
    **{f"{side}_foot": {f"{side}_{joint}": 0.022 for joint in ("ankle", "heel", "toe")} for side in _SIDES},
}
"""The points of each part, in the order of `labels.PARTS`, with the margin around each as a share of stature: about the
limbs' half widths, and half a head's height around its middle."""

assert tuple(PARTS_OF_POINTS) == PARTS

_POINTS = (*LANDMARKS, *MIDDLES)
_INDEX = {name: i for i, name in enumerate(_POINTS)}
MIRRORED: tuple[int, ...] = tuple(LANDMARKS.index(swap(name)) for name in LANDMARKS)
"""For each landmark the index of its mirror image."""


def part_boxes(
    points: NDArray[Any], visibility: NDArray[Any], *, seen: float = SEEN
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The boxes of people's parts, by the rule of this module.

    Args:
        points: x and y of the landmarks in pixels, (..., 33, 2).
        visibility: How sure it is that each is seen, 0 to 1, (..., 33).
        seen: Landmarks below are left out.

    Returns:
        For each of `labels.PARTS` the edges x1 y1 x2 y2 in the same continuous pixels, (..., 10, 4), NaN where the part
        is left out; and the mean visibility of its points that are seen, (..., 10), 0 where it is left out.
    """
    points, visibility = np.asarray(points, float), np.asarray(visibility, float)
    size = stature(points, visibility, seen=seen)[..., None, None]
    points, visibility = _with_middles(points, visibility)
    boxes = np.full((*points.shape[:-2], len(PARTS), 4), np.nan)
    scores = np.zeros(boxes.shape[:-1])
    for i, margins in enumerate(PARTS_OF_POINTS.values()):
        rows = [_INDEX[name] for name in margins]
        around = size * np.array([*margins.values()])[:, None]
        shown = visibility[..., rows] >= seen
        low = np.where(shown[..., None], points[..., rows, :] - around, np.inf).min(-2)
        high = np.where(shown[..., None], points[..., rows, :] + around, -np.inf).max(-2)
        there = (2 * shown.sum(-1) >= len(rows)) & np.isfinite(low).all(-1) & np.isfinite(high).all(-1)
        boxes[..., i, :] = np.where(there[..., None], np.concatenate((low, high), -1), np.nan)
        sure = np.where(shown, visibility[..., rows], 0).sum(-1) / np.maximum(shown.sum(-1), 1)
        scores[..., i] = np.where(there, sure, 0)
    return boxes, scores


def person_box(points: NDArray[Any], visibility: NDArray[Any], *, seen: float = SEEN) -> NDArray[np.float64]:
    """The box around all parts of each person that are not left out.

    Args:
        points: See `part_boxes`.
        visibility: See `part_boxes`.
        seen: See `part_boxes`.

    Returns:
        Edges x1 y1 x2 y2, (..., 4); NaN where there is no part.
    """
    boxes, _ = part_boxes(points, visibility, seen=seen)
    there = ~np.isnan(boxes)
    low = np.where(there, boxes, np.inf)[..., :2].min(-2)
    high = np.where(there, boxes, -np.inf)[..., 2:].max(-2)
    edges = np.concatenate((low, high), -1)
    return np.where(np.isfinite(edges).all(-1, keepdims=True), edges, np.nan)


def stature(points: NDArray[Any], visibility: NDArray[Any], *, seen: float = SEEN) -> NDArray[np.float64]:
    """How tall people would stand in the picture: what their least foreshortened segment says (`STATURES`).

    Args:
        points: See `part_boxes`.
        visibility: See `part_boxes`.
        seen: See `part_boxes`. Where no segment has both ends seen, all landmarks count.

    Returns:
        Pixels, (...).
    """
    said, shown = [], []
    for ends, share in STATURES.items():
        (start, start_seen), (stop, stop_seen) = (_end(points, visibility, end) for end in ends)
        said.append(np.hypot(*np.moveaxis(start - stop, -1, 0)) / share)
        shown.append(np.minimum(start_seen, stop_seen) >= seen)
    known = np.where(shown, said, 0).max(0)
    return np.where(known > 0, known, np.max(said, 0))


def _end(points: NDArray[Any], visibility: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A landmark, or the middle of both sides' and the lesser visibility."""
    if name in LANDMARKS:
        return points[..., LANDMARKS.index(name), :], visibility[..., LANDMARKS.index(name)]
    left, right = (LANDMARKS.index(f"{side}_{name}") for side in _SIDES)
    return (points[..., left, :] + points[..., right, :]) / 2, np.minimum(visibility[..., left], visibility[..., right])


def _with_middles(points: NDArray[Any], visibility: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Landmarks with the `MIDDLES` behind them, (..., N, 2) and (..., N); these are seen if all that they are of is."""
    told, shown = [], []
    for shares in MIDDLES.values():
        rows = [LANDMARKS.index(name) for name, _ in shares]
        told.append(sum(share * points[..., row, :] for row, (_, share) in zip(rows, shares, strict=True)))
        shown.append(visibility[..., rows].min(-1))
    return np.concatenate((points, np.stack(told, -2)), -2), np.concatenate((visibility, np.stack(shown, -1)), -1)
