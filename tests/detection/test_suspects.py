import numpy as np
import pytest

from tps_pipeline.detection.suspects import AT_ONCE, merged, tiles_for, tiles_of
from tps_pipeline.models.blazepose import Suspects


def suspects(*people: tuple[float, float, float]) -> Suspects:
    """People with a score, and their middle: a face of 10 pixels, 20 above it, the circle's top 40 above."""
    scores = np.array([score for score, _, _ in people], np.float32)
    centres = np.array([(x, y) for _, x, y in people], np.float32)
    faces = np.concatenate((centres - (5, 25), centres - (-5, 15)), 1).astype(np.float32)
    return Suspects(scores, faces, centres, centres - np.array((0, 40), np.float32))


def test_those_of_one_face_are_one_weighted_by_their_scores() -> None:
    (found, far) = merged(suspects((0.9, 100, 100), (0.6, 103, 100), (0.8, 200, 100), (0.4, 100, 100)), threshold=0.5)
    assert found.score == pytest.approx(0.9)
    assert found.square.centre == pytest.approx([(0.9 * 100 + 0.6 * 103) / 1.5, 100], rel=1e-5)
    assert found.square.up == pytest.approx([0, -50])
    assert far.score == pytest.approx(0.8)
    assert far.square.centre == pytest.approx([200, 100])


def test_nobody_is_suspected_below_the_threshold_or_without_a_size() -> None:
    assert merged(suspects((0.4, 10, 10)), threshold=0.5) == []
    flat = suspects((0.9, 10, 10))
    assert merged(flat._replace(tops=flat.centres), threshold=0.5) == []


@pytest.mark.parametrize("size", [(340, 256), (1280, 720), (720, 1280), (100, 100), (1000, 90), (1, 1)])
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int]) -> None:
    tiles, seen = tiles_of(size), np.zeros((size[1], size[0]), int)
    for left, top, side in tiles:
        assert 0 <= left <= max(0, size[0] - side)
        assert 0 <= top <= max(0, size[1] - side)
        seen[top : top + side, left : left + side] += 1
    assert seen.all()
    assert len(tiles) <= 40


def test_all_tiles_are_looked_at_first_and_then_in_turn() -> None:
    tiles = tiles_of((340, 256))
    assert tiles_for(0, (340, 256)) == tiles
    turns = [tile for turn in range(1, 1 + len(tiles) // AT_ONCE) for tile in tiles_for(turn, (340, 256))]
    assert sorted(turns) == sorted(tiles)
