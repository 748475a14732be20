"""What a store holds, written as other tools have it, and read again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from faster_coco_eval import COCO
from typer.testing import CliRunner, Result

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.cli.app import app
from tps_pipeline.data.formats import ava
from tps_pipeline.data.formats.importing import Format, import_labels
from tps_pipeline.data.formats.neutral import LabelledVideo, Person, Seen
from tps_pipeline.data.kinetics_tps import TABLES, Annotations, read_all, read_annotations
from tps_pipeline.data.shards import probe_videos
from tps_pipeline.data.synthetic import generate
from tps_pipeline.errors import DataError
from tps_pipeline.graph import Run, frozen, ingestion
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.outputs import SHARDS, SPLITS, Output
from tps_pipeline.store import Store
from tps_pipeline.video.probe import probe

TRACK_OF = 7
"""Tracks are numbered differently from the people of a frame."""


def put(lineage: Lineage, output: Output, shard: str, table: pa.Table) -> None:
    written = lineage.store.write(output.path(shard), table)
    lineage.record(Work(output.key, shard, (), (), ""), written, run_id="test")


def predictions(labels: Annotations) -> pa.Table:
    """What somebody would predict who sees everything: the labels, with scores."""
    boxes = labels.people.to_pandas().rename(columns=dict(zip(tables.BOX, tables.PERSON_BOX, strict=True)))
    rows = boxes.merge(labels.parts.to_pandas(), on=["video_id", "frame", "person"])
    rows["person_score"] = [0.75 if person == 0 else 0.25 for person in rows.person]
    rows["part_score"], rows["state_score"] = 0.5, 0.125
    rows["state_scores"] = pd.Series([{state: 0.125} for state in rows.state])
    return tables.conform(rows, tables.PREDICTIONS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder and a store with its labels, and predictions of the test videos by `best`, as steps leave them."""
    folder = tmp_path_factory.mktemp("made")
    generate(folder / "data", videos=6, seed=5, width=96, height=64, frames=8, classes=1, test_fraction=0.34)
    lineage = Lineage(Store(folder / "store"))
    ingestion.take_in(Run(recipe.load("demo"), folder / "data", lineage, store_name="store"))
    for shard in lineage.latest().shards(*SPLITS):
        manifest = lineage.store.read(SHARDS.path(shard))
        labels = read_annotations(folder / "data", manifest)
        put(lineage, outputs.VIDEOS, shard, probe_videos(folder / "data", manifest))
        for name in TABLES:
            put(lineage, Output(f"annotations/{name}", sharded=True), shard, getattr(labels, name))
        if shard.startswith("test"):
            guesses = predictions(labels)
            tracks = guesses.to_pandas().drop_duplicates(["video_id", "frame", "person"])
            actions = labels.actions.to_pandas().assign(score=0.625)
            actions["probabilities"] = pd.Series([{action: 0.625} for action in actions.action])
            put(lineage, outputs.predictions("best"), shard, guesses)
            put(lineage, outputs.TWO_STAGE, shard, tables.conform(guesses, tables.DETECTIONS))
            put(lineage, outputs.TRACKS, shard,
                tables.conform(tracks.assign(track_id=TRACK_OF - tracks.person), tables.TRACKS))  # fmt: skip
            put(lineage, outputs.VIDEO_ACTIONS, shard, tables.conform(actions, tables.VIDEO_ACTIONS))
    return folder


def tps(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["export", str(folder / "store"), *words])


def labels_of(folder: Path, *splits: str) -> Annotations:
    store = Lineage(Store(folder / "store"))
    shards = store.latest().shards(*splits)
    actions, frames, people, parts, objects = (
        pa.concat_tables([store.store.read(f"annotations/{name}/{shard}.parquet") for shard in shards])
        for name in TABLES
    )
    return Annotations(actions, frames, people, parts, objects)


@pytest.mark.parametrize("kind", ["cvat", "coco", "labelstudio", "ava"])
def test_annotations_out_and_in_again_are_equal_tables(made: Path, tmp_path: Path, kind: Format) -> None:
    done = tps(made, "--to", kind, "--annotations", "--split", "train", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    imported = import_labels(tmp_path / "out", tmp_path / "again", kind, made / "data")
    assert imported.left_out.lines() == []
    before, after = labels_of(made, "train"), read_all(tmp_path / "again")
    assert before.parts.num_rows > 100
    for name in ("actions", "labelled_frames", "people", *(["parts"] if kind != "ava" else [])):
        rows = [sorted(map(str, getattr(side, name).to_pylist())) for side in (before, after)]
        assert rows[0] == rows[1], name


def test_csv_has_every_row_with_track_and_action(made: Path, tmp_path: Path) -> None:
    assert tps(made, "--to", "csv", "--method", "best", "--out", str(tmp_path / "out")).exit_code == 0
    expected = predictions(labels_of(made, "test")).to_pandas()
    action = dict(labels_of(made, "test").actions.to_pandas().to_numpy().tolist())
    files = sorted((tmp_path / "out").iterdir())
    assert [file.stem for file in files] == sorted(expected.video_id.unique())
    found = pd.concat([pd.read_csv(file, dtype={"video_id": str}) for file in files], ignore_index=True)
    expected["track_id"] = TRACK_OF - expected.person
    expected["action"], expected["action_score"] = expected.video_id.map(action), 0.625
    pd.testing.assert_frame_equal(
        found, expected.drop(columns="state_scores"), check_dtype=False, check_categorical=False
    )


def test_csv_of_annotations_has_people_without_parts_and_no_scores(made: Path, tmp_path: Path) -> None:
    assert tps(made, "--to", "csv", "--annotations", "--split", "val", "--out", str(tmp_path / "out")).exit_code == 0
    labels = labels_of(made, "val")
    found = pd.concat([pd.read_csv(file) for file in (tmp_path / "out").iterdir()])
    assert found.part.notna().sum() == labels.parts.num_rows
    assert len(found.drop_duplicates(["video_id", "frame", "person"])) == labels.people.num_rows
    assert found[["person_score", "part_score", "state_score", "track_id", "action_score"]].isna().all(axis=None)


def test_coco_passes_the_loader_and_names_people_by_tracks(made: Path, tmp_path: Path) -> None:
    done = tps(made, "--to", "coco", "--method", "best", "--min-score", "0.5", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    loaded = COCO(str(tmp_path / "out" / "coco.json"))
    expected = predictions(labels_of(made, "test")).to_pandas()
    expected = expected[expected.person_score >= 0.5]
    (person,) = loaded.getCatIds(catNms=["person"])
    people = loaded.loadAnns(loaded.getAnnIds(catIds=[person]))
    assert {each["attributes"]["person"] for each in people} == {str(TRACK_OF)}
    assert {each["score"] for each in people} == {0.75}
    assert len(people) == len(expected.drop_duplicates(["video_id", "frame"]))
    assert len(loaded.anns) == len(people) + len(expected)
    assert len(loaded.loadImgs(loaded.getImgIds())) == len(people)


def test_mot_and_cvat_have_a_file_for_each_video(made: Path, tmp_path: Path) -> None:
    expected = predictions(labels_of(made, "test")).to_pandas()
    people = expected.drop_duplicates(["video_id", "frame", "person"])
    for kind in ("mot", "cvat"):
        assert tps(made, "--to", kind, "--method", "best", "--out", str(tmp_path / kind)).exit_code == 0
    assert {f.stem for f in (tmp_path / "mot").iterdir()} == {f.stem for f in (tmp_path / "cvat").iterdir()}
    assert sum(len(f.read_text().splitlines()) for f in (tmp_path / "mot").iterdir()) == len(people)


def test_ava_needs_to_know_how_long_a_frame_is_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="v: does not say how many frames a second it has; encode it anew"):
        ava.write([LabelledVideo("v", 9, 64, 64, people={"0": Person({1: Seen((0, 0, 1, 1))})})], tmp_path)
    assert not list(tmp_path.glob("*.csv"))


def test_fiftyone_has_people_parts_states_tracks_and_links_to_the_videos(made: Path, tmp_path: Path) -> None:
    done = tps(made, "--to", "fiftyone", "--method", "best", "--data", str(made / "data"), "--out", f"{tmp_path}/out")
    assert done.exit_code == 0, done.output
    index = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert index["type"] == "eta.core.datasets.LabeledVideoDataset"
    expected = predictions(labels_of(made, "test")).to_pandas()
    assert len(index["index"]) == expected.video_id.nunique()
    videos = labels_of(made, "test").actions.to_pandas().set_index("video_id").action
    for entry in index["index"]:
        video = Path(entry["data"]).stem
        facts = probe(tmp_path / "out" / entry["data"])
        labels = json.loads((tmp_path / "out" / entry["labels"]).read_text())
        (action,) = labels["attrs"]["attrs"]
        assert (action["name"], action["value"], action["confidence"]) == ("action", videos[video], 0.625)
        found = [
            (frame["frame_number"], said(box)["person"], box["index"], box["label"], said(box)["state"],
             box["confidence"], said(box)["state_score"], *pixels_of(box, facts.width, facts.height))
            for frame in labels["frames"].values() for box in frame["objects"]["objects"] if box["name"] == "parts"
        ]  # fmt: skip
        rows = expected[expected.video_id == video]
        columns = ["frame", "person", "track", "part", "state", "part_score", "state_score", *tables.BOX]
        wanted = rows.assign(track=TRACK_OF - rows.person)[columns].to_numpy().tolist()
        assert sorted(map(list, found)) == sorted(wanted)
        people = [box for frame in labels["frames"].values() for box in frame["objects"]["objects"]
                  if box["name"] == "people"]  # fmt: skip
        assert len(people) == len(rows.drop_duplicates(["frame", "person"]))
        assert {(box["label"], box["confidence"]) for box in people} <= {("person", 0.75), ("person", 0.25)}


def said(box: dict[str, Any]) -> dict[str, Any]:
    return {attribute["name"]: attribute["value"] for attribute in box["attrs"]["attrs"]}


def pixels_of(box: dict[str, Any], width: int, height: int) -> tuple[int, int, int, int]:
    first, last = box["bounding_box"]["top_left"], box["bounding_box"]["bottom_right"]
    return (round(first["x"] * width), round(first["y"] * height),
            round(last["x"] * width) - 1, round(last["y"] * height) - 1)  # fmt: skip


def test_fiftyone_of_annotations_has_no_scores_and_needs_the_videos(made: Path, tmp_path: Path) -> None:
    words = ["--to", "fiftyone", "--annotations", "--split", "train", "--out", f"{tmp_path}/out"]
    refused = tps(made, *words, "--data", str(tmp_path))
    assert refused.exit_code == 1
    assert "is not there; name the folder that the store's videos are in: --data" in refused.stderr
    assert not list(tmp_path.iterdir())
    assert tps(made, *words, "--data", str(made / "data")).exit_code == 0
    text = "".join(file.read_text() for file in (tmp_path / "out" / "labels").iterdir())
    assert text.count('"name":"people"') == labels_of(made, "train").people.num_rows
    assert text.count('"name":"parts"') == labels_of(made, "train").parts.num_rows
    assert "confidence" not in text
    assert "state_score" not in text


def test_the_method_that_is_submitted_is_exported_unless_another_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "store", tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    unknown = tps(tmp_path, "--to", "csv")
    assert "knows of no run's recipe" in unknown.stderr
    text = (recipe.RECIPES / "demo.yaml").read_text().replace("video_category: ", "best: ")
    frozen.freeze(Store(tmp_path / "store"), f"{text}\nsubmission: best\n", "mine")
    assert tps(tmp_path, "--to", "csv").exit_code == 0
    assert len(list((tmp_path / "best_csv").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "bets"], "has no predictions by bets (did you mean best?); it has some by best"),
        (["--method", "best", "--split", "val"], "has no predictions of the split val by best"),
        (["--method", "best", "--min-score", "0.5", "--annotations"], "leave them or --annotations out"),
    ],
)
def test_what_cannot_be_exported_is_one_line(made: Path, tmp_path: Path, words: list[str], said: str) -> None:
    done = tps(made, "--to", "csv", *words, "--out", str(tmp_path / "out"))
    assert done.exit_code
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_damage_leaves_nothing_and_is_named(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "store", tmp_path / "store")
    path = tmp_path / "store" / outputs.predictions("best").path("test-000")
    path.write_bytes(path.read_bytes()[:-1])
    done = tps(tmp_path, "--to", "csv", "--method", "best", "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert f"{path} is not what was recorded" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_a_video_that_cannot_be_read_or_was_taken_out_is_left_out(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "store", tmp_path / "store")
    lineage = Lineage(Store(tmp_path / "store"))
    videos = lineage.store.read(outputs.VIDEOS.path("test-000")).to_pandas()
    first, second = videos.video_id
    videos["status"], videos["error"] = ["unreadable", "ok"], ["FFmpeg cannot open it", None]
    put(lineage, outputs.VIDEOS, "test-000", tables.conform(videos, tables.VIDEOS))
    ingestion.remove(lineage, second, "not ours")
    done = tps(tmp_path, "--to", "csv", "--method", "best", "--out", str(tmp_path / "out"))
    assert f"nothing to export: {first} is left out: FFmpeg cannot open it" in done.stderr
    assert not (tmp_path / "out").exists()
    done = tps(tmp_path, "--to", "csv", "--annotations", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0
    assert not {first, second} & {each.stem for each in (tmp_path / "out").iterdir()}
