"""What detections mix up: left and right, and whose a part is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tps_pipeline import boxes, tables
from tps_pipeline.detection.datasets import to_frame
from tps_pipeline.labels import NO_STATE, parts_of, swapped
from tps_pipeline.parsing import Parsing, annotated, predicted
from tps_pipeline.psc import match_people

OVERLAP = 0.5
"""IoU from which a detected box counts as being on an annotated part."""

_FRAME = ["video_id", "frame"]


def confusion(
    detections: pa.Table, labelled_frames: pa.Table, people: pa.Table, parts: pa.Table, *, frames: pa.Table, split: str
) -> pa.Table:
    """Count confusions on the frames that are labelled and were looked at.

    People are matched as the challenge's metric does it; only the parts of matched people count.

    - `sides_confused`: an annotated left or right part is found if a box of the person named after either side
      overlaps it by `OVERLAP` or more, and is confused if the one that overlaps it most has the other side's name.
    - `wrong_person`: a detected part of any name is placed if it overlaps some annotated part by `OVERLAP` or more,
      and is on the wrong person if it overlaps an annotated part of another person more than any of its own person's.

    Args:
        detections: `tables.DETECTIONS`; `tables.PREDICTIONS` has the same columns, and states, which do not matter.
        labelled_frames: `tables.LABELLED_FRAMES`.
        people: `tables.PEOPLE`.
        parts: `tables.PARTS`.
        frames: The frames that were looked at (`video_id`, `frame`), also those without any detection.
        split: Goes into the result.

    Returns:
        `tables.DETECTOR_CONFUSION`, one row.
    """
    looked_at = to_frame(labelled_frames, *_FRAME).merge(to_frame(frames, *_FRAME).drop_duplicates(), on=_FRAME)
    listed = pa.Table.from_pandas(looked_at, preserve_index=False)
    truth = annotated(listed, people, parts)
    boxes_only = detections.select([field.name for field in tables.DETECTIONS])
    stateless = boxes_only.append_column("state", pa.array([NO_STATE] * len(detections), pa.string()))
    found = predicted(stateless, listed)
    confused, placed = _compare(truth, found)
    row = {
        "split": split,
        "sided_parts": len(confused),
        "sides_confused": confused.mean() if len(confused) else None,
        "parts": len(placed),
        "wrong_person": placed.mean() if len(placed) else None,
    }
    return tables.conform(pd.DataFrame([row]), tables.DETECTOR_CONFUSION)


def _compare(truth: Parsing, detected: Parsing) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each found sided part whether its sides are confused; of each placed part whether it is on the wrong person.

    Args:
        truth: The annotations.
        detected: The detections in the same frames.
    """
    person = match_people(truth, detected)[detected.part_person]
    parts = parts_of((*truth.parts, *detected.parts))
    true_part, named_part, mirror = truth.part_in(parts), detected.part_in(parts), np.array(swapped(parts))
    truth_rows, detected_rows = (_rows_by_frame(p) for p in (truth, detected))
    confused, wrong = [], []
    for of_truth, of_detected in zip(truth_rows, detected_rows, strict=True):
        q = of_detected[person[of_detected] >= 0]
        if not (len(q) and len(of_truth)):
            continue
        overlap = boxes.iou(truth.part_box[of_truth], detected.part_box[q])
        on_person = truth.part_person[of_truth, None] == person[q]
        part, name = true_part[of_truth, None], named_part[q]
        named_right = np.where(on_person & (part == name), overlap, 0).max(1)
        other_side = np.where(on_person & (part != name) & (part == mirror[name]), overlap, 0).max(1)
        sided = (true_part != mirror[true_part])[of_truth] & (np.maximum(named_right, other_side) >= OVERLAP)
        confused.append((other_side > named_right)[sided])
        on_own, on_another = np.where(on_person, overlap, 0).max(0), np.where(on_person, 0, overlap).max(0)
        wrong.append((on_another > on_own)[np.maximum(on_own, on_another) >= OVERLAP])
    return _joined(confused), _joined(wrong)


def _rows_by_frame(parsing: Parsing) -> list[NDArray[np.int64]]:
    """The part rows of each frame."""
    frame = parsing.person_frame[parsing.part_person]
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.searchsorted(frame[order], np.arange(1, max(1, len(parsing.frame)))))


def _joined(flags: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.concatenate([np.zeros(0, bool), *flags])
