"""A perspective camera that pans, zooms and shakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def drift(frames: int, rng: np.random.Generator, *, slowest: float = 0.5, fastest: float = 2.0) -> np.ndarray:
    """Smooth noise (T,) of about unit size: four sines of random frequency, in cycles over the video."""
    turns = np.linspace(0, 2 * np.pi, frames)[:, None] * rng.uniform(slowest, fastest, 4) + rng.uniform(0, 2 * np.pi, 4)
    return np.sin(turns).mean(axis=1) * 1.6


@dataclass(frozen=True)
class Camera:
    """Where the camera is and how its picture moves.

    Attributes:
        focal: Focal length in pixels.
        distance: Metres to the plane z = 0 of the world.
        height: Metres above the ground.
        horizon: Row of the horizon before movement.
        width: Picture width in pixels.
        moves: (T, 2, 3) similarity that pan, zoom, roll and shake apply to the picture.
        light: Direction of the light in the picture, a unit vector (x, y).
    """

    focal: float
    distance: float
    height: float
    horizon: float
    width: int
    moves: np.ndarray
    light: tuple[float, float]

    def project(self, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (T, ..., 2) and pixels a metre (T, ...) of world positions (T, ..., 3)."""
        scale = self.focal / np.maximum(self.distance - world[..., 2], 0.5)
        flat = np.stack(
            [self.width / 2 + scale * world[..., 0], self.horizon + scale * (self.height - world[..., 1])], -1
        )
        moves = self.moves.reshape(len(self.moves), *([1] * (world.ndim - 2)), 2, 3)
        moved = (moves[..., :2] @ flat[..., None])[..., 0] + moves[..., 2]
        zoom = np.hypot(self.moves[:, 0, 0], self.moves[:, 1, 0]).reshape(-1, *([1] * (world.ndim - 2)))
        return moved, scale * zoom

    def toward(self, centres: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Cosine (T,) of the angle between directions and the way to the camera, seen from centres (T, 3)."""
        way = np.array([0.0, self.height, self.distance]) - centres
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        return np.einsum("tc,tc->t", way, directions)


def moves(frames: int, width: int, height: int, rng: np.random.Generator, *, follow: np.ndarray | float) -> np.ndarray:
    """Similarities (T, 2, 3) of a hand-held, panning or fixed camera.

    Args:
        frames: T.
        width: Picture width in pixels.
        height: Picture height in pixels.
        rng: Source of the movement.
        follow: (T,) pixels by which the subject moves to the right and the camera follows.
    """
    style = rng.choice(["fixed", "hand", "pan"], p=[0.25, 0.45, 0.3])
    shake = {"fixed": 0.0, "hand": rng.uniform(0.3, 1.6), "pan": 0.3}[style] * width / 320
    zoom = 1 + (0 if style == "fixed" else 0.05) * drift(frames, rng) * rng.uniform(0, 1.6)
    roll = np.deg2rad((0 if style == "fixed" else 1.2) * drift(frames, rng))
    pan = (0.07 * width if style == "pan" else 0.01 * width) * drift(frames, rng)
    x = pan * (style != "fixed") + shake * drift(frames, rng, slowest=8, fastest=25) - follow
    y = shake * drift(frames, rng, slowest=8, fastest=25) + 0.01 * height * drift(frames, rng) * (style != "fixed")
    rows = np.stack([zoom * np.cos(roll), -zoom * np.sin(roll), zoom * np.sin(roll), zoom * np.cos(roll)], axis=-1)
    linear = rows.reshape(frames, 2, 2)
    centre = np.array([width / 2, height / 2])
    shift = centre - linear @ centre + np.stack([x, y], axis=-1)
    return np.concatenate([linear, shift[..., None]], axis=-1)
