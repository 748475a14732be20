"""What detections mix up, counted on hand-made ones."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.detection.annotated import annotations, looked_at, perfect
from tps_pipeline import tables
from tps_pipeline.detection.confusion import confusion
from tps_pipeline.labels import swap


def row(detections: pd.DataFrame, **changed: Any) -> dict[str, Any]:
    given = dict(zip(("labelled_frames", "people", "parts"), annotations(), strict=True)) | changed
    table = tables.conform(detections, tables.DETECTIONS)
    result = confusion(table, **given, frames=looked_at(), split="val")
    assert result.schema == tables.DETECTOR_CONFUSION
    return result.to_pylist()[0]


def test_perfect_detections_confuse_nothing() -> None:
    assert row(perfect()) == {
        "split": "val", "sided_parts": 48, "sides_confused": 0.0, "parts": 60, "wrong_person": 0.0
    }  # fmt: skip


def test_exchanged_names_are_confused_sides_on_the_right_person() -> None:
    mirrored = perfect()
    first = mirrored.person == 0
    mirrored.loc[first, "part"] = mirrored.part[first].astype(str).map(swap)
    assert row(mirrored)["sides_confused"] == 0.5
    assert row(mirrored)["wrong_person"] == 0.0


def test_a_part_found_under_both_names_goes_by_the_better_box_and_one_not_found_does_not_count() -> None:
    found = perfect().query("video_id == 'a' and frame == 1 and person == 0").astype({"part": str})
    left = found.part == "left_arm"
    onto_left = found.part == "right_arm"
    boxes = list(tables.BOX)
    found.loc[onto_left, boxes] = found.loc[left, boxes].to_numpy()
    found.loc[left, ["x1", "x2"]] += 5  # the right arm's box is the better one on the left arm
    found = found[found.part.isin(["left_arm", "right_arm"])]
    assert row(found)["sided_parts"] == 1
    assert row(found)["sides_confused"] == 1.0
    found.loc[found.part == "right_arm", ["x1", "x2"]] += 6
    assert row(found)["sides_confused"] == 0.0


def test_parts_taken_from_the_neighbour_are_on_the_wrong_person() -> None:
    found = perfect().astype({"part": str})
    stolen = (found.person == 0) & (found.part == "left_hand") & (found.video_id == "a")
    found.loc[stolen, ["x1", "x2"]] += 150
    assert row(found)["wrong_person"] == pytest.approx(2 / 60)
    assert row(found)["sided_parts"] == 46  # nobody's left hand is found there


def test_unmatched_people_and_empty_tables_do_not_count() -> None:
    away = perfect()
    away[[*tables.PERSON_BOX]] += 400
    nothing = {"split": "val", "sided_parts": 0, "sides_confused": None, "parts": 0, "wrong_person": None}
    assert row(away) == nothing
    assert row(perfect().head(0)) == nothing
    empty = {"labelled_frames": tables.empty(tables.LABELLED_FRAMES), "people": tables.empty(tables.PEOPLE)}
    assert row(perfect(), **empty, parts=tables.empty(tables.PARTS)) == nothing


def test_predictions_are_counted_by_their_boxes_alone() -> None:
    given = dict(zip(("labelled_frames", "people", "parts"), annotations(), strict=True))
    scores = pd.Series([{"bend": 1.0}] * len(perfect()))
    stated = perfect().assign(state="bend", state_score=1.0, state_scores=scores)
    counted = confusion(tables.conform(stated, tables.PREDICTIONS), **given, frames=looked_at(), split="val")
    assert counted.to_pylist() == [row(perfect())]
