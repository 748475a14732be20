"""The method that reads people's boxes over time: from tables to predictions, and what must not matter to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

from tests.methods import in_force
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.data.vocabulary import state_labels
from tps_pipeline.detection.tracks import track
from tps_pipeline.labels import PARTS
from tps_pipeline.methods import build
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.trajectories import classifier
from tps_pipeline.methods.trajectories.classifier import classify
from tps_pipeline.methods.trajectories.sequences import (
    Boxes,
    Trajectories,
    arrange,
    at_steps,
    augment,
    states_of_detected,
)
from tps_pipeline.methods.trajectories.training import TrainingSequences, collate, labelled, mirror_closed
from tps_pipeline.models.part_trajectory import PartTrajectoryNet
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.reading import InMemory
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.training import loop
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

WIDTH, STRIDE, LAST = 200, 5, 46
SPACE = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b", "c")))


def settings(epochs: int = 12, **changes: Any) -> recipe.PartTrajectory:
    optimised = {"epochs": epochs, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.003, "warmup": 0.1}
    entry = {"kind": "part_trajectory", "network": {"width": 64, "blocks": 2}, "training": optimised}
    return recipe.PartTrajectory.model_validate(entry | changes)


def scene(video: str, *, people: int = 1, mirrored: bool = False, frames: range = range(1, LAST + 1)) -> pd.DataFrame:
    """People side by side whose left arm rises, then falls; the head tells nothing.

    The turn is at another time in each video, so that a single frame cannot tell the two states.
    """
    rng = np.random.default_rng(int(video))
    turn, low = rng.integers(15, 32), rng.integers(20, 40)
    rows = []
    for frame in frames:
        for person in range(people):
            left, arm = 10 + 60 * person, low + abs(frame - turn)
            boxes = {
                "left_arm": (left + 24, arm, left + 37, arm + 20),
                "right_arm": (left + 2, low, left + 15, low + 20),
                "head": (left + 14, 2, left + 25, 14),
            }
            states = {"left_arm": "raise" if frame <= turn else "drop", "right_arm": "none", "head": "none"}
            for part, box in boxes.items():
                rows.append((video, frame, person, left, 1, left + 39, 100, part, *box, states[part]))
    table = pd.DataFrame(rows, columns=[*_KEYS, *PERSON_BOX, "part", *BOX, "state"])
    return flip(table) if mirrored else table


_KEYS = ["video_id", "frame", "person"]


def flip(table: pd.DataFrame) -> pd.DataFrame:
    """The scene in a mirror."""
    flipped = table.copy()
    for one, other in (("x1", "x2"), ("person_x1", "person_x2")):
        flipped[one], flipped[other] = WIDTH - 1 - table[other], WIDTH - 1 - table[one]
    sides = {"left_arm": "right_arm", "right_arm": "left_arm"}
    return flipped.assign(part=table.part.replace(sides))


def sources(scenes: list[pd.DataFrame], *, faint: tuple[str, ...] = ()) -> InMemory:
    """Annotations of every frame, and detections of frames 1, 6, ...; boxes of `faint` parts are anywhere."""
    rows = pd.concat(scenes) if scenes else scene("0").iloc[:0]
    people = rows.drop_duplicates(_KEYS)
    people = people[[*_KEYS, *PERSON_BOX]].rename(columns=dict(zip(PERSON_BOX, BOX, strict=True)))
    detected = rows[rows.frame % STRIDE == 1].assign(person_score=0.8, part_score=0.7)
    detected.loc[detected.part.isin(faint), ["part_score", *BOX]] = (0.001, 0, 0, 3, 3)
    given = {
        outputs.PEOPLE: tables.conform(people, tables.PEOPLE),
        outputs.PARTS: tables.conform(rows, tables.PARTS),
        outputs.ACTIONS: actions(people.video_id.unique(), tables.ACTIONS),
        outputs.DETECTIONS: tables.conform(detected, tables.DETECTIONS),
        outputs.VIDEO_ACTIONS: actions(people.video_id.unique(), tables.VIDEO_ACTIONS),
    }
    given[outputs.STATE_LABELS] = state_labels(given[outputs.PARTS])
    given[outputs.TRACKS] = track(given[outputs.DETECTIONS])
    return InMemory(given)


def actions(videos: np.ndarray, schema: pa.Schema) -> pa.Table:
    """Videos of even numbers jump."""
    names = ["walk" if int(video) % 2 else "jump" for video in videos]
    rows = {
        "video_id": videos,
        "action": names,
        "score": [1.0] * len(names),
        "probabilities": [{n: 1.0} for n in names],
    }
    return tables.conform(rows, schema)


def accuracy(predicted: pa.Table, scenes: list[pd.DataFrame], part: str) -> float:
    keys = [*_KEYS, "part"]
    both = predicted.to_pandas().astype({"video_id": str, "part": str}).merge(pd.concat(scenes), on=keys)
    own = both[both.part == part]
    return float((own.state_x.astype(str) == own.state_y).mean())


TEST = [scene(str(video), people=2) for video in range(100, 112)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    # In training only left arms move, in frames 1 to 40 of some videos and in all of others.
    known = [scene(str(video), people=1 + video % 2, frames=range(1, 41 + video % 7)) for video in range(24)]
    metrics = build(settings()).fit(sources(known), sources(TEST), folder, seed=0)
    assert metrics["part_accuracy"] > 0.9
    return folder


@pytest.mark.parametrize("mirrored", [False, True])
def test_motion_tells_states_that_no_single_frame_tells_on_either_side(trained: Path, mirrored: bool) -> None:
    scenes = [flip(each) if mirrored else each for each in TEST]
    predicted = build(settings()).predict(sources(scenes), trained)
    assert predicted.schema == tables.PREDICTIONS
    assert predicted.num_rows == sources(scenes)(outputs.DETECTIONS).num_rows
    assert accuracy(predicted, scenes, "right_arm" if mirrored else "left_arm") > 0.9


def test_the_mirror_image_gets_the_mirrored_states_and_scores(trained: Path) -> None:
    method = build(settings())
    plain, mirrored = (
        method.predict(sources(scenes), trained).to_pandas().astype({"part": str, "video_id": str})
        for scenes in (TEST, [flip(each) for each in TEST])
    )
    swapped = mirrored.assign(part=mirrored.part.replace({"left_arm": "right_arm", "right_arm": "left_arm"}))
    both = plain.merge(swapped, on=[*_KEYS, "part"], validate="one_to_one")
    assert len(both) == len(plain)
    assert (both.state_x.astype(str) == both.state_y.astype(str)).mean() > 0.999
    assert np.abs(both.state_score_x - both.state_score_y).max() < 1e-4


def test_faint_parts_get_a_state_without_being_looked_at(trained: Path) -> None:
    shown, hidden = sources(TEST), sources(TEST, faint=("right_arm",))
    method = build(settings())
    elsewhere = hidden(outputs.DETECTIONS).to_pandas()
    elsewhere.loc[elsewhere.part == "right_arm", [*BOX]] += 50
    given = {outputs.DETECTIONS: tables.conform(elsewhere, tables.DETECTIONS), outputs.TRACKS: hidden(outputs.TRACKS)}
    moved = method.predict(InMemory(given), trained).to_pandas()
    there = method.predict(hidden, trained).to_pandas()
    assert (moved.state_score == there.state_score).all()
    assert not (method.predict(shown, trained).to_pandas().state_score == there.state_score).all()
    assert accuracy(method.predict(hidden, trained), TEST, "left_arm") > 0.8


def test_the_entry_in_force_decides_which_parts_are_faint_whatever_the_checkpoint_was_trained_with(
    tmp_path: Path,
) -> None:
    entries = [settings(epochs=1, inference={"part_threshold": threshold}) for threshold in (0.0, 0.1)]
    shown, hidden = in_force.predictions(tmp_path, entries, sources(TEST, faint=("right_arm",)), part_threshold=1.0)
    assert shown.num_rows == hidden.num_rows
    assert not shown.equals(hidden)


def test_a_single_frame_nobody_and_parts_never_annotated(trained: Path) -> None:
    method = build(settings())
    once = scene("7", frames=range(1, 2))
    assert method.predict(sources([once]), trained).num_rows == 3
    assert method.predict(sources([]), trained).num_rows == 0
    unknown = once.assign(part=once.part.replace({"head": "left_foot"}))
    states = method.predict(sources([unknown]), trained).to_pandas().set_index("part")
    assert (states.state["left_foot"], states.state_score["left_foot"]) == ("none", 1.0)


def test_the_action_tells_what_boxes_do_not(tmp_path: Path) -> None:
    def of_action(video: int) -> pd.DataFrame:
        table = scene(str(video), frames=range(1, 27))
        return table.assign(state=table.state.where(table.part != "head", "turn" if video % 2 else "none"))

    scenes = [of_action(video) for video in range(100, 110)]
    method = build(settings(epochs=8, action=True))
    method.fit(sources([of_action(video) for video in range(24)]), sources([]), tmp_path, seed=0)
    predicted = method.predict(sources(scenes), tmp_path)
    assert accuracy(predicted, scenes, "head") > 0.95
    assert outputs.VIDEO_ACTIONS in method.predict_reads
    assert outputs.VIDEO_ACTIONS not in build(settings()).predict_reads


def confused(given: InMemory) -> InMemory:
    """The same with a detector that takes the head for the left arm, and the left arm for the head."""
    found = given(outputs.DETECTIONS).to_pandas().astype({"part": str})
    exchanged = found.part.replace({"head": "left_arm", "left_arm": "head"})
    detected = tables.conform(found.assign(part=exchanged), tables.DETECTIONS)
    return InMemory({**given.tables, outputs.DETECTIONS: detected, outputs.TRACKS: track(detected)})


def test_mistakes_of_the_detector_are_learned_with_its_boxes(tmp_path: Path, trained: Path) -> None:
    method, test = build(settings(epochs=15, boxes="detected")), confused(sources(TEST))
    fitted = method.fit(confused(sources([scene(str(video)) for video in range(60)])), test, tmp_path, seed=0)
    assert accuracy(method.predict(test, trained), TEST, "left_arm") < 0.7
    assert accuracy(method.predict(test, tmp_path), TEST, "left_arm") > 0.8
    assert fitted["part_accuracy"] > 0.9
    assert outputs.DETECTIONS in method.fit_reads
    assert outputs.DETECTIONS not in build(settings()).fit_reads


def test_both_kinds_of_boxes_are_sequences_and_only_annotated_ones_are_made_doubtful() -> None:
    given, entry = sources([scene("3")]), settings(boxes="both", augment={"drop": 0, "stretch": 0, "flip": 0})
    space = mirror_closed(LabelSpace.of(given(outputs.STATE_LABELS), pairs="all"))
    kinds = [labelled(given, space, [], entry, detected=detected) for detected in (False, True)]
    data = TrainingSequences(kinds, entry, space=space)
    assert len(data) == STRIDE + 1  # the frames between the sampled ones are annotated, too
    sure = [data.sample(index, np.random.default_rng(0))["confidences"] for index in range(len(data))]
    assert [len(np.unique(each)) > 3 for each in sure] == [*[True] * STRIDE, False]


def test_something_is_labelled_in_whatever_is_cut_out_of_a_video_that_is_labelled_in_part() -> None:
    seen, told = (sources([scene("3", frames=frames)]) for frames in (range(1, 201), range(96, 106)))
    given = InMemory({**seen.tables, **{each: told(each) for each in (outputs.PEOPLE, outputs.PARTS)}})
    entry = settings(boxes="detected", frames=4)
    space = mirror_closed(LabelSpace.of(given(outputs.STATE_LABELS), pairs="all"))
    data = TrainingSequences([labelled(given, space, [], entry, detected=True)], entry, space=space)
    drawn = [data.sample(0, np.random.default_rng(seed))["targets"] for seed in range(40)]
    assert all(len(targets) == 4 and (targets >= 0).any() for targets in drawn)
    assert len({(targets >= 0).any(axis=1).tobytes() for targets in drawn}) == 5  # frames 96 and 101 anywhere in it


def test_a_detected_part_has_the_state_of_the_person_who_is_overlapped_most() -> None:
    rows = scene("7", people=2, frames=range(1, 2))
    given = sources([rows])
    found = given(outputs.DETECTIONS).to_pandas().astype({"part": str, "video_id": str})
    found.loc[found.person == 0, "person_x1"] += 4
    twice = found[found.person == 0].assign(person=2, person_x1=found.person_x1 + 8)  # someone is found a second time
    away = found[found.person == 0].assign(person=3, person_x1=150, person_x2=190)
    new = found[found.person == 1].head(1).assign(part="left_foot")  # not annotated
    every = tables.conform(pd.concat((found, twice, away, new)), tables.DETECTIONS)
    states = states_of_detected(every, given(outputs.PEOPLE), given(outputs.PARTS))
    keys = every.select([*_KEYS, "part"]).to_pandas().astype({"video_id": str, "part": str})
    expected = keys.merge(rows[[*_KEYS, "part", "state"]], on=[*_KEYS, "part"], how="left").state
    assert states == expected.astype(object).where(expected.notna(), None).tolist()
    assert states.count(None) == 7


def random_boxes(rng: np.random.Generator, length: int = 7) -> Boxes:
    corners = rng.uniform(0, 50, (length, 11, 4)).astype(np.float32)
    corners[..., 2:] += corners[..., :2] + 4
    confidences = rng.uniform(0.2, 1, (length, 11)) * (rng.random((length, 11)) > 0.3)
    confidences[:, 0] = rng.random(length) > 0.2
    return Boxes(corners, confidences.astype(np.float32))


def test_mirroring_twice_changes_nothing() -> None:
    boxes = random_boxes(np.random.default_rng(0))
    once = boxes.mirrored(PARTS)
    assert (once.corners[..., 2] > once.corners[..., 0]).all()
    assert not np.array_equal(once.confidences, boxes.confidences)
    for mine, original in zip(once.mirrored(PARTS), boxes, strict=True):
        np.testing.assert_array_equal(mine, original)


def network() -> PartTrajectoryNet:
    torch.manual_seed(0)
    return classifier.build(settings().network, SPACE, 0).eval()


@torch.no_grad()
def test_what_is_masked_and_what_is_padded_has_no_influence() -> None:
    rng, net, none = np.random.default_rng(1), network(), torch.zeros(1, 0)
    corners, confidences = (torch.from_numpy(each)[None] for each in random_boxes(rng))
    there = confidences > 0
    there &= there[..., :1]
    before = net(corners, confidences * there, none)
    elsewhere = torch.where(there[..., None], corners, torch.from_numpy(random_boxes(rng).corners)[None])
    seen = there[0, :, 0]
    torch.testing.assert_close(net(elsewhere, confidences * there, none)[0, seen], before[0, seen])
    padded = [torch.cat((each, torch.zeros_like(each)), 1) for each in (corners, confidences * there)]
    torch.testing.assert_close(net(*padded, none)[:, : len(seen)], before)
    moved = corners + there[..., None] * torch.tensor((0.0, 0, 9, 0))
    assert not torch.allclose(net(moved, confidences * there, none), before)


@torch.no_grad()
def test_neither_the_camera_s_distance_nor_the_place_in_the_picture_matters() -> None:
    corners, confidences = (torch.from_numpy(each)[None] for each in random_boxes(np.random.default_rng(2)))
    net, none = network(), torch.zeros(1, 0)
    elsewhere = 3 * corners + torch.tensor((100.0, 40, 100, 40))
    torch.testing.assert_close(net(elsewhere, confidences, none), net(corners, confidences, none), atol=1e-4, rtol=1e-4)


def test_a_batch_of_noise_is_learned_by_heart(tmp_path: Path) -> None:
    class Noise:
        def __len__(self) -> int:
            return 8

        def sample(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
            fixed = np.random.default_rng(index)
            boxes = random_boxes(fixed, length=3 + index % 3)
            targets = [[fixed.choice(labels) for labels in SPACE.of_part] for _ in boxes.confidences]
            return {**boxes._asdict(), "targets": np.array(targets), "actions": np.zeros(0, np.float32)}

    def loss(net: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = net(batch["corners"], batch["confidences"], batch["actions"])
        return part_state_loss(logits.flatten(0, 1), batch["targets"].flatten(0, 1), SPACE, kind="softmax"), {}

    task = loop.Task(network(), Noise(), loss, collate=collate)
    fitted = loop.fit(task, settings(epochs=150).training, folder=tmp_path, seed=0)
    assert fitted.metrics["loss"] < 0.05 < 0.9 < fitted.history[0]["loss"]


def test_sequences_hold_each_person_once_in_steps_of_a_stride() -> None:
    given = sources([scene("1", people=2, frames=range(1, 12)), scene("2", frames=range(3, 20, 7))])
    people = given(outputs.PEOPLE)
    found = arrange(people, given(outputs.PARTS), track(people), PARTS, stride=STRIDE)
    assert sorted(np.concatenate(found.sequences).tolist()) == list(range(people.num_rows))
    frames = people["frame"].to_numpy()
    for own, steps in zip(found.sequences, found.steps, strict=True):
        np.testing.assert_array_equal(frames[own] - frames[own[0]], steps * STRIDE)
        lefts = found.boxes.corners[own, 0, 0]
        assert (lefts == lefts[0]).all()
    gap = at_steps(found.boxes, np.array([0, 1]), np.array([0, 3]))
    assert (gap.confidences[:, 0] > 0).tolist() == [True, False, False, True]


def test_augmentation_keeps_sizes_about_and_drops_parts_but_never_the_person() -> None:
    rng = np.random.default_rng(3)
    boxes = random_boxes(rng, length=200)
    boxes = Boxes(boxes.corners, np.ones_like(boxes.confidences))
    changed = augment(boxes, recipe.TrajectoryAugmentation(drop=0.3), rng)
    assert changed.confidences.dtype == changed.corners.dtype == np.float32
    assert (changed.confidences[:, 0] > 0).all()
    assert 0.3 < (changed.confidences[:, 1:] == 0).mean() < 0.8
    still = augment(boxes, recipe.TrajectoryAugmentation(jitter=0, drop=0, stretch=0), rng)
    np.testing.assert_array_equal(still.corners, boxes.corners)


@torch.no_grad()
def test_classifying_averages_over_the_mirror_image() -> None:
    space, boxes = (
        mirror_closed(LabelSpace((("left_arm", "a"), ("left_arm", "b")))),
        random_boxes(np.random.default_rng(4)),
    )
    assert ("right_arm", "b") in space.pairs
    net = classifier.build(settings().network, space, 0).eval()
    own, steps = [np.arange(len(boxes.corners))], [np.arange(len(boxes.corners))]
    people = [
        Trajectories(each, own[0], np.array(["v"] * len(own[0])), own, steps) for each in (boxes, boxes.mirrored(PARTS))
    ]
    plain, mirrored = (classify(net, each, np.zeros((len(own[0]), 0), np.float32), space) for each in people)
    np.testing.assert_allclose(mirrored[:, space.mirrored_labels], plain, atol=1e-6)


def test_equal_seeds_give_equal_weights(tmp_path: Path) -> None:
    given, none = sources([scene(str(video)) for video in range(3)]), sources([])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(settings(epochs=1)).fit(given, none, tmp_path / name, seed=5)
    one, two = (load_checkpoint(tmp_path / name / WEIGHTS)[0] for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
