"""Painted backgrounds of several kinds, larger than the picture so that the camera can move over them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tps_pipeline.data.synthetic.look import dye
from tps_pipeline.data.synthetic.shapes import Colour

Painter = Callable[[np.ndarray, int, np.random.Generator], None]
"""Paints a scene onto a canvas, whose ground meets what stands behind it at the row given."""


def texture(height: int, width: int, rng: np.random.Generator, *, grain: int = 6, octaves: int = 4) -> np.ndarray:
    """Cloudy noise (height, width), mean 0, about unit range, built of `octaves` scales."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = grain * 2**octave
        small = rng.standard_normal((cells, cells)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 3


def fill(canvas: np.ndarray, top: int, bottom: int, colour: Colour, rng: np.random.Generator, rough: float) -> None:
    """Cover rows with a lit, textured colour."""
    height = bottom - top
    if height <= 0:
        return
    light = np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), height)[:, None, None]
    noise = texture(height, canvas.shape[1], rng, grain=int(rng.integers(3, 12)))[..., None] * rough
    canvas[top:bottom] = np.clip(np.asarray(colour) * light + noise, 0, 255)


def _gym(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, dye(rng), rng, 8)
    fill(canvas, edge, height, tuple(rng.uniform(40, 130, 3)), rng, 10)
    for _ in range(rng.integers(3, 8)):
        x, w, h = rng.integers(0, width), rng.integers(width // 20, width // 6), rng.integers(height // 8, height // 3)
        cv2.rectangle(canvas, (int(x), int(edge - h)), (int(x + w), edge), rng.uniform(30, 200, 3).tolist(), -1)
        for shelf in range(3):
            y = int(edge - h * (shelf + 0.5) / 3)
            cv2.line(canvas, (int(x), y), (int(x + w), y), rng.uniform(10, 90, 3).tolist(), 3)
            for spot in range(int(x) + 4, int(x + w), 12):
                cv2.circle(canvas, (spot, y - 4), 4, rng.uniform(10, 90, 3).tolist(), -1)
    for x in range(0, width, max(20, width // 8)):
        cv2.rectangle(canvas, (x, edge // 8), (x + width // 14, edge // 6), (235, 240, 240), -1)


def _stage(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, tuple(rng.uniform(10, 90, 3)), rng, 6)
    fold = np.sin(np.arange(width) / rng.uniform(5, 14) + 2 * np.sin(np.arange(width) / 50)) * rng.uniform(8, 26)
    canvas[:edge] = np.clip(canvas[:edge] + fold[None, :, None], 0, 255)
    fill(canvas, edge, height, tuple(rng.uniform(40, 150, 3)), rng, 8)
    for _ in range(rng.integers(1, 5)):
        spot = np.zeros(canvas.shape[:2], np.float32)
        axes = (int(width * rng.uniform(0.1, 0.25)), int(height * rng.uniform(0.1, 0.3)))
        cv2.ellipse(spot, (int(rng.integers(width)), int(rng.integers(height))), axes, 0, 0, 360, 1.0, -1)
        glow = cv2.GaussianBlur(cv2.resize(spot, (width // 4, height // 4)), (0, 0), 10)
        glow = cv2.resize(glow, (width, height))[..., None]
        canvas[:] = np.clip(canvas + glow * rng.uniform(20, 110, 3), 0, 255)


def _room(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, tuple(rng.uniform(110, 230, 3)), rng, 5)
    fill(canvas, edge, height, (rng.uniform(40, 110), rng.uniform(80, 140), rng.uniform(110, 180)), rng, 8)
    for x in range(0, width, int(rng.integers(14, 30))):
        cv2.line(canvas, (x, edge), (int(width / 2 + (x - width / 2) * 2.2), height), (50, 70, 90), 1, cv2.LINE_AA)
    for _ in range(rng.integers(3, 8)):
        x, y = rng.integers(0, width), rng.integers(0, max(edge, 1))
        w, h = rng.integers(width // 16, width // 5), rng.integers(height // 14, height // 4)
        colour = dye(rng)
        cv2.rectangle(canvas, (int(x), int(y)), (int(x + w), int(min(y + h, edge))), colour, -1)
        cv2.rectangle(canvas, (int(x), int(y)), (int(x + w), int(min(y + h, edge))), (60, 70, 80), 2)
    x, w, h = rng.integers(0, width), rng.integers(width // 6, width // 3), rng.integers(height // 12, height // 6)
    cv2.rectangle(canvas, (int(x), edge - int(h)), (int(x + w), edge + int(h) // 3), dye(rng), -1)


def _street(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, (rng.uniform(190, 250), rng.uniform(170, 220), rng.uniform(140, 210)), rng, 12)
    grey = rng.uniform(90, 150)
    fill(canvas, edge, height, (grey, grey, grey), rng, 12)
    x = 0
    while x < width:
        w, roof = int(rng.integers(width // 12, width // 5)), int(edge * rng.uniform(0.05, 0.6))
        cv2.rectangle(canvas, (x, roof), (x + w, edge), dye(rng), -1)
        pane = rng.uniform(30, 220, 3).tolist()
        for y in range(roof + 8, edge - 12, 22):
            for left in range(x + 6, x + w - 10, 18):
                cv2.rectangle(canvas, (left, y), (left + 8, y + 12), pane, -1)
        x += w + int(rng.integers(0, 10))
    kerb = edge + (height - edge) // 6
    cv2.rectangle(canvas, (0, edge), (width, kerb), rng.uniform(120, 200, 3).tolist(), -1)


def _park(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, (rng.uniform(200, 250), rng.uniform(180, 230), rng.uniform(150, 220)), rng, 18)
    fill(canvas, edge, height, (rng.uniform(30, 70), rng.uniform(100, 160), rng.uniform(60, 120)), rng, 22)
    for _ in range(rng.integers(5, 14)):
        x, size = int(rng.integers(0, width)), int(rng.integers(height // 10, height // 4))
        cv2.rectangle(canvas, (x - size // 10, edge - size), (x + size // 10, edge + 3), (40, 60, 80), -1)
        for _ in range(14):
            spot = (x + int(rng.normal(0, size / 3)), edge - size + int(rng.normal(0, size / 3)))
            leaf = (rng.uniform(20, 60), rng.uniform(70, 150), rng.uniform(30, 110))
            cv2.circle(canvas, spot, max(3, size // 4), leaf, -1, cv2.LINE_AA)


def _field(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    fill(canvas, 0, edge, dye(rng), rng, 10)
    fill(canvas, edge, height, (rng.uniform(40, 80), rng.uniform(110, 150), rng.uniform(70, 160)), rng, 12)
    for row in range(edge // 4, edge - 12, 9):
        for x in range(0, width, 8):
            spot = (x + int(rng.integers(-2, 3)), row + int(rng.integers(-2, 3)))
            cv2.circle(canvas, spot, 3, rng.uniform(20, 220, 3).tolist(), -1)
    cv2.rectangle(canvas, (0, edge - 14), (width, edge), dye(rng), -1)
    for y in (edge + 12, edge + (height - edge) // 2):
        cv2.line(canvas, (0, y), (width, y + int(rng.integers(-20, 20))), (225, 230, 230), 3, cv2.LINE_AA)


def _beach(canvas: np.ndarray, edge: int, rng: np.random.Generator) -> None:
    height = canvas.shape[0]
    shore = max(0, edge - (height - edge) // 5)
    fill(canvas, 0, shore, (rng.uniform(210, 250), rng.uniform(170, 220), rng.uniform(120, 200)), rng, 14)
    fill(canvas, shore, edge, (rng.uniform(140, 200), rng.uniform(110, 160), rng.uniform(40, 90)), rng, 16)
    fill(canvas, edge, height, (rng.uniform(110, 160), rng.uniform(160, 200), rng.uniform(180, 225)), rng, 14)


SCENES: dict[str, Painter] = {
    "gym": _gym, "stage": _stage, "room": _room, "street": _street, "park": _park, "field": _field, "beach": _beach,
}  # fmt: skip
"""The painters, by kind of scene."""


def paint(kind: str, width: int, height: int, edge: int, rng: np.random.Generator) -> np.ndarray:
    """A background.

    Args:
        kind: One of `SCENES`.
        width: Pixels.
        height: Pixels.
        edge: Row where the ground meets what stands behind it.
        rng: Source of its details.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    SCENES[kind](canvas, int(np.clip(edge, height // 8, height - 4)), rng)
    fine = (texture(height, width, rng, grain=60, octaves=2) * rng.uniform(3, 10))[..., None]
    return cv2.GaussianBlur(np.clip(canvas + fine, 0, 255).astype(np.uint8), (0, 0), rng.uniform(0.5, 1.4))
