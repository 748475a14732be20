from __future__ import annotations

import numpy as np
import pytest

from tps_pipeline.detection import augment
from tps_pipeline.detection.augment import Example, Letterbox
from tps_pipeline.recipe import BoxAugmentation

COLORS = ((250, 10, 10), (10, 250, 10), (10, 10, 250))


def planted(width: int = 200, height: int = 120) -> Example:
    """Three rectangles of different colours, and the boxes around them."""
    image = np.full((height, width, 3), 60, np.uint8)
    boxes = np.array(((20, 15, 60, 55), (90, 30, 130, 90), (150, 60, 185, 100)), np.float32)
    for (x1, y1, x2, y2), color in zip(boxes.astype(int), COLORS, strict=True):
        image[y1:y2, x1:x2] = color
    return Example(image, boxes, np.arange(3))


def measured(image: np.ndarray, label: int) -> np.ndarray:
    """The box around a colour's pixels."""
    rows, columns = np.nonzero(image[..., label].astype(int) - np.delete(image, label, 2).max(2) > 100)
    return np.array((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def only(example: Example) -> Example:
    def draw_other() -> Example:
        raise AssertionError("no other picture is needed")

    return augment.augment(example, draw_other, settings=BoxAugmentation(), size=128, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "far", [{"translate": 0.1}, {"scale": 0.3}, {"perspective": 0.0005}, {"rotation": 10, "shear": 5}]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_boxes_follow_the_pixels(far: dict[str, float], seed: int) -> None:
    before = planted(200, 200)
    settings = BoxAugmentation.model_validate(far)
    homography = augment.random_homography(settings, source=200, target=200, rng=np.random.default_rng(seed))
    after = augment.warp(before, homography, 200)
    assert len(after.boxes) >= 2
    for box, label in zip(after.boxes, after.labels, strict=True):
        # A rotated rectangle's corners are thin, so their last pixel is too faint to be measured.
        assert np.abs(measured(after.image, label) - box).max() <= (2.5 if "rotation" in far else 1.0)


def test_without_settings_the_picture_is_only_letterboxed() -> None:
    before = planted(200, 120)
    after = only(before)
    expected, place = augment.letterbox(before.image, 128)
    assert np.array_equal(after.image, expected)
    assert np.allclose(after.boxes, place.apply(before.boxes), atol=1e-4)
    assert np.array_equal(after.labels, before.labels)


def test_letterbox_keeps_shape_pads_grey_and_can_be_undone() -> None:
    before = planted(200, 100)
    square, place = augment.letterbox(before.image, 64)
    assert place == Letterbox(0.32, 0, 16)
    assert (square[:16] == augment.PAD).all()
    assert (square[48:] == augment.PAD).all()
    assert not (square[16:48] == augment.PAD).all(-1).any()
    assert np.allclose(place.undo(place.apply(before.boxes)), before.boxes, atol=1e-4)
    for label, box in enumerate(place.apply(before.boxes)):
        assert np.abs(measured(square, label) - box).max() <= 1.0


@pytest.mark.parametrize("seed", range(4))
def test_mosaic_boxes_follow_the_pixels_of_four_pictures(seed: int) -> None:
    before = planted()
    kinds = [Example(before.image, before.boxes[[i % 3]], before.labels[[i % 3]]) for i in range(4)]
    blank = [Example(np.where(_is(k), k.image, 60).astype(np.uint8), k.boxes, k.labels) for k in kinds]
    result = augment.mosaic(blank, 100, np.random.default_rng(seed))
    assert result.image.shape == (200, 200, 3)
    for label in (1, 2):  # planted once each; label 0 twice
        boxes = result.boxes[result.labels == label]
        for box in boxes:
            assert np.abs(measured(result.image, label) - box).max() <= 1.0
    assert len(result.boxes) >= 3


def _is(example: Example) -> np.ndarray:
    return (example.image == COLORS[int(example.labels[0])]).all(-1, keepdims=True)


def test_mixup_blends_and_keeps_the_objects_of_both() -> None:
    a, b = planted(100, 100), Example(np.zeros((100, 100, 3), np.uint8), np.ones((1, 4), np.float32), np.array([7]))
    mixed = augment.mixup(a, b, np.random.default_rng(0))
    weight = np.random.default_rng(0).beta(8, 8)
    assert 0.2 < weight < 0.8
    assert np.abs(mixed.image - a.image * weight).max() <= 1
    assert mixed.labels.tolist() == [0, 1, 2, 7]


def test_boxes_of_which_too_little_is_left_are_dropped() -> None:
    before = np.array([[0, 0, 100, 100]] * 5, np.float32)
    after = np.array([[0, 0, 100, 100], [0, 0, 100, 11], [0, 0, 100, 9], [0, 0, 100, 2], [0, 0, 60, 3]], np.float32)
    assert augment.still_there(before, after).tolist() == [True, True, False, False, False]
    slim = np.array([[0, 0, 80, 3], [0, 0, 50, 3]], np.float32)
    assert augment.still_there(slim, slim).tolist() == [False, True]


def test_colors_shift_without_moving_anything() -> None:
    before = planted(200, 200)
    settings = BoxAugmentation(hue=0.02, saturation=0.5, value=0.4)
    after = augment.augment(before, lambda: before, settings=settings, size=200, rng=np.random.default_rng(1))
    assert np.array_equal(after.boxes, before.boxes)
    assert np.abs(after.image.astype(int) - before.image).mean() > 3


def test_one_seed_is_one_picture() -> None:
    settings = BoxAugmentation(
        mosaic=0.5, mixup=0.5, rotation=5, translate=0.1, scale=0.5, shear=3, perspective=0.0005, value=0.4
    )
    picture = planted()

    def draw(seed: int) -> Example:
        return augment.augment(picture, lambda: picture, settings=settings, size=96, rng=np.random.default_rng(seed))

    assert np.array_equal(draw(3).image, draw(3).image)
    assert np.array_equal(draw(3).boxes, draw(3).boxes)
    assert not np.array_equal(draw(3).image, draw(4).image)
    for seed in range(20):
        example = draw(seed)
        assert example.image.shape == (96, 96, 3)
        assert len(example.boxes) == len(example.labels)
        assert (example.boxes >= 0).all()
        assert (example.boxes <= 96).all()


def test_a_picture_without_objects_passes_through() -> None:
    empty = Example(np.full((50, 70, 3), 9, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    settings = BoxAugmentation(mosaic=1, mixup=1, rotation=5)
    result = augment.augment(empty, lambda: empty, settings=settings, size=64, rng=np.random.default_rng(0))
    assert result.boxes.shape == (0, 4)
    assert result.labels.shape == (0,)
