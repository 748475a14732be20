"""Boxes as Kinetics-TPS counts them: `x1 y1 x2 y2` in pixels, both corners inside the box.

A box's width is `x2 - x1 + 1`. Functions keep the arrays' type, so the caller chooses between float32 and float64:
the challenge's evaluator takes people in float32 and parts in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def area(boxes: NDArray[Any]) -> NDArray[Any]:
    """Count the pixels of boxes.

    Args:
        boxes: `(..., 4)`.

    Returns:
        `(...)` pixels, corners included.

    >>> area(np.array([[0.0, 0.0, 9.0, 4.0]]))
    array([50.])
    """
    return (boxes[..., 2] - boxes[..., 0] + 1) * (boxes[..., 3] - boxes[..., 1] + 1)


def iou(a: NDArray[Any], b: NDArray[Any], *, disjoint: float = 0.0) -> NDArray[Any]:
    """Overlap every box of one set with every box of another.

    Args:
        a: `(..., n, 4)` boxes of a floating type.
        b: `(..., m, 4)`, the same type; leading dimensions broadcast.
        disjoint: The value of a pair that shares no pixel. The challenge's evaluator takes -1.

    Returns:
        `(..., n, m)` intersections over unions, in [0, 1] but for `disjoint`.

    >>> iou(np.array([[0.0, 0, 9, 9]]), np.array([[0.0, 0, 9, 4], [10, 0, 19, 9]]), disjoint=-1)
    array([[ 0.5, -1. ]])
    """
    return paired_iou(a[..., :, None, :], b[..., None, :, :], disjoint=disjoint)


def paired_iou(a: NDArray[Any], b: NDArray[Any], *, disjoint: float = 0.0) -> NDArray[Any]:
    """Overlap boxes one to one.

    Args:
        a: `(..., 4)` boxes of a floating type.
        b: `(..., 4)`, the same type; shapes broadcast.
        disjoint: The value of a pair that shares no pixel.

    Returns:
        `(...)` intersections over unions.
    """
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + 1
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + 1
    shared = width * height
    overlap = (width > 0) & (height > 0)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.full_like(shared, disjoint), where=overlap)
