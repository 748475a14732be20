"""Pictures as networks take them: what is subtracted and divided by follows the weights that they start from."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor


class Pixels(NamedTuple):
    """Mean and deviation of red, green and blue, 0 to 255."""

    mean: tuple[float, float, float]
    """Of red, green and blue, 0 to 255."""
    std: tuple[float, float, float]
    """The standard deviation of red, green and blue, 0 to 255."""


IMAGENET = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""What published Video Swin weights expect."""


def normalise(clips: Tensor, pixels: Pixels) -> Tensor:
    """Clips `(B, T, H, W, 3)` uint8 as a network takes them: `(B, 3, T, H, W)`, zero mean, unit deviation."""
    mean, std = (_of_row(clips.device, values, clips.shape[3]) for values in pixels)
    return clips.float().flatten(3).sub_(mean).div_(std).view(clips.shape).permute(0, 4, 1, 2, 3)


@functools.cache
def _of_row(device: torch.device, values: tuple[float, float, float], width: int) -> Tensor:
    """What each number of a row of so many pixels is subtracted or divided by: three at a time take far longer.

    They stay on the device: a GPU is waited for to hand it Python's.
    """
    return torch.tensor(values, device=device).repeat(width)
