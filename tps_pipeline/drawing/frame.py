"""Draw people, parts, states and the action on frames, for a person to judge."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from tps_pipeline.labels import NO_STATE, PARTS, parts_of, without_side
from tps_pipeline.tables import BOX, PERSON_BOX

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

Box = tuple[int, int, int, int]
"""Inclusive corners x1, y1, x2, y2 in pixels."""

MIN_WIDTH = 640
"""Pixels; narrower frames are enlarged so that text can be read."""

LEFT: Colour = (230, 159, 0)
"""Orange; with `RIGHT` and `MIDDLE` told apart by colour-blind people (Okabe and Ito, Color Universal Design)."""
RIGHT: Colour = (86, 180, 233)
"""Sky blue."""
MIDDLE: Colour = (204, 121, 167)
"""Reddish purple."""
PERSON: Colour = (255, 255, 255)
"""The outline of a person's box: white."""

DARK: Colour = (20, 20, 20)
"""What lies behind text and between pictures."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = 0.4
_BANNER = 26
_DASH = 6
_GAP = 8


def draw(
    image: np.ndarray, parts: pd.DataFrame, *, people: pd.DataFrame | None = None, action: str | None = None
) -> np.ndarray:
    """Draw one frame's people and parts.

    Left parts are orange with solid outlines and an `L`, right parts blue with dashed outlines and an `R`. A part's
    state is written at its box; the state `none` is not written. A person's track is written at theirs, as `#3`.

    Args:
        image: RGB uint8, height x width x 3; frames under `MIN_WIDTH` are enlarged.
        parts: The frame's rows of `tables.PREDICTIONS`, `DETECTIONS` or `PARTS`; with `track_id` if who is who
            is known (`video.with_tracks`).
        people: The frame's rows of `tables.PEOPLE`; None takes the person boxes of `parts`, if it has them.
        action: Written on top, with the legend.

    Returns:
        RGB uint8, a banner higher than the frame. `image` is left as it is.
    """
    scale = max(1.0, MIN_WIDTH / image.shape[1])
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    names = parts["part"].tolist()  # plain lists from here on: a frame has few rows, and pandas asks much for each
    persons = _corners(parts, PERSON_BOX, scale) if set(PERSON_BOX) <= set(parts.columns) else []
    if people is not None:
        outlines = _corners(people, BOX, scale)
    else:
        outlines = _first_of(parts["person"].tolist(), persons).values() if persons else ()
    for box in outlines:
        _rectangle(canvas, box, PERSON)
    boxes = _corners(parts, BOX, scale)
    for part, box in zip(names, boxes, strict=True):
        _rectangle(canvas, box, _colour(part), dashed=part.startswith("right_"))
    taken: list[Box] = []
    if "track_id" in parts:
        for track, box in _first_of(parts["track_id"].tolist(), persons).items():
            if not pd.isna(track):
                _label(canvas, box, f"#{int(track)}", PERSON, taken)
    if "state" in parts:
        for part, state, box in zip(names, parts["state"].tolist(), boxes, strict=True):
            if state != NO_STATE:
                _label(canvas, box, f"{_short(part)}: {state}", _colour(part), taken)
    return np.vstack([_banner(canvas.shape[1], action or "", _middle(parts["part"])), canvas])


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one height in one, a dark gap between them."""
    return np.hstack([left, np.full((left.shape[0], _GAP, 3), DARK, np.uint8), right])


def _corners(rows: pd.DataFrame, names: Sequence[str], scale: float) -> list[Box]:
    """Each row's box on the enlarged picture; inclusive corners cover their whole pixels."""
    corners = zip(*(rows[name].tolist() for name in names), strict=True)
    return [
        (int(x1 * scale), int(y1 * scale), int((x2 + 1) * scale) - 1, int((y2 + 1) * scale) - 1)
        for x1, y1, x2, y2 in corners
    ]


def _first_of(keys: Sequence[float], boxes: Sequence[Box]) -> dict[float, Box]:
    """The first box of each key, in the order that keys come first in."""
    first: dict[float, Box] = {}
    for key, box in zip(keys, boxes, strict=True):
        first.setdefault(key, box)
    return first


def _colour(part: str) -> Colour:
    return LEFT if part.startswith("left_") else RIGHT if part.startswith("right_") else MIDDLE


def _short(part: str) -> str:
    kind = without_side(part)
    return part if kind == part else f"{part[0].upper()} {kind}"


def _middle(parts: pd.Series) -> str:
    """What the legend calls parts without a side."""
    known = parts.cat.categories if isinstance(parts.dtype, pd.CategoricalDtype) else parts.unique()
    return "head, hip" if parts_of(map(str, known)) == PARTS else "neither"


def _rectangle(canvas: np.ndarray, box: Box, colour: Colour, *, dashed: bool = False) -> None:
    """An outline with a dark rim, so that it shows on any background."""
    x1, y1, x2, y2 = box
    cv2.rectangle(canvas, (x1, y1), (x2, y2), DARK, 4)
    if not dashed:
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2)
        return
    for x in range(x1, x2 + 1, 2 * _DASH):
        for y in (y1, y2):
            cv2.line(canvas, (x, y), (min(x + _DASH, x2), y), colour, 2)
    for y in range(y1, y2 + 1, 2 * _DASH):
        for x in (x1, x2):
            cv2.line(canvas, (x, y), (x, min(y + _DASH, y2)), colour, 2)


def _label(canvas: np.ndarray, box: Box, text: str, colour: Colour, taken: list[Box]) -> None:
    """Write at a box's top left corner, or at the next free place below it."""
    (width, height), below = cv2.getTextSize(text, _FONT, _TEXT, 1)
    height += below + 2
    x = max(0, min(box[0], canvas.shape[1] - width - 4))
    last = max(0, canvas.shape[0] - height)
    y = min(last, _free(x, max(0, min(box[1] - height, last)), width + 4, height, taken))
    taken.append((x, y, x + width + 4, y + height))
    cv2.rectangle(canvas, (x, y), (x + width + 3, y + height - 1), DARK, -1)
    cv2.putText(canvas, text, (x + 2, y + height - below), _FONT, _TEXT, colour, 1, cv2.LINE_AA)


def _free(x: int, y: int, width: int, height: int, taken: list[Box]) -> int:
    """The next place from y on downwards that nothing overlaps."""
    beside = sorted((top, bottom) for left, top, right, bottom in taken if x < right and left < x + width)
    for top, bottom in beside:
        if top >= y + height:
            break
        y = max(y, bottom)
    return y


def _banner(width: int, action: str, middle: str) -> np.ndarray:
    """The action at the left, what the outlines mean at the right."""
    banner = np.full((_BANNER, width, 3), DARK, np.uint8)
    x = width
    for text, colour, dashed in (("right", RIGHT, True), ("left", LEFT, False), (middle, MIDDLE, False)):
        (length, _), _ = cv2.getTextSize(text, _FONT, _TEXT, 1)
        x -= length + 36
        _rectangle(banner, (x, 8, x + 18, 18), colour, dashed=dashed)
        cv2.putText(banner, text, (x + 24, 17), _FONT, _TEXT, colour, 1, cv2.LINE_AA)
    cv2.putText(banner, action, (6, 18), _FONT, 0.5, PERSON, 1, cv2.LINE_AA)
    return banner
