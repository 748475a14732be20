"""A video predicted by itself is what the graph predicts, and what is given back of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

import tps_pipeline
from tests.predict.untrained import ACTIONS, make_store
from tests.video.clips import write_clip
from tps_pipeline.errors import RecipeError, StoreError, VideoError
from tps_pipeline.graph import Run, frozen, ingestion, make
from tps_pipeline.labels import PARTS
from tps_pipeline.lineage import Lineage
from tps_pipeline.outputs import LABELLED_FRAMES, VIDEOS, predictions
from tps_pipeline.predict import memory
from tps_pipeline.predict.saving import KINDS, save, suffix
from tps_pipeline.stages import graph_of
from tps_pipeline.store import Store
from tps_pipeline.video.probe import probe

pytestmark = pytest.mark.whole

NETWORKS = [
    "video_category", "video_level", "segment_level", "instance_pcp", "instance_pp", "part_state_detector",
    "part_trajectory", "end_to_end",
]  # fmt: skip
METHODS = [*NETWORKS, "voting", "stacked", "by_category"]
PEOPLE = {"end_to_end": {10}, "by_category": {5, 10}}
"""How many people in a frame a method may see, where it is not those detected: its own, or of whichever is chosen."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "me & you #1.mp4", 13)


def content(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("method", METHODS)
def test_by_itself_a_video_is_predicted_as_among_others(method: str, graph_store: Path):
    of_graph = Store(graph_store).read(predictions(method).path("test-000"))
    parser = tps_pipeline.load(graph_store, method=method)
    for name, frames in FOLDER.items():
        found = parser(graph_store.parent / "data" / f"{name}.mp4")
        there = of_graph.filter(pc.field("video_id").cast(pa.string()) == name)
        people, looked_at = PEOPLE.get(method, {5}), len(range(0, frames, 5))
        assert len(there) in {10 * each * looked_at for each in people}
        assert found.predictions.to_pylist() == there.to_pylist()


FOLDER = {"a": 13, "b": 7, "c": 40}


@pytest.fixture(scope="module")
def graph_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the graph has predicted three videos together."""
    folder = tmp_path_factory.mktemp("graph")
    root = make_store(folder / "store", methods=NETWORKS, two_stage={"person_threshold": 0.0, "people_per_frame": 5})
    (folder / "data").mkdir()
    for name, frames in FOLDER.items():
        write_clip(folder / "data" / f"{name}.mp4", frames, width=96 + 32 * (name == "b"))
    lineage = Lineage(Store(root))
    recipe = frozen.of_predictions(lineage)
    run, graph = Run(recipe, folder / "data", lineage), graph_of(recipe)
    ingestion.take_in(run)
    wanted = map(predictions, METHODS)
    for step in [graph.maker[LABELLED_FRAMES], *memory.steps_for(graph, wanted)]:
        make(run, step, ["test-000"])
    return root


def test_nothing_is_written_to_the_store_nor_left_elsewhere(
    store: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = content(store)
    tps_pipeline.load(store)(clip)
    assert content(store) == before
    assert content(tmp_path) == {}


def test_every_so_many_frames_are_looked_at(store: Path, clip: Path):
    assert tps_pipeline.load(store)(clip).frames == [1, 6, 11]
    assert tps_pipeline.load(store, every=4)(clip).frames == [1, 5, 9, 13]
    with pytest.raises(RecipeError, match="every 0 frames: name a number from 1 on"):
        tps_pipeline.load(store, every=0)


def test_tidy_json_says_what_the_tables_say(store: Path, clip: Path):
    found = tps_pipeline.load(store)(clip)
    said = json.loads(found.to_json(min_score=0))
    assert (said["video"], said["method"], said["n_frames"], said["fps"]) == (clip.name, "voting", 13, 30)
    assert said["action"]["name"] == found.action in ACTIONS
    assert sum(said["action"]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert [(frame["frame"], frame["seconds"]) for frame in said["frames"]] == [(1, 0), (6, 0.167), (11, 0.333)]
    rows = found.to_pandas()
    people = [(frame["frame"], person) for frame in said["frames"] for person in frame["people"]]
    assert len(people) == len(rows) / len(PARTS) > 0
    for (frame, person), (_, of_person) in zip(people, rows.groupby(["frame", "person"]), strict=True):
        first = of_person.iloc[0]
        assert (frame, person["track"]) == (first.frame, first.track_id)
        assert person["box"] == first[["person_x1", "person_y1", "person_x2", "person_y2"]].tolist()
        assert {part: row["state"] for part, row in person["parts"].items()} == dict(
            zip(of_person.part, of_person.state, strict=True)
        )
    tracks = {person["track"] for _, person in people}
    assert [person["track"] for person in said["people"]] == sorted(tracks) == found.people(min_score=0)
    assert json.loads(found.to_json(min_score=1))["people"] == []


def test_a_result_is_saved_as_each_kind(store: Path, clip: Path, tmp_path: Path):
    found = tps_pipeline.load(store)(clip)
    for kind in KINDS:
        save(found, kind, tmp_path / f"x{suffix(kind)}", min_score=0)
    assert json.loads((tmp_path / "x.json").read_text()) == found.to_dict(min_score=0)
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.select(found.predictions.column_names).equals(found.predictions)
    assert table["track_id"].null_count == 0
    read = pd.read_csv(tmp_path / "x.csv")
    assert np.array_equal(read[["frame", "x1", "track_id"]], table.select(["frame", "x1", "track_id"]).to_pandas())
    shown = found.to_dict(min_score=0)
    people = [(frame["frame"], person["track"]) for frame in shown["frames"] for person in frame["people"]]
    said = json.loads((tmp_path / "x.coco.json").read_text())
    assert said == json.loads(found.to_coco(min_score=0))
    assert len(said["annotations"]) == len(people) * (1 + len(PARTS))
    tracked = [line.split(",")[:2] for line in (tmp_path / "x.mot.txt").read_text().splitlines()]
    assert len(tracked) == len(people)
    assert len({track for _, track in tracked}) == len(set(found.tracks["track_id"].to_pylist()))
    assert (tmp_path / "x.cvat.xml").read_text().count("<box ") >= len(said["annotations"])
    drawn = probe(tmp_path / "x.mp4")
    assert (drawn.status, drawn.n_frames, drawn.fps) == ("ok", 13, 30)


def test_what_is_not_there_is_said(store: Path, tmp_path: Path):
    with pytest.raises(RecipeError, match=r"no method votin \(did you mean voting\?\); it has part_trajectory, "):
        tps_pipeline.load(store, method="votin")
    with pytest.raises(StoreError, match="is no store, or nothing was ever made in it"):
        tps_pipeline.load(tmp_path)
    with pytest.raises(VideoError, match=r"nowhere\.mp4: is not there"):
        tps_pipeline.load(store)("nowhere.mp4")


def test_a_network_that_is_needed_and_was_never_trained_is_named(store: Path, tmp_path: Path):
    shutil.copytree(store, tmp_path / "store")
    settings = yaml.safe_load(frozen.last(Store(store)))
    settings["methods"]["newer"] = {"kind": "video_category"}
    frozen.freeze(Store(tmp_path / "store"), yaml.safe_dump(settings), "newer.yaml")
    assert tps_pipeline.load(tmp_path / "store", method="video_category")
    with pytest.raises(StoreError, match="not in the store yet: checkpoints/newer; materialize them first"):
        tps_pipeline.load(tmp_path / "store", method="newer")


def test_the_recipe_is_that_of_the_newest_predictions_not_of_a_run_that_broke_off(graph_store: Path, tmp_path: Path):
    shutil.copytree(graph_store, tmp_path / "store")
    settings = yaml.safe_load(frozen.last(Store(graph_store)))
    frozen.freeze(Store(tmp_path / "store"), yaml.safe_dump(settings | {"two_stage": {}}), "newer.yaml")
    assert tps_pipeline.load(tmp_path / "store").recipe.two_stage.people_per_frame == 5


def test_only_steps_that_lead_to_what_is_wanted_are_made(store: Path):
    recipe = tps_pipeline.load(store).recipe
    steps = memory.steps_for(graph_of(recipe), [predictions("video_category")])
    assert {step.name for step in steps} == {
        "videos", "frames", "detections/two_stage", "tracks", "video_actions/swin", "video_actions/trajectory",
        "video_actions/statistics", "video_actions", "predictions/video_category",
    }  # fmt: skip
    assert steps[0].makes == (VIDEOS,)
