"""Drawing people with surfaces and light: each colour of a person is a cloth of its own, shaded as if it were round."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.synthetic.render import SHIFT, Sprite
from tps_pipeline.data.synthetic.varied.surfaces import Picture, surface

CLOTH = 48
"""Side of a cloth's texture in pixels; it repeats."""

_EDGE, _FLAT, _BRIGHT = 120, 200, 235
"""Light on an outline, on a body and on its lit side, of which `_FLAT` is 1."""


@dataclass(frozen=True)
class Dress:
    """How one person is drawn.

    Attributes:
        cloths: For each of the sprite's solids the index of its texture.
        textures: (n, `CLOTH`, `CLOTH`, 3) multipliers of the colours.
        contrast: How far an outline is darker, and a lit side brighter, than what is between.
        soft: Share of the person's height over which that is smoothed.
        side: Light from the left to the right of the person, and from top to bottom: 1 and -1 are strongest.
        opacity: 1, or less for somebody seen through something.
        smear: Kernel of the motion blur, or none.
    """

    cloths: list[int]
    textures: NDArray[np.float32]
    contrast: float
    soft: float
    side: tuple[float, float]
    opacity: float
    smear: NDArray[np.float32] | None


def dress(sprite: Sprite, rng: np.random.Generator) -> Dress:
    """A random way to draw somebody; equal colours are of equal cloth."""
    colours = [tones[min(1, len(tones) - 1)] for tones in sprite.colours]
    kinds = list(dict.fromkeys(colours))
    tall = float(np.ptp(sprite.polygons[0, :, 1, :, 1])) / 2**SHIFT
    textures = np.ones((len(kinds), CLOTH, CLOTH, 3), np.float32)
    for texture in textures:
        if rng.random() < 0.5:
            made = surface(CLOTH, CLOTH, rng).astype(np.float32)
            texture += rng.uniform(0.05, 0.6) * (made / max(float(made.mean()), 1) - 1)
    smear = None
    if rng.random() < 0.15:
        smear = line_kernel(rng.uniform(1, 0.06 * min(tall, 400) + 2), rng.uniform(0, np.pi))
    return Dress(
        [kinds.index(colour) for colour in colours],
        textures,
        rng.uniform(0, 1.2),
        rng.uniform(0.001, 0.02) * tall,
        (rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)),
        1.0 if rng.random() < 0.98 else rng.uniform(0.6, 0.95),
        smear,
    )


def line_kernel(length: float, angle: float) -> NDArray[np.float32]:
    """A straight smear over pixels: a kernel whose sum is 1."""
    half = max(1, round(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    tip = half * np.array([np.cos(angle), np.sin(angle)])
    start, stop = (np.rint(half + sign * tip).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, (1.0,), 1, cv2.LINE_AA)
    return kernel / kernel.sum()


def draw(picture: Picture, identity: NDArray[np.uint8] | None, sprite: Sprite, how: Dress, frame: int) -> None:
    """Draw one person into a BGR picture and (if given) into the map of identities.

    Args:
        picture: (H, W, 3), changed.
        identity: (H, W), changed: 0 where something that is no person's lies, too.
        sprite: The person.
        how: How it is drawn.
        frame: Index of the frame.
    """
    shapes = sprite.polygons[frame]
    shown = [k for k in sprite.order[frame] if sprite.visible[frame, k]]
    if not shown:
        return
    if identity is not None:
        for k in shown:
            cv2.fillConvexPoly(identity, shapes[k, min(1, sprite.layers[k] - 1)], sprite.ids[k], cv2.LINE_8, SHIFT)
    pad = 2 if how.smear is None else len(how.smear) // 2 + 2
    corners = shapes[shown, 0].reshape(-1, 2) // 2**SHIFT
    low = np.maximum(corners.min(0) - pad, 0)
    high = np.minimum(corners.max(0) + pad + 1, (picture.shape[1], picture.shape[0]))
    width, height = (high - low).tolist()
    if width < 2 or height < 2:
        return
    colour, alpha = _flat(sprite, how, shapes - (low * 2**SHIFT).astype(np.int32), shown, (width, height))
    if how.smear is not None:
        colour, alpha = cv2.filter2D(colour * alpha, -1, how.smear), cv2.filter2D(alpha, -1, how.smear)[..., None]
    else:
        colour *= alpha
    window = picture[low[1] : high[1], low[0] : high[0]]
    window[:] = np.clip(window * (1 - how.opacity * alpha) + how.opacity * colour, 0, 255)


def _flat(
    sprite: Sprite, how: Dress, shapes: NDArray[np.int32], shown: list[int], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (h, w, 3) and opacity (h, w, 1) of a person in a window."""
    width, height = size
    base, light = np.zeros((height, width, 3), np.uint8), np.full((height, width), _FLAT, np.uint8)
    cloth, alpha = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    edge, bright = (_FLAT + how.contrast * (tone - _FLAT) for tone in (_EDGE, _BRIGHT))
    for k in shown:
        body = shapes[k, min(1, sprite.layers[k] - 1)]
        if sprite.layers[k] == 3:
            cv2.fillConvexPoly(light, shapes[k, 0], edge, cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(light, body, _FLAT, cv2.LINE_AA, SHIFT)
        if sprite.layers[k] == 3:
            cv2.fillConvexPoly(light, shapes[k, 2], bright, cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(base, body, sprite.colours[k][min(1, sprite.layers[k] - 1)], cv2.LINE_8, SHIFT)
        cv2.fillConvexPoly(cloth, body, how.cloths[k], cv2.LINE_8, SHIFT)
        cv2.fillConvexPoly(alpha, body, 255, cv2.LINE_AA, SHIFT)
    if how.soft > 0.3:
        light = cv2.GaussianBlur(light, (0, 0), how.soft)
    rows, columns = np.arange(height)[:, None] % CLOTH, np.arange(width)[None] % CLOTH
    colour = base * how.textures[cloth, rows, columns]
    across, down = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    gain = light / np.float32(_FLAT) * (1 + how.side[0] * across) * (1 + how.side[1] * down)
    return (colour * gain[..., None]).astype(np.float32), (alpha / 255).astype(np.float32)[..., None]
