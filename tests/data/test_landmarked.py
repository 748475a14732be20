"""Motion without pictures: boxes by the rule of the pose source, faults as measured, states that motion tells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from tps_pipeline.cli.app import app
from tps_pipeline.data.synthetic import generate, landmarked
from tps_pipeline.data.synthetic.landmarked import JITTER, STATES, found, frames_of, landmarks_of, shoot
from tps_pipeline.data.synthetic.skeleton import Body, Pose, forward
from tps_pipeline.labels import PARTS
from tps_pipeline.landmarks import LANDMARKS, SEEN, part_boxes

SIZE = (320, 240)


def standing(frames: int) -> NDArray[np.float64]:
    """Landmarks of somebody who stands still before the camera, pixels."""
    joints, _ = forward(Pose({}), Body(), frames=frames)
    return landmarks_of(joints)[..., :2] * (100, -100) + (160, 220)


def test_landmarks_are_the_body_s_own() -> None:
    joints, _ = forward(Pose({"left_elbow": np.array([90.0])}), Body(), frames=1)
    at = dict(zip(LANDMARKS, landmarks_of(joints)[0], strict=True))
    for name in ("left_wrist", "right_knee", "left_toe"):
        assert np.array_equal(at[name], joints[name][0])
    assert at["left_ear"][0] > at["nose"][0] > at["right_ear"][0], "x is to the person's left"
    assert at["nose"][2] > at["left_ear"][2], "z is forward"
    for side in ("left", "right"):
        knuckles = [at[f"{side}_{name}"] for name in ("pinky", "index", "thumb")]
        assert max(np.linalg.norm(each - at[f"{side}_wrist"]) for each in knuckles) < 0.15


def test_boxes_follow_from_the_landmarks_by_the_rule() -> None:
    take = shoot("lunge", frames=12, size=SIZE, rng=np.random.default_rng(1))
    boxes, _ = part_boxes(take.points, take.visibility)
    seen = 0
    for frame, (picture, label) in enumerate(frames_of(take, np.ones(12, bool))):
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        assert label
        own = boxes[:, frame]
        there = [i for i in range(len(own)) if not np.isnan(own[i]).all()]
        for human in label["humans"]:
            x1, y1, x2, y2 = human["box"]
            for part, entry in human["parts"].items():
                edges = own[there, PARTS.index(part)]
                inclusive = np.concatenate(
                    (np.rint(edges[:, :2].clip(0, SIZE)), np.rint(edges[:, 2:].clip(0, SIZE)) - 1), 1
                )
                assert (inclusive == entry["box"]).all(1).any()
                assert x1 <= entry["box"][0] <= entry["box"][2] <= x2
                assert y1 <= entry["box"][1] <= entry["box"][3] <= y2
                seen += 1
    assert seen > 60


def test_landmarks_err_as_much_as_was_measured() -> None:
    rng, true = np.random.default_rng(3), standing(45)
    said = [found(true, SIZE, rng) for _ in range(200)]
    wrist, nose, ankle = (LANDMARKS.index(name) for name in ("left_wrist", "nose", "right_ankle"))
    hidden = np.mean([visibility < SEEN for _, visibility in said], axis=(0, 1))
    assert 0.10 < hidden[wrist] < 0.25
    assert 0.06 < hidden[ankle] < 0.18
    assert hidden[nose] < 0.03
    shaking = [np.median(np.abs(np.diff(points[:, wrist], 2, axis=0))) / 0.6745 / 6**0.5 / 172 for points, _ in said]
    assert 0.6 * JITTER["wrist"] < np.median(shaking) < 1.6 * JITTER["wrist"]
    swaps = [(points[:, wrist, 0] < points[:, LANDMARKS.index("right_wrist"), 0]).any() for points, _ in said]
    assert 0.08 < np.mean(swaps) < 0.32


def test_what_motion_cannot_tell_is_not_named(tmp_path: Path) -> None:
    out = tmp_path / "motion"
    generate(out, videos=6, seed=4, frames=30, classes=["deadlifting", "pull_ups", "lunge"], kind="motion")
    assert set((out / "list" / "part_stat.txt").read_text().split()) == set(STATES)
    assert not {"hold", "grab", "carry", "strike", "sit", "hug"} & set(STATES)
    named: Counter[str] = Counter()
    for path in (out / "train_annotations").rglob("*.json"):
        for human in json.loads(path.read_text())["humans"]:
            named.update(entry["verb"] for entry in human["parts"].values())
    assert set(named) <= set(STATES)
    assert {"bend", "stand"} <= set(named)
    assert "skateboarding" not in landmarked.ACTIONS


def test_pictures_are_of_one_kind(tmp_path: Path) -> None:
    command = ["data", "synth", str(tmp_path / "new"), "--videos", "1", "--seed", "0", "--varied", "--motion"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert not (tmp_path / "new").exists()
