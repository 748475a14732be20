from __future__ import annotations

import numpy as np
import pytest

from tps_pipeline import boxes


def test_area_counts_both_corners():
    assert boxes.area(np.array([0.0, 0.0, 0.0, 0.0])) == 1
    assert boxes.area(np.array([10.0, 20.0, 19.0, 24.0])) == 50


def test_iou_of_integer_boxes_is_that_of_their_pixels():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (2, 30, 2))
    a, b = np.concatenate([corners, corners + rng.integers(0, 12, (2, 30, 2))], axis=2).astype(float)

    def pixels(box: np.ndarray) -> set[tuple[int, int]]:
        x1, y1, x2, y2 = box.astype(int)
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    expected = [[len(pixels(p) & pixels(q)) / len(pixels(p) | pixels(q)) for q in b] for p in a]
    np.testing.assert_allclose(boxes.iou(a, b), expected, rtol=1e-15)
    np.testing.assert_allclose(boxes.paired_iou(a, b), np.diag(expected), rtol=1e-15)


def test_disjoint_boxes_take_the_given_value_and_touching_pixels_overlap():
    a = np.array([[0.0, 0.0, 9.0, 9.0]])
    b = np.array([[10.0, 0.0, 19.0, 9.0], [9.0, 9.0, 12.0, 12.0], [3.0, 8.0, 5.0, 2.0]])
    overlap = boxes.iou(a, b, disjoint=-1)[0]
    assert overlap[0] == -1
    assert overlap[1] == pytest.approx(1 / (100 + 16 - 1))
    assert overlap[2] == -1, "an inverted box overlaps nothing"
    assert boxes.iou(a, b)[0, 0] == 0


def test_iou_keeps_the_type_and_broadcasts_over_frames():
    rng = np.random.default_rng(1)
    a = (rng.random((5, 3, 4)) * 50).astype(np.float32)
    b = (rng.random((5, 2, 4)) * 50).astype(np.float32)
    overlap = boxes.iou(a, b)
    assert overlap.dtype == np.float32
    assert overlap.shape == (5, 3, 2)
    np.testing.assert_array_equal(overlap[4], boxes.iou(a[4], b[4]))
