"""The synthetic data set: repeatable, in the layout, and with labels that follow from the kinematics."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tps_pipeline.data.synthetic import ACTIONS, generate, skeleton, states
from tps_pipeline.data.synthetic.motion import Motion, Style, both
from tps_pipeline.data.synthetic.shapes import outline
from tps_pipeline.data.synthetic.skeleton import LIMITS, SIDES, Body, Pose, forward, mirror
from tps_pipeline.data.synthetic.video import frames_of, shoot
from tps_pipeline.errors import DataError
from tps_pipeline.labels import PARTS, swap

FPS = 25
SIZE = (160, 120)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "data"
    generate(out, videos=10, seed=5, width=SIZE[0], height=SIZE[1], frames=20, classes=2)
    return out


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(data: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", videos=10, seed=5, width=SIZE[0], height=SIZE[1], frames=20, classes=2, processes=2)
    assert digests(tmp_path / "again") == digests(data)


def test_another_seed_gives_other_videos(data: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", videos=2, seed=6, width=SIZE[0], height=SIZE[1], frames=10, classes=2)
    assert not set(digests(data).values()) & {
        digest for name, digest in digests(tmp_path / "other").items() if name.endswith(".mp4")
    }


def test_layout(data: Path) -> None:
    assert (data / "list/body_part.txt").read_text().split() == list(PARTS)
    vocabulary = set((data / "list/part_stat.txt").read_text().split())
    truth = json.loads((data / "gt/gt_vid_result.json").read_text())
    labels = json.loads((data / "gt/gt_part_result.json").read_text())
    rows = {
        split: list(csv.reader((data / f"list/video_{split}_flist.csv").read_text().splitlines()))
        for split in ("train", "test")
    }
    assert [len(rows[split]) for split in ("train", "test")] == [8, 2]
    assert set(truth.values()) == set(list(ACTIONS)[:2]), "every class is in the test split"
    for split, listed in rows.items():
        for name, count in listed:
            (path,) = (data / f"{split}_videos").glob(f"*/{name}.mp4")
            with av.open(str(path)) as container:
                assert sum(1 for _ in container.decode(video=0)) == int(count)
            if split == "test":
                assert truth[name] == path.parent.name
                assert list(labels[name]) == [f"img_{frame:05d}.json" for frame in range(1, int(count) + 1, 5)]
            else:
                written = list((data / "train_annotations" / path.parent.name / name).iterdir())
                assert 0.5 * int(count) <= len(written) <= 0.7 * int(count)
    states_used = set()
    for path in (data / "train_annotations").rglob("*.json"):
        for human in json.loads(path.read_text())["humans"]:
            assert set(human) == {"number", "box", "parts"}
            boxes = [human["box"]]
            for part, entry in human["parts"].items():
                assert part in PARTS
                assert entry["name"] == part
                boxes.append(entry["box"])
                states_used.add(entry["verb"])
            for x1, y1, x2, y2 in boxes:
                assert 0 <= x1 <= x2 < SIZE[0]
                assert 0 <= y1 <= y2 < SIZE[1]
    assert states_used <= vocabulary


def test_videos_have_b_frames_and_no_clock(data: Path) -> None:
    path = next((data / "train_videos").rglob("*.mp4"))
    with av.open(str(path)) as container:
        assert "creation_time" not in container.metadata
        kinds = {PictureType(frame.pict_type) for frame in container.decode(video=0)}
    assert PictureType.B in kinds


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not an empty folder"):
        generate(tmp_path, videos=1, seed=0)
    with pytest.raises(DataError, match="unknown actions"):
        generate(tmp_path / "new", videos=1, seed=0, classes=["sleeping"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt"]


def test_nothing_is_left_of_a_set_that_failed(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "data", videos=2, seed=0, width=64, height=64, frames=3, progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", ACTIONS)
def test_motions_respect_joint_limits_and_segment_lengths(action: str) -> None:
    body, plan, seconds = ACTIONS[action].body, ACTIONS[action], np.arange(100) / FPS
    motion = plan.motion(seconds, Style(1.2, 1.2, 0.7, np.random.default_rng(0)), body)
    joints, angles = forward(motion.pose, body, frames=100)
    for name, (low, high) in LIMITS.items():
        assert low - 1e-6 <= angles[name].min() <= angles[name].max() <= high + 1e-6
    for side in SIDES:
        for segment, start, stop in (("thigh", "hip", "knee"), ("forearm", "elbow", "wrist")):
            length = np.linalg.norm(joints[f"{side}_{start}"] - joints[f"{side}_{stop}"], axis=1)
            np.testing.assert_allclose(length, body.length(segment), atol=1e-9)
    if motion.pose.support == "feet":
        lowest = min(joints[f"{side}_{name}"][:, 1].min() for side in SIDES for name in ("heel", "toe"))
        assert lowest > -1e-6, "nobody sinks into the ground"


def test_reaching_puts_the_wrist_on_its_target() -> None:
    target = np.array([[0.25, 1.2, 0.3], [0.3, 1.5, 0.25]])
    joints, _ = forward(Pose({}, {"left": target}), Body(), frames=2)
    np.testing.assert_allclose(joints["left_wrist"], target, atol=0.01)
    assert (joints["left_elbow"][:, 1] < joints["left_shoulder"][:, 1]).all(), "the elbow hangs"


@pytest.mark.parametrize("action", ["hitting_baseball", "riding_mechanical_bull", "belly_dancing", "lunge"])
def test_a_mirrored_person_has_swapped_labels(action: str) -> None:
    body = Body()
    motion = ACTIONS[action].motion(np.arange(80) / FPS, Style(1.0, 1.0, 0.0, np.random.default_rng(0)), body)
    joints, angles = forward(motion.pose, body, frames=80)
    plain = states.read(joints, angles, motion, fps=FPS)
    motion.grips = {swap(f"{side}_")[:-1]: grip for side, grip in motion.grips.items()}
    turned = states.read(*mirror(joints, angles), motion, fps=FPS)
    for part in PARTS:
        assert list(turned[swap(part)]) == list(plain[part])


def test_mirrored_angles_give_the_mirrored_body() -> None:
    pose = Pose({"left_shoulder_flex": np.full(1, 80.0), "left_elbow": np.full(1, 40.0), "spine_yaw": np.full(1, 20.0)})
    joints, angles = mirror(*forward(pose, Body(), frames=1))
    again, _ = forward(Pose(angles), Body(), frames=1)
    for name in set(joints) - skeleton.DIRECTIONS:
        np.testing.assert_allclose(again[name], joints[name], atol=1e-9)


def still(frames: int = 9, motion: dict[str, Any] | None = None, **angles: float | np.ndarray) -> dict[str, str]:
    """States in the middle of a pose that is held (or of angles over time)."""
    pose = Pose({name: np.broadcast_to(value, (frames,)) for name, value in angles.items()})
    joints, read = forward(pose, Body(), frames=frames)
    found = states.read(joints, read, Motion(pose, **(motion or {})), fps=FPS)
    return {part: str(names[frames // 2]) for part, names in found.items()}


def test_standing_still() -> None:
    found = still()
    assert {part for part, state in found.items() if state != "none"} == {"left_leg", "right_leg"}
    assert found["left_leg"] == "stand"


@pytest.mark.parametrize(
    ("angles", "part", "state"),
    [
        ({"left_elbow": 90}, "left_arm", "bend"),
        ({"left_shoulder_abd": 80, "left_elbow": 5}, "left_arm", "unbend"),
        ({"right_shoulder_flex": 170}, "right_arm", "lift"),
        ({"right_shoulder_flex": 175}, "right_hand", "lift"),
        ({"left_ankle": 30, "left_knee": 10}, "left_foot", "tiptoe"),
        ({"left_hip_flex": 95, "left_knee": 90}, "left_leg", "raise"),
        ({**both(hip_flex=95.0, knee=100.0)}, "right_leg", "crouch"),
        ({**both(hip_flex=30.0, knee=50.0)}, "left_leg", "bend"),
        ({**both(hip_flex=30.0, knee=50.0)}, "left_foot", "step_on"),
        ({"head_pitch": 40}, "head", "raise"),
        ({"spine_pitch": 70}, "hip", "stoop"),
        ({"head_yaw": np.linspace(-40, 40, 9)}, "head", "turn"),
        ({"hip_yaw": np.linspace(-20, 20, 9)}, "hip", "turn"),
        ({"left_shoulder_flex": np.linspace(-30, 60, 9)}, "left_arm", "swing"),
    ],
)
def test_states_from_planted_poses(angles: dict[str, Any], part: str, state: str) -> None:
    assert still(**angles)[part] == state


def test_states_from_what_the_hands_do() -> None:
    assert still(motion={"grips": {"left": "grab"}})["left_hand"] == "grab"
    assert still(motion={"loaded": True})["left_arm"] == "carry"
    assert still(motion={"seated": True})["hip"] == "sit"
    hands = {side: np.tile([0.04 * sign, 1.25, 0.3], (9, 1)) for side, sign in SIDES.items()}
    pose = Pose({}, hands)
    joints, angles = forward(pose, Body(), frames=9)
    assert states.read(joints, angles, Motion(pose), fps=FPS)["left_hand"][4] == "applaud"


def test_an_outline_encloses_its_balls() -> None:
    rng = np.random.default_rng(0)
    centres, radii = rng.uniform(0, 100, (3, 4, 2)), rng.uniform(1, 9, (3, 4))
    rim = outline(centres, radii)
    assert np.all(rim.max(axis=1) >= (centres + 0.97 * radii[..., None]).max(axis=1))
    after = np.roll(rim, -1, axis=1) - rim
    turn = after[..., 0] * np.roll(after, -1, axis=1)[..., 1] - after[..., 1] * np.roll(after, -1, axis=1)[..., 0]
    assert turn.min() > -1e-9, "convex"


@pytest.mark.whole
def test_statistics_are_those_of_kinetics_tps() -> None:
    people, parts, used = [], [], Counter()
    for number, action in enumerate(list(ACTIONS) * 4):
        take = shoot(action, frames=16, size=(320, 240), rng=np.random.default_rng([7, number]))
        for _, label in frames_of(take, np.arange(16) % 5 == 3):
            if label:
                people.append(len(label["humans"]))
                parts += [len(human["parts"]) for human in label["humans"]]
                used.update(entry["verb"] for human in label["humans"] for entry in human["parts"].values())
    assert 1.6 < np.mean(people) < 2.9
    assert 4 < np.mean(parts) < 6
    assert 0.1 < np.mean(np.equal(parts, 0)) < 0.6
    shares = {state: count / used.total() for state, count in used.items()}
    assert 0.33 < shares["none"] < 0.53
    assert len(shares) >= 18
    assert sum(share < 0.02 for share in shares.values()) >= 6, "a long tail"
