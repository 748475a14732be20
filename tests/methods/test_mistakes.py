"""What a detector makes of one person, made of another: what is carried over, and what must not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tps_pipeline import outputs, recipe, tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.labels import PARTS
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.trajectories.mistakes import Mistakes
from tps_pipeline.methods.trajectories.sequences import Boxes, Trajectories
from tps_pipeline.methods.trajectories.training import TrainingSequences, labelled, mirror_closed, mistakes_of
from tps_pipeline.reading import InMemory
from tps_pipeline.tables import BOX, PERSON_BOX

pytestmark = pytest.mark.whole

TRAINING = {"epochs": 1, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.003}
LEFT, RIGHT, HEAD, HAND = (1 + PARTS.index(part) for part in ("left_leg", "right_leg", "head", "left_hand"))
STEPS = 6


def person(seed: int, *, size: float = 100.0, length: int = STEPS) -> Boxes:
    """Someone all of whose parts are annotated, none on another's place."""
    rng = np.random.default_rng(seed)
    lows = np.arange(11)[None, :, None] / 12 + rng.uniform(0, 0.01, (length, 11, 2))
    corners = np.concatenate((lows, lows + rng.uniform(0.05, 0.06, (length, 11, 2))), -1)
    corners[:, 0] = (0, 0, 1, 1)
    return Boxes((size * (corners + seed)).astype(np.float32), np.ones((length, 11), np.float32))


def people(boxes: Boxes) -> Trajectories:
    rows = np.arange(len(boxes.corners))
    return Trajectories(boxes, rows, np.array(["v"] * len(rows)), [rows], [rows])


def told(annotated: Boxes, detected: Boxes) -> Mistakes:
    rows = np.arange(len(annotated.corners))
    return Mistakes.of(people(annotated), people(detected), np.stack((rows, rows), 1), PARTS)


def detected_as(annotated: Boxes, **changes: Any) -> Boxes:
    return Boxes(annotated.corners.copy(), np.full_like(annotated.confidences, 0.7))._replace(**changes)


def test_a_detector_without_mistakes_leaves_boxes_where_they_are_and_says_how_sure_it_is() -> None:
    annotated = person(0)
    made = told(annotated, detected_as(annotated)).made_of(person(1, size=40), np.random.default_rng(0))
    np.testing.assert_allclose(made.corners, person(1, size=40).corners, rtol=1e-5)
    np.testing.assert_array_equal(made.confidences, np.float32(0.7))
    assert made.corners.dtype == made.confidences.dtype == np.float32


def test_limbs_are_exchanged_in_the_steps_in_which_they_were_whatever_the_person_s_size() -> None:
    annotated, other = person(0), person(3, size=40)
    corners = annotated.corners.copy()
    corners[2:4, [LEFT, RIGHT]] = corners[2:4, [RIGHT, LEFT]]
    made = told(annotated, detected_as(annotated, corners=corners)).made_of(other, np.random.default_rng(0))
    exchanged = np.isclose(made.corners[:, LEFT], other.corners[:, RIGHT], rtol=1e-5).all(-1)
    kept = np.isclose(made.corners[:, LEFT], other.corners[:, LEFT], rtol=1e-5).all(-1)
    assert (exchanged ^ kept).all()
    assert exchanged.sum() == 2  # of any six steps in a row, there and back
    np.testing.assert_allclose(made.corners[:, HEAD], other.corners[:, HEAD], rtol=1e-5)


def test_a_box_moves_by_as_much_of_its_own_size_and_one_on_no_part_stays_where_it_was_in_the_person() -> None:
    annotated, other = person(0), person(2, size=300)
    corners = annotated.corners.copy()
    sizes = corners[:, HEAD, 2:] - corners[:, HEAD, :2]
    corners[:, HEAD] += np.tile(0.25 * sizes, 2)
    corners[:, HAND] = (80, 5, 90, 15)
    made = told(annotated, detected_as(annotated, corners=corners)).made_of(other, np.random.default_rng(0))
    expected = other.corners[:, HEAD] + np.tile(0.25 * (other.corners[:, HEAD, 2:] - other.corners[:, HEAD, :2]), 2)
    np.testing.assert_allclose(made.corners[:, HEAD], expected, rtol=1e-4)
    expected = np.tile(other.corners[:, 0, :2], 2) + 3 * np.array((80, 5, 90, 15))
    np.testing.assert_allclose(made.corners[:, HAND], expected, rtol=1e-4)


def test_nobody_appears_and_what_was_not_annotated_is_no_mistake() -> None:
    annotated, other = person(0), person(1)
    annotated.confidences[:, HEAD] = 0
    confidences = np.full_like(annotated.confidences, 0.7)
    confidences[:, HAND] = 0
    found = detected_as(annotated, corners=annotated.corners[:, [0, *range(10, 0, -1)]], confidences=confidences)
    other.confidences[3] = 0
    made = told(annotated, found).made_of(other, np.random.default_rng(0))
    assert (made.confidences[3] == 0).all()
    assert (made.confidences[:, HAND] == 0).all()
    seen = np.arange(STEPS) != 3
    np.testing.assert_array_equal(made.corners[seen, HEAD], other.corners[seen, HEAD])
    assert np.isfinite(made.corners).all()


def test_a_longer_sequence_has_the_mistakes_there_and_back() -> None:
    annotated = person(0, length=3)
    confidences = np.full_like(annotated.confidences, 0.5)
    confidences[:, HEAD] = (0.1, 0.2, 0.3)
    mistakes = told(annotated, detected_as(annotated, confidences=confidences))
    made = mistakes.made_of(person(1, length=12), np.random.default_rng(0)).confidences[:, HEAD]
    np.testing.assert_array_equal(made[:6], made[6:])
    assert sorted(np.round(made[:6], 1).tolist()) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert np.abs(np.diff(made)).max() == pytest.approx(0.1)


def found_crossed(videos: int = 4) -> InMemory:
    """People, and a detector that takes the left leg for the right one and the right one for the left."""
    rows = []
    for video in range(videos):
        for frame in range(1, 17, 5):
            for part, left in (("left_leg", 10 + video), ("right_leg", 50 + video), ("head", 30)):
                rows.append((str(video), frame, 0, 0, 0, 99, 199, part, left, 100, left + 9, 149, "none"))
    keys = ["video_id", "frame", "person"]
    table = pd.DataFrame(rows, columns=[*keys, *PERSON_BOX, "part", *BOX, "state"])
    crossed = table.assign(part=table.part.replace({"left_leg": "right_leg", "right_leg": "left_leg"}))
    folk = table.drop_duplicates(keys)[[*keys, *PERSON_BOX]].rename(columns=dict(zip(PERSON_BOX, BOX, strict=True)))
    parts = tables.conform(table, tables.PARTS)
    return InMemory(
        {
            outputs.ACTIONS: tables.ACTIONS.empty_table(),
            outputs.PEOPLE: tables.conform(folk, tables.PEOPLE),
            outputs.PARTS: parts,
            outputs.STATE_LABELS: state_labels(parts),
            outputs.DETECTIONS: tables.conform(crossed.assign(person_score=0.8, part_score=0.4), tables.DETECTIONS),
        }
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_annotated_people_are_learned_as_the_detector_would_have_found_them(share: float) -> None:
    given = found_crossed()
    settings = recipe.PartTrajectory.model_validate(
        {"kind": "part_trajectory", "boxes": "both", "mistakes": share, "training": TRAINING}
        | {"augment": {"jitter": 0, "drop": 0, "stretch": 0, "flip": 0}}
    )
    space = mirror_closed(LabelSpace.of(given(outputs.STATE_LABELS), pairs="all"))
    known = [labelled(given, space, [], settings, detected=detected) for detected in (False, True)]
    mistakes = mistakes_of(given, known[0].people, known[1].people, space)
    data = TrainingSequences(known[:1], settings, space=space, mistakes=mistakes)
    left = 1 + space.parts.index("left_leg")
    for index in range(len(data)):
        sample = data.sample(index, np.random.default_rng(index))
        on_the_left = sample["corners"][:, left, 0] < 30
        assert on_the_left.all() if share == 0 else not on_the_left.any()
        if share:
            np.testing.assert_allclose(sample["confidences"][:, left], 0.5)  # the score, as a share of the person's


def test_mistakes_are_told_from_both_kinds_of_boxes() -> None:
    entry = {"kind": "part_trajectory", "mistakes": 0.5, "training": TRAINING}
    with pytest.raises(ValidationError, match=r"mistakes: 0\.5 needs boxes: both, not detected"):
        recipe.PartTrajectory.model_validate(entry | {"boxes": "detected"})
