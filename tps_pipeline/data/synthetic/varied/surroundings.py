"""Where people are: a background of many surfaces, things that stand about, and things in front of people."""

from __future__ import annotations

import cv2
import numpy as np

from tps_pipeline.data.synthetic.look import HAIRS, SKINS
from tps_pipeline.data.synthetic.scene import SCENES, paint
from tps_pipeline.data.synthetic.shapes import Colour
from tps_pipeline.data.synthetic.varied.surfaces import Picture, surface, tint

PAINTED = 0.3
"""Share of the backgrounds that begin with one of the plain data set's scenes."""


def background(width: int, height: int, edge: int, rng: np.random.Generator) -> Picture:
    """What is behind the people.

    Args:
        width: Pixels.
        height: Pixels.
        edge: Row where the ground meets what stands behind it.
        rng: Source of all choices.
    """
    edge = int(np.clip(edge, 0, height))
    if rng.random() < PAINTED:
        canvas = paint(str(rng.choice(list(SCENES))), width, height, edge, rng)
    else:
        canvas = surface(height, width, rng)
        if rng.random() < 0.8 and 4 < edge < height - 4:
            canvas[edge:] = _ground(height - edge, width, rng)
    for _ in range(int(rng.integers(0, 6))):
        _panel(canvas, rng)
    for _ in range(int(rng.integers(0, 10) * rng.integers(1, 3))):
        THINGS[rng.integers(len(THINGS))](canvas, edge, rng)
    if rng.random() < 0.4:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.6, 4.0)).astype(np.uint8)
    return canvas


def _ground(height: int, width: int, rng: np.random.Generator) -> Picture:
    """A surface that lies: foreshortened toward the horizon."""
    flat = surface(2 * height + 8, width, rng)
    rows = (np.linspace(0, 1, height) ** rng.uniform(0.4, 0.9) * (len(flat) - 1)).astype(int)
    return flat[rows]


def _within(canvas: Picture, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Cover what a mask (H, W) says with a surface, lit from a side."""
    x, y, w, h = cv2.boundingRect(mask)
    if w < 2 or h < 2:
        return
    made = surface(h, w, rng).astype(np.float32)
    first, last = rng.uniform(0.6, 1.2, 2).tolist()
    made *= np.linspace(first, last, w)[None, :, None]
    share = mask[y : y + h, x : x + w, None] / np.float32(255)
    window = canvas[y : y + h, x : x + w]
    window[:] = np.clip(window + share * (made - window), 0, 255)


def _blank(canvas: Picture) -> np.ndarray:
    return np.zeros(canvas.shape[:2], np.uint8)


def _place(canvas: Picture, rng: np.random.Generator, *, low: float = 0.02, high: float = 0.5) -> list[int]:
    """A random rectangle, `x, y, w, h`, log-uniform in size."""
    height, width = canvas.shape[:2]
    size = np.exp(rng.uniform(np.log(low), np.log(high), 2)) * (width, height)
    return [int(v) for v in (*(rng.random(2) * (width, height) - size / 2), *np.maximum(size, 3))]


def _panel(canvas: Picture, rng: np.random.Generator) -> None:
    """A wall, a curtain, a banner: a large piece of another surface."""
    x, y, w, h = _place(canvas, rng, low=0.2, high=1.2)
    mask = _blank(canvas)
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) + rng.normal(0, 0.08 * w, (4, 2))
    cv2.fillConvexPoly(mask, corners.astype(np.int32), 255, cv2.LINE_AA)
    _within(canvas, mask, rng)


def _box(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    x, y, w, h = _place(canvas, rng)
    mask = _blank(canvas)
    cv2.rectangle(mask, (x, y), (x + w, y + h), 255, -1)
    _within(canvas, mask, rng)
    if rng.random() < 0.5:
        cv2.rectangle(canvas, (x, y), (x + w, y + h), tint(rng), int(rng.integers(1, 4)))


def _blob(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """A ball, a bush, a cushion."""
    x, y, w, h = _place(canvas, rng, high=0.35)
    mask = _blank(canvas)
    for _ in range(int(rng.choice([1, 1, 5, 12]))):
        centre = (x + int(rng.normal(0, 0.3 * w)), y + int(rng.normal(0, 0.3 * h)))
        cv2.ellipse(mask, centre, (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    _within(canvas, mask, rng)


def _furniture(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """A table, a chair, a bench, a hurdle: something flat on thin legs."""
    x, y, w, h = _place(canvas, rng, low=0.06, high=0.5)
    mask, thick = _blank(canvas), max(2, h // int(rng.integers(5, 14)))
    cv2.rectangle(mask, (x, y), (x + w, y + thick), 255, -1)
    lean = int(rng.normal(0, 0.08 * w))
    for leg in np.linspace(x + thick // 2, x + w - thick // 2, int(rng.choice([2, 2, 3, 4]))):
        cv2.line(mask, (int(leg), y), (int(leg) + lean, y + h), 255, max(1, int(0.6 * thick)), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.rectangle(mask, (x, y - h), (x + thick, y), 255, -1)
    if rng.random() < 0.4:
        cv2.rectangle(mask, (x, y - h), (x + w, y - int(0.5 * h)), 255, -1)
    _within(canvas, mask, rng)


def _posts(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """Posts, pipes, trunks, ropes."""
    height, width = canvas.shape[:2]
    mask = _blank(canvas)
    for _ in range(int(rng.integers(1, 5))):
        x, thick = int(rng.integers(0, width)), max(1, int(width * np.exp(rng.uniform(np.log(0.004), np.log(0.06)))))
        top, bottom = sorted(int(v) for v in rng.uniform(-0.1, 1.1, 2) * height)
        cv2.line(mask, (x, top), (x + int(rng.normal(0, 0.1 * width)), bottom), 255, thick, cv2.LINE_AA)
    _within(canvas, mask, rng)


def _fence(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """A grid: a window, a net, a fence, shelves."""
    x, y, w, h = _place(canvas, rng, low=0.1, high=0.9)
    colour, thick = tint(rng), int(rng.integers(1, 4))
    for at in range(x, x + w, max(4, int(w / rng.integers(2, 20)))):
        cv2.line(canvas, (at, y), (at, y + h), colour, thick, cv2.LINE_AA)
    for at in range(y, y + h, max(4, int(h / rng.integers(1, 12)))):
        cv2.line(canvas, (x, at), (x + w, at), colour, thick, cv2.LINE_AA)


def _writing(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    x, y, _, h = _place(canvas, rng, high=0.25)
    words = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVXYZ 0123456789"), int(rng.integers(1, 14))))
    cv2.putText(canvas, words, (x, y), int(rng.integers(0, 8)), max(0.3, h / 25), tint(rng), int(rng.integers(1, 6)))


def _limbs(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """Tapered rods joined at angles, of the colours of skin and clothes, which make no person."""
    x, y, w, h = _place(canvas, rng, high=0.3)
    point, long = np.array([x, y], float), max(w, h) * rng.uniform(0.3, 1)
    for _ in range(int(rng.integers(1, 4))):
        after = point + long * np.array([np.cos(turn := rng.uniform(0, 2 * np.pi)), np.sin(turn)])
        mask = _blank(canvas)
        cv2.line(mask, point.astype(int).tolist(), after.astype(int).tolist(), 255,
                 max(2, int(long * rng.uniform(0.1, 0.4))), cv2.LINE_AA)  # fmt: skip
        if rng.random() < 0.5:
            _within(canvas, mask, rng)
        else:
            canvas[mask > 127] = _flesh(rng)
        point = after


def _balls(canvas: Picture, edge: int, rng: np.random.Generator) -> None:
    """Round things of the colours of skin and hair: lamps, fruit, balls, not heads."""
    for _ in range(int(rng.integers(1, 6))):
        x, y, w, _ = _place(canvas, rng, low=0.01, high=0.12)
        cv2.circle(canvas, (x, y), max(2, w // 2), _flesh(rng), -1, cv2.LINE_AA)


def _flesh(rng: np.random.Generator) -> Colour:
    return (SKINS + HAIRS)[rng.integers(len(SKINS) + len(HAIRS))]


THINGS = (_box, _box, _blob, _furniture, _furniture, _posts, _fence, _writing, _limbs, _limbs, _balls)
"""What stands about; some more often than others."""


def foreground(picture_size: tuple[int, int], rng: np.random.Generator) -> tuple[Picture, np.ndarray]:
    """Things between the camera and the people.

    Args:
        picture_size: Width and height.
        rng: Source of all choices.

    Returns:
        A picture, and how opaque it is (H, W), 0 to 255.
    """
    width, height = picture_size
    mask = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        thing = _place(np.empty((height, width, 3), np.uint8), rng, low=0.04, high=0.5)
        x, y, w, h = thing
        kind = rng.random()
        if kind < 0.35:
            cv2.rectangle(mask, (x, max(y, height // 3)), (x + w, max(y, height // 3) + h), 255, -1)
        elif kind < 0.6:
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(mask, (x, y), (w // 2 + 1, h // 2 + 1), turn, 0, 360, 255, -1, cv2.LINE_AA)
        else:
            ends = (rng.uniform(-0.2, 1.2, (2, 2)) * (width, height)).astype(int).tolist()
            cv2.line(mask, ends[0], ends[1], 255, int(rng.integers(2, 2 + max(3, width // 24))), cv2.LINE_AA)
    return surface(height, width, rng), mask
