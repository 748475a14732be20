"""Where the landmark network looks: squares of a picture, turned as the person is, and back into the picture.

A square is told by its middle and by the way from there to the middle of its upper side, so nothing here knows angles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.models.blazepose import LANDMARK_SIDE

MARGIN = 1.25
"""Side of the square by the diameter of the circle around the body: what the landmark network was trained with."""


class Square(NamedTuple):
    """A square of a picture.

    Attributes:
        centre: x and y of its middle in pixels, (2,).
        up: From there to the middle of its upper side, (2,).
    """

    centre: NDArray[np.float64]
    up: NDArray[np.float64]

    @property
    def half(self) -> float:
        """Half its side in pixels."""
        return float(np.hypot(*self.up))


def around(centre: NDArray[Any], top: NDArray[Any]) -> Square:
    """The square around a body.

    Args:
        centre: x and y of the middle of the hips, (2,).
        top: x and y of a point on the circle around the body, above its middle as the person is turned, (2,).
    """
    centre = np.asarray(centre, float)
    return Square(centre, (np.asarray(top, float) - centre) * MARGIN)


def of_box(box: NDArray[Any]) -> Square:
    """The square around somebody of whom only a box is known: upright, as wide as the box's longer side says.

    Args:
        box: Edges x1 y1 x2 y2, (4,).
    """
    low, high = np.asarray(box[:2], float), np.asarray(box[2:], float)
    return Square((low + high) / 2, np.array([0.0, -MARGIN * (high - low).max() / 2]))


def cut(picture: NDArray[np.uint8], square: Square) -> NDArray[np.uint8]:
    """A square of a picture as the landmark network takes it; what lies outside the picture is black.

    Args:
        picture: RGB, (H, W, 3).
        square: With a side of more than nothing.

    Returns:
        RGB, (256, 256, 3).
    """
    by = int(2 * square.half // LANDMARK_SIDE)
    if by >= 2:
        picture, square = _shrunk(picture, square, by)
    ends: Any = cv2.getAffineTransform(_corners(square), _CORNERS)
    return np.asarray(cv2.warpAffine(picture, ends, (LANDMARK_SIDE, LANDMARK_SIDE), flags=cv2.INTER_LINEAR), np.uint8)


def to_picture(points: NDArray[Any], square: Square) -> NDArray[np.float64]:
    """Points of a square's 256 pixels in the pixels of its picture, (..., 2)."""
    across = np.array([-square.up[1], square.up[0]])
    shares = 2 * np.asarray(points, float) / LANDMARK_SIDE - 1
    return square.centre + shares[..., :1] * across - shares[..., 1:] * square.up


_CORNERS = np.array([[0, 0], [LANDMARK_SIDE, 0], [0, LANDMARK_SIDE]], np.float32) - np.float32(0.5)


def _corners(square: Square) -> NDArray[np.float32]:
    """Its upper left, upper right and lower left corner, as OpenCV counts: the first pixel's middle is 0."""
    corners = np.array([[0, 0], [LANDMARK_SIDE, 0], [0, LANDMARK_SIDE]])
    return (to_picture(corners, square) - 0.5).astype(np.float32)


def _shrunk(picture: NDArray[np.uint8], square: Square, by: int) -> tuple[NDArray[np.uint8], Square]:
    """The square's surroundings with so many times fewer pixels a side, as taking every n-th pixel would be noise."""
    corners = to_picture(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * LANDMARK_SIDE, square)
    size = np.array([picture.shape[1], picture.shape[0]])
    low = np.floor(corners.min(0)).astype(int).clip(0, size - 1)
    high = np.ceil(corners.max(0)).astype(int).clip(low + 1, size)
    part = picture[low[1] : high[1], low[0] : high[0]]
    to = np.maximum((high - low) // by, 1)
    small = cv2.resize(part, (int(to[0]), int(to[1])), interpolation=cv2.INTER_AREA)
    scale = to / (high - low)
    return np.asarray(small, np.uint8), Square((square.centre - low) * scale, square.up * scale)
