from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import tables
from tps_pipeline.evaluation import leaderboard, sampled, unreadable


def scored(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    names = [field.name for field in tables.PSC]
    return tables.conform(dict(zip(names, zip(*rows, strict=True), strict=True)), tables.PSC)


def test_methods_are_ranked_by_score_within_their_split():
    psc = scored(
        [
            ("a", "weak", "test", "lunge", 0.2, True),
            ("b", "weak", "test", "lunge", 0.4, True),
            ("a", "strong", "test", "lunge", 0.9, True),
            ("b", "strong", "test", "lunge", 0.5, False),
            ("c", "weak", "val", "lunge", 1.0, True),
        ]
    )
    columns = {"split": ["test", "test"], "label": ["person", "parts"], "ap": [0.5, 0.1], "ap50": [0.9, 0.6]}
    precision = tables.conform({**columns, "boxes": [3, 4]}, tables.AVERAGE_PRECISION)
    other = tables.conform({**columns, "ap50": [0.8, 0.3], "boxes": [3, 4]}, tables.AVERAGE_PRECISION)
    recall = {("strong", "test"): 0.25, ("weak", "test"): None}
    ranked = leaderboard(psc, {"strong": precision, "weak": other}, macro_recall=recall).to_pandas()
    assert list(zip(ranked.split, ranked.method, strict=True)) == [
        ("test", "strong"),
        ("test", "weak"),
        ("val", "weak"),
    ]
    assert ranked.score.tolist() == pytest.approx([0.45, 0.3, 0.9999], abs=1e-9)
    assert ranked.action_accuracy.tolist() == [0.5, 1.0, 1.0]
    assert ranked.mean_psc[0] == pytest.approx(0.7)
    assert ranked.macro_recall.fillna(-1).tolist() == [0.25, -1, -1]
    assert ranked.part_ap50[:2].tolist() == [0.6, 0.3]
    assert ranked.person_ap50.isna().tolist() == [False, False, True]


def test_without_labelled_videos_the_leaderboard_is_empty():
    empty = leaderboard(tables.empty(tables.PSC), {"method": tables.empty(tables.AVERAGE_PRECISION)})
    assert empty.num_rows == 0
    assert empty.schema.equals(tables.LEADERBOARD)


def test_only_sampled_frames_count():
    frames = tables.conform({"video_id": ["a"] * 7, "frame": range(1, 8), "n_people": [1] * 7}, tables.LABELLED_FRAMES)
    assert sampled(frames, 5)["frame"].to_pylist() == [1, 6]


def test_videos_that_were_not_or_only_partly_read_are_counted_in_each_split():
    videos = pd.DataFrame(
        [
            ("a", "test", "ok", None),
            ("b", "test", "unreadable", "b.mp4: no video stream"),
            ("c", "test", "ok", "c.mp4: 18 of 50 frames can be read"),
            ("d", "train", "unreadable", None),
        ],
        columns=["video_id", "split", "status", "error"],
    ).assign(path="x.mp4", action=None, n_frames=3, fps=25.0, width=8, height=8, rotation=0, sha256="0")
    found = unreadable(tables.conform(videos, tables.VIDEOS))
    assert list(zip(*found.select(["video_id", "videos"]).to_pydict().values(), strict=True)) == [
        ("b", 3),
        ("c", 3),
        ("d", 1),
    ]
    psc = scored([("a", "voting", split, "lunge", 0.2, True) for split in ("test", "val")])
    assert leaderboard(psc, {}, unreadable=found)["not_read"].to_pylist() == [2, 0]
    assert leaderboard(psc, {})["not_read"].to_pylist() == [0, 0]
    assert unreadable(tables.empty(tables.VIDEOS)).schema == tables.UNREADABLE
