import numpy as np
import pytest

from tps_pipeline.data.synthetic.skeleton import Body, Pose, forward
from tps_pipeline.detection.sides import exchanged
from tps_pipeline.landmarks import LANDMARKS, MIRRORED

FRAMES = 24


def walking(turn: float) -> np.ndarray:
    """Landmarks of somebody who swings arms and legs, seen under an angle, (T, 33, 2)."""
    swing = 30 * np.sin(np.arange(FRAMES) / 3)
    angles = {f"{side}_{joint}": sign * swing for side, sign in (("left", 1), ("right", -1))
              for joint in ("hip_flex", "shoulder_flex")}  # fmt: skip
    joints, _ = forward(Pose(angles), Body(), frames=FRAMES)
    across = np.array([np.cos(turn), 0, np.sin(turn)])
    points = np.zeros((FRAMES, 33, 2))
    for i, name in enumerate(LANDMARKS):
        side, _, what = name.partition("_")
        of_hand = joints["head"] if i < LANDMARKS.index("left_shoulder") else joints.get(f"{side}_hand")
        joint = joints.get(f"{side}_{what}", of_hand)
        assert joint is not None
        points[:, i] = np.stack((joint @ across, -joint[:, 1]), -1) * 100
    return points


@pytest.mark.parametrize("turn", [0.0, 0.5, np.pi])
@pytest.mark.parametrize("wrong", [[], [0], [5], [10, 11, 12, 13], [0, 7, 8, 23]])
def test_frames_in_which_sides_were_mixed_up_are_found(turn: float, wrong: list[int]) -> None:
    points = walking(turn) + np.random.default_rng(0).normal(0, 1, (FRAMES, 33, 2)) + np.arange(FRAMES)[:, None, None]
    mixed = points.copy()
    mixed[wrong] = mixed[wrong][:, list(MIRRORED)]
    assert np.flatnonzero(exchanged(mixed, np.ones((FRAMES, 33)))).tolist() == wrong


def test_after_frames_that_say_nothing_mistakes_are_found_as_before() -> None:
    points = walking(0)
    points[10:12, :] = points[10:12].mean(1, keepdims=True)  # all in one place
    points[12:16] = points[12:16][:, list(MIRRORED)]
    found = exchanged(points, np.ones((FRAMES, 33)))
    assert found[12:16].all()
    assert not found[:10].any()
    assert not found[16:].any()


def test_a_turn_is_no_mistake() -> None:
    turned = np.stack([walking(angle)[t] for t, angle in enumerate(np.linspace(0, np.pi, FRAMES))])
    assert not exchanged(turned, np.ones((FRAMES, 33))).any()


def test_nor_is_one_that_is_seen_in_a_single_frame() -> None:
    """At six frames a second somebody who turns around may be narrow only once."""
    turned = walking(0)
    turned[9], turned[10:] = walking(np.pi / 2)[9], walking(np.pi)[10:]
    assert not exchanged(turned, np.ones((FRAMES, 33))).any()


def test_what_is_wrong_after_a_turn_is_found_by_itself() -> None:
    points = walking(0)
    points[9], points[10:] = walking(np.pi / 2)[9], walking(np.pi)[10:]
    points[15:18] = points[15:18][:, list(MIRRORED)]
    assert np.flatnonzero(exchanged(points, np.ones((FRAMES, 33)))).tolist() == [15, 16, 17]


def test_of_few_frames_the_first_is_right() -> None:
    points = walking(0)
    assert exchanged(points[:0], np.ones((0, 33))).shape == (0,)
    assert not exchanged(points[:1], np.ones((1, 33))).any()
