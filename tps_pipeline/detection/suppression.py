"""From a detector's dense output to a few boxes a picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from tps_pipeline.detection.detector import boxes_and_scores

CANDIDATES = 30_000
"""Of a picture's boxes over the threshold, at most so many of the best are compared with each other."""


def detections(decoded: Tensor, *, conf: float, iou: float, max_det: int = 300) -> list[Tensor]:
    """Suppress all but the best of overlapping boxes, each class for itself.

    A box counts once for every class whose score reaches the threshold.

    Args:
        decoded: The network's decoded output, (B, N, 5 + classes).
        conf: Scores must be above it.
        iou: Overlap above which the weaker of two boxes of a class is dropped.
        max_det: Most boxes of a picture.

    Returns:
        For each picture, best first, (n, 6): x1, y1, x2, y2 in pixels, score, class.
    """
    found = []
    for boxes, scores in zip(*boxes_and_scores(decoded), strict=True):
        box, label = (scores > conf).nonzero(as_tuple=True)
        score, order = scores[box, label].sort(descending=True, stable=True)
        score, order = score[:CANDIDATES], order[:CANDIDATES]
        box, label = boxes[box[order]], label[order]
        kept = batched_nms(box, score, label, iou)[:max_det]
        found.append(torch.cat((box[kept], score[kept, None], label[kept, None].to(score)), 1))
    return found
