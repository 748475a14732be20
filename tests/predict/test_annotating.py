"""People and parts without states, and videos with what is found in them as a data folder."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline.data.kinetics_tps import read_all
from tps_pipeline.data.validation import validate
from tps_pipeline.errors import DataError
from tps_pipeline.predict.annotating import annotate
from tps_pipeline.predict.parser import Parser

pytestmark = pytest.mark.whole

BOXES = ["video_id", "frame", "person", "part", "x1", "y1", "x2", "y2", "part_score"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = {"person_threshold": 0.0, "people_per_frame": 2}
    return make_store(tmp_path_factory.mktemp("store"), methods=["video_category"], two_stage=few)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "swing").mkdir()
    write_clip(folder / "swing" / "a.mp4", 13)
    write_clip(folder / "b.mp4", 7)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def parsers(store: Path) -> tuple[Parser, Parser]:
    return tps_pipeline.load(store, method="detections"), tps_pipeline.load(store, method="video_category")


def labels_of(video: str, rows: pa.Table, columns: list[str]) -> list[dict[str, int]]:
    return [{name: row[name] for name in columns} for row in rows.to_pylist() if row["video_id"] == video]


def test_without_a_method_there_are_its_boxes_and_no_states(store: Path, videos: Path):
    plain, stated = (parser(videos / "b.mp4") for parser in parsers(store))
    assert plain.predictions.select(BOXES).equals(stated.predictions.select(BOXES))
    assert len(plain.predictions) == 2 * 2 * 10
    assert set(plain.predictions["state"].to_pylist()) == {"none"}
    assert plain.action == "none"


def test_what_is_found_is_a_data_folder_and_a_broken_video_is_named(store: Path, videos: Path, tmp_path: Path):
    parser, _ = parsers(store)
    said = "\n".join(annotate(videos, tmp_path / "out", parser, min_score=0.0, tell=lambda _: None).lines())
    assert "broken" in said
    assert validate(tmp_path / "out") == []
    labels = read_all(tmp_path / "out")
    assert labels.problems == []
    assert len(labels.people) == 2 * (3 + 2)
    found = parser(videos / "b.mp4").predictions
    corners = ["frame", "x1", "y1", "x2", "y2"]
    assert Counter(map(str, labels_of("b", labels.parts, corners))) == Counter(map(str, labels_of("b", found, corners)))
    assert {path.name for path in (tmp_path / "out" / "train_videos").iterdir()} == {"swing", "unnamed"}


def test_a_folder_that_holds_something_is_left_alone(store: Path, videos: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=str(tmp_path)):
        annotate(videos, tmp_path, parsers(store)[0], min_score=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
