"""What a recipe leaves to the data (`auto`): a detector's settings as numbers that fit the images it is trained on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import recipe
from tps_pipeline.detection.datasets import DetectorImages, to_frame
from tps_pipeline.detection.loss import MAX_RATIO
from tps_pipeline.labels import PERSON
from tps_pipeline.models.yolov7 import VARIANTS, kmeans_anchors
from tps_pipeline.models.yolov7_layers import STRIDES
from tps_pipeline.tables import BOX, CROP

PERSON_HEIGHT, PART_SIDE = 72.0, 28.0
"""Pixels that the median person's height and the median part's side (of a square of its area) get of the network's
input: below them detection falls off, above them it only costs."""
SMALLEST, LARGEST = 96, 640
"""Bounds of an image size that follows the data."""
ENLARGED = 1.5
"""Pictures are enlarged at most so much: there is no more to be seen in them."""
OBJECTNESS = 0.7
"""Gain that `auto` keeps whatever the image size is (YOLOv7's at 640 pixels)."""
FITTING = 0.98
"""Share of boxes that COCO's anchors must fit to be kept (as YOLO's auto-anchor has it)."""


def fitted(settings: recipe.Detector, samples: pa.Table) -> tuple[recipe.Detector, dict[str, float]]:
    """A detector's settings with a number for each `auto` but the batch's, which the loop knows.

    Args:
        settings: The recipe's section.
        samples: `tables.SAMPLES` that it is trained on.

    Returns:
        The settings, and what those that were `auto` have come to, by name.
    """
    found: dict[str, float] = {}
    size, gains = settings.image_size, settings.gains
    if size == "auto":
        size = image_size(samples)
        found["image_size"] = float(size)
    if gains.objectness == "auto":
        found["objectness_gain"] = objectness = OBJECTNESS * (640 / size) ** 2
        gains = gains.model_copy(update={"objectness": objectness})
    return settings.model_copy(update={"image_size": size, "gains": gains}), found


def image_size(samples: pa.Table) -> int:
    """Side of the network's input at which the median object is large enough, and not larger.

    On whole frames people count, by their height; on people's crops their parts.

    Args:
        samples: `tables.SAMPLES`; without any objects the pictures' own size decides.
    """
    rows = to_frame(samples, "person", "label", *CROP, *BOX)
    longer = (rows[["crop_x2", "crop_y2"]].to_numpy() - rows[["crop_x1", "crop_y1"]].to_numpy() + 1).max(1)
    most = ENLARGED * float(np.median(longer)) if len(rows) else SMALLEST
    objects = rows.label.notna().to_numpy()
    width, height = ((rows[f"{axis}2"] - rows[f"{axis}1"] + 1).to_numpy(float) for axis in "xy")
    of_people = rows.label.eq(PERSON).to_numpy()
    if of_people.any():
        wanted = PERSON_HEIGHT / np.median((height / longer)[of_people])
    elif objects.any():
        wanted = PART_SIDE / np.median((np.sqrt(width * height) / longer)[objects])
    else:
        wanted = most
    grid = STRIDES[-1]
    return int(np.clip(grid * round(min(float(wanted), most) / grid), SMALLEST, LARGEST))


def anchors(
    settings: recipe.Yolov7 | recipe.HeatMaps, images: DetectorImages, *, seed: int
) -> tuple[NDArray[np.float32] | None, dict[str, float]]:
    """The anchors to begin with (None: COCO's), and for `auto` the share of boxes that COCO's fit.

    Of heat maps they are each class's median width and height; of a class without boxes those of all.
    """
    if isinstance(settings, recipe.HeatMaps):
        of_class, sizes = images.box_labels(), images.box_sizes()
        groups = [sizes[of_class == i] for i in range(images.classes)]
        return np.array([np.median(each if len(each) else sizes, axis=0) for each in groups], np.float32), {}
    if settings.anchors == "auto":
        fit = anchors_fit(images.box_sizes(), np.array(VARIANTS[settings.variant].anchors))
        return None if fit >= FITTING else kmeans_anchors(images.box_sizes(), seed=seed), {"coco_anchors_fit": fit}
    return kmeans_anchors(images.box_sizes(), seed=seed) if settings.anchors == "kmeans" else None, {}


def anchors_fit(sizes: NDArray[np.floating], anchors: NDArray[np.floating]) -> float:
    """Share of boxes of which some anchor is so near in width and height that it is trained on them.

    Args:
        sizes: Widths and heights, (M, 2).
        anchors: The same, (A, 2).
    """
    ratio = sizes[:, None] / anchors
    return float((np.maximum(ratio, 1 / ratio).max(2).min(1) < MAX_RATIO).mean())
