import numpy as np
import pytest

from tps_pipeline import recipe
from tps_pipeline.detection.follower import Follower, Person, distinct, doubted, mirrored
from tps_pipeline.detection.squares import Square
from tps_pipeline.landmarks import LANDMARKS, person_box
from tps_pipeline.models.blazepose import BlazePose, Landmarks

FIGURE = {
    "nose": (0, -0.86), "ear": (0.04, -0.86), "eye": (0.03, -0.88), "mouth": (0.02, -0.82), "shoulder": (0.22, -0.6),
    "elbow": (0.26, -0.28), "wrist": (0.27, 0), "pinky": (0.28, 0.08), "index": (0.26, 0.09), "thumb": (0.24, 0.06),
    "hip": (0.11, 0), "knee": (0.12, 0.45), "ankle": (0.12, 0.9), "heel": (0.11, 0.94), "toe": (0.15, 0.96),
}  # fmt: skip
"""Somebody who stands, from the middle of the hips; half a stature is 1."""


def body(x: float, y: float, tall: float) -> np.ndarray:
    """Landmarks in a picture."""
    points = []
    for name in LANDMARKS:
        side, _, what = name.partition("_")
        across, down = FIGURE[what.split("_")[0] or side]
        points.append((across * (1 if side == "left" else -1), down))
    return np.array(points) * tall / 2 + (x, y)


class Eyes:
    """In place of the landmark network: it sees who is nearest to the middle of a square."""

    detector = None

    def __init__(self, *people: tuple[float, float, float], presence: float = 0.9) -> None:
        self.people, self.presence, self.looked = people, presence, 0

    def landmarks_in(self, square: Square) -> Landmarks:
        """What the network says of a square: the person nearest to its middle, if one is within it."""
        self.looked += 1
        across = np.array([-square.up[1], square.up[0]])

        def inside(points: np.ndarray) -> np.ndarray:
            way = points - square.centre
            shares = np.stack((way @ across, -way @ square.up), -1) / square.half**2
            return ((shares + 1) * 128).astype(np.float32)

        if not self.people:
            return Landmarks(
                np.zeros((33, 2), np.float32), np.zeros(33, np.float32), 0.0, *np.zeros((2, 2), np.float32)
            )
        x, y, tall = min(self.people, key=lambda p: float(np.hypot(*(np.array(p[:2]) - square.centre))))
        there = np.hypot(x - square.centre[0], y - square.centre[1]) < 0.7 * square.half
        ends = inside(np.array([(x, y), (x, y - tall / 2)]))
        presence = self.presence if there else 0.01
        return Landmarks(inside(body(x, y, tall)), np.full(33, 0.9, np.float32), presence, ends[0], ends[1])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> type[Eyes]:
    """Squares go to `Eyes` as they are, and not as pixels."""

    def cut(_: np.ndarray, square: Square) -> Square:
        return square

    def landmarks(self: BlazePose, square: Square) -> Landmarks:
        return self.landmarker.landmarks_in(square)

    monkeypatch.setattr("tps_pipeline.detection.follower.squares.cut", cut)
    monkeypatch.setattr(BlazePose, "landmarks", landmarks)
    return Eyes


PICTURE = np.zeros((240, 320, 3), np.uint8)


def follower(eyes: Eyes, **settings: object) -> Follower:
    return Follower(BlazePose(None, eyes), recipe.Pose.model_validate(settings))


def test_a_loose_box_is_tightened_by_the_landmarks(seen: type[Eyes]) -> None:
    (found,) = follower(seen((100, 120, 100))).find(PICTURE, np.array([[40, 40, 180, 220]], np.float32))
    assert found.points == pytest.approx(body(100, 120, 100), abs=0.01)
    assert found.box[[1, 3]] == pytest.approx([70, 170], abs=6)
    assert found.box[2] - found.box[0] < 45
    assert found.score == pytest.approx(0.9)


def test_boxes_of_nobody_are_dropped(seen: type[Eyes]) -> None:
    boxes = np.array([[80, 60, 120, 180], [240, 60, 280, 180]], np.float32)
    assert len(follower(seen((100, 120, 100))).find(PICTURE, boxes)) == 1
    assert follower(seen((100, 120, 100), presence=0.4)).find(PICTURE, boxes) == []
    assert len(follower(seen((100, 120, 100), presence=0.4), presence=0.3).find(PICTURE, boxes)) == 1
    assert follower(seen()).find(PICTURE, boxes) == []
    assert follower(seen((100, 120, 100))).find(PICTURE) == []


def test_somebody_who_is_in_several_boxes_is_found_once(seen: type[Eyes]) -> None:
    boxes = np.array([[80, 60, 120, 180], [70, 70, 130, 190], [85, 80, 125, 150], [60, 40, 150, 200]], np.float32)
    eyes = seen((100, 120, 100), (250, 120, 100))
    found = follower(eyes).find(PICTURE, np.concatenate((boxes, boxes + np.array((150, 0, 150, 0), np.float32))))
    assert sorted(round(person.points[:, 0].mean()) for person in found) == [100, 250]


def test_who_overlaps_is_not_the_same(seen: type[Eyes]) -> None:
    """Two people of whom one stands before the other, by a fifth of their height."""
    boxes = np.array([[80, 60, 120, 180], [100, 60, 140, 180]], np.float32)
    assert len(follower(seen((100, 120, 100), (120, 120, 100))).find(PICTURE, boxes)) == 2


def test_who_lies_within_somebody_larger_stays_and_counts_less() -> None:
    points, sure = body(100, 120, 100), np.ones(33, np.float32)
    square = Square(np.array((100.0, 120.0)), np.array((0.0, -60.0)))

    def person(score: float, *box: float) -> Person:
        return Person(score, points, sure, np.array(box), square, 0)

    mother, child, beside = person(0.8, 50, 0, 150, 200), person(0.9, 80, 110, 120, 190), person(0.7, 120, 0, 220, 200)
    scores = [round(each.score, 3) for each in doubted([child, mother, beside])]
    assert scores == [0.8, 0.7, 0.27]


def test_people_are_followed_from_frame_to_frame(seen: type[Eyes]) -> None:
    eyes = seen((100, 120, 100))
    finding = follower(eyes)
    finding.find(PICTURE, np.array([[80, 60, 120, 180]], np.float32))
    eyes.people = ((112, 120, 100),)
    (found,) = finding.find(PICTURE)
    assert found.points == pytest.approx(body(112, 120, 100), abs=0.01)
    eyes.people = ()
    assert finding.find(PICTURE) == []
    eyes.people = ((112, 120, 100),)
    assert finding.find(PICTURE) == []  # lost is lost, until somebody says where
    assert follower(eyes, follow=False).find(PICTURE, np.array([[80, 60, 120, 180]], np.float32)) != []


def test_who_is_followed_is_not_looked_for_again(seen: type[Eyes]) -> None:
    eyes = seen((100, 120, 100))
    finding = follower(eyes)
    box = np.array([[85, 70, 115, 172]], np.float32)
    (found,) = finding.find(PICTURE, box)
    eyes.looked = 0
    finding.find(PICTURE, found.box[None].astype(np.float32))
    assert eyes.looked == 1


def test_landmarks_outside_of_the_picture_are_not_seen(seen: type[Eyes]) -> None:
    (found,) = follower(seen((100, 200, 100))).find(PICTURE, np.array([[80, 140, 120, 239]], np.float32))
    below = found.points[:, 1] >= 240
    assert below.any()
    assert (found.visibility[below] == 0).all()
    assert found.box[3] <= 240


def test_only_the_best_are_kept(seen: type[Eyes]) -> None:
    people = [(x, 120.0, 40.0) for x in range(20, 320, 40)]
    boxes = np.array([[x - 10, 95, x + 10, 145] for x, _, _ in people], np.float32)
    assert len(follower(seen(*people), people_per_frame=3).find(PICTURE, boxes)) == 3


def somebody(score: float, x: float, number: int = 0) -> Person:
    points, square = body(x, 100, 100), Square(np.array([x, 100.0]), np.array([0.0, -50.0]))
    return Person(score, points, np.full(33, 0.9, np.float32), person_box(points, np.ones(33)), square, number)


def test_of_the_same_landmarks_the_surer_stay() -> None:
    kept = distinct([somebody(0.6, 100), somebody(0.9, 104), somebody(0.7, 140)])
    assert [one.score for one in kept] == [0.9, 0.7]


def test_who_was_followed_stays_who_they_are_though_they_are_found_again_and_surer() -> None:
    twice = [somebody(0.89, 100, 2), somebody(0.9, 104, 7), somebody(0.7, 140, 3)]
    assert [(one.score, one.number) for one in distinct(twice)] == [(0.89, 2), (0.7, 3)]
    twice[0] = somebody(0.6, 100, 2)  # hardly there any more: the others' landmarks, and still the same person
    assert [(one.score, one.number) for one in distinct(twice)] == [(0.9, 2), (0.7, 3)]


def test_who_was_found_twice_with_sides_exchanged_once_is_one() -> None:
    assert [one.score for one in distinct([mirrored(somebody(0.8, 100)), somebody(0.9, 102)])] == [0.9]
