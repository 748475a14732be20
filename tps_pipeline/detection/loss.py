"""YOLOv7's loss: which cells should find which object is decided by how well they already do.

The assignment is SimOTA (YOLOX, arXiv 2107.08430, section 2.1; from OTA, arXiv 2103.14259), among candidates chosen by
anchor shape and place as in YOLOv5; gains and constants are those of YOLOv7 (arXiv 2207.02696).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tps_pipeline.models.imports import without_compiler
from tps_pipeline.models.yolov7_layers import cells

with without_compiler():
    from torchvision.ops import box_convert

MAX_RATIO = 4.0
"""An anchor is a candidate if neither side is this many times longer or shorter than the box's (YOLOv5)."""
IOU_COST = 3.0
"""Weight of the overlap against the class in an assignment's cost (YOLOX)."""
TOP_IOUS = 10
"""An object gets as many cells as its best candidates' overlaps add up to (YOLOX's dynamic k)."""
EPSILON = 1e-7
"""What keeps the overlap of boxes without a size from dividing by zero."""
LEVEL_GAINS = (4.0, 1.0, 0.4)
"""Weight of the objectness at strides 8, 16, 32, which have ever fewer cells."""


class Places(NamedTuple):
    """Everywhere in an image's maps that can hold a box: A x h x w places a level, levels one after another.

    Attributes:
        cell: (N, 2) column and row.
        stride: (N, 1) pixels.
        anchor: (N, 2) pixels.
        level: (N,), from 0.
        counts: Places in each level.
        grids: Columns and rows of each level, (levels, 2).
    """

    cell: Tensor
    stride: Tensor
    anchor: Tensor
    level: Tensor
    counts: list[int]
    grids: Tensor


class Objects(NamedTuple):
    """The boxes of a batch, image by image: as many rows for each as the image with most has boxes.

    Attributes:
        there: Whether a row is a box, (B, T).
        boxes: x1 y1 x2 y2 in pixels, (B, T, 4); something with a size where there is none.
        classes: (B, T).
        places: All places where a box of the image may be found, ascending, (B, S).
        counts: Which of them count: not those listed before, nor those that only fill up, (B, S).
    """

    there: Tensor
    boxes: Tensor
    classes: Tensor
    places: Tensor
    counts: Tensor


class DetectionLoss(nn.Module):
    """Loss of a YOLOv7 detector.

    Every tensor's shape follows from those of the arguments, so that a GPU is never waited for: what is in no pair is
    computed beside what is, and does not count.

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
        self._last: tuple[object, Places] | None = None

    def forward(
        self, raw: Sequence[Tensor], targets: Tensor, most: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a batch's maps with its boxes.

        Args:
            raw: The network's maps before the sigmoid, (B, A, h, w, 5 + classes), one a level.
            targets: (M, 6): image in the batch, class, centre x, centre y, width, height as shares of the image.
            most: No image has more boxes; without it one might have all of them, which takes longer.

        Returns:
            What to minimise: the sum of the parts times the batch size, so that accumulated batches add up. And the
            parts with their gains, detached: `box`, `objectness`, `classification`.
        """
        # Half precision would lose pixels and small probabilities.
        predictions = torch.cat([level.float().flatten(1, 3) for level in raw], 1)
        places = self._places(raw)
        with torch.no_grad():
            objects = self._objects(targets, len(predictions), len(targets) if most is None else most, places)
            place, owner = _pairs(objects, self._match(predictions, objects, places))
            paired, owner = owner >= 0, owner.clamp(min=0)
            boxes = objects.boxes.gather(1, owner[..., None].expand(-1, -1, 4)).flatten(0, 1)
            classes = objects.classes.gather(1, owner).flatten()
            share = _shares(paired.flatten(), places.level[place].flatten(), len(places.counts))
        chosen = predictions.gather(1, place[..., None].expand(-1, -1, predictions.shape[2]))
        box_loss = complete_iou_loss(_decode(chosen, place, places).flatten(0, 1), boxes)
        overlap = _at_places((1 - box_loss.detach()).clamp(min=0).view_as(place), place, paired, predictions.shape[1])
        objectness = [
            binary_cross_entropy_with_logits(logits, wanted)
            for logits, wanted in zip(
                predictions[..., 4].split(places.counts, 1), overlap.split(places.counts, 1), strict=True
            )
        ]
        weighed = (gain * loss for gain, loss in zip(LEVEL_GAINS, objectness, strict=True))
        parts = {
            "box": self.box * (box_loss * share).sum(),
            "objectness": self.objectness * sum(weighed, predictions.new_zeros(())),
            "classification": self.classification * (self._class_loss(chosen.flatten(0, 1), classes) * share).sum(),
        }
        total = (parts["box"] + parts["objectness"] + parts["classification"]) * len(predictions)
        return total, {name: part.detach() for name, part in parts.items()}

    def _class_loss(self, chosen: Tensor, classes: Tensor) -> Tensor:
        if self.classes == 1:
            return chosen.new_zeros(len(chosen))
        wanted = (classes[:, None] == torch.arange(self.classes, device=classes.device)).float()
        return binary_cross_entropy_with_logits(chosen[:, 5:], wanted, reduction="none").mean(1)

    def _places(self, raw: Sequence[Tensor]) -> Places:
        """Those of maps; the last ones are kept, since a GPU is waited for to hand it Python's numbers."""
        key = (raw[0].device, *(level.shape[1:4] for level in raw))
        if self._last is None or self._last[0] != key:
            cell, stride, anchor, number = [], [], [], []
            for level, pixels, sizes in zip(raw, self.strides, self.anchors, strict=True):
                shape = level.shape[1:4]
                cell.append(cells(level).expand(*shape, 2).flatten(0, 2))
                stride.append(cell[-1].new_full((len(cell[-1]), 1), pixels))
                anchor.append(sizes[:, None, None].expand(*shape, 2).flatten(0, 2))
                number.append(torch.full((len(cell[-1]),), len(number), device=level.device))
            grids = self.anchors.new_tensor([level.shape[3:1:-1] for level in raw])
            cells_, strides, anchors, levels = (torch.cat(each) for each in (cell, stride, anchor, number))
            self._last = key, Places(cells_, strides, anchors, levels, [len(c) for c in cell], grids)
        return self._last[1]

    def _objects(self, targets: Tensor, images: int, most: int, places: Places) -> Objects:
        """The boxes of each image, and where they may be found."""
        image, order = targets[:, 0].long().sort(stable=True)
        row = torch.arange(len(image), device=image.device) - torch.searchsorted(image, image)
        nobody = len(targets)  # what follows the last box
        which = torch.full((images, max(1, most)), nobody, device=image.device)
        which[image, row] = order
        pixels = (places.grids[0] * self.strides[0]).tile(2)
        boxes = box_convert(targets[:, 2:].float(), "cxcywh", "xyxy") * pixels
        boxes = torch.cat([boxes, (torch.arange(4, device=boxes.device) > 1).float()[None]])
        classes = torch.cat([targets[:, 1].long(), image.new_zeros(1)])
        nowhere = len(places.cell)
        candidates = self._candidates(targets, places)
        candidates = torch.cat([candidates, candidates.new_full((1, candidates.shape[1]), nowhere)])
        listed = candidates[which].flatten(1).sort().values
        counts = (listed < nowhere) & (listed.diff(dim=1, prepend=listed.new_full((images, 1), -1)) > 0)
        return Objects(which < nobody, boxes[which], classes[which], listed.clamp(max=nowhere - 1), counts)

    def _candidates(self, targets: Tensor, places: Places) -> Tensor:
        """Places that may hold each object: (M, levels x A x 3), the number of all places where there is none.

        These are the anchors of about the object's shape, in the cell with its centre and in the two nearest cells.
        """
        found, start = [], 0
        levels = zip(places.grids, self.strides, self.anchors, places.counts, strict=True)
        for grid, stride, anchors, count in levels:
            centre, extent = targets[:, 2:4].float() * grid, targets[:, 4:6].float() * grid * stride
            ratio = extent / anchors[:, None]  # (A, M, 2)
            alike = torch.maximum(ratio, 1 / ratio).amax(2) < MAX_RATIO
            cell = centre.floor()
            aside = torch.where(centre - cell < 0.5, -1.0, 1.0)
            still = torch.zeros_like(aside[:, 0])
            horizontal, vertical = torch.stack((aside[:, 0], still), 1), torch.stack((still, aside[:, 1]), 1)
            near = torch.stack((cell, cell + horizontal, cell + vertical))  # (3, M, 2)
            inside = ((near >= 0) & (near < grid)).all(2)
            column, row = near.long().unbind(2)
            columns = grid[0].long()
            of_anchor = start + torch.arange(len(anchors), device=row.device)[:, None, None] * (count // len(anchors))
            place = of_anchor + row * columns + column  # (A, 3, M)
            found.append(torch.where(alike[:, None] & inside, place, len(places.cell)).flatten(0, 1))
            start += count
        return torch.cat(found).T

    def _match(self, predictions: Tensor, objects: Objects, places: Places) -> Tensor:
        """The row of the object that each of an image's places is to find, -1 for none, (B, S)."""
        chosen = predictions.gather(1, objects.places[..., None].expand(-1, -1, predictions.shape[2]))
        overlap = _overlap(objects.boxes, _decode(chosen, objects.places, places))
        cost = self._class_cost(chosen, objects.classes) - IOU_COST * (overlap + 1e-8).log()
        return match(overlap, cost, objects.there[:, :, None] & objects.counts[:, None])

    def _class_cost(self, chosen: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of every candidate's scores against every target's class, (B, targets, candidates).

        A score is the geometric mean of objectness and class probability.
        """
        objectness = chosen[..., 4:5].sigmoid()
        score = (objectness * chosen[..., 5:].sigmoid() if self.classes > 1 else objectness).sqrt()
        score = score.clamp(1e-6, 1 - 1e-6)
        absent, present = -(1 - score).log(), -score.log()
        costs = absent.sum(-1, keepdim=True) - absent + present
        return costs.transpose(1, 2).gather(1, classes[..., None].expand(-1, -1, costs.shape[1]))


def match(overlap: Tensor, cost: Tensor, possible: Tensor | None = None) -> Tensor:
    """SimOTA's assignment: each object takes its cheapest candidates, as many as its best overlaps add up to.

    Args:
        overlap: IoU of each object with each candidate's box, (..., objects, candidates).
        cost: What it costs the candidate to find the object, the same shape.
        possible: Which of these pairs there are, the same shape; all without.

    Returns:
        The object of each candidate, (..., candidates); -1 for none. A candidate that several want goes to the
        cheapest.
    """
    if possible is not None:
        overlap, cost = overlap.where(possible, 0), cost.where(possible, torch.inf)
    best = overlap.topk(min(TOP_IOUS, overlap.shape[-1])).values
    counts = best.sum(-1).int().clamp(min=1)
    rank = cost.argsort(-1).argsort(-1)
    wanted = rank < counts[..., None]
    if possible is not None:
        wanted &= possible
    return torch.where(wanted.any(-2), cost.masked_fill(~wanted, torch.inf).argmin(-2), -1)


def complete_iou_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """One less the complete IoU of pairs of boxes x1 y1 x2 y2, (K, 4): (K,).

    From the overlap is taken how far apart their centres are, as a share of the diagonal around both, and by how much
    the angles of their own diagonals differ (arXiv 1911.08287, equations 7 to 11). torchvision's waits for a GPU.
    """
    low, high = torch.maximum(boxes[:, :2], wanted[:, :2]), torch.minimum(boxes[:, 2:], wanted[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    size, wanted_size = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
    overlap = shared / (size.prod(1) + wanted_size.prod(1) - shared + EPSILON)
    around = torch.maximum(boxes[:, 2:], wanted[:, 2:]) - torch.minimum(boxes[:, :2], wanted[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    far = apart.square().sum(1) / (around.square().sum(1) + EPSILON)
    # A box so low that rounding leaves it no height would have no gradient but NaN.
    angles = (torch.atan(each[:, 0] / each[:, 1].clamp(min=EPSILON)) for each in (wanted_size, size))
    unlike = 4 / math.pi**2 * torch.sub(*angles).square()
    with torch.no_grad():
        weight = unlike / (1 - overlap + unlike + EPSILON)
    return 1 - overlap + far + weight * unlike


def _pairs(objects: Objects, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Places and the objects that they are to find, -1 for none: (B, P) each, no pair left out.

    No object takes more than `TOP_IOUS` places, so most of the candidates can go.
    """
    most = min(owner.shape[1], TOP_IOUS * objects.there.shape[1])
    kept = (owner < 0).long().argsort(stable=True)[:, :most]
    return objects.places.gather(1, kept), owner.gather(1, kept)


def _overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes x1 y1 x2 y2, (B, T, 4), with others of the same image, (B, S, 4): (B, T, S)."""
    low = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (boxes, others)]
    return shared / (areas[0][:, :, None] + areas[1][:, None] - shared)


def _decode(chosen: Tensor, place: Tensor, places: Places) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels, (..., 4), of predictions (..., 5 + classes) at some places (...)."""
    y = chosen[..., :4].sigmoid()
    centre = (2 * y[..., :2] - 0.5 + places.cell[place]) * places.stride[place]
    half = 2 * y[..., 2:] ** 2 * places.anchor[place]
    return torch.cat((centre - half, centre + half), -1)


def _at_places(values: Tensor, place: Tensor, paired: Tensor, count: int) -> Tensor:
    """Values (B, P) at the places of theirs that are paired, of so many places, (B, count); 0 elsewhere."""
    nowhere = place.where(paired, count)
    return values.new_zeros(len(values), count + 1).scatter(1, nowhere, values)[:, :count]


def _shares(paired: Tensor, level: Tensor, levels: int) -> Tensor:
    """What each place (K,) is to be multiplied by for the mean over each level's pairs, summed over the levels."""
    of_level = (level == torch.arange(levels, device=level.device)[:, None]) & paired
    return (of_level / of_level.sum(1, keepdim=True).clamp(min=1)).sum(0)
