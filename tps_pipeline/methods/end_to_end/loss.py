"""What a network that finds people and parts by itself is to learn, and how far from it the network is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tps_pipeline.detection.heat_map_loss import HeatMapLoss
from tps_pipeline.detection.loss import complete_iou_loss
from tps_pipeline.models.end_to_end import Described, Maps, within
from tps_pipeline.models.imports import without_compiler

with without_compiler():
    from torchvision.ops import box_convert

FOCUS, DISCOUNT = 2, 4
"""Of the heat's loss: alpha and beta of Objects as Points, equation 1."""
SIGMAS = 6
"""What is heated around a person's middle is so many standard deviations wide (TTFNet, arXiv 1909.00700, 4.2)."""
FAINTEST = 0.1
"""Places where a person heats less do not learn the person's boxes. Ours."""
_LEAST = 1e-4


class Places(NamedTuple):
    """Where people are on a map.

    Attributes:
        middle: Row and column of each one's middle, `(N, 2)`.
        heat: What the map is to be, `(B, H, W)`.
        of: Who is learned at a place, `(K,)`, where somebody is.
        at: Row and column of the place, `(K, 2)`.
        weight: How much the place counts; a person's places together count one, `(K,)`.
    """

    middle: Tensor
    heat: Tensor
    of: Tensor
    at: Tensor
    weight: Tensor


def places_of(boxes: Tensor, clip_of: Tensor, shape: torch.Size, *, spread: float) -> Places:
    """Say where people are to be found: around their middles, in the shape of a normal distribution.

    The distribution is as wide and as high as the person (TTFNet); the more a place is the person's middle, the more it
    learns the person's boxes. Where two people heat, the place is the one's who heats more.

    Args:
        boxes: People's, `(N, 4)`.
        clip_of: Each one's clip, `(N,)`.
        shape: Of the map, `(B, H, W)`.
        spread: Share of a person's size that is heated.
    """
    height, width = shape[1:]
    scale = boxes.new_tensor([width, height])
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 * scale).floor()
    middle = torch.minimum(middle.clamp(min=0), scale - 1)
    sigma = ((boxes[:, 2:] - boxes[:, :2]) * scale * spread / SIGMAS).clamp(min=1 / SIGMAS)
    columns, rows = (torch.arange(n, device=boxes.device, dtype=boxes.dtype) for n in (width, height))
    across = torch.exp(-(((columns - middle[:, :1]) / sigma[:, :1]) ** 2) / 2)
    down = torch.exp(-(((rows - middle[:, 1:]) / sigma[:, 1:]) ** 2) / 2)
    own = down[:, :, None] * across[:, None]  # (N, H, W)
    heat = own.new_zeros(shape).scatter_reduce(0, clip_of[:, None, None].expand_as(own), own, "amax")
    of, row, column = ((own == heat[clip_of]) & (own > FAINTEST)).nonzero(as_tuple=True)
    weight = own[of, row, column]
    total = weight.new_zeros(len(boxes)).index_add(0, of, weight)
    return Places(middle.long().flip(1), heat, of, torch.stack([row, column], 1), weight / total[of])


def heat_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """The focal loss of a heat map, a mean over people; near a middle it is no great mistake to see one (equation 1).

    Args:
        logits: `(B, H, W)`.
        heat: What is to be, 1 at middles, `(B, H, W)`.
    """
    chance = logits.sigmoid().clamp(_LEAST, 1 - _LEAST)
    there = heat == 1
    loss = torch.where(
        there, (1 - chance) ** FOCUS * chance.log(), (1 - heat) ** DISCOUNT * chance**FOCUS * (1 - chance).log()
    )
    return -loss.sum() / there.sum().clamp(min=1)


def box_loss(maps: Maps, where: Places, boxes: Tensor, clip_of: Tensor) -> Tensor:
    """One less the complete IoU of people and the boxes that their places tell, a mean over people."""
    clip, (row, column) = clip_of[where.of], where.at.unbind(1)
    differ = complete_iou_loss(maps.people[clip, row, column], boxes[where.of])
    return (differ * where.weight).sum() / max(1, len(boxes))


def part_loss(described: Described, parts: Tensor) -> Tensor:
    """How far from where people's parts are, or from nowhere, they are said to be: that of the part detector.

    Args:
        described: What is said of each.
        parts: Annotated boxes, NaN where there is none, `(N, parts, 4)`.
    """
    if not len(parts):
        return described.maps.places.sum() * 0
    inside = within(described.windows, parts)
    who, part = (~parts.isnan().any(2)).nonzero(as_tuple=True)
    targets = torch.cat([torch.stack([who, part], 1), box_convert(inside[who, part], "xyxy", "cxcywh")], 1)
    return HeatMapLoss(described.anchors)(described.maps, targets)[0] / len(parts)
