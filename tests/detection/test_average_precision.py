from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.detection.annotated import annotations, looked_at, perfect
from tps_pipeline import tables
from tps_pipeline.detection.average_precision import average_precision
from tps_pipeline.labels import PARTS


def scores(detections: pd.DataFrame, **changed: pa.Table) -> pd.DataFrame:
    given = dict(zip(("labelled_frames", "people", "parts"), annotations(), strict=True)) | changed
    table = tables.conform(detections, tables.DETECTIONS)
    result = average_precision(table, **given, frames=looked_at(), split="val")
    assert result.schema == tables.AVERAGE_PRECISION
    return result.to_pandas().set_index("label")


def test_perfect_detections_score_one_for_every_label() -> None:
    result = scores(perfect())
    assert list(result.index) == ["person", *PARTS, "parts"]
    assert np.allclose(result[["ap", "ap50"]], 1.0)
    assert result.boxes.to_dict() == {"person": 6, **dict.fromkeys(PARTS, 6), "parts": 60}
    assert set(result.split) == {"val"}


def test_a_shifted_part_counts_at_the_thresholds_it_overlaps() -> None:
    shifted = perfect()
    heads = shifted.part == "head"
    # 40 px wide, moved by 8: 32 / 48 = 0.667, which passes 0.5, 0.55, 0.6 and 0.65 of the ten thresholds.
    shifted.loc[heads, ["x1", "x2"]] += 8
    result = scores(shifted)
    assert result.ap50["head"] == pytest.approx(1.0)
    assert result.ap["head"] == pytest.approx(0.4)
    assert result.ap["parts"] == pytest.approx((9 + 0.4) / 10)
    assert result.ap["person"] == pytest.approx(1.0)


def test_corners_are_inside_the_box() -> None:
    # 2 px of truth, one of them found: exactly half the pixels, so found at 0.5 and at no other threshold.
    labelled, people, _ = annotations()
    one = {"video_id": ["a"], "frame": [1], "person": [0], "part": ["hip"], "state": ["none"]}
    parts = tables.conform(one | {"x1": [30], "y1": [30], "x2": [31], "y2": [30]}, tables.PARTS)
    found = perfect().query("video_id == 'a' and frame == 1 and person == 0 and part == 'hip'")
    result = scores(found.assign(x1=30, y1=30, x2=30, y2=30), labelled_frames=labelled, people=people, parts=parts)
    assert result.ap["hip"] == pytest.approx(0.1)
    assert "head" not in result.index


def test_parts_of_people_without_annotated_parts_are_false_positives() -> None:
    _, _, parts = annotations()
    kept = parts.to_pandas().query("person == 0")
    found = perfect()
    found.loc[found.person == 1, "part_score"] = 0.95
    result = scores(found, parts=tables.conform(kept, tables.PARTS))
    # All false ones rank first: precision 1/4, 2/5, 3/6 at the three hits, made monotonic to 1/2.
    assert result.ap50["parts"] == pytest.approx(0.5)
    assert result.ap50["person"] == pytest.approx(1.0)


def test_missed_people_in_looked_at_frames_cost_recall_and_other_frames_do_not_count() -> None:
    half = perfect().query("video_id == 'a'")
    assert scores(half).ap50["person"] == pytest.approx(4 / 6, abs=0.01)
    labelled, people, parts = annotations()
    only_a = looked_at().slice(0, 2)
    table = tables.conform(half, tables.DETECTIONS)
    result = average_precision(table, labelled, people, parts, frames=only_a, split="val").to_pandas()
    assert np.allclose(result.ap50, 1.0)
    assert result.set_index("label").boxes["person"] == 4


def test_nothing_labelled_gives_no_rows_and_nothing_found_gives_zero() -> None:
    nothing = {"labelled_frames": tables.empty(tables.LABELLED_FRAMES), "people": tables.empty(tables.PEOPLE)}
    assert len(scores(perfect(), **nothing, parts=tables.empty(tables.PARTS))) == 0
    assert (scores(perfect().head(0))[["ap", "ap50"]] == 0).all(axis=None)
