"""How a part's box and state are chosen, and the method from training to predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from assets.definitions import assets_of
from tests.detection.scenes import WIDTH, detector_settings, jpeg, network, scene, write_frames
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.data import vocabulary
from tps_pipeline.detection.datasets import part_state_samples
from tps_pipeline.errors import RecipeError
from tps_pipeline.labels import PARTS, swap
from tps_pipeline.methods import build
from tps_pipeline.methods.part_state_detector import Found, choose, classes, columns_of, find, with_found
from tps_pipeline.reading import InMemory
from tps_pipeline.stages import graph_of
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.video.frames import FrameFile

PAIRS = [("head", "none"), ("left_arm", "bend"), ("left_arm", "raise")]
BOXES = np.array(((0, 0, 10, 10), (1, 0, 11, 10), (0, 1, 10, 11), (50, 50, 60, 60)), np.float32)
SCORES = np.array(((0.1, 0.5, 0.0), (0.2, 0.0, 0.4), (0.3, 0.0, 0.4), (0.1, 0.0, 0.45)), np.float32)


def test_best_takes_the_state_of_the_best_box() -> None:
    chosen = choose(BOXES, SCORES, columns_of(PAIRS), choice="best", vote_iou=0.5)
    assert set(chosen) == {"head", "left_arm"}
    box, score, states = chosen["left_arm"]
    assert (box.tolist(), score, states) == ([0, 0, 10, 10], 0.5, {"bend": 1.0, "raise": 0.0})
    assert chosen["head"][0].tolist() == [0, 1, 10, 11]


def test_vote_sums_over_the_boxes_around_the_best_and_keeps_its_box() -> None:
    box, score, states = choose(BOXES, SCORES, columns_of(PAIRS), choice="vote", vote_iou=0.5)["left_arm"]
    assert (box.tolist(), score) == ([0, 0, 10, 10], 0.5)
    assert list(states) == ["raise", "bend"]
    assert states == pytest.approx({"raise": 0.8 / 1.3, "bend": 0.5 / 1.3})  # the box elsewhere has no vote
    alone = choose(BOXES, SCORES, columns_of(PAIRS), choice="vote", vote_iou=0.95)["left_arm"]
    assert list(alone[2]) == ["bend", "raise"]


def detections(parts: tuple[str, ...] = PARTS, frames: int = 1) -> pa.Table:
    rows = [("v", 1 + 5 * i, 0, 0.5, 40, 10, 89, 79, part, 0.1, 1, 2, 3, 4) for i in range(frames) for part in parts]
    return tables.conform(pd.DataFrame(rows, columns=tables.DETECTIONS.names), tables.DETECTIONS)


def test_a_faint_box_does_not_replace_the_detection_s() -> None:
    found = [
        Found("v", 1, 0, "left_arm", np.array((5, 6, 7, 8)), 0.4, {"bend": 0.7, "raise": 0.3}),
        Found("v", 1, 0, "head", np.array((5, 6, 7, 8)), 0.01, {"tilt": 1.0}),
    ]
    result = with_found(detections(("head", "hip", "left_arm")), found, box_threshold=0.05)
    assert result.schema == tables.PREDICTIONS
    rows = {row["part"]: row for row in result.to_pylist()}
    assert [rows["left_arm"][name] for name in BOX] == [5, 6, 7, 8]
    assert rows["left_arm"]["part_score"] == pytest.approx(0.5 * 0.4)
    assert dict(rows["left_arm"]["state_scores"]) == pytest.approx({"bend": 0.7, "raise": 0.3})
    assert [rows["head"][name] for name in (*BOX, "state")] == [1, 2, 3, 4, "tilt"]
    assert rows["head"]["part_score"] == pytest.approx(0.1)
    assert (rows["hip"]["state"], rows["hip"]["state_score"]) == ("none", 1.0)


def test_boxes_are_mapped_back_to_frame_pixels(tmp_path: Path) -> None:
    picture, boxes = scene(40)
    labels = ("left_arm_bend", "left_arm_raise", "hip_sit")
    colors = [tuple(picture[boxes[part][1], boxes[part][0]]) for part in ("left_arm", "right_arm", "hip")]
    knows = network(colors, labels)
    file = FrameFile(write_frames(tmp_path / "frames.arrow", [("v", 1, jpeg(picture)), ("v", 6, jpeg(picture))]))
    settings = recipe.PartStateDetector(kind="part_state_detector", detector=detector_settings(64))
    found = list(find(knows, file, detections(), settings=settings))
    assert {(each.frame, each.part) for each in found} == {(1, "left_arm"), (1, "hip")}
    hip = next(each for each in found if each.part == "hip")
    assert np.abs(hip.box - boxes["hip"]).max() <= 2


def test_classes_are_the_pairs_and_their_mirror_images() -> None:
    pairs = {"part": ["head", "left_arm"], "state": ["none", "bend"], "most_frequent": [True, False]}
    labels = classes(tables.conform(pairs, tables.STATE_LABELS))
    assert labels == ["head_none", "left_arm_bend", "right_arm_bend"]
    assert sorted(map(swap, labels)) == labels


def test_from_training_to_predictions(tmp_path: Path) -> None:
    """Through a recipe entry, on four frames of one person."""
    states = {part: ("bend", "none")[i % 2] for i, part in enumerate(PARTS)}
    rows, people, parts = [], [], []
    for i, left in enumerate((4, 30, 50, 70)):
        picture, boxes = scene(left)
        rows.append(("v", 1 + 5 * i, jpeg(picture)))
        people.append(("v", 1 + 5 * i, 0, left, 10, left + 49, 79))
        parts += [("v", 1 + 5 * i, 0, part, *box, states[part]) for part, box in boxes.items()]
    annotated = tables.conform(pd.DataFrame(people, columns=tables.PEOPLE.names), tables.PEOPLE)
    of_people = tables.conform(pd.DataFrame(parts, columns=tables.PARTS.names), tables.PARTS)
    file = FrameFile(write_frames(tmp_path / "frames.arrow", rows))
    given = {
        outputs.dataset("part_state"): part_state_samples(annotated, of_people, file.index, margin=0.1),
        outputs.STATE_LABELS: vocabulary.state_labels(of_people),
        outputs.DETECTIONS: detections(frames=4),
    }
    sources = InMemory(given, data=tmp_path, files=[file])
    settings = recipe.PartStateDetector(
        kind="part_state_detector",
        inference=recipe.PartStateDetectorInference(choice="vote"),
        detector=detector_settings(64, 2),
    )
    method = build(settings)
    (tmp_path / "checkpoint").mkdir()
    metrics = method.fit(sources, sources, tmp_path / "checkpoint", seed=0)
    assert {"loss", "ap", "ap50"} <= metrics.keys()
    predictions = method.predict(sources, tmp_path / "checkpoint")
    assert predictions.schema == tables.PREDICTIONS
    assert len(predictions) == 40
    table = predictions.to_pandas()
    assert set(table.state) <= {"bend", "none"}
    assert table.state_score.between(0, 1).all()
    assert (table[[*PERSON_BOX]] == detections(frames=4).to_pandas()[[*PERSON_BOX]]).all(axis=None)
    corners = table[[*BOX]].to_numpy()
    assert (corners >= 0).all()
    assert (corners[:, [0, 2]] < WIDTH).all()
    for threshold, own in ((0.0, 40), (1.0, 0)):  # the entry in force decides, whatever it was trained with
        inference = recipe.PartStateDetectorInference(box_threshold=threshold)
        again = build(settings.model_copy(update={"inference": inference}))
        moved = again.predict(sources, tmp_path / "checkpoint").to_pandas()[[*BOX]].to_numpy() != (1, 2, 3, 4)
        assert moved.any(1).sum() == own


def test_the_assets_follow_from_the_recipe_s_entries(tmp_path: Path) -> None:
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    detector = content["methods"]["part_state_detector"]["detector"]
    content["methods"] = {"video_category": {"kind": "video_category"}}
    content["submission"] = "video_category"
    content.pop("single_stage_detector", None)
    entry = {"kind": "part_state_detector", "detector": detector}
    more = {"single_stage_detector": detector, "methods": content["methods"] | {"mine": entry}}
    keys = []
    for name, settings in (("less", content), ("more", content | more)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        graph = graph_of(recipe.load(tmp_path / f"{name}.yaml"))
        keys.append({key.to_user_string() for assets in assets_of(graph) for key in assets.keys})
    single = {f"{kind}/single_stage" for kind in ("datasets", "detections", "average_precision", "detector_confusion")}
    mine = {f"{kind}/mine" for kind in ("checkpoints", "predictions", "psc", "average_precision", "detector_confusion")}
    assert keys[1] - keys[0] == single | mine | {"datasets/part_state", "checkpoints/single_stage_detector"}


def test_methods_that_share_the_data_set_must_mean_the_same_by_it(tmp_path: Path) -> None:
    content = yaml.safe_load((recipe.RECIPES / "demo.yaml").read_text())
    entry = {"kind": "part_state_detector", "detector": content["methods"].pop("part_state_detector")["detector"]}
    content["methods"] |= {"a": entry, "b": entry | {"inference": {"choice": "vote"}}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert list(recipe.load(path).part_state_detectors) == ["a", "b"]
    content["methods"]["b"]["crop_margin"] = 0.3
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match="a, b share a data set"):
        recipe.load(path)
