from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tps_pipeline import tables
from tps_pipeline.detection.augment import letterbox
from tps_pipeline.detection.datasets import (
    DetectorImages,
    crops,
    join_state,
    mirror,
    part_samples,
    part_state_samples,
    person_samples,
    single_stage_samples,
    split_state,
    to_frame,
)
from tps_pipeline.labels import PARTS
from tps_pipeline.recipe import BoxAugmentation
from tps_pipeline.tables import BOX, CROP
from tps_pipeline.video.frames import FrameFile

WIDTH, HEIGHT = 160, 120
ARMS = {"left_arm": ((20, 30, 49, 69), (250, 20, 20)), "right_arm": ((90, 30, 109, 89), (20, 20, 250))}
"""Each arm's box (inclusive corners) and the colour it is painted in."""


def annotations() -> tuple[pa.Table, pa.Table, pa.Table]:
    """(a, 1): someone with two arms, and someone without parts; (a, 6): nobody; (a, 11) and (b, 1): not extracted."""
    frames = [("a", 1, 2), ("a", 6, 0), ("a", 11, 1), ("b", 1, 1)]
    people = [
        ("a", 1, 0, 10, 20, 119, 99),
        ("a", 1, 1, 130, 5, 170, 50),
        ("a", 11, 0, 1, 1, 9, 9),
        ("b", 1, 0, 1, 1, 9, 9),
    ]
    parts = [("a", 1, 0, name, *box, "bend") for name, (box, _) in ARMS.items()]
    schemas = (tables.LABELLED_FRAMES, tables.PEOPLE, tables.PARTS)
    made = [
        tables.conform(pd.DataFrame(rows, columns=schema.names), schema)
        for rows, schema in zip((frames, people, parts), schemas, strict=True)
    ]
    return made[0], made[1], made[2]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two extracted frames; the first shows the arms."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for (x1, y1, x2, y2), color in ARMS.values():
        picture[y1 : y2 + 1, x1 : x2 + 1] = color
    pictures = [picture, np.zeros_like(picture)]
    jpegs = [cv2.imencode(".jpg", p[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes() for p in pictures]
    rows = {"video_id": ["a", "a"], "frame": [1, 6], "width": [WIDTH] * 2, "height": [HEIGHT] * 2, "jpeg": jpegs}
    path = tmp_path_factory.mktemp("frames") / "train-000.arrow"
    with pa.ipc.new_file(str(path), tables.FRAMES) as file:
        file.write_table(tables.conform(rows, tables.FRAMES))
    return path


def extracted() -> pa.Table:
    return pa.table({"video_id": ["a", "a"], "frame": [1, 6], "width": [WIDTH] * 2, "height": [HEIGHT] * 2})


def measured(picture: np.ndarray, channel: int) -> list[int]:
    """The box around what is red (0) or blue (2), in continuous pixels."""
    rows, columns = np.nonzero(picture[..., channel].astype(int) - picture[..., 2 - channel] > 100)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_person_samples_are_the_extracted_labelled_frames_with_and_without_people() -> None:
    labelled, people, _ = annotations()
    samples = person_samples(labelled, people, extracted())
    assert samples.schema == tables.SAMPLES
    rows = samples.to_pandas()
    assert rows.person.isna().all()
    assert (rows[[*CROP]] == [0, 0, WIDTH - 1, HEIGHT - 1]).all(axis=None)
    rows = samples.select(["frame", "flipped", "label", *BOX]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (1, False, "person", 10, 20, 119, 99),
        (1, False, "person", 130, 5, 159, 50),
        (1, True, "person", 40, 20, 149, 99),
        (1, True, "person", 0, 5, 29, 50),
        (6, False, None, None, None, None, None),
        (6, True, None, None, None, None, None),
    ]


def by_flip_and_label(samples: pd.DataFrame) -> dict[tuple[bool, str], list[float]]:
    """The box of each sample, by whether it is flipped and what it is."""
    keys = zip(samples["flipped"], samples["label"], strict=True)
    return dict(zip(keys, samples[[*BOX]].to_numpy().tolist(), strict=True))


def test_part_samples_are_crops_with_a_margin_and_the_mirrored_right_arm_is_a_left_arm() -> None:
    _, people, parts = annotations()
    rows = part_samples(people, parts, extracted(), margin=0.1).to_pandas().astype({"label": object})
    first = rows[(rows.person == 0)]
    assert (first[~first.flipped][[*CROP]] == [0, 12, 130, 107]).all(axis=None)
    assert (first[first.flipped][[*CROP]] == [29, 12, 159, 107]).all(axis=None)
    by_label = by_flip_and_label(first)
    assert by_label[False, "right_arm"] == [90, 30, 109, 89]
    assert by_label[True, "left_arm"] == [50, 30, 69, 89]
    assert by_label[True, "right_arm"] == [110, 30, 139, 69]
    second = rows[rows.person == 1]
    assert second.flipped.tolist() == [False, True]
    assert second[["label", *BOX]].isna().all(axis=None)


@pytest.mark.parametrize(("flip", "mirrored_labels"), [("plain", ["left_arm", "right_arm"]), ("none", [])])
def test_flips_for_comparison(flip: str, mirrored_labels: list[str]) -> None:
    _, people, parts = annotations()
    rows = part_samples(people, parts, extracted(), margin=0.1, flip=flip).to_pandas()  # type: ignore[arg-type]
    mirrored = rows[rows.flipped & (rows.person == 0)]
    assert sorted(mirrored.label) == mirrored_labels
    if flip == "plain":
        assert by_flip_and_label(mirrored)[True, "left_arm"] == [110, 30, 139, 69]


def test_mirroring_twice_changes_nothing() -> None:
    _, people, parts = annotations()
    samples = part_samples(people, parts, extracted(), margin=0.2)
    rows = to_frame(samples, *samples.column_names).assign(width=WIDTH)
    pd.testing.assert_frame_equal(mirror(mirror(rows)), rows, check_dtype=False)
    assert not mirror(rows)[["label", *BOX]].equals(rows[["label", *BOX]])


@pytest.mark.parametrize("kind", ["part", "part_state", "single_stage"])
def test_flipped_twice_is_the_identity_and_a_flipped_right_arm_is_a_left_arm(kind: str) -> None:
    labelled, people, parts = annotations()
    samples = {
        "part": lambda: part_samples(people, parts, extracted(), margin=0.1),
        "part_state": lambda: part_state_samples(people, parts, extracted(), margin=0.1),
        "single_stage": lambda: single_stage_samples(labelled, people, parts, extracted()),
    }[kind]()
    rows = to_frame(samples, *samples.column_names).assign(width=WIDTH)
    pd.testing.assert_frame_equal(mirror(mirror(rows)), rows, check_dtype=False)
    # The mirrored half is the first half, mirrored.
    halves = [rows[rows.flipped == flipped].sort_values(["frame", "person", "x1"]) for flipped in (False, True)]
    mirrored = mirror(halves[0]).sort_values(["frame", "person", "x1"])
    pd.testing.assert_frame_equal(mirrored.reset_index(drop=True), halves[1].reset_index(drop=True), check_dtype=False)
    by_label = by_flip_and_label(rows[rows.frame == 1])
    state = "_bend" if kind == "part_state" else ""
    for right, left in ((False, True), (True, False)):
        arm, reflection = by_label[right, f"right_arm{state}"], by_label[left, f"left_arm{state}"]
        assert arm == [WIDTH - 1 - reflection[2], reflection[1], WIDTH - 1 - reflection[0], reflection[3]]


def test_single_stage_samples_have_everyone_and_their_parts() -> None:
    labelled, people, parts = annotations()
    rows = single_stage_samples(labelled, people, parts, extracted(), flip="none").to_pandas()
    assert sorted(rows.label.dropna()) == ["left_arm", "person", "person", "right_arm"]
    assert rows[rows.frame == 6].label.isna().all()
    assert rows.person.isna().all()


def test_joined_labels_come_apart_again() -> None:
    for part in PARTS:
        assert split_state(join_state(part, "hold_up")) == (part, "hold_up")


def test_parts_are_cut_at_the_crop_and_a_person_outside_the_frame_has_no_sample() -> None:
    people = pd.DataFrame([("a", 1, 0, 50, 50, 69, 69), ("a", 1, 1, 200, 10, 260, 90)], columns=tables.PEOPLE.names)
    parts = pd.DataFrame(
        [("a", 1, 0, "head", 40, 40, 60, 60, "none"), ("a", 1, 0, "hip", 0, 0, 20, 20, "none")],
        columns=tables.PARTS.names,
    )
    samples = part_samples(
        tables.conform(people, tables.PEOPLE), tables.conform(parts, tables.PARTS), extracted(), margin=0.0, flip="none"
    )
    assert samples.select(["person", "label", *BOX]).to_pylist() == [
        {"person": 0, "label": "head", "x1": 50, "y1": 50, "x2": 60, "y2": 60}
    ]


def test_crops_stay_in_the_frame() -> None:
    boxes = np.array(((10, 10, 19, 29), (0, 0, 159, 119)))
    assert crops(boxes, np.array((WIDTH, HEIGHT)), margin=0.25).tolist() == [[7, 5, 22, 34], [0, 0, 159, 119]]


@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_show_what_the_boxes_say(frames: Path, mirrored: bool) -> None:
    _, people, parts = annotations()
    samples = part_samples(people, parts, extracted(), margin=0.1)
    images = DetectorImages(samples, [FrameFile(frames)], PARTS, size=96)
    assert len(images) == 2
    example = images.example(0, mirrored=mirrored)
    assert example.image.shape == (96, 131, 3)
    boxes = dict(zip((PARTS[i] for i in example.labels), example.boxes.tolist(), strict=True))
    # Mirrored, the red left arm has become a right arm.
    assert boxes["right_arm" if mirrored else "left_arm"] == measured(example.image, 0)
    assert boxes["left_arm" if mirrored else "right_arm"] == measured(example.image, 2)
    assert len(images.example(1, mirrored=mirrored).labels) == 0


def test_each_image_is_shown_once_an_epoch_at_even_odds_mirrored_or_not(frames: Path) -> None:
    labelled, people, _ = annotations()
    samples = person_samples(labelled, people, extracted())
    images = DetectorImages(samples, [FrameFile(frames)], ["person"], size=160, augmentation=BoxAugmentation())
    assert len(images) == 2
    as_it_is = letterbox(images.example(0).image, 160)[0]
    mirrored = letterbox(images.example(0, mirrored=True).image, 160)[0]
    shown = [images.sample(0, np.random.default_rng(seed)).image for seed in range(60)]
    times = sum(np.array_equal(picture, mirrored) for picture in shown)
    assert 15 < times < 45
    assert times + sum(np.array_equal(picture, as_it_is) for picture in shown) == 60


def test_samples_without_a_mirrored_half_are_never_mirrored(frames: Path) -> None:
    labelled, people, _ = annotations()
    samples = person_samples(labelled, people, extracted(), flip="none")
    images = DetectorImages(samples, [FrameFile(frames)], ["person"], size=160)
    pictures = [images.sample(0, np.random.default_rng(seed)).image for seed in range(8)]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    with pytest.raises(IndexError, match="no mirrored half"):
        images.example(0, mirrored=True)


def test_box_sizes_are_those_the_network_sees(frames: Path) -> None:
    _, people, parts = annotations()
    samples = part_samples(people, parts, extracted(), margin=0.1, flip="none")
    images = DetectorImages(samples, [FrameFile(frames)], PARTS, size=131)
    assert images.box_sizes().tolist() == [[30, 40], [20, 60]]


def test_mosaic_and_mixup_draw_from_the_same_data(frames: Path) -> None:
    _, people, parts = annotations()
    samples = part_samples(people, parts, extracted(), margin=0.1)
    settings = BoxAugmentation(mosaic=1.0, mixup=1.0, scale=0.3, rotation=5)
    images = DetectorImages(samples, [FrameFile(frames)], PARTS, size=96, augmentation=settings)
    first, again = (images.sample(0, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert len(images.sample(0, np.random.default_rng(6)).boxes) > 2
    assert {PARTS[i] for i in first.labels} <= {"left_arm", "right_arm"}


def test_no_samples_are_no_images() -> None:
    assert len(DetectorImages(tables.empty(tables.SAMPLES), [], PARTS, size=96)) == 0
