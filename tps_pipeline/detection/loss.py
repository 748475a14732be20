"""YOLOv7's loss: which cells should find which object is decided by how well they already do.

The assignment is SimOTA (YOLOX, arXiv 2107.08430, section 2.1; from OTA, arXiv 2103.14259), among candidates chosen by
anchor shape and place as in YOLOv5; gains and constants are those of YOLOv7 (arXiv 2207.02696).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

from tps_pipeline.models.yolov7_layers import cells

MAX_RATIO = 4.0
"""An anchor is a candidate if neither side is this many times longer or shorter than the box's (YOLOv5)."""
IOU_COST = 3.0
"""Weight of the overlap against the class in an assignment's cost (YOLOX)."""
TOP_IOUS = 10
"""An object gets as many cells as its best candidates' overlaps add up to (YOLOX's dynamic k)."""
LEVEL_GAINS = (4.0, 1.0, 0.4)
"""Weight of the objectness at strides 8, 16, 32, which have ever fewer cells."""


class Places(NamedTuple):
    """Everywhere in an image's maps that can hold a box: A x h x w places a level, levels one after another.

    Attributes:
        cell: (N, 2) column and row.
        stride: (N, 1) pixels.
        anchor: (N, 2) pixels.
        counts: Places in each level.
    """

    cell: Tensor
    stride: Tensor
    anchor: Tensor
    counts: list[int]


class DetectionLoss(nn.Module):
    """Loss of a YOLOv7 detector.

    Args:
        anchors: Widths and heights in pixels, (3, A, 2).
        strides: Pixels in a cell at each of the three levels.
        classes: Number of classes; with a single one there is no class loss and the objectness is the score.
        image_size: Side of the training images in pixels; the objectness gain is meant for 640.
        box: Gain of the box loss.
        objectness: Gain of the objectness loss.
        classification: Gain of the class loss, meant for 80 classes.
    """

    anchors: Tensor

    def __init__(
        self,
        anchors: ArrayLike,
        strides: Sequence[int],
        *,
        classes: int,
        image_size: int,
        box: float = 0.05,
        objectness: float = 0.7,
        classification: float = 0.3,
    ) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.as_tensor(anchors, dtype=torch.float32).clone(), persistent=False)
        self.strides = tuple(strides)
        self.classes = classes
        self.box = box
        self.objectness = objectness * (image_size / 640) ** 2
        self.classification = classification * classes / 80

    def forward(self, raw: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a batch's maps with its boxes.

        Args:
            raw: The network's maps before the sigmoid, (B, A, h, w, 5 + classes), one a level.
            targets: (M, 6): image in the batch, class, centre x, centre y, width, height as shares of the image.

        Returns:
            What to minimise: the sum of the parts times the batch size, so that accumulated batches add up. And the
            parts with their gains, detached: `box`, `objectness`, `classification`.
        """
        # Half precision would lose pixels and small probabilities.
        predictions = torch.cat([level.float().flatten(1, 3) for level in raw], 1)
        places = self._places(raw)
        height, width = (n * self.strides[0] for n in raw[0].shape[2:4])
        boxes = box_convert(targets[:, 2:].float(), "cxcywh", "xyxy") * targets.new_tensor([width, height] * 2).float()
        with torch.no_grad():
            image, place, target = self._assign(predictions, targets, boxes, places, raw)
        chosen = predictions[image, place]
        box_loss = complete_box_iou_loss(_decode(chosen, place, places), boxes[target])
        overlap = torch.zeros_like(predictions[..., 4])
        overlap[image, place] = (1 - box_loss.detach()).clamp(min=0)
        objectness = [
            binary_cross_entropy_with_logits(logits, wanted)
            for logits, wanted in zip(
                predictions[..., 4].split(places.counts, 1), overlap.split(places.counts, 1), strict=True
            )
        ]
        level = torch.bucketize(place, torch.tensor(places.counts, device=place.device).cumsum(0), right=True)
        weighed = (gain * loss for gain, loss in zip(LEVEL_GAINS, objectness, strict=True))
        parts = {
            "box": self.box * _sum_of_means(box_loss, level),
            "objectness": self.objectness * sum(weighed, predictions.new_zeros(())),
            "classification": self.classification * _sum_of_means(self._class_loss(chosen, targets[target, 1]), level),
        }
        total = (parts["box"] + parts["objectness"] + parts["classification"]) * len(predictions)
        return total, {name: part.detach() for name, part in parts.items()}

    def _class_loss(self, chosen: Tensor, classes: Tensor) -> Tensor:
        if self.classes == 1:
            return chosen.new_zeros(len(chosen))
        wanted = one_hot(classes.long(), self.classes).float()
        return binary_cross_entropy_with_logits(chosen[:, 5:], wanted, reduction="none").mean(1)

    def _places(self, raw: Sequence[Tensor]) -> Places:
        cell, stride, anchor = [], [], []
        for level, pixels, sizes in zip(raw, self.strides, self.anchors, strict=True):
            shape = level.shape[1:4]
            cell.append(cells(level).expand(*shape, 2).flatten(0, 2))
            stride.append(cell[-1].new_full((len(cell[-1]), 1), pixels))
            anchor.append(sizes[:, None, None].expand(*shape, 2).flatten(0, 2))
        return Places(torch.cat(cell), torch.cat(stride), torch.cat(anchor), [len(c) for c in cell])

    def _assign(
        self, predictions: Tensor, targets: Tensor, boxes: Tensor, places: Places, raw: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Image, place and target of every pair."""
        candidate_image, candidate = self._candidates(targets, raw)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for image in candidate_image.unique().tolist():
            place = candidate[candidate_image == image].unique()
            target = (targets[:, 0] == image).nonzero().flatten()
            chosen = predictions[image, place]
            overlap = box_iou(boxes[target], _decode(chosen, place, places))
            winner = match(overlap, self._class_cost(chosen, targets[target, 1]) - IOU_COST * (overlap + 1e-8).log())
            taken = winner >= 0
            found.append((torch.full_like(place[taken], image), place[taken], target[winner[taken]]))
        if not found:
            nothing = candidate.new_zeros(0)
            return nothing, nothing, nothing
        image, place, target = (torch.cat(column) for column in zip(*found, strict=True))
        return image, place, target

    def _candidates(self, targets: Tensor, raw: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Image and place of all that may hold an object, some more than once.

        These are the anchors of about the object's shape, in the cell with its centre and in the two nearest cells.
        """
        images, found, start = [], [], 0
        for level, stride, anchors in zip(raw, self.strides, self.anchors, strict=True):
            a, h, w = level.shape[1:4]
            size = anchors.new_tensor([w, h])
            centre, extent = targets[:, 2:4].float() * size, targets[:, 4:6].float() * size * stride
            ratio = extent / anchors[:, None]  # (A, M, 2)
            alike = torch.maximum(ratio, 1 / ratio).amax(2) < MAX_RATIO
            cell = centre.floor()
            aside = torch.where(centre - cell < 0.5, -1.0, 1.0)
            horizontal, vertical = aside * aside.new_tensor([1, 0]), aside * aside.new_tensor([0, 1])
            near = torch.stack((cell, cell + horizontal, cell + vertical))  # (3, M, 2)
            inside = ((near >= 0) & (near < size)).all(2)
            anchor, neighbour, target = (alike[:, None] & inside).nonzero(as_tuple=True)
            column, row = near[neighbour, target].long().unbind(1)
            images.append(targets[target, 0].long())
            found.append(start + (anchor * h + row) * w + column)
            start += a * h * w
        return torch.cat(images), torch.cat(found)

    def _class_cost(self, chosen: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of every candidate's scores against every target's class, (targets, candidates).

        A score is the geometric mean of objectness and class probability.
        """
        objectness = chosen[:, 4:5].sigmoid()
        score = (objectness * chosen[:, 5:].sigmoid() if self.classes > 1 else objectness).sqrt()
        score = score.clamp(1e-6, 1 - 1e-6)
        absent, present = -(1 - score).log(), -score.log()
        return (absent.sum(1, keepdim=True) - absent + present).T[classes.long()]


def match(overlap: Tensor, cost: Tensor) -> Tensor:
    """SimOTA's assignment: each object takes its cheapest candidates, as many as its best overlaps add up to.

    Args:
        overlap: IoU of each object with each candidate's box, (objects, candidates).
        cost: What it costs the candidate to find the object, the same shape.

    Returns:
        The object of each candidate, (candidates,); -1 for none. A candidate that several want goes to the cheapest.
    """
    best = overlap.topk(min(TOP_IOUS, overlap.shape[1]), 1).values
    counts = best.sum(1).int().clamp(min=1)
    rank = cost.argsort(1).argsort(1)
    wanted = rank < counts[:, None]
    return torch.where(wanted.any(0), cost.masked_fill(~wanted, torch.inf).argmin(0), -1)


def _decode(chosen: Tensor, place: Tensor, places: Places) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels of predictions (K, 5 + classes) at some places (K,)."""
    y = chosen[:, :4].sigmoid()
    centre = (2 * y[:, :2] - 0.5 + places.cell[place]) * places.stride[place]
    half = 2 * y[:, 2:] ** 2 * places.anchor[place]
    return torch.cat((centre - half, centre + half), 1)


def _sum_of_means(values: Tensor, level: Tensor) -> Tensor:
    """Mean over each level's values, summed over the levels that have any."""
    share = level.bincount().clamp(min=1)[level].reciprocal()
    return (values * share).sum()
