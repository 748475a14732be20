import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tps_pipeline.detection.squares import MARGIN, Square, around, cut, of_box, to_picture


def test_a_square_is_as_the_person_is_turned() -> None:
    square = around(np.array([50, 60]), np.array([90, 60]))  # the head is at the picture's right
    assert square.half == pytest.approx(40 * MARGIN)
    corners = to_picture(np.array([[0, 0], [256, 0], [128, 128]]), square)
    assert corners[0] == pytest.approx([50 + 50, 60 - 50])  # upper left of whom lies on the back
    assert corners[1] == pytest.approx([50 + 50, 60 + 50])
    assert corners[2] == pytest.approx([50, 60])


def test_a_box_is_upright_in_its_square() -> None:
    square = of_box(np.array([10, 20, 30, 100]))
    assert square.centre == pytest.approx([20, 60])
    assert to_picture(np.array([128, 0]), square) == pytest.approx([20, 60 - 40 * MARGIN])


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 6.3), st.floats(12, 300), st.integers(200, 700), st.integers(200, 700))
def test_what_is_seen_in_a_square_is_where_it_was_in_the_picture(angle: float, half: float, x: int, y: int) -> None:
    picture = np.zeros((900, 900, 3), np.uint8)
    dot = max(1, int(half / 40))
    picture[y - dot : y + dot, x - dot : x + dot] = 255  # its middle is the corner between four pixels
    centre = np.array([x, y]) + 0.3 * half * np.array([np.cos(3 * angle), np.sin(3 * angle)])
    square = Square(centre, half * np.array([np.sin(angle), -np.cos(angle)]))
    seen = cut(picture, square)[..., 0].astype(float)
    assert seen.max() > 60
    at = np.array([(seen.sum(axis) * (np.arange(256) + 0.5)).sum() for axis in (0, 1)]) / seen.sum()
    assert to_picture(at, square) == pytest.approx([x, y], abs=max(0.35, 0.02 * half))


def test_what_lies_outside_of_the_picture_is_black() -> None:
    picture = np.full((50, 50, 3), 200, np.uint8)
    seen = cut(picture, Square(np.array([0.0, 25.0]), np.array([0.0, -20.0])))
    assert seen[128, 10].tolist() == [0, 0, 0]
    assert seen[128, 200].tolist() == [200, 200, 200]


def test_a_large_square_is_averaged_and_not_sampled() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[::2] = 200
    seen = cut(stripes, Square(np.array([500.0, 500.0]), np.array([0.0, -450.0])))
    assert seen[30:-30, 30:-30].std() < 30  # 70 where pixels are left out
