"""What a camera and a codec do to a picture: light, focus, shake, noise, too few pixels, blocks, bars and captions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tps_pipeline.data.synthetic.look import dye
from tps_pipeline.data.synthetic.varied.paint import line_kernel
from tps_pipeline.data.synthetic.varied.surfaces import Picture


@dataclass(frozen=True)
class Lens:
    """What is done to every frame of a video, in this order.

    Attributes:
        curve: (3, 256) brightness of each channel after exposure, gamma and a tint.
        grey: Share of the colour that is lost.
        shadow: (H, W, 1) multiplier: darker corners, a lit patch.
        focus: Standard deviation of the defocus in pixels, 0 for none.
        shake: Kernel of the camera's motion, or none.
        pixels: Share of the pixels across that the camera has.
        noise: Standard deviation of its noise.
        quality: Of a JPEG compression, 0 for none.
        bars: Rows above and below, and columns on both sides, that are black.
        caption: Text, place, size and colour.
    """

    curve: NDArray[np.uint8]
    grey: float
    shadow: NDArray[np.float32] | None
    focus: float
    shake: NDArray[np.float32] | None
    pixels: float
    noise: float
    quality: int
    bars: tuple[int, int]
    caption: tuple[str, tuple[int, int], float, tuple[float, float, float]] | None

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """A picture as it comes out of the camera, of the same size."""
        height, width = picture.shape[:2]
        shown = cv2.LUT(picture, self.curve.T.reshape(1, 256, 3))
        if self.grey:
            pale = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            shown = cv2.addWeighted(shown, 1 - self.grey, pale, self.grey, 0)
        if self.shadow is not None:
            shown = np.clip(shown * self.shadow, 0, 255).astype(np.uint8)
        if self.focus:
            shown = cv2.GaussianBlur(shown, (0, 0), self.focus)
        if self.shake is not None:
            shown = cv2.filter2D(shown, -1, self.shake)
        if self.pixels < 1:
            small = (max(8, round(width * self.pixels)), max(8, round(height * self.pixels)))
            shown = cv2.resize(cv2.resize(shown, small, interpolation=cv2.INTER_AREA), (width, height))
        if self.noise:
            grain = rng.normal(0, self.noise, (height, width, 1 if rng.random() < 0.5 else 3))
            shown = np.clip(shown + grain, 0, 255).astype(np.uint8)
        if self.quality:
            shown = cv2.imdecode(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1], 1)
        shown = np.ascontiguousarray(shown, np.uint8)
        self._overlay(shown)
        return shown

    def _overlay(self, shown: Picture) -> None:
        height, width = shown.shape[:2]
        rows, columns = self.bars
        shown[:rows], shown[height - rows :], shown[:, :columns], shown[:, width - columns :] = 0, 0, 0, 0
        if self.caption:
            text, place, size, colour = self.caption
            thick = max(1, round(2 * size))
            cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def lens(size: tuple[int, int], rng: np.random.Generator) -> Lens:
    """A random camera; half of what it could do to a picture it does not do."""
    width, height = size
    level = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3))
    level = (level - 0.5) * rng.uniform(0.75, 1.3) + 0.52 + rng.normal(0, 0.05)
    tint = np.exp(rng.normal(0, 0.08, (3, 1)))
    bars = (0, 0)
    if rng.random() < 0.1:
        bars = (int(rng.uniform(0, 0.12) * height), 0) if rng.random() < 0.5 else (0, int(rng.uniform(0, 0.15) * width))
    caption = None
    if rng.random() < 0.15:
        place = (int(rng.uniform(0, 0.7) * width), int(rng.choice([0.1, 0.95]) * height))
        letters = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVW :0123456789"), int(rng.integers(3, 16))))
        caption = (letters, place, float(rng.uniform(0.3, 1.0)) * height / 240, dye(rng))
    return Lens(
        curve=np.clip(255 * level * tint, 0, 255).astype(np.uint8),
        grey=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0, 0.8), 1.0 if rng.random() < 0.2 else 0.0])),
        shadow=_shadow(size, rng) if rng.random() < 0.2 else None,
        focus=float(rng.choice([0, 0, 0, rng.uniform(0.4, 1.3)])) * height / 240,
        shake=line_kernel(rng.uniform(1, 8) * height / 240, rng.uniform(0, np.pi)) if rng.random() < 0.1 else None,
        pixels=float(rng.choice([1, 1, 1, rng.uniform(0.45, 0.9)])),
        noise=float(rng.choice([0, rng.uniform(1, 6), rng.uniform(4, 18)], p=[0.55, 0.35, 0.1])),
        quality=int(rng.choice([0, int(rng.integers(25, 70))])),
        bars=bars,
        caption=caption,
    )


def _shadow(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    away = np.hypot(x - rng.normal(0, 0.5), y - rng.normal(0, 0.5))
    return (1 + rng.uniform(-0.45, 0.3) * np.clip(away, 0, 1.5)).astype(np.float32)[..., None]
