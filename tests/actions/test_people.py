"""Annotated people in place of detected ones."""

from __future__ import annotations

import pandas as pd

from tps_pipeline import tables
from tps_pipeline.actions.people import as_detected
from tps_pipeline.learners.video_action import MotionLearner
from tps_pipeline.outputs import ACTION_NAMES, PARTS, PEOPLE, VIDEOS
from tps_pipeline.recipe import StatisticsAction, TrajectoryAction


def test_annotated_people_are_as_detected_beyond_doubt() -> None:
    of_frame = {"video_id": "v", "frame": 1}
    whole = pd.DataFrame([of_frame | {"person": i, "x1": 9 * i, "y1": 1, "x2": 9 * i + 8, "y2": 30} for i in range(2)])
    own = pd.DataFrame([of_frame | {"person": 1, "part": part, "state": "bend", "x1": 10, "y1": 2, "x2": 14, "y2": 9}
                        for part in ("head", "left_arm")])  # fmt: skip
    found = as_detected(tables.conform(whole, tables.PEOPLE), tables.conform(own, tables.PARTS))
    assert found.schema.equals(tables.DETECTIONS)
    assert found["part"].to_pylist() == ["head", "left_arm"]
    assert found["person"].to_pylist() == [1, 1], "who has no parts shows no motion"
    assert set(found["person_score"].to_pylist()) == set(found["part_score"].to_pylist()) == {1.0}
    row = found.to_pylist()[0]
    assert [row[name] for name in ("person_x1", "person_x2", "x1", "y2")] == [9, 17, 10, 9]


def test_who_learns_from_annotated_boxes_waits_for_no_detector() -> None:
    training = {"epochs": 1, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.001}
    for settings in (
        TrajectoryAction.model_validate({"boxes": "annotated", "training": training}),
        StatisticsAction(boxes="annotated"),
    ):
        assert set(MotionLearner(settings).fit_reads) == {VIDEOS, ACTION_NAMES, PEOPLE, PARTS}
