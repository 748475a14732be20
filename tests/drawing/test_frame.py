import numpy as np
import pandas as pd
import pytest

from tests.drawing.people import BOXES, rows, share
from tps_pipeline.drawing.frame import LEFT, MIDDLE, PERSON, RIGHT, draw


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((480, 640, 3), 128, np.uint8)


def test_sides_differ_by_colour_and_by_line(grey: np.ndarray):
    drawn = draw(grey, rows())[-480:]
    edges = {part: drawn[y1, x1 + 5 : x2 - 5] for part, (x1, y1, x2, _) in BOXES.items()}
    assert share(edges["left_arm"], LEFT) == 1
    assert share(edges["head"], MIDDLE) == 1
    assert 0.3 < share(edges["right_arm"], RIGHT) < 0.9
    assert share(drawn[399:402, 90:410], PERSON) > 0.5
    assert (grey == 128).all()


def test_only_states_other_than_none_are_written(grey: np.ndarray):
    plain, written = draw(grey, rows()), draw(grey, rows(state="bend"))
    changed = (plain != written).any(axis=-1).sum()
    assert changed > 1000
    np.testing.assert_array_equal(plain, draw(grey, rows().drop(columns="state")))


def test_a_track_is_written_at_its_person_once(grey: np.ndarray):
    plain, tracked = draw(grey, rows()), draw(grey, rows().assign(track_id=12))
    changed = (plain != tracked).any(axis=-1)[-480:]
    ys, xs = np.nonzero(changed)
    assert changed.sum() > 100
    assert xs.min() >= 78  # the person's upper left corner is at 80, 10
    assert xs.max() < 140
    assert ys.max() < 40
    np.testing.assert_array_equal(plain, draw(grey, rows().assign(track_id=np.nan)))


def test_labels_do_not_cover_each_other(grey: np.ndarray):
    same = dict.fromkeys(BOXES, (200, 200, 260, 260))
    written = draw(grey, rows(same, state="bend"))[-480:] != draw(grey, rows(same))[-480:]
    lines = written.any(axis=(1, 2))
    assert lines.sum() > 3 * 12


def test_annotated_people_without_parts_are_drawn(grey: np.ndarray):
    people = pd.DataFrame({"person": [0], "x1": [50], "y1": [60], "x2": [150], "y2": [300]})
    drawn = draw(
        grey, rows().drop(columns=["person_x1", "person_y1", "person_x2", "person_y2"]).iloc[:0], people=people
    )
    assert share(drawn[-480:][100:250, 50], PERSON) == 1


def test_small_frames_are_enlarged_and_boxes_with_them():
    drawn = draw(np.full((120, 160, 3), 128, np.uint8), rows({"left_arm": (25, 30, 50, 60)}))
    assert drawn.shape[1] == 640
    assert share(drawn[-480:][120, 110:190], LEFT) == 1


def test_action_is_in_the_banner(grey: np.ndarray):
    with_action, without = draw(grey, rows(), action="push_car"), draw(grey, rows())
    np.testing.assert_array_equal(with_action[-480:], without[-480:])
    assert (with_action[:-480] != without[:-480]).any()


def test_boxes_past_the_picture_do_no_harm(grey: np.ndarray):
    beyond = {"left_arm": (-20, -5, 700, 600), "right_arm": (630, 470, 639, 479)}
    drawn = draw(grey, rows(beyond, state="bend"))
    assert drawn.shape == draw(grey, rows()).shape
