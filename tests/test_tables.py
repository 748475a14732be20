"""Rows of any kind come out in one shape and one order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tps_pipeline import tables

VIDEOS = ["b", "a", "b", "a\u00e9", "a", "B"]
FRAMES = [2, 70_000, 1, 3, -1, 2**31 - 1]


def encoded(names: list[str]) -> pa.Array[Any]:
    """With a dictionary that has names that are not used, and all others twice."""
    dictionary = ["none", *sorted({*names}, reverse=True), *sorted({*names})]
    return pa.DictionaryArray.from_arrays(pa.array([dictionary.index(name) for name in names]), pa.array(dictionary))


@pytest.mark.parametrize("videos", [VIDEOS, pa.array(VIDEOS).dictionary_encode(), encoded(VIDEOS)])
def test_rows_are_in_order_and_names_encoded_as_they_come(videos: Any):
    made = tables.conform(pa.table({"video_id": videos, "frame": FRAMES, "n_people": [0] * 6}), tables.LABELLED_FRAMES)
    assert [*zip(*made.select(["video_id", "frame"]).to_pydict().values(), strict=True)] == sorted(
        zip(VIDEOS, FRAMES, strict=True)
    )
    names: Any = made["video_id"].combine_chunks()
    assert names.dictionary.to_pylist() == ["B", "a", "a\u00e9", "b"]


@pytest.mark.parametrize("person", [[None, None, None], [4, None, 2]])
def test_empty_values_of_a_key_come_last(person: list[int | None]):
    rows = {name: [1, 1, 1] for name in (*tables.CROP, *tables.BOX)}
    columns = {"video_id": ["v"] * 3, "frame": [1] * 3, "flipped": [False] * 3, "label": ["x", "y", "z"]}
    made = tables.conform(pa.table(rows | columns | {"person": pa.array(person)}), tables.SAMPLES)
    assert made["label"].to_pylist() == (["x", "y", "z"] if person[0] is None else ["z", "x", "y"])
