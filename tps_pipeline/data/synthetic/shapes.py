"""Solids made of balls: the convex hull of a few balls is a limb, a trunk, a bar or a disc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Blue, green, red, 0 to 255."""

SCENERY, TRUNK = -2, -1
"""What a solid belongs to when it is none of the ten parts: the surroundings, or the person without a part."""


@dataclass
class Solid:
    """The convex hull of C balls over T frames.

    Attributes:
        centres: (T, C, 3) metres.
        radii: (C,) metres.
        colour: Its colour before lighting.
        part: Index into `labels.PARTS`, `TRUNK` or `SCENERY`.
        bias: Metres by which it is drawn nearer than it is (a stripe on a shirt).
        facing: (T, 3) direction from which it can be seen; always visible without.
        plain: Without outline and highlight.
    """

    centres: np.ndarray
    radii: np.ndarray
    colour: Colour
    part: int = TRUNK
    bias: float = 0.0
    facing: np.ndarray | None = None
    plain: bool = False


def hull(centres: list[np.ndarray], radii: list[float], colour: Colour, **more: object) -> Solid:
    """A solid from C arrays of centres (T, 3)."""
    stacked = np.stack(np.broadcast_arrays(*centres), axis=1)
    return Solid(stacked, np.asarray(radii, float), colour, **more)  # pyright: ignore[reportArgumentType]


def disc(centre: np.ndarray, axis: np.ndarray, radius: float, colour: Colour, **more: object) -> Solid:
    """A flat round plate, perpendicular to an axis (T, 3)."""
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)
    aside = np.cross(axis, np.where(np.abs(axis[:, 1:2]) > 0.9, (1.0, 0, 0), (0, 1.0, 0)))
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    across = np.cross(axis, aside)
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    rim = [centre + 0.9 * radius * (np.cos(turn) * aside + np.sin(turn) * across) for turn in turns]
    return hull(rim, [0.1 * radius] * 8, colour, **more)


SIDES_OF_OUTLINE = 14
"""Corners of a polygon that stands for an outline."""

_TURNS = np.linspace(0, 2 * np.pi, SIDES_OF_OUTLINE, endpoint=False)
_DIRECTIONS = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=-1)


def outline(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Polygon around projected balls: the supporting point in each of `SIDES_OF_OUTLINE` directions.

    Args:
        centres: (T, C, 2) pixels.
        radii: (T, C) pixels.

    Returns:
        (T, `SIDES_OF_OUTLINE`, 2) pixels, convex, counter-clockwise.
    """
    support = centres @ _DIRECTIONS.T + radii[..., None]
    best = support.argmax(axis=1)
    picked = np.take_along_axis(centres, best[..., None], axis=1)
    return picked + np.take_along_axis(radii, best, axis=1)[..., None] * _DIRECTIONS
