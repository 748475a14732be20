"""What a training holds in memory of what it learns from: so many bytes a box or a person, whatever the data's size."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.detection.datasets import DetectorImages
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people.key_frames import key_frame_videos
from tps_pipeline.reading import InMemory
from tps_pipeline.tables import BOX, CROP

SIDES = dict(zip(BOX, (3, 4, 30, 50), strict=True))
SPACE = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("bend", "none")))


def people(videos: int) -> pd.DataFrame:
    """Two people in each of thirty frames of each video."""
    keys = pd.MultiIndex.from_product([[f"v{i:04}" for i in range(videos)], range(1, 31), range(2)])
    return pd.DataFrame(keys.to_list(), columns=["video_id", "frame", "person"]).assign(**SIDES)


def samples(videos: int) -> pa.Table:
    """A box of each part on each person's crop, and mirrored."""
    rows = people(videos).merge(pd.DataFrame({"label": PARTS}), how="cross")
    rows = rows.assign(**dict(zip(CROP, (0, 0, 40, 60), strict=True)))
    return tables.conform(pd.concat([rows.assign(flipped=flipped) for flipped in (False, True)]), tables.SAMPLES)


def labelled(videos: int) -> InMemory:
    """The same people, annotated."""
    everyone = people(videos)
    parts = everyone.merge(pd.DataFrame({"part": PARTS}), how="cross").assign(state="bend")
    names = everyone.video_id.unique()
    columns: dict[str, Any] = {field.name: 0 if pa.types.is_integer(field.type) else "" for field in tables.VIDEOS}
    columns |= {"video_id": names, "path": names, "n_frames": 30, "width": 160, "height": 120, "status": "ok"}
    numbers = {field.name: 25.0 for field in tables.VIDEOS if pa.types.is_floating(field.type)}
    facts = pd.DataFrame(columns | numbers)
    found = {outputs.PEOPLE: everyone, outputs.PARTS: parts, outputs.VIDEOS: facts}
    return InMemory({output: tables.conform(rows, output.schema) for output, rows in found.items() if output.schema})


def growth(make: Callable[[int], Any], of: Callable[[Any], Any], rows: int) -> tuple[float, float]:
    """Bytes a row, at the most and in the end, that twice as many videos take more."""
    taken = []
    for videos in (50, 100):
        read = make(videos)
        gc.collect()
        tracemalloc.start()
        kept = of(read)
        gc.collect()
        taken.append(np.array(tracemalloc.get_traced_memory()))
        tracemalloc.stop()
        del kept
    end, most = (taken[1] - taken[0]) / (50 * rows)
    return most, end


def test_a_box_that_a_detector_learns_from():
    most, end = growth(samples, lambda read: DetectorImages(read, [], sorted(PARTS), size=160), 60 * 2 * len(PARTS))
    assert end < 30
    assert most < 100


def test_a_person_whose_states_are_learned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tps_pipeline.methods.part_states.AT_ONCE", 3_000)
    entry = recipe.load("demo").methods["instance_pcp"]
    assert isinstance(entry, recipe.InstanceLevel)
    most, end = growth(labelled, lambda read: key_frame_videos(read, SPACE, entry), 60)
    assert end < 120
    assert most < 1000


def test_whole_videos_at_a_time():
    rows = tables.conform(people(3), tables.PEOPLE)
    for at_once, sizes in ((1, [60, 60, 60]), (60, [60, 60, 60]), (61, [120, 60]), (1000, [180])):
        stretches = [*tables.by_videos(rows, at_once)]
        assert [len(stretch) for stretch in stretches] == sizes
        assert pa.concat_tables(stretches).equals(rows.unify_dictionaries())
    assert [len(stretch) for stretch in tables.by_videos(rows.slice(0, 0), 5)] == [0]


def test_two_shards_have_names_of_their_own(tmp_path: Path):
    shards = [tables.conform(people(4).iloc[120 * at : 120 * (at + 1)], tables.PEOPLE) for at in (0, 1)]
    found = [stretch["video_id"].to_pylist()[0] for stretch in tables.by_videos(pa.concat_tables(shards), 1)]
    assert found == ["v0000", "v0001", "v0002", "v0003"]
