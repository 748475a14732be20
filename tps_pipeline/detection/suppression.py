"""From all that a detector sees to a few boxes a picture."""

from __future__ import annotations

from torch import Tensor

from tps_pipeline.models.imports import without_compiler

with without_compiler():
    from torchvision.ops import batched_nms

CANDIDATES = 30_000
"""Of a batch's boxes over the threshold, at most so many a picture are compared with each other, the best."""


def suppress(
    boxes: Tensor, scores: Tensor, *, threshold: float, iou: float, most: int = 300
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Suppress all but the best of overlapping boxes, each class for itself, all pictures at once.

    A box counts once for every class whose score is high enough.

    Args:
        boxes: x1 y1 x2 y2, (B, N, 4).
        scores: Of every class, (B, N, C).
        threshold: Least score.
        iou: Overlap above which the weaker of two boxes of a class is dropped.
        most: Most boxes of a picture.

    Returns:
        For each picture, best first: boxes (n, 4), scores (n,) and classes (n,).
    """
    count, _, classes = scores.shape
    picture, box, label = (scores >= threshold).nonzero(as_tuple=True)
    score, order = scores[picture, box, label].sort(descending=True, stable=True)
    score, order = score[: CANDIDATES * count], order[: CANDIDATES * count]
    picture, label = picture[order], label[order]
    candidates = boxes[picture, box[order]]
    kept = batched_nms(candidates, score, picture * classes + label, iou)
    kept = kept[picture[kept].argsort(stable=True)]
    of_picture = kept.split(picture[kept].bincount(minlength=count).tolist())
    return [(candidates[k], score[k], label[k]) for k in (rows[:most] for rows in of_picture)]
