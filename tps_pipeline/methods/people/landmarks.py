"""Whose landmarks are whose: people who are annotated, or detected in whatever way, and those of the table `poses`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline.boxes import paired_iou
from tps_pipeline.landmarks import LANDMARKS, person_box
from tps_pipeline.tables import BOX

OVERLAP = 0.5
"""IoU of a person's box with the one around somebody's landmarks, from which the two are the same person. Ours."""

_FRAME = ["video_id", "frame"]


def landmarks_of(people: pd.DataFrame, poses: pa.Table, *, box: Sequence[str] = BOX) -> np.ndarray:
    """The landmarks of people: of those that are known in their frame, whose box overlaps theirs most.

    Args:
        people: `video_id`, `frame` and the box in inclusive pixels, a row a person.
        poses: `tables.POSES`.
        box: The columns of the box.

    Returns:
        x and y in the frame's pixels, and visibility, of each of `landmarks.LANDMARKS`: float32 `(N, 33, 3)`; NaN for
        whom there are none.
    """
    points = np.stack([poses[name].to_numpy() for name in ("x", "y", "visibility")], 1).reshape(-1, len(LANDMARKS), 3)
    known = poses.select(_FRAME).to_pandas().iloc[:: len(LANDMARKS)].astype({"video_id": str})
    around = person_box(points[..., :2], points[..., 2]) - (0, 0, 1, 1)
    known = known.assign(pose=np.arange(len(known)))
    asked = people[_FRAME].astype({"video_id": str}).assign(row=np.arange(len(people)))
    pairs = asked.merge(known, on=_FRAME)
    row, pose = pairs.row.to_numpy(), pairs.pose.to_numpy()
    pairs = pairs.assign(overlap=paired_iou(people[[*box]].to_numpy(float)[row], around[pose]))
    best = pd.DataFrame(pairs[pairs.overlap >= OVERLAP]).sort_values(by="overlap", ascending=False, kind="stable")
    best = best.drop_duplicates("row")
    found = np.full((len(people), len(LANDMARKS), 3), np.nan, np.float32)
    found[best.row.to_numpy()] = points[best.pose.to_numpy()]
    return found
