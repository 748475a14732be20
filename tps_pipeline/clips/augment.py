"""What is done to training clips, all frames of one alike: turned, scaled, shifted, mirrored, tinted."""

from __future__ import annotations

import cv2
import numpy as np

from tps_pipeline import recipe


def augment(clip: np.ndarray, settings: recipe.ClipAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Rotate, scale, shift, mirror and tint a clip, all frames alike.

    Args:
        clip: RGB, uint8, `(T, H, W, 3)`.
        settings: How far.
        rng: Where all draws come from.

    Returns:
        A new clip of the same shape.
    """
    return warp_and_tint(clip, draw_warp(clip.shape[2], clip.shape[1], settings, rng), settings, rng)


def draw_warp(width: int, height: int, settings: recipe.ClipAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Where the pixels of a picture go.

    Args:
        width: Of the picture.
        height: Of the picture.
        settings: How far.
        rng: Where all draws come from.

    Returns:
        An affine map of the pixels' centres, `(2, 3)`.
    """
    angle = rng.uniform(-settings.rotation, settings.rotation)
    gain = rng.uniform(1 - settings.scale, 1 + settings.scale)
    centre = ((width - 1) / 2, (height - 1) / 2)
    warp = cv2.getRotationMatrix2D(centre, angle, gain)
    warp[:, 2] += rng.uniform(-settings.translate, settings.translate, 2) * (width, height)
    if rng.random() < settings.flip:
        warp = warp @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]])
    return warp


def warp_and_tint(
    clip: np.ndarray, warp: np.ndarray, settings: recipe.ClipAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Move a clip's pixels and tint them, all frames alike; arguments and result as for `augment`."""
    height, width = clip.shape[1:3]
    brightness, contrast, saturation = 1 + rng.uniform(-settings.color, settings.color, 3)
    warped = np.stack([cv2.warpAffine(frame, warp, (width, height), borderMode=cv2.BORDER_REPLICATE) for frame in clip])
    if not settings.color:
        return warped
    pixels = warped.astype(np.float32)
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean() * brightness
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
