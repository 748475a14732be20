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
    mean, std = (_on(clips.device, values) for values in pixels)
    return clips.float().sub_(mean).div_(std).permute(0, 4, 1, 2, 3)


@functools.cache
def _on(device: torch.device, values: tuple[float, float, float]) -> Tensor:
    """Numbers on a device, where they stay: a GPU is waited for to hand it Python's."""
    return torch.tensor(values, device=device)
