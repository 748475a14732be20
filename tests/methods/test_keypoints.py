"""People's landmarks as a further input of the instance-level methods: whose are whose, and what they tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.methods import several_people
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.labels import PARTS
from tps_pipeline.landmarks import LANDMARKS, MIRRORED
from tps_pipeline.methods import build
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people import training as people_training
from tps_pipeline.methods.people.key_frames import KeyFrame, joined, key_frame_videos, people_of
from tps_pipeline.methods.people.landmarks import landmarks_of
from tps_pipeline.reading import InMemory

pytestmark = pytest.mark.whole

FIGURE = {
    "nose": (0, -0.86), "ear": (0.04, -0.86), "eye": (0.03, -0.88), "mouth": (0.02, -0.82), "shoulder": (0.22, -0.6),
    "elbow": (0.5, -0.6), "wrist": (0.75, -0.6), "pinky": (0.8, -0.6), "index": (0.8, -0.62), "thumb": (0.8, -0.64),
    "hip": (0.11, 0), "knee": (0.12, 0.45), "ankle": (0.12, 0.9), "heel": (0.11, 0.94), "toe": (0.15, 0.96),
}  # fmt: skip
"""Somebody who stretches out both arms, from the middle of the hips; half a stature is 1."""


def body(box: tuple[int, int, int, int], *, bow: bool = False) -> np.ndarray:
    """Landmarks of somebody in a box, (33, 3); one who bows has the head at the hips."""
    points = []
    for name in LANDMARKS:
        side, _, what = name.partition("_")
        across, down = FIGURE[what.split("_")[0] or side]
        points.append((across * (1 if side == "left" else -1), down + (0.8 if bow and what[:3] in ("", "eye") else 0)))
    middle, half = (np.array(box[:2]) + np.array(box[2:]) + 1) / 2, (np.array(box[2:]) + 1 - np.array(box[:2])) / 2
    return np.concatenate([np.array(points) * half + middle, np.full((33, 1), 0.9)], 1)


def poses(people: list[tuple[str, int, int, np.ndarray]]) -> Any:
    """A table of people's landmarks: video, frame, person, landmarks."""
    rows = [
        {"video_id": video, "frame": frame, "person": person, "landmark": name, "x": x, "y": y, "visibility": seen}
        for video, frame, person, points in people
        for name, (x, y, seen) in zip(LANDMARKS, points, strict=True)
    ]
    columns = {name: [row[name] for row in rows] for name in tables.POSES.names}
    return tables.conform(columns, tables.POSES)


def test_landmarks_are_those_of_whom_the_box_overlaps_most_in_the_same_frame() -> None:
    boxes = {"tall": (0, 0, 39, 59), "beside": (4, 0, 43, 59), "away": (100, 0, 139, 59)}
    found = {name: body(box) for name, box in boxes.items()}
    table = poses([("b", 1, 0, found["beside"]), ("a", 1, 7, found["beside"]), ("a", 1, 8, found["tall"])])
    asked = pd.DataFrame(
        [
            {"video_id": "a", "frame": 1, **dict(zip(tables.BOX, boxes["tall"], strict=True))},
            {"video_id": "a", "frame": 2, **dict(zip(tables.BOX, boxes["tall"], strict=True))},
            {"video_id": "a", "frame": 1, **dict(zip(tables.BOX, boxes["away"], strict=True))},
            {"video_id": "a", "frame": 1, **dict(zip(tables.BOX, boxes["beside"], strict=True))},
        ]
    )
    got = landmarks_of(asked, table)
    assert got[0] == pytest.approx(found["tall"], abs=1e-4)
    assert np.isnan(got[[1, 2]]).all()
    assert got[3] == pytest.approx(found["beside"], abs=1e-4)
    assert np.isnan(landmarks_of(asked, poses([]))).all()


def bows(video: str, person: int) -> bool:
    """What no picture shows."""
    return bool(np.random.default_rng([int(video[-3:]), person]).integers(2))


def make(folder: Path, indices: range) -> InMemory:
    """Videos of squares; landmarks alone tell whether somebody bows. In frames 1, 6, ... they are known of most."""
    source, found, parts = several_people.make(folder, indices), [], []
    for index in indices:
        video, squares = f"video_{index:03d}", several_people.people(index)
        for frame in range(1, several_people.FRAMES + 1, 5):
            numbered = list(enumerate(squares))[:: -1 if index % 2 else 1]  # poses number people in their own way
            found += [
                (video, frame, at, body(square.box(frame - 1), bow=bows(video, person)))
                for at, (person, square) in enumerate(numbered)
            ]
    for row in source(outputs.PEOPLE).to_pylist():
        state = "bow" if bows(row["video_id"], row["person"]) else "stand"
        parts.append(row | {"part": "left_leg", "state": state})
    labels = tables.conform(pd.DataFrame(parts), tables.PARTS)
    states = pd.DataFrame({"part": "left_leg", "state": ["bow", "stand"], "most_frequent": True})
    content = {
        outputs.POSES: poses(found),
        outputs.PARTS: labels,
        outputs.STATE_LABELS: tables.conform(states, tables.STATE_LABELS),
    }
    return replace(source, tables={**source.tables, **content})


def settings(**changes: Any) -> recipe.InstanceLevel:
    plain = {
        "kind": "instance_level",
        "network": {"depths": [1, 1, 1, 1], "stem": 8, "beta": 0.25},
        "relation": "person",
        "person_width": 16,
        "relation_width": 16,
        "keypoints": True,
        "frames": 4,
        "image_size": 64,
        "loss": "softmax",
        "training": {"epochs": 20, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.01, "clip_norm": 1},
        "cache_megabytes": 16,
        "inference": {"person_threshold": 0.1},
    }  # fmt: skip
    return recipe.InstanceLevel.model_validate(plain | changes)


def test_what_landmarks_tell_is_learned_and_who_has_none_gets_a_state_all_the_same(tmp_path: Path) -> None:
    method = build(settings())
    assert outputs.POSES in method.fit_reads
    assert outputs.POSES in method.predict_reads
    without = build(settings(keypoints=False))
    assert outputs.POSES not in (*without.fit_reads, *without.predict_reads)
    (tmp_path / "checkpoint").mkdir()
    train, val, test = (make(tmp_path / str(at), range(100 * at, 100 * at + 24)) for at in range(3))
    metrics = method.fit(train, val, tmp_path / "checkpoint", seed=0)
    assert metrics["part_accuracy"] > 0.9
    predicted = method.predict(test, tmp_path / "checkpoint").to_pandas()
    legs = predicted[predicted.part == "left_leg"]
    right = [
        state == ("bow" if bows(video, person) else "stand")
        for video, person, state in zip(legs.video_id, legs.person, legs.state, strict=True)
    ]
    assert np.mean(right) > 0.9
    nobody = replace(test, tables={**test.tables, outputs.POSES: poses([])})
    guessed = method.predict(nobody, tmp_path / "checkpoint").to_pandas()
    assert len(guessed) == len(predicted)
    assert np.isfinite(guessed.state_score).all()


def test_frames_are_learned_from_in_which_landmarks_are_known(tmp_path: Path) -> None:
    source = make(tmp_path, range(202, 203))
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="all")
    (video,) = key_frame_videos(source, space, settings())
    assert video.frames.tolist() == [0, 10]  # every second frame is annotated; in 1, 6 and 11 landmarks are known
    for frame, key_frame in zip(video.frames, video.key_frames, strict=True):
        for person, square in enumerate(several_people.people(202)):
            points = body(square.box(frame), bow=bows("video_202", person)) / (64, 64, 1)
            assert key_frame.landmarks is not None
            assert key_frame.landmarks[person] == pytest.approx(points, abs=1e-5)
    nobody = replace(source, tables={**source.tables, outputs.POSES: poses([])})
    (video,) = key_frame_videos(nobody, space, settings())
    assert len(video.frames) == 6
    batch = joined([video.key_frames])
    assert people_of(batch, settings()).landmarks is batch["landmarks"]
    assert batch["landmarks"].isnan().all()
    (video,) = key_frame_videos(source, space, settings(keypoints=False))
    assert video.key_frames[0].landmarks is None
    assert "landmarks" not in joined([video.key_frames])


def test_landmarks_go_where_the_people_go_and_change_sides_in_the_mirror() -> None:
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b")))
    entry = settings(augment={"scale": 0.2, "translate": 0.1, "flip": 0.5}, box_jitter=0.0)
    box = np.array([[0.25, 0.3, 0.6, 0.7]], np.float32)
    points = np.random.default_rng(0).uniform(0, 1, (1, 33, 3)).astype(np.float32)
    places = box[:, None, :2] + points[..., :2] * (box[:, None, 2:] - box[:, None, :2])
    targets = np.array([[labels[at % 2] for at, labels in enumerate(space.of_part)]])
    landmarks = np.concatenate([places, points[..., 2:]], 2)
    key_frame = KeyFrame(box, targets, np.zeros(1, int), np.zeros(1, int), landmarks)
    flips, dropped = set(), 0
    for seed in range(60):
        picture = np.zeros((2, 60, 80, 3), np.uint8)
        _, moved = people_training.moved(entry, space, picture, key_frame, np.random.default_rng(seed))
        assert moved.landmarks is not None
        if np.isnan(moved.landmarks).any():
            assert np.isnan(moved.landmarks).all()
            dropped += 1
            continue
        now = moved.boxes[:, None]
        inside = (moved.landmarks[..., :2] - now[..., :2]) / (now[..., 2:] - now[..., :2])
        flipped = not np.array_equal(moved.targets, targets)
        was = points[:, list(MIRRORED)] * (-1, 1, 1) + (1, 0, 0) if flipped else points
        if (moved.boxes > 0).all() and (moved.boxes < 1).all():  # or the box is cut at the picture's edge
            assert inside == pytest.approx(was[..., :2], abs=1e-3)
            assert moved.landmarks[..., 2] == pytest.approx(was[..., 2], abs=1e-6)
            flips.add(flipped)
    assert flips == {True, False}
    assert 1 <= dropped <= 15
