"""Image augmentation for detectors: mosaic, mixup, one homography, colour; boxes follow the pixels.

Everything random draws from a `numpy.random.Generator` that the caller gives, so one seed is one picture. Mirroring
is no augmentation here: the mirrored half of a data set is rows of its samples table (`datasets.mirror`).

Coordinates are continuous: pixel `i` covers `i` to `i + 1`, so the box of a pixel rectangle with inclusive
corners `x1..x2` is `x1` to `x2 + 1`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.recipe import BoxAugmentation

PAD = 114
"""Grey of what is outside the picture (YOLOv7)."""
MIXUP_BETA = 8.0
"""Both parameters of mixup's Beta distribution (YOLOv7): weights stay near one half."""
MIN_SIDE, MIN_AREA_RATIO, MAX_ASPECT = 2.0, 0.1, 20.0
"""A warped box is kept if its sides exceed 2 px, it has more than a tenth of its former area, and it is no thinner than
1 : 20 (YOLOv7)."""


@dataclass(frozen=True)
class Example:
    """A picture and its objects.

    Attributes:
        image: RGB, (H, W, 3), uint8.
        boxes: x1 y1 x2 y2 in continuous pixels, (N, 4), float32.
        labels: Class indices, (N,), int64.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Letterbox:
    """How a picture was fitted onto a canvas: scaled by `scale`, then moved by `left` and `top`."""

    scale: float
    """Canvas pixels a pixel of the picture."""
    left: int
    """Canvas pixels left of the picture."""
    top: int
    """Canvas pixels above the picture."""

    def apply(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Picture pixels to canvas pixels."""
        return (boxes * self.scale + self._offset).astype(np.float32)

    def undo(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas pixels to picture pixels."""
        return ((boxes - self._offset) / self.scale).astype(np.float32)

    @property
    def _offset(self) -> NDArray[np.float32]:
        return np.array((self.left, self.top, self.left, self.top), np.float32)


def letterbox(image: NDArray[np.uint8], size: int, *, grid: int | None = None) -> tuple[NDArray[np.uint8], Letterbox]:
    """Fit a picture into a square, keeping its shape; the rest is grey.

    Args:
        image: RGB, (H, W, 3).
        size: Side of the square in pixels.
        grid: Leave out of the square what lies beyond the picture: the shorter side is then the smallest multiple of
            `grid` that holds it.

    Returns:
        The canvas, (size, size, 3) or less, and how the picture lies in it.
    """
    small, scale = _fit(image, size)
    height, width = small.shape[:2]
    rows, columns = (size, size) if grid is None else (grid * math.ceil(side / grid) for side in (height, width))
    left, top = (columns - width) // 2, (rows - height) // 2
    canvas = np.full((rows, columns, 3), PAD, np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas, Letterbox(scale, left, top)


def augment(
    example: Example,
    draw_other: Callable[[], Example],
    *,
    settings: BoxAugmentation,
    size: int,
    rng: np.random.Generator,
) -> Example:
    """One training picture of the size the network takes.

    Args:
        example: The picture whose turn it is, of any size.
        draw_other: Gives another random picture of the data set, for mosaic and mixup.
        settings: How often and how far.
        size: Side of the result in pixels.
        rng: Source of everything random here.

    Returns:
        A (size, size, 3) picture with those of the objects that are still there.
    """
    result = _compose(example, draw_other, settings=settings, size=size, rng=rng)
    if rng.random() < settings.mixup:
        result = mixup(result, _compose(draw_other(), draw_other, settings=settings, size=size, rng=rng), rng)
    return Example(_shift_colors(result.image, settings, rng), result.boxes, result.labels)


def mosaic(examples: Sequence[Example], size: int, rng: np.random.Generator) -> Example:
    """Four pictures around a random centre (YOLOv4, arXiv 2004.10934, section 3.4).

    Args:
        examples: Four pictures; each is scaled until its longer side is `size`.
        size: Half of the result's side.
        rng: Draws the centre, in the middle half of either axis.

    Returns:
        A (2 size, 2 size, 3) picture. Boxes that reach beyond it are cut, those outside it are dropped.
    """
    canvas = np.full((2 * size, 2 * size, 3), PAD, np.uint8)
    center_x, center_y = (int(c) for c in rng.integers(size // 2, size + size // 2, 2, endpoint=True))
    boxes, labels = [], []
    for i, example in enumerate(examples):
        small, scale = _fit(example.image, size)
        height, width = small.shape[:2]
        left = center_x if i % 2 else center_x - width
        top = center_y if i // 2 else center_y - height
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + width, 2 * size), min(top + height, 2 * size)
        canvas[y1:y2, x1:x2] = small[y1 - top : y2 - top, x1 - left : x2 - left]
        whole = Letterbox(scale, left, top).apply(example.boxes)
        cut = np.clip(whole, np.array((x1, y1, x1, y1), np.float32), np.array((x2, y2, x2, y2), np.float32))
        keep = still_there(whole, cut)
        boxes.append(cut[keep])
        labels.append(example.labels[keep])
    return Example(canvas, np.concatenate(boxes), np.concatenate(labels))


def mixup(a: Example, b: Example, rng: np.random.Generator) -> Example:
    """Blend two pictures of one size and keep the objects of both (arXiv 1710.09412; weight as in YOLOv7)."""
    weight = rng.beta(MIXUP_BETA, MIXUP_BETA)
    image = cv2.addWeighted(a.image, weight, b.image, 1 - weight, 0.0)
    return Example(
        np.asarray(image, np.uint8), np.concatenate((a.boxes, b.boxes)), np.concatenate((a.labels, b.labels))
    )


def random_homography(
    settings: BoxAugmentation, *, source: int, target: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A random 3x3 map from one square to another: perspective, rotation and scale, shear, translation, in that order.

    Args:
        settings: How far each may go.
        source: Side of the square that is warped; its centre goes to the result's centre but for the translation.
        target: Side of the result.
        rng: Source of everything random here.
    """
    center, perspective, shear, move = (np.eye(3) for _ in range(4))
    center[:2, 2] = -source / 2
    perspective[2, :2] = rng.uniform(-settings.perspective, settings.perspective, 2)
    angle = np.radians(rng.uniform(-settings.rotation, settings.rotation))
    gain = rng.uniform(1 - settings.scale, 1 + settings.scale)
    cos, sin = gain * np.cos(angle), gain * np.sin(angle)
    turn = np.array(((cos, sin, 0), (-sin, cos, 0), (0, 0, 1)))
    shear[0, 1], shear[1, 0] = np.tan(np.radians(rng.uniform(-settings.shear, settings.shear, 2)))
    move[:2, 2] = target * (0.5 + rng.uniform(-settings.translate, settings.translate, 2))
    return move @ shear @ turn @ perspective @ center


def warp(example: Example, homography: NDArray[np.float64], size: int) -> Example:
    """Map a picture and its boxes through a homography.

    A box becomes the bounding box of its four mapped corners, cut at the picture's edge, and is dropped where too
    little is left (`still_there`).

    Args:
        example: The picture and its objects.
        homography: 3x3, from the picture's continuous pixels to the result's.
        size: Side of the result in pixels.
    """
    # OpenCV counts from pixel centres.
    half = np.array(((1, 0, 0.5), (0, 1, 0.5), (0, 0, 1)))
    matrix = np.linalg.inv(half) @ homography @ half
    image = cv2.warpPerspective(example.image, matrix, (size, size), borderValue=(PAD, PAD, PAD))
    corners = example.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    mapped = np.concatenate((corners, np.ones((*corners.shape[:2], 1))), -1) @ homography.T
    mapped = mapped[..., :2] / mapped[..., 2:]
    boxes = np.concatenate((mapped.min(1), mapped.max(1)), -1).clip(0, size).astype(np.float32)
    gain = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    keep = still_there(example.boxes * gain, boxes)
    return Example(np.asarray(image, np.uint8), boxes[keep], example.labels[keep])


def still_there(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes are worth keeping after a warp or a cut.

    Args:
        before: Boxes as they would be without the loss, at the result's scale, (N, 4).
        after: The same boxes, cut, (N, 4).
    """
    old = before[:, 2:] - before[:, :2]
    new = after[:, 2:] - after[:, :2]
    ratio = new.prod(1) / (old.prod(1) + 1e-9)
    aspect = np.maximum(new[:, 0] / (new[:, 1] + 1e-9), new[:, 1] / (new[:, 0] + 1e-9))
    return (new > MIN_SIDE).all(1) & (ratio > MIN_AREA_RATIO) & (aspect < MAX_ASPECT)


def _compose(
    example: Example,
    draw_other: Callable[[], Example],
    *,
    settings: BoxAugmentation,
    size: int,
    rng: np.random.Generator,
) -> Example:
    """A warped picture of the network's size, from one picture or from four."""
    if rng.random() < settings.mosaic:
        picture = mosaic([example, draw_other(), draw_other(), draw_other()], size, rng)
    else:
        square, place = letterbox(example.image, size)
        picture = Example(square, place.apply(example.boxes), example.labels)
    source = picture.image.shape[0]
    return warp(picture, random_homography(settings, source=source, target=size, rng=rng), size)


def _fit(image: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float]:
    """Scale a picture until its longer side is `size`."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    if scale == 1.0:
        return image, scale
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape, interpolation=interpolation), np.uint8), scale


def _shift_colors(image: NDArray[np.uint8], settings: BoxAugmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Multiply hue, saturation and value by random gains around 1."""
    hue, saturation, value = 1 + rng.uniform(-1, 1, 3) * (settings.hue, settings.saturation, settings.value)
    if hue == saturation == value == 1:
        return image
    levels = np.arange(256)
    # OpenCV's hue is in half degrees, so that it fits a byte.
    tables = np.stack((levels * hue % 180, (levels * saturation).clip(0, 255), (levels * value).clip(0, 255)), -1)
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    shifted = cv2.LUT(hsv, tables[None].astype(np.uint8))
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB), np.uint8)
