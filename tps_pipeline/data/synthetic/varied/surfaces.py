"""What surfaces look like: procedural textures, and crops of the two photographs that scikit-learn brings along."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.synthetic.look import dye
from tps_pipeline.data.synthetic.scene import texture
from tps_pipeline.data.synthetic.shapes import Colour

Picture = NDArray[np.uint8]
"""(H, W, 3), blue, green, red."""

Surface = Callable[[int, int, np.random.Generator], Picture]
"""Makes a picture of a height and a width."""

PHOTOGRAPHED = 0.35
"""Probability of a crop of a photograph where one is allowed."""


def tint(rng: np.random.Generator) -> Colour:
    """A random colour; most things are less colourful than clothes (`look.dye`)."""
    if rng.random() < 0.35:
        return dye(rng)
    level, warmth = rng.uniform(15, 245), rng.normal(0, 0.16)
    blue, green, red = np.clip(level * np.exp((-warmth, rng.normal(0, 0.06), warmth)), 0, 255).tolist()
    return blue, green, red


@cache
def photographs() -> tuple[Picture, ...]:
    """Two photographs without people, a temple and a flower, licensed CC BY (scikit-learn's sample images).

    Nothing else within reach has the statistics of real pictures; no more than a piece of one is ever seen.
    """
    found = find_spec("sklearn")  # its path is enough: importing it takes seconds
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "datasets" / "images"
    return tuple(np.asarray(cv2.imread(str(folder / name)), np.uint8) for name in ("china.jpg", "flower.jpg"))


def between(first: NDArray[np.floating], rng: np.random.Generator) -> Picture:
    """A map in about -1..1 (H, W) as a mixture of two random colours."""
    share = np.clip(0.5 + 0.5 * first, 0, 1)[..., None].astype(np.float32)
    low, high = np.array(tint(rng), np.float32), np.array(tint(rng), np.float32)
    return (low + share * (high - low)).astype(np.uint8)


def cloudy(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Noise of several scales between two colours."""
    return between(1.6 * texture(height, width, rng, grain=int(rng.integers(2, 14)), octaves=5), rng)


def gradient(height: int, width: int, rng: np.random.Generator) -> Picture:
    """One colour that turns into another along a direction."""
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return between(np.cos(turn) * x + np.sin(turn) * y, rng)


def stripes(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Stripes, soft or sharp, of any direction."""
    turn, period = rng.uniform(0, np.pi), rng.uniform(0.02, 0.4) * max(height, width)
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin((np.cos(turn) * x + np.sin(turn) * y) * 2 * np.pi / period)
    return between(np.tanh(wave * rng.choice([0.8, 8.0])), rng)


def checks(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Checks or a tartan."""
    periods = rng.uniform(0.04, 0.4, 2) * max(height, width)
    y, x = np.mgrid[0:height, 0:width]
    across, down = np.sign(np.sin(2 * np.pi * x / periods[0])), np.sign(np.sin(2 * np.pi * y / periods[1]))
    return between(across * down if rng.random() < 0.5 else 0.5 * (across + down), rng)


def bricks(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Courses of blocks with joints, each of its own shade."""
    tall = max(3, int(rng.uniform(0.03, 0.15) * height))
    long = max(4, int(tall * rng.uniform(1, 4)))
    y, x = np.mgrid[0:height, 0:width]
    course = y // tall
    block = (x + course % 2 * (long // 2)) // long
    shade = rng.uniform(-0.7, 0.7, (height // tall + 1, width // long + 2))[course, block]
    joint = (y % tall == 0) | ((x + course % 2 * (long // 2)) % long == 0)
    return between(np.where(joint, 1.0, shade * rng.uniform(0, 1)), rng)


def patches(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Irregular cells of a handful of colours: a crowd far away, leaves, camouflage, goods on a shelf."""
    count = int(rng.integers(4, 200))
    seeds = (rng.random((count, 2)) * (height, width)).astype(int)
    marks = np.full((height, width), 255, np.uint8)
    marks[seeds[:, 0], seeds[:, 1]] = 0
    _, cells = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_CCOMP)
    palette = np.array([tint(rng) for _ in range(int(rng.integers(2, 9)))])
    count = int(cells.max()) + 1
    colours = palette[rng.integers(0, len(palette), count)] + rng.normal(0, 12, (count, 1))
    return np.clip(colours[np.asarray(cells, np.intp)], 0, 255).astype(np.uint8)


def plain(height: int, width: int, rng: np.random.Generator) -> Picture:
    """A single colour."""
    return np.full((height, width, 3), tint(rng), np.uint8)


def photograph(height: int, width: int, rng: np.random.Generator) -> Picture:
    """A piece of a photograph: any size, turned, mirrored, recoloured."""
    whole = photographs()[rng.integers(2)]
    tall, wide = whole.shape[:2]
    share = rng.uniform(0.15, 0.9)
    h, w = int(share * tall), int(np.clip(share * tall * width / height, 8, wide))
    y, x = int(rng.integers(0, tall - h + 1)), int(rng.integers(0, wide - w + 1))
    piece = cv2.resize(whole[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    if rng.random() < 0.3:
        piece = piece[::-1]
    if rng.random() < 0.5:
        piece = piece[..., rng.permutation(3)]
    grey = piece.mean(axis=2, keepdims=True)
    toned = grey + rng.uniform(0.2, 1.4) * (piece - grey)
    toned = np.clip(toned * rng.uniform(0.6, 1.3, 3) + rng.uniform(-30, 30), 0, 255)
    return np.ascontiguousarray(toned, np.uint8)


PATTERNS: tuple[Surface, ...] = (cloudy, gradient, stripes, checks, bricks, patches, plain)
"""The procedural surfaces."""


def surface(height: int, width: int, rng: np.random.Generator, *, photographed: bool = True) -> Picture:
    """A surface of any kind, sometimes two that are blended.

    Args:
        height: Pixels.
        width: Pixels.
        rng: Source of all choices.
        photographed: Whether it may be a piece of a photograph.
    """
    if photographed and rng.random() < PHOTOGRAPHED:
        return photograph(height, width, rng)
    made = PATTERNS[rng.integers(len(PATTERNS))](height, width, rng)
    if rng.random() < 0.3:
        other = PATTERNS[rng.integers(len(PATTERNS))](height, width, rng)
        share = float(rng.uniform(0.15, 0.6))
        made = cv2.addWeighted(made, 1 - share, other, share, 0).astype(np.uint8)
    return made
