"""What a network of heat maps (`models.heat_maps`) is trained with: where a class is, and which box it has there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tps_pipeline.detection.loss import complete_iou_loss
from tps_pipeline.models.heat_maps import STRIDE, Maps, boxes_of
from tps_pipeline.models.imports import without_compiler

with without_compiler():
    from torchvision.ops import box_convert

SPREAD = 0.09
"""Standard deviation of where a centre may be, as a share of the box's width and height (TTFNet, arXiv 1909.00700:
0.54 / 6): a large box that is a little aside is still right."""
NARROWEST = 0.5
"""The least of it in places."""
BOX = 2.0
"""Weight of the boxes' loss."""
FAINTEST = 0.01
"""Places that share less of a centre learn nothing about its box."""
MOST_PLACES = round(1 / FAINTEST)
"""There are fewer others: all share 1."""


class HeatMapLoss(nn.Module):
    """Cross-entropy of where each class is, nowhere included, and complete IoU (arXiv 1911.08287) of boxes there.

    Args:
        anchors: A class's usual width and height in pixels, (C, 2).
    """

    anchors: Tensor

    def __init__(self, anchors: Tensor) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors.clone(), persistent=False)

    def forward(self, maps: Maps, targets: Tensor, _: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a batch's maps with its boxes; shapes do not depend on numbers, so that no GPU is waited for.

        Args:
            maps: The network's.
            targets: (M, 6): image in the batch, class, centre x, centre y, width, height as shares of the image.
            _: What `DetectionLoss` is told beside.

        Returns:
            What to minimise, as `DetectionLoss` gives it: the sum of the parts times the batch size. And the parts,
            detached: `place`, `box`.
        """
        batch, classes, height, width = maps.places.shape
        image, label = targets[:, 0].long(), targets[:, 1].long()
        x, y, wide, high = targets[:, 2:].float().unbind(1)
        boxes = torch.stack((x * width, y * height, wide * width, high * height), 1) * STRIDE
        spread = spread_of(boxes, height, width)
        wanted = spread.new_zeros(batch * classes, height * width + 1)
        wanted[:, :-1].index_add_(0, image * classes + label, spread.flatten(1))
        there = wanted.sum(1, keepdim=True)
        wanted = wanted / there.clamp(min=1)  # of one that is annotated twice each is as good
        wanted[:, -1] = (there[:, 0] == 0).float()
        place_loss = -(wanted * maps.log_probabilities().flatten(0, 1)).sum(1).mean()
        shares, place = spread.flatten(1).topk(min(MOST_PLACES, height * width))
        shares = torch.where(shares > FAINTEST, shares, 0)
        told = boxes_of(maps, self.anchors).flatten(3)[image, label].gather(2, place[:, None].expand(-1, 4, -1))
        pairs = (each.transpose(1, 2).flatten(0, 1) for each in (told, boxes[..., None].expand_as(told)))
        differ = complete_iou_loss(*(box_convert(each, "cxcywh", "xyxy") for each in pairs))
        box_loss = (differ * shares.flatten()).sum() / shares.sum().clamp(min=1)
        parts = {"place": place_loss, "box": BOX * box_loss}
        total = (parts["place"] + parts["box"]) * batch
        return total, {name: part.detach() for name, part in parts.items()}


def spread_of(boxes: Tensor, height: int, width: int) -> Tensor:
    """How likely each place is meant by a box's centre: a normal distribution that sums to 1, (M, height, width).

    Args:
        boxes: Centre x, y, width and height in pixels, (M, 4).
        height: Rows of places.
        width: Columns of places.
    """
    deviations = (SPREAD * boxes[:, 2:]).clamp(min=NARROWEST * STRIDE)

    def along(axis: int, count: int) -> Tensor:
        middles = (torch.arange(count, device=boxes.device) + 0.5) * STRIDE
        away = (middles - boxes[:, axis, None]) / deviations[:, axis, None]
        return (-(away**2) / 2).softmax(1)

    return along(0, width)[:, None] * along(1, height)[..., None]
