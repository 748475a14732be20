"""How good the detections are: COCO's average precision of people and of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import ArrayLike, NDArray

from tps_pipeline import tables
from tps_pipeline.detection.datasets import to_frame
from tps_pipeline.labels import PERSON, parts_of
from tps_pipeline.tables import BOX, PERSON_BOX

ALL_PARTS = "parts"
"""Label of the mean over the parts."""
_IMAGE = ["video_id", "frame"]


Boxes = Mapping[str, ArrayLike]
"""An image's `boxes` (N, 4) continuous, `labels` (N,) and, of detections, `scores` (N,)."""


def _in_steps(first: float, last: float, number: int) -> NDArray[np.float64]:
    """Thresholds as `torch.linspace` has them in single precision: the last digit decides of what lies on one."""
    low, high = np.float32(first), np.float32(last)
    step, nth = np.float64((high - low) / np.float32(number - 1)), np.arange(number)
    steps = np.where(nth < number // 2, np.float64(low) + step * nth, np.float64(high) - step * nth[::-1])
    return steps.astype(np.float32).astype(np.float64)


_OVERLAPS, _RECALLS = _in_steps(0.5, 0.95, 10), _in_steps(0, 1, 101)
"""COCO's."""


def average_precision(
    detections: pa.Table,
    labelled_frames: pa.Table,
    people: pa.Table,
    parts: pa.Table,
    *,
    frames: pa.Table,
    split: str,
) -> pa.Table:
    """Score detections against annotations, on the frames that are labelled and were looked at.

    Annotators leave people without parts, and the detector gives everyone all that there are: a part of such a person,
    or any part that is not annotated, counts as a false positive here (and costs nothing in the challenge's metric).
    Part precision is therefore below 1 even for a perfect detector.

    Args:
        detections: `tables.DETECTIONS`.
        labelled_frames: `tables.LABELLED_FRAMES`.
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`.
        frames: The frames that were looked at (`video_id`, `frame`), also those without any detection.
        split: Goes into the result.

    Returns:
        `tables.AVERAGE_PRECISION`: `person`, each part, and `parts`, their mean; `ap` is the mean over the IoU
        thresholds 0.5, 0.55, ... 0.95. A label without annotated boxes has no row.
    """
    images = to_frame(labelled_frames, *_IMAGE).merge(to_frame(frames, *_IMAGE).drop_duplicates(), on=_IMAGE)
    images = images.assign(image=np.arange(len(images)))
    annotated = to_frame(parts, *_IMAGE, "part", *BOX)
    detected = to_frame(detections, *_IMAGE, "part", "part_score", *BOX)
    labels = (PERSON, *parts_of((*annotated.part.unique(), *detected.part.unique())))
    truth = _boxes(to_frame(people, *_IMAGE, *BOX).assign(label=PERSON), annotated, labels, images)
    found_people = to_frame(detections, *_IMAGE, "person", "person_score", *PERSON_BOX)
    found_people = found_people.drop_duplicates([*_IMAGE, "person"]).rename(
        columns={"person_score": "score", **dict(zip(PERSON_BOX, BOX, strict=True))}
    )
    found_parts = detected.rename(columns={"part_score": "score"})
    found = _boxes(found_people.assign(label=PERSON), found_parts, labels, images)
    ap, ap50 = precision_of_classes(_by_image(found, len(images)), _by_image(truth, len(images)), classes=len(labels))
    counts = np.bincount(truth["label"], minlength=len(labels))
    rows = [(label, *row) for label, *row in zip(labels, ap, ap50, counts, strict=True) if row[-1]]
    of_parts = np.array([row[1:] for row in rows if row[0] != PERSON])
    if len(of_parts):
        rows.append((ALL_PARTS, *of_parts[:, :2].mean(0), of_parts[:, 2].sum()))
    result = pd.DataFrame(rows, columns=["label", "ap", "ap50", "boxes"])
    return tables.conform(result.assign(split=split), tables.AVERAGE_PRECISION)


def _boxes(people: pd.DataFrame, parts: pd.DataFrame, labels: tuple[str, ...], images: pd.DataFrame) -> pd.DataFrame:
    """People and parts in the images that count: `image`, `label` (index), the box, and a score if there is one."""
    rows = pd.concat((people, parts.rename(columns={"part": "label"}))).merge(images, on=_IMAGE)
    return rows.assign(label=rows.label.map(labels.index).astype(np.int64)).sort_values("image", kind="stable")


def _by_image(rows: pd.DataFrame, images: int) -> list[dict[str, np.ndarray]]:
    """What `precision_of_classes` takes: one dictionary an image, continuous boxes."""
    columns = {
        "boxes": rows[list(BOX)].to_numpy(np.float32) + np.array((0, 0, 1, 1), np.float32),
        "labels": rows.label.to_numpy(),
    }
    if "score" in rows:
        columns["scores"] = rows.score.to_numpy(np.float32)
    ends = np.searchsorted(rows.image.to_numpy(), np.arange(1, images))
    split = {name: np.split(values, ends) for name, values in columns.items()}
    return [{name: values[i] for name, values in split.items()} for i in range(images)]


def precision_of_classes(
    found: Sequence[Boxes], truth: Sequence[Boxes], *, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """COCO's average precision, class by class, so that only one class's boxes are objects at a time.

    Args:
        found: What was found in each image.
        truth: What is in the same images.
        classes: Number of classes.

    Returns:
        AP and AP50, (classes,) each; NaN for a class without annotated boxes.
    """
    ap, ap50 = np.full(classes, np.nan), np.full(classes, np.nan)
    sides = _rows(found, "boxes", "labels", "scores"), _rows(truth, "boxes", "labels")
    seen = np.union1d(sides[0]["labels"], sides[1]["labels"]).astype(int)
    if len(seen):
        precision = np.stack([_precision(*(_of_class(rows, label) for rows in sides)) for label in seen], axis=2)
        precision = np.where(precision < 0, np.nan, precision)
        ap[seen], ap50[seen] = precision.mean((0, 1)), precision[0].mean(0)
    return ap, ap50


def _rows(images: Sequence[Boxes], *names: str) -> dict[str, np.ndarray]:
    """Boxes of all images one after the other, each with its `image`."""
    rows = {name: np.concatenate([np.asarray(image[name]) for image in images] or [np.empty(0)]) for name in names}
    sizes = [len(np.asarray(image["labels"])) for image in images]
    return rows | {"image": np.repeat(np.arange(len(images)), sizes)}


def _of_class(rows: dict[str, np.ndarray], label: int) -> dict[str, np.ndarray]:
    return {name: values[rows["labels"] == label] for name, values in rows.items()}


def _precision(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> np.ndarray:
    """COCO's precision of one class by overlap and recall, of boxes of any size, at most 100 a picture; -1 of none."""
    if not len(truth["image"]):
        return np.full((len(_OVERLAPS), len(_RECALLS)), -1.0)
    images = [{"id": image} for image in np.union1d(found["image"], truth["image"]).tolist()]
    sides = []
    for rows in (truth, found):
        side = COCO()
        side.dataset = {"images": images, "annotations": _annotations(rows), "categories": [{"id": 0}]}
        side.createIndex()
        sides.append(side)
    evaluation = COCOeval_faster(*sides, iouType="bbox")
    evaluation.params.iouThrs, evaluation.params.recThrs = _OVERLAPS, _RECALLS
    evaluation.params.areaRng, evaluation.params.areaRngLbl, evaluation.params.maxDets = [[0, 1e10]], ["all"], [100]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, 0]


def _annotations(rows: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Boxes as COCO has them; numbers of annotations start with 1, as 0 would count as unmatched."""
    boxes = np.concatenate((rows["boxes"][:, :2], rows["boxes"][:, 2:] - rows["boxes"][:, :2]), axis=1).tolist()
    scores = rows["scores"].tolist() if "scores" in rows else [0.0] * len(boxes)
    return [
        {"id": n, "image_id": image, "category_id": 0, "bbox": box, "area": box[2] * box[3], "score": score}
        for n, (image, box, score) in enumerate(zip(rows["image"].tolist(), boxes, scores, strict=True), 1)
    ]
