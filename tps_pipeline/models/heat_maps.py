"""A network that finds what is in a picture once at most, as each part of a person in the person's crop.

Each class has a map of where it may be (Objects as Points, arXiv 1904.07850; of people's joints: Simple Baselines,
arXiv 1804.06208). Its places share one probability, and being nowhere has a part of it: what is there once is at one of
them, so that places compete where they are alike, as left and right are. No anchor and no suppression is needed.

How it is trained stands in `tps_pipeline.detection.heat_map_loss`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, log_softmax

from tps_pipeline.models.yolov7 import Body
from tps_pipeline.models.yolov7_layers import STRIDES, cells

STRIDE = STRIDES[0]
"""Image pixels a place: that of the finest level; boxes lie between places."""
WINDOW = 3
"""Side of the square of places around the likeliest one whose boxes are averaged: the mean lies between places, as that
of a whole map does (arXiv 1711.08229), and only one peak is in it."""
SHARPNESS = 2
"""A box counts there by how likely its place is, to this power: limbs side by side are not averaged."""


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


class HeatMaps(Body):
    """A YOLOv7's body with maps in place of anchors.

    Each of its three levels says where a class is and which box it has there, and what they say is added up: the coarse
    ones see the whole person, and so which side is the left one, the fine one where exactly a hand is.

    Args:
        variant: See `Body`.
        classes: Number of classes.
        width: See `Body`.
        depth: See `Body`.
        anchors: A class's usual width and height in pixels, which boxes are told as shares of, (C, 2); by default one
            pixel, until weights are loaded.

    Attributes:
        anchors: These; saved with the weights.
    """

    anchors: Tensor

    def __init__(
        self,
        variant: Literal["tiny", "x"] = "tiny",
        *,
        classes: int,
        width: float = 1.0,
        depth: float = 1.0,
        anchors: ArrayLike | None = None,
    ) -> None:
        super().__init__(variant, width=width, depth=depth)
        sizes = torch.ones(classes, 2) if anchors is None else torch.as_tensor(anchors, dtype=torch.float32)
        self.register_buffer("anchors", sizes.clone())
        self.maps = nn.ModuleList(nn.Conv2d(channels, classes * 5, 1) for channels in self.channels)
        self.nowhere = nn.Linear(self.channels[-1], classes)
        for layer in (*self.maps, self.nowhere):  # every place as likely as any other, every box its class's anchor
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Maps | tuple[Tensor, Maps]:
        """Find.

        Args:
            images: (B, 3, H, W) in 0..1, RGB; H and W multiples of 32.

        Returns:
            In training the maps at `STRIDE`; in evaluation `(decoded, maps)`, see `decode`.
        """
        levels = self.features(images)
        said = [layer(level) for layer, level in zip(self.maps, levels, strict=True)]
        maps = said[-1]
        for finer in said[-2::-1]:
            maps = finer + interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
        maps = maps.unflatten(1, (-1, 5))
        found = Maps(maps[:, :, 0], self.nowhere(levels[-1].mean((2, 3))), maps[:, :, 1:])
        return found if self.training else (self.decode(found), found)

    def decode(self, maps: Maps) -> Tensor:
        """Each class's one box, as a YOLOv7 gives its boxes.

        Returns:
            (B, C, 5 + C): centre x, y, width, height in pixels; how likely the class is within `WINDOW` of there; and 1
            for the class itself, 0 for the others.
        """
        logs = maps.log_probabilities()[..., :-1]
        highest, best = logs.max(2)
        shares, counts = logs.exp(), (SHARPNESS * (logs - highest[..., None])).exp()  # the best place counts 1
        likely, counts = _around(shares.view_as(maps.places)), counts.view_as(maps.places)
        boxes = boxes_of(maps, self.anchors)
        total = _around(counts)[:, :, None].clamp(min=1e-9)  # 1 or more around the best place
        mean = _around((counts[:, :, None] * boxes).flatten(1, 2)).view_as(boxes) / total
        box = mean.flatten(3).gather(3, best[..., None, None].expand(-1, -1, 4, -1))[..., 0]
        score = likely.flatten(2).gather(2, best[..., None])[..., 0]
        itself = torch.eye(score.shape[1], device=score.device).expand(*score.shape, -1)
        return torch.cat((box, score[..., None], itself), 2)


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


def _around(x: Tensor) -> Tensor:
    """The sum over each place's `WINDOW`, (B, N, h, w)."""
    return WINDOW**2 * avg_pool2d(x, WINDOW, 1, WINDOW // 2)  # an ONNX file would not know of another divisor
