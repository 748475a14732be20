"""What is written and read again is the same: tables through the files of other tools."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_pipeline import tables
from tps_pipeline.data.formats import ava, coco, cvat, label_studio, mot
from tps_pipeline.data.formats.footage import Footage, Library
from tps_pipeline.data.formats.from_tables import from_annotations, from_predictions, to_annotations
from tps_pipeline.data.formats.neutral import LabelledVideo, LeftOut
from tps_pipeline.data.kinetics_tps import TABLES, Annotations

FRAMES, SIDE = 9, 64
TEXT = st.text("ab<>&\"'é_ ", min_size=1, max_size=5).map(str.strip).filter(bool)


class Known(Library):
    """Videos that are there without a file."""

    def __init__(self, folder: Path, left_out: LeftOut, fps: float = 25.0) -> None:
        super().__init__(folder, left_out)
        self.fps = fps

    def find(self, name: str, where: str) -> Footage:
        return Footage(Path(name), None, FRAMES, self.fps, SIDE, SIDE)

    def has(self, name: str) -> bool:
        return True


@st.composite
def boxes(draw: st.DrawFn) -> dict[str, int]:
    (x1, x2), (y1, y2) = (sorted(draw(st.tuples(st.integers(-5, 70), st.integers(-5, 70)))) for _ in "xy")
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2}


@st.composite
def labels(draw: st.DrawFn) -> Annotations:
    """A video in which some frames have labels, some of those nobody."""
    frames, people, parts = [], [], []
    for frame in sorted(draw(st.sets(st.integers(1, FRAMES), min_size=1))):
        key = {"video_id": "v", "frame": frame}
        n_people = draw(st.integers(0, 2))
        frames.append({**key, "n_people": n_people})
        for person in range(n_people):
            people.append({**key, "person": person, **draw(boxes())})
            named = sorted(draw(st.sets(st.sampled_from(["horn", "left_wing", "tail & fin"]))))
            parts += [{**key, "person": person, "part": part, "state": draw(TEXT), **draw(boxes())} for part in named]
    return Annotations(
        table([{"video_id": "v", "action": draw(TEXT)}] if people else [], tables.ACTIONS),
        table(frames, tables.LABELLED_FRAMES), table(people, tables.PEOPLE), table(parts, tables.PARTS),
        tables.empty(tables.OBJECTS),
    )  # fmt: skip


def table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    return tables.conform(pa.Table.from_pylist(rows), schema) if rows else tables.empty(schema)


VIDEOS = table(
    [{"video_id": "v", "split": "train", "action": None, "path": "v.mp4", "n_frames": FRAMES, "fps": 25.0,
      "width": SIDE, "height": SIDE, "rotation": 0, "sha256": "", "status": "ok", "error": None}], tables.VIDEOS
)  # fmt: skip


def write_cvat(videos: list[LabelledVideo], path: Path) -> None:
    (video,) = videos
    cvat.write(video, path)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_cvat, cvat.read),
        (coco.write, coco.read),
        (label_studio.write, label_studio.read),
    ],
    ids=["cvat", "coco", "label_studio"],
)
@settings(max_examples=25, deadline=None)
@given(labels())
def test_out_and_in_again_gives_equal_tables(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[list[LabelledVideo], Path], None],
    read: Callable[[Path, Library, LeftOut], list[LabelledVideo]],
    before: Annotations,
):
    folder = tmp_path_factory.mktemp("labels")
    write(from_annotations(VIDEOS, before), folder / "labels")
    left_out = LeftOut()
    after = to_annotations(read(folder / "labels", Known(folder, left_out), left_out))
    assert left_out.lines() == []
    for name in TABLES:
        assert getattr(after, name).to_pylist() == getattr(before, name).to_pylist(), name


@settings(max_examples=25, deadline=None)
@given(labels(), st.sampled_from([10.0, 23.976, 29.97002997, 59.94, 240.0]), st.sampled_from(["lunge", "tennis_serve"]))
def test_ava_out_and_in_again_gives_equal_people_and_actions(
    tmp_path_factory: pytest.TempPathFactory, before: Annotations, fps: float, action: str
):
    folder = tmp_path_factory.mktemp("ava")
    if before.actions.num_rows:
        before = dataclasses.replace(before, actions=table([{"video_id": "v", "action": action}], tables.ACTIONS))
    videos = VIDEOS.set_column(
        VIDEOS.column_names.index("fps"), "fps", pa.array([fps], VIDEOS.schema.field("fps").type)
    )
    ava.write(from_annotations(videos, before), folder)
    left_out = LeftOut()
    after = to_annotations(ava.read(folder / "ava.csv", Known(folder, left_out, fps), left_out))
    assert left_out.lines() == []
    for name in ("actions", "labelled_frames", "people"):
        assert getattr(after, name).to_pylist() == getattr(before, name).to_pylist(), name


def predictions(*rows: tuple[int, int, str, str, float]) -> pa.Table:
    """Predicted parts: frame, person, part, state, score."""
    return tables.conform(
        {
            "video_id": ["v"] * len(rows), "frame": [row[0] for row in rows], "person": [row[1] for row in rows],
            "person_score": [0.75] * len(rows), "part": [row[2] for row in rows], "state": [row[3] for row in rows],
            "part_score": [row[4] for row in rows], "state_score": [1.0] * len(rows), "state_scores": [{}] * len(rows),
            **{name: [number] * len(rows) for number, name in enumerate(tables.PERSON_BOX)},
            **{name: [number + 1] * len(rows) for number, name in enumerate(tables.BOX)},
        },
        tables.PREDICTIONS,
    )  # fmt: skip


TRACKS = table(
    [{"video_id": "v", "frame": frame, "person": person, "track_id": track}
     for frame, person, track in [(1, 0, 7), (1, 1, 2), (2, 0, 2)]], tables.TRACKS
)  # fmt: skip
ROWS = [
    (1, 0, "head", "turn", 0.5),
    (1, 1, "head", "none", 0.25),
    (2, 0, "head", "bend", 0.25),
    (2, 0, "hip", "none", 1),
]


def test_predictions_name_people_by_their_tracks_and_keep_the_likeliest_of_a_part(tmp_path: Path):
    found = predictions(*ROWS, (2, 0, "head", "turn", 0.125))
    (video,) = from_predictions(VIDEOS, found, TRACKS, table([{"video_id": "v", "action": "lunge"}], tables.ACTIONS))
    assert list(video.people) == ["2", "7"]
    assert video.people["2"].parts["head"][2] == ((1, 2, 3, 4), "bend", 0.25)
    cvat.write(video, tmp_path / "v.xml")
    (again,) = cvat.read(tmp_path / "v.xml", Known(tmp_path, LeftOut()), LeftOut())
    assert list(again.people) == ["2", "7"]
    assert again.action == "lunge"
    assert {f: seen.state for f, seen in again.people["2"].parts["head"].items()} == {1: "none", 2: "bend"}


def test_detections_have_no_state():
    found = tables.conform(predictions(*ROWS), tables.DETECTIONS)
    (video,) = from_predictions(VIDEOS, found, TRACKS)
    assert {seen.state for person in video.people.values() for seen in person.parts["head"].values()} == {"none"}


def test_mot_has_a_line_for_each_person_and_frame(tmp_path: Path):
    (video,) = from_predictions(VIDEOS, predictions(*ROWS), TRACKS)
    mot.write(video, tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_text().splitlines() == [
        "1,1,0,1,3,3,0.75,-1,-1,-1", "1,2,0,1,3,3,0.75,-1,-1,-1", "2,1,0,1,3,3,0.75,-1,-1,-1"
    ]  # fmt: skip
