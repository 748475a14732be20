"""Each check finds its planted fault and passes without it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from tps_pipeline import checks, tables
from tps_pipeline.labels import PARTS


def manifest(videos: Sequence[str], split: str) -> pa.Table:
    return pa.table({"video_id": videos, "split": [split] * len(videos)})


def test_a_video_in_two_splits_is_found():
    train, val = manifest(["a", "b"], "train"), manifest(["c"], "val")
    assert checks.videos_in_two_splits([train, val]) == []
    assert checks.videos_in_two_splits([train, manifest(["b", "c"], "val")]) == ["b is in train and val"]


def test_missing_frames_are_found():
    videos = pa.table(
        {"video_id": ["a", "b", "c"], "split": ["val", "train", "test"], "n_frames": [11, 11, 0],
         "status": ["ok", "ok", "unreadable"]}
    )  # fmt: skip
    frames = pa.table({"video_id": ["a", "a", "a"], "frame": [1, 6, 11]})
    assert checks.missing_frames(videos, frames, 5) == []
    assert checks.missing_frames(videos, frames.slice(1), 5) == ["a: 2 frames extracted, 3 expected of 11"]


def detections(**changed: Any) -> pa.Table:
    row = {"video_id": "a", "frame": 1, "person": 0, "part": "head", "person_score": 1.0, "part_score": 1.0}
    boxes = dict(zip((*tables.PERSON_BOX, *tables.BOX), (0, 0, 31, 23, 4, 4, 8, 8), strict=True))
    return tables.conform(pd.DataFrame([row | boxes | changed]), tables.DETECTIONS)


def test_boxes_outside_the_picture_are_found():
    frames = pa.table({"video_id": ["a"], "frame": [1], "width": [32], "height": [24]})
    assert checks.boxes_outside(detections(), frames) == []
    for fault in ({"x2": 32}, {"person_y1": -1}, {"x1": 9}, {"frame": 6}):
        assert len(checks.boxes_outside(detections(**fault), frames)) == 1


def samples(labels: Sequence[str], flipped: Sequence[bool]) -> pa.Table:
    return pa.table({"label": labels, "flipped": flipped})


def test_a_flip_without_a_label_swap_is_found():
    swapped = samples(["left_arm", "right_arm", "head", "head"], [False, True, False, True])
    assert checks.missing_sides(swapped) == []
    kept = samples(["left_arm", "left_arm", "head", "head"], [False, True, False, True])
    assert checks.missing_sides(kept) == ["2 boxes of left_arm, 0 of right_arm"]
    assert len([part for part in PARTS if part.startswith("left_")]) == 4


def test_unknown_states_are_found():
    labels = pa.table({"state": ["bend", "none"]})
    assert checks.unknown_states(pa.table({"state": ["none"]}), labels) == []
    assert checks.unknown_states(pa.table({"state": ["bnd"]}), labels) == ["state 'bnd' is not in the vocabulary"]


def test_scores_outside_zero_to_one_are_found():
    assert checks.scores_outside(pa.table({"video_id": ["a", "b"], "psc": [0.0, 1.0]})) == []
    assert checks.scores_outside(pa.table({"video_id": ["a"], "psc": [float("nan")]})) == ["a: PSC nan"]


def test_a_share_of_unreadable_videos_is_no_matter_of_single_files():
    def shard(unreadable: int, readable: int):
        status = ["unreadable"] * unreadable + ["ok"] * readable
        return pa.table({"status": status, "error": ["v.mp4: cut"] * len(status)})

    assert not checks.many_unreadable(shard(3, 0))
    assert not checks.many_unreadable(shard(2, 2))
    assert checks.many_unreadable(shard(3, 1)) == ["3 of 4 videos are unreadable, as v.mp4: cut"]
