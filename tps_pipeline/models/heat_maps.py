"""A network that finds what is in a picture once at most, as each part of a person in the person's crop.

Each class has a map of where it may be (Objects as Points, arXiv 1904.07850; of people's joints: Simple Baselines,
arXiv 1804.06208). Its places share one probability, and being nowhere has a part of it: what is there once is at one of
them, so that places compete where they are alike, as left and right are. No anchor and no suppression is needed.

How it is trained stands in `tps_pipeline.detection.heat_map_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, log_softmax

from tps_pipeline.models.yolov7_layers import ConvBlock, cells

STRIDE = 4
"""Image pixels a place: of a person who is 150 px high hands are 8."""
WINDOW = 3
"""Side of the square of places around the best one whose boxes are averaged by how likely each is: the mean lies
between places, as that of a whole map does (arXiv 1711.08229), and only one peak is in it."""
BLOCKS = (1, 2, 2, 2)
"""Residual blocks at strides 4, 8, 16 and 32."""
CHANNELS = (1, 2, 4, 4)
"""Channels at these strides, as multiples of the width."""


class Maps(NamedTuple):
    """What the network says of B pictures and C classes.

    Attributes:
        places: Logits of a class's centre being at a place, (B, C, h, w).
        nowhere: Logit of its being at none, (B, C).
        boxes: Of a box at a place the centre's way from the place's middle in places, and the logarithm of width and
            height as shares of the class's anchor, (B, C, 4, h, w).
    """

    places: Tensor
    nowhere: Tensor
    boxes: Tensor

    def log_probabilities(self) -> Tensor:
        """Of a class being at a place, row by row, and nowhere, (B, C, h w + 1)."""
        return log_softmax(torch.cat((self.places.float().flatten(2), self.nowhere.float()[..., None]), 2), 2)


class HeatMaps(nn.Module):
    """A residual network with maps of a quarter of the picture's resolution, put together of coarser ones.

    Args:
        classes: Number of classes.
        width: Channels at a quarter of the resolution.
        anchors: A class's usual width and height in pixels, which boxes are told as shares of, (C, 2); by default one
            pixel, until weights are loaded.

    Attributes:
        anchors: These; saved with the weights.
    """

    anchors: Tensor

    def __init__(self, *, classes: int, width: int, anchors: ArrayLike | None = None) -> None:
        super().__init__()
        sizes = torch.ones(classes, 2) if anchors is None else torch.as_tensor(anchors, dtype=torch.float32)
        self.register_buffer("anchors", sizes.clone())
        channels = [width * multiple for multiple in CHANNELS]
        merged = 2 * width
        self.stem = nn.Sequential(_conv(3, width, stride=2), _conv(width, width, stride=2))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *([_conv(channels[i - 1], channels[i], stride=2)] if i else []),
                *(Residual(channels[i]) for _ in range(blocks)),
            )
            for i, blocks in enumerate(BLOCKS)
        )
        self.lateral = nn.ModuleList(_conv(each, merged, kernel=1) for each in channels)
        self.merge = nn.ModuleList(_conv(merged, merged) for _ in channels[1:])
        self.last = _conv(merged, merged)
        self.maps = nn.Conv2d(merged, classes * 5, 1)
        self.nowhere = nn.Linear(merged, classes)
        for layer in (self.maps, self.nowhere):  # every place as likely as any other, every box its class's anchor
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Maps | tuple[Tensor, Maps]:
        """Find.

        Args:
            images: (B, 3, H, W) in 0..1, RGB; H and W multiples of 32.

        Returns:
            In training the maps at `STRIDE`; in evaluation `(decoded, maps)`, see `decode`.
        """
        x, levels = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        x = self.last(self._merged(levels))
        maps = self.maps(x).unflatten(1, (-1, 5))
        found = Maps(maps[:, :, 0], self.nowhere(x.mean((2, 3))), maps[:, :, 1:])
        return found if self.training else (self.decode(found), found)

    def _merged(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps of all resolutions in those of the finest (feature pyramid, arXiv 1612.03144)."""
        x = self.lateral[-1](levels[-1])
        for i in reversed(range(len(levels) - 1)):
            x = self.merge[i](self.lateral[i](levels[i]) + interpolate(x, scale_factor=2.0, mode="nearest"))
        return x

    def decode(self, maps: Maps) -> Tensor:
        """Each class's one box, as a YOLOv7 gives its boxes.

        Returns:
            (B, C, 5 + C): centre x, y, width, height in pixels; how likely the class is within `WINDOW` of there; and 1
            for the class itself, 0 for the others.
        """
        shares = maps.log_probabilities()[..., :-1].exp().view_as(maps.places)
        boxes = boxes_of(maps, self.anchors)
        likely = _around(shares)
        mean = _around((shares[:, :, None] * boxes).flatten(1, 2)).view_as(boxes) / likely[:, :, None].clamp(min=1e-9)
        score, best = likely.flatten(2).max(2)
        box = mean.flatten(3).gather(3, best[..., None, None].expand(-1, -1, 4, 1))[..., 0]
        itself = torch.eye(score.shape[1], device=score.device).expand(*score.shape, -1)
        return torch.cat((box, score[..., None], itself), 2)

    @torch.no_grad()
    def fuse(self) -> HeatMaps:
        """Fold normalisations into the convolutions, in place, for evaluation only."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fuse()
        return self


class Residual(nn.Module):
    """Two convolutions and what went in (arXiv 1512.03385, figure 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = ConvBlock(channels, channels, kernel=3, activation=nn.Identity())
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same."""
        return self.activation(x + self.second(self.first(x)))


def boxes_of(maps: Maps, anchors: Tensor) -> Tensor:
    """The box at every place: centre x, y, width and height in pixels, (B, C, 4, h, w).

    Args:
        maps: The network's.
        anchors: A class's usual width and height in pixels, (C, 2).
    """
    told = maps.boxes.float()
    middles = cells(told[:, :1, 0, ..., None]).permute(2, 0, 1) + 0.5
    sizes = told[:, :, 2:].clamp(-4, 4).exp() * anchors[..., None, None]
    return torch.cat((STRIDE * (middles + told[:, :, :2]), sizes), 2)


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> ConvBlock:
    return ConvBlock(inputs, outputs, kernel=kernel, stride=stride, activation=nn.ReLU(inplace=True))


def _around(x: Tensor) -> Tensor:
    """The sum over each place's `WINDOW`, (B, N, h, w)."""
    return WINDOW**2 * avg_pool2d(x, WINDOW, 1, WINDOW // 2)  # an ONNX file would not know of another divisor
