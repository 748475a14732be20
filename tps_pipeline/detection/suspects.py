"""Whom BlazePose's own detector sees in a picture: of the whole of it, and of tiles where people may be small.

The detector looks for faces and for the body below each; on the whole picture it finds who is near.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tps_pipeline import boxes
from tps_pipeline.detection.squares import Square, around
from tps_pipeline.models.blazepose import BlazePose, Suspects

OVERLAP = 0.3
"""IoU of faces above which two suspects are one."""

TILE = 0.625
"""Side of a tile as a share of the picture's shorter side, so that they lie in two rows."""

LONG = 4
"""How often its shorter side a picture's longer one counts at most, or there would be endlessly many tiles."""

STEP = 0.6
"""Greatest distance of two neighbouring tiles as a share of their side: people of two fifths of it are whole in one."""

AT_ONCE = 2
"""Tiles that are looked at in a frame, after a video's first, where all are: who is found in one is followed then."""


class Suspect(NamedTuple):
    """Somebody who may be there.

    Attributes:
        score: 0 to 1.
        square: Where to look for the landmarks.
    """

    score: float
    square: Square


def look(networks: BlazePose, picture: NDArray[np.uint8], *, threshold: float) -> list[Suspect]:
    """Whom the detector sees in a picture as a whole, best first.

    Args:
        networks: With a detector.
        picture: RGB, (H, W, 3).
        threshold: Suspects with a lower score are dropped.
    """
    return merged(networks.suspect(picture), threshold=threshold)


def look_in(
    networks: BlazePose, picture: NDArray[np.uint8], tiles: list[tuple[int, int, int]], *, threshold: float
) -> list[Suspect]:
    """Whom the detector sees in some tiles of a picture.

    Args:
        networks: With a detector.
        picture: RGB, (H, W, 3).
        tiles: Left, top and side of each in pixels.
        threshold: Suspects with a lower score are dropped.
    """
    found: list[Suspect] = []
    for left, top, side in tiles:
        for score, square in look(networks, picture[top : top + side, left : left + side], threshold=threshold):
            found.append(Suspect(score, Square(square.centre + np.array((left, top)), square.up)))
    return found


def tiles_of(size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The tiles of a picture: squares that overlap.

    Args:
        size: Width and height.

    Returns:
        Left, top and side of each in pixels.

    >>> len(tiles_of((340, 256))), tiles_of((100, 100))[0]
    (6, (0, 0, 62))
    """
    side = max(1, int(TILE * max(min(size), max(size) / LONG)))
    side = min(side, max(size))
    starts = [_starts(length, side) for length in size]
    return [(left, top, side) for top in starts[1] for left in starts[0]]


def tiles_for(turn: int, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The tiles that are looked at in a frame of a video: all in its first, then some in turn.

    Args:
        turn: How many frames were looked at before.
        size: Width and height.
    """
    tiles = tiles_of(size)
    if turn == 0:
        return tiles
    return [tiles[(AT_ONCE * turn + i) % len(tiles)] for i in range(min(AT_ONCE, len(tiles)))]


def _starts(length: int, side: int) -> list[int]:
    count = 1 + int(np.ceil((length - side) / (STEP * side))) if length > side else 1
    return [int(start) for start in np.linspace(0, max(0, length - side), count)]


def merged(found: Suspects, *, threshold: float) -> list[Suspect]:
    """Suspects of one person as one: the weighted mean of all whose face overlaps that of the best.

    This is the blending of BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047, section 3.4): it trembles less from
    frame to frame than the best alone.

    Args:
        found: Of all anchors.
        threshold: Suspects with a lower score are dropped.

    Returns:
        Best first.
    """
    likely = found.scores >= threshold
    order = np.flatnonzero(likely)[np.argsort(-found.scores[likely], kind="stable")]
    return list(_groups(found, order))


def _groups(found: Suspects, order: NDArray[np.intp]) -> Iterator[Suspect]:
    while len(order):
        faces = found.boxes[order].astype(float)
        same = boxes.iou(faces[:1], faces)[0] > OVERLAP
        same[0] = True
        group, order = order[same], order[~same]
        weights = found.scores[group, None] / found.scores[group].sum()
        centre, top = ((points[group] * weights).sum(0) for points in (found.centres, found.tops))
        if np.hypot(*(top - centre)) > 1:
            yield Suspect(float(found.scores[group[0]]), around(centre, top))
