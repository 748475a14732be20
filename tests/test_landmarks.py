import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tps_pipeline.data.synthetic.skeleton import Body, Pose, forward
from tps_pipeline.labels import PARTS, swapped
from tps_pipeline.landmarks import LANDMARKS, MIRRORED, SEEN, part_boxes, person_box, stature

FACE = {"nose": (0.11, 0.0), "eye": (0.08, 0.02), "mouth": (0.08, -0.04), "ear": (0.0, 0.0)}


def standing(**angles: float) -> np.ndarray:
    """Landmarks of a skeleton of 1.72 m seen from the front, a metre being 100 pixels, the ground at y = 200."""
    joints, _ = forward(Pose({name: np.array([value]) for name, value in angles.items()}), Body(), frames=1)
    points = np.zeros((33, 3))
    for i, name in enumerate(LANDMARKS):
        side, _, what = name.partition("_")
        if side in ("left", "right") and f"{side}_{what}" in joints:
            points[i] = joints[f"{side}_{what}"][0]
        elif what in ("pinky", "index", "thumb"):
            points[i] = (joints[f"{side}_wrist"][0] + joints[f"{side}_hand"][0]) / 2
        else:
            face, up, aside = (
                FACE[what.split("_")[0] or name],
                joints["up"][0],
                {"left": 0.07, "right": -0.07}.get(side, 0),
            )
            points[i] = joints["head"][0] + face[0] * joints["face"][0] + face[1] * up + (aside, 0, 0)
    return points[:, :2] * (100, -100) + (150, 200)


def boxes_of(points: np.ndarray, visibility: np.ndarray | None = None) -> dict[str, np.ndarray]:
    found, _ = part_boxes(points, np.ones(33) if visibility is None else visibility)
    return dict(zip(PARTS, found, strict=True))


def test_stands_as_tall_as_it_is_and_crouching_does_not_shrink_it() -> None:
    assert stature(standing(), np.ones(33)) == pytest.approx(172, rel=0.03)
    crouching = standing(left_hip_flex=110, right_hip_flex=110, left_knee=130, right_knee=130)
    assert stature(crouching, np.ones(33)) == pytest.approx(172, rel=0.05)


def test_parts_lie_where_the_body_has_them() -> None:
    boxes = boxes_of(standing(left_shoulder_abd=80))
    assert not np.isnan([*boxes.values()]).any()
    left_arm, right_arm, head, hip = boxes["left_arm"], boxes["right_arm"], boxes["head"], boxes["hip"]
    assert left_arm[2] - left_arm[0] > 2 * (left_arm[3] - left_arm[1])  # stretched out, to the picture's right
    assert left_arm[0] > 150 > right_arm[2]
    assert right_arm[3] - right_arm[1] > 2 * (right_arm[2] - right_arm[0])  # hangs
    assert head[1] == pytest.approx(28, abs=5)  # its top is the person's
    assert head[3] < left_arm[3] < hip[3] < boxes["left_leg"][3] < 202
    assert boxes["left_hand"][2] > left_arm[2]
    assert boxes["right_foot"][3] == pytest.approx(200, abs=6)
    whole = person_box(standing(left_shoulder_abd=80), np.ones(33))
    assert whole == pytest.approx([*np.min([*boxes.values()], 0)[:2], *np.max([*boxes.values()], 0)[2:]])


def test_what_is_not_seen_is_left_out() -> None:
    points, visibility = standing(), np.ones(33)
    full = boxes_of(points)
    visibility[LANDMARKS.index("left_ankle")] = SEEN - 0.01
    boxes = boxes_of(points, visibility)
    assert boxes["left_leg"][3] < full["left_leg"][3] - 20  # it ends at the knee
    visibility[LANDMARKS.index("left_knee")] = 0
    visibility[[LANDMARKS.index(f"left_{name}") for name in ("heel", "toe")]] = 0
    found, scores = part_boxes(points, visibility)
    gone = [PARTS.index("left_leg"), PARTS.index("left_foot")]
    assert np.isnan(found[gone]).all()
    assert (scores[gone] == 0).all()
    assert np.array_equal(np.delete(found, gone, 0), np.delete([*full.values()], gone, 0))
    nobody, none = part_boxes(points, np.zeros(33))
    assert np.isnan(nobody).all()
    assert not none.any()
    assert np.isnan(person_box(points, np.zeros(33))).all()


def test_a_hand_reaches_to_the_fingertips() -> None:
    joints_at = standing(right_shoulder_abd=80)
    right_hand = boxes_of(joints_at)["right_hand"]
    wrist, knuckle = (joints_at[LANDMARKS.index(f"right_{name}")] for name in ("wrist", "index"))
    assert right_hand[0] < knuckle[0] - 0.6 * abs(wrist[0] - knuckle[0])


coordinates = arrays(float, (33, 2), elements=st.floats(-2000, 2000, allow_subnormal=False))
visibilities = arrays(float, (33,), elements=st.floats(0, 1))


@given(coordinates, visibilities)
def test_mirrored_landmarks_give_exactly_the_mirrored_boxes(points: np.ndarray, visibility: np.ndarray) -> None:
    boxes, scores = part_boxes(points, visibility)
    other, other_scores = part_boxes((points * (-1, 1))[list(MIRRORED)], visibility[list(MIRRORED)])
    exchanged = list(swapped(PARTS))
    expected = (boxes * (-1, 1, -1, 1))[:, [2, 1, 0, 3]][exchanged]
    assert np.array_equal(other, expected, equal_nan=True)
    assert other_scores == pytest.approx(scores[exchanged])


@settings(max_examples=30)
@given(coordinates, st.floats(0.1, 10), st.floats(-500, 500))
def test_boxes_move_and_grow_with_the_person(points: np.ndarray, scale: float, by: float) -> None:
    boxes, _ = part_boxes(points, np.ones(33))
    moved, _ = part_boxes(points * scale + by, np.ones(33))
    assert moved == pytest.approx(boxes * scale + by, abs=1e-6 * (1 + scale), rel=1e-6)


def test_many_people_at_once_are_each_by_themselves() -> None:
    rng = np.random.default_rng(0)
    points, visibility = rng.uniform(0, 100, (2, 3, 33, 2)), rng.uniform(0, 1, (2, 3, 33))
    boxes, scores = part_boxes(points, visibility)
    one, one_score = part_boxes(points[1, 2], visibility[1, 2])
    assert boxes.shape == (2, 3, 10, 4)
    assert np.array_equal(boxes[1, 2], one, equal_nan=True)
    assert np.array_equal(scores[1, 2], one_score)
