"""Method `instance_level` end to end on small videos of several people, each in states of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from torch import nn

from tests.methods import in_force, several_people
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.clips import reading as clips
from tps_pipeline.clips.reading import Windows
from tps_pipeline.labels import PARTS
from tps_pipeline.methods import build
from tps_pipeline.methods.clips import classifier as clip_classifier
from tps_pipeline.methods.lessons import TrainingClips
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.methods.people import classifier as people_classifier
from tps_pipeline.methods.people import training as people_training
from tps_pipeline.methods.people.classifier import Everyone
from tps_pipeline.methods.people.instance_level import InstanceLevel
from tps_pipeline.methods.people.key_frames import KeyFrame, key_frame_videos, matching, shares
from tps_pipeline.models.relations import People
from tps_pipeline.reading import InMemory
from tps_pipeline.training import loop

pytestmark = pytest.mark.whole

PLAIN: dict[str, Any] = {
    "kind": "instance_level",
    "network": {"depths": [1, 1, 1, 1], "stem": 16, "beta": 0.25},
    "relation": "person_context_person",
    "person_width": 32,
    "relation_width": 32,
    "frames": 8,
    "image_size": 64,
    "loss": "softmax",
    "training": {
        "epochs": 12, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.003, "warmup": 0.2, "clip_norm": 1,
    },
    "clips_per_video": 2,
    "box_jitter": 0.05,
    "cache_megabytes": 16,
}  # fmt: skip


def settings(*, epochs: int = 12, learning_rate: float = 0.003, **changes: Any) -> recipe.InstanceLevel:
    training = PLAIN["training"] | {"epochs": epochs, "learning_rate": learning_rate}
    return recipe.InstanceLevel.model_validate(PLAIN | {"training": training} | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("instance_level")
    sources = several_people.make(folder / "train", range(48)), several_people.make(folder / "val", range(100, 108))
    (folder / "checkpoint").mkdir()
    return folder / "checkpoint", build(settings()).fit(*sources, folder / "checkpoint", seed=0)


def test_people_of_one_frame_get_states_of_their_own(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    folder, metrics = trained
    assert metrics["part_accuracy"] > 0.9
    test = several_people.make(tmp_path, range(200, 212))
    predicted = build(settings(inference={"person_threshold": 0.1})).predict(test, folder)
    assert predicted.schema.equals(tables.PREDICTIONS)
    for part in ("hip", "head", "left_arm", "right_arm"):
        assert several_people.accuracy(predicted, part) > 0.9
    states = predicted.to_pandas().groupby(["video_id", "frame", "part"], observed=True).state
    assert (states.nunique() > 1).sum() > 20


def test_everyone_above_the_threshold_is_predicted(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    test = several_people.make(tmp_path, range(200, 204))
    detections = test(outputs.DETECTIONS).to_pandas()
    for threshold in (0.01, 0.1, 1.0):
        predicted = build(settings(inference={"person_threshold": threshold})).predict(test, trained[0]).to_pandas()
        kept = detections[detections.person_score >= threshold].reset_index(drop=True)
        assert predicted[[*tables.KEYS, "x1"]].astype(str).equals(kept[[*tables.KEYS, "x1"]].astype(str))


def test_the_entry_in_force_decides_who_is_looked_at_whatever_the_checkpoint_was_trained_with(tmp_path: Path) -> None:
    source = several_people.make(tmp_path / "data", range(200, 202))
    entries = [settings(epochs=1, inference={"person_threshold": threshold}) for threshold in (0.01, 0.1)]
    everyone, sure = in_force.predictions(tmp_path, entries, source, person_threshold=1.0)
    assert everyone.num_rows == source(outputs.DETECTIONS).num_rows
    assert 0 < sure.num_rows == (everyone["person_score"].to_numpy() >= 0.1).sum() < everyone.num_rows


def test_a_clip_is_looked_at_once_however_many_people_are_in_it(
    trained: tuple[Path, dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = people_classifier.load(trained[0], settings(inference={"person_threshold": 0.0}))
    looks, decoded = [], Counter()

    def read_frames(path: Path, *arguments: Any, **options: Any):
        decoded[path] += 1
        return original(path, *arguments, **options)

    original = clips.read_frames
    monkeypatch.setattr(clips, "read_frames", read_frames)
    monkeypatch.setattr(clip_classifier, "PIXELS", 2 * 8 * 64 * 64)
    classifier.model.backbone.register_forward_pre_hook(lambda _, given: looks.append(len(given[0])))  # pyright: ignore
    test = several_people.make(tmp_path, range(200, 206))
    assert {len(several_people.people(index)) for index in range(200, 206)} == {1, 2, 3}
    people_classifier.predict(
        classifier, InstanceLevel(settings()).clips, test(outputs.DETECTIONS), test(outputs.VIDEOS), tmp_path
    )
    assert looks == 6 * [2, 1]  # clips of a video's three frames, two at once
    assert set(decoded.values()) == {1}


def test_a_person_is_scored_alike_alone_and_in_a_batch_of_clips(trained: tuple[Path, dict[str, float]]) -> None:
    classifier = people_classifier.load(trained[0], settings())
    random = np.random.default_rng(0)
    frames, shown = random.integers(0, 255, (12, 64, 64, 3), dtype=np.uint8), random.integers(0, 12, (3, 8))
    boxes, clip_of = np.sort(random.random((4, 2, 2)), axis=1).reshape(4, 4).astype(np.float32), np.array([0, 0, 2, 2])
    everyone = Everyone(boxes, clip_of)
    together = people_classifier.score(classifier, Windows(frames, shown), everyone)
    alone = people_classifier.score(classifier, Windows(frames, shown[2:]), everyone.some(clip_of == 2, 2))
    assert together[2:] == pytest.approx(alone, abs=1e-5)


def test_neighbouring_clips_are_one_sample_and_their_people_stay_who_they_are(tmp_path: Path) -> None:
    entry = settings(tracked=True, track_stride=4, clips_per_video=3, augment={"flip": 0.5}, box_jitter=0.0)
    source = several_people.make(tmp_path, range(202, 206))
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="all")
    videos = key_frame_videos(source, space, entry)
    people = source(outputs.PEOPLE)
    first = 6 * len(several_people.people(202))
    content = {outputs.PEOPLE: pa.concat_tables([people.slice(first), people.slice(0, first)])}  # another shard's
    shuffled = replace(source, tables={**source.tables, **content})
    for one, other in zip(videos, key_frame_videos(shuffled, space, entry), strict=True):
        assert [key_frame.tracks.tolist() for key_frame in one.key_frames] == [
            key_frame.tracks.tolist() for key_frame in other.key_frames
        ]
    method = InstanceLevel(entry)
    for seed in range(10):
        indices, chosen = method.draw(videos[0], np.random.default_rng(seed))
        assert np.diff(indices[:, 4]).tolist() in ([4, 4], [4, 2])  # key frames; the last labelled one is near the end
        assert all(np.array_equal(key_frame.tracks, chosen[0].tracks) for key_frame in chosen)
    data = TrainingClips(videos, method.draw, entry, partial(people_training.augmented, entry, space))
    flips = set()
    for seed in range(10):
        (sample,) = data.sample(0, np.random.default_rng(seed))
        assert sample["clips"].shape == (3, 8, 64, 64, 3)
        targets = np.stack([key_frame.targets for key_frame in sample["key_frames"]])
        assert (
            targets == targets[:1]
        ).all()  # nobody's states change in these videos, and all clips are mirrored alike
        flips.add(targets.tobytes())
    assert len(flips) == 2
    batch = people_training.collate([data.sample(at, np.random.default_rng(0))[0] for at in (0, 1)])
    sizes = [len(several_people.people(index)) for index in (202, 203)]
    assert batch["clip_of"].tolist() == np.repeat(np.arange(6), np.repeat(sizes, 3)).tolist()
    assert batch["tracks"].tolist() == [*np.tile(np.arange(sizes[0]), 3), *np.tile(sizes[0] + np.arange(sizes[1]), 3)]


def test_tracked_people_are_told_apart_end_to_end(tmp_path: Path) -> None:
    entry = settings(relation="person_person", relation_blocks=2, tracked=True, track_stride=4, clips_per_video=3)
    entry = entry.model_copy(update={"training": entry.training.model_copy(update={"batch_size": 6})})
    method = build(entry.model_copy(update={"inference": recipe.InstanceLevelInference(person_threshold=0.1)}))
    assert set(method.predict_reads) - set(build(settings()).predict_reads) == {outputs.TRACKS}
    (tmp_path / "checkpoint").mkdir()
    sources = several_people.make(tmp_path / "train", range(48)), several_people.make(tmp_path / "val", range(100, 104))
    assert method.fit(*sources, tmp_path / "checkpoint", seed=0)["part_accuracy"] > 0.9
    predicted = method.predict(several_people.make(tmp_path / "test", range(200, 208)), tmp_path / "checkpoint")
    for part in ("hip", "head", "left_arm", "right_arm"):
        assert several_people.accuracy(predicted, part) > 0.9


def test_what_cannot_be_decoded_gets_the_most_frequent_states(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    test = several_people.make(tmp_path, range(200, 202))
    (tmp_path / "video_201.mp4").write_bytes(b"no video")
    predicted = build(settings()).predict(test, trained[0]).to_pandas()
    lost = predicted[(predicted.video_id == "video_201") & (predicted.part == "head")]
    assert lost.state_score.nunique() == 1
    assert 0.5 <= lost.state_score.iloc[0] < 0.7


@pytest.mark.parametrize("frames", [1, 2])
def test_videos_shorter_than_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    monkeypatch.setattr(several_people, "FRAMES", frames)
    source = several_people.make(tmp_path, range(3))
    method = build(settings(epochs=1, frames=4))
    method.fit(source, source, tmp_path, seed=0)
    everyone = sum(len(several_people.people(index)) + 1 for index in range(3))
    assert method.predict(source, tmp_path).num_rows == everyone * len(PARTS)


def test_a_shard_without_people_has_no_predictions(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    test = several_people.make(tmp_path, range(200, 201))
    nobody = replace(test, tables={output: table.slice(0, 0) for output, table in test.tables.items()})
    assert build(settings()).predict(nobody, trained[0]).num_rows == 0


def test_detected_people_who_match_are_learned_from_as_whom_they_match(tmp_path: Path) -> None:
    source = several_people.make(tmp_path, range(202, 203))
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="all")
    squares, detections = several_people.people(202), source(outputs.DETECTIONS).to_pandas()
    assert len(squares) > 1
    at_first = (detections.frame == 1) & (detections.person == 0)
    detections.loc[at_first, "person_x1"] += 1
    detections.loc[(detections.frame == 11) & (detections.person == 1), "person_score"] = 0.4
    content = {outputs.DETECTIONS: tables.conform(detections, tables.DETECTIONS)}
    mixed = replace(source, tables={**source.tables, **content})
    entry = settings(tracked=True, matching_detections={"person_score": 0.5, "iou": 0.9})
    assert outputs.DETECTIONS in build(entry).fit_reads
    assert outputs.DETECTIONS not in build(settings()).fit_reads
    (alone,), (video,) = (key_frame_videos(mixed, space, each) for each in (settings(tracked=True), entry))
    added = [len(key_frame.boxes) - len(squares) for key_frame in video.key_frames]
    # Frames 6 is not annotated; at 1 everyone matches, at 11 all but the doubtful one; the ghost is nobody.
    assert dict(zip(video.frames.tolist(), added, strict=True)) == {0: 2, 2: 0, 4: 0, 6: 0, 8: 0, 10: 1}
    first, before = video.key_frames[0], alone.key_frames[0]
    for person, square in enumerate(squares[:2]):
        same = first.tracks == before.tracks[person]
        assert same.sum() == 2
        assert (first.targets[same] == before.targets[person]).all()
        x1 = square.box(0)[0]
        lefts = sorted((first.boxes[same, 0] * several_people.SIZE).tolist())
        assert lefts == pytest.approx([x1, x1 + (person == 0)])


def test_a_detection_between_two_people_is_the_nearer_one() -> None:
    people = pd.DataFrame(
        {"video_id": "v", "frame": 1, "person": [0, 1], "x1": [0, 4], "y1": 0, "x2": [19, 23], "y2": 9}
    )
    found = {"person": 3, "person_score": 1.0, **dict(zip(tables.PERSON_BOX, (3, 0, 22, 9), strict=True))}
    row = {"video_id": "v", "frame": 1, "part": "head", "part_score": 1.0, "x1": 0, "y1": 0, "x2": 1, "y2": 1} | found
    detections = tables.conform(pd.DataFrame([row]), tables.DETECTIONS)
    got = matching(people, detections, recipe.MatchingDetections(iou=0.5))
    assert got.to_dict("records") == [{"video_id": "v", "frame": 1, "person": 1, "x1": 3, "y1": 0, "x2": 22, "y2": 9}]


def test_who_has_no_labelled_part_is_seen_but_not_learned_from(tmp_path: Path) -> None:
    source = several_people.make(tmp_path, range(202, 203))
    parts, videos = source(outputs.PARTS), source(outputs.VIDEOS)
    content = {
        outputs.PARTS: parts.filter(~((pc.field("person") == 0) & (pc.field("frame") == 3))),
        outputs.PEOPLE: source(outputs.PEOPLE),
        outputs.VIDEOS: tables.conform(videos.to_pandas().assign(n_frames=8), tables.VIDEOS),
    }
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="all")
    (video,) = key_frame_videos(InMemory(content, data=tmp_path), space, settings())
    squares = several_people.people(202)
    assert len(squares) > 1
    assert video.frames.tolist() == [0, 2, 4, 6]  # the others are past the end
    assert [len(key_frame.boxes) for key_frame in video.key_frames] == 4 * [len(squares)]
    assert [int((key_frame.targets[0] >= 0).sum()) for key_frame in video.key_frames] == [4, 0, 4, 4]
    x1, y1, x2, y2 = squares[0].box(2)
    assert video.key_frames[1].boxes[0] * several_people.SIZE == pytest.approx([x1, y1, x2 + 1, y2 + 1])


def test_boxes_go_where_the_people_go_and_sides_change_in_the_mirror() -> None:
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b")))
    augment = {"rotation": 15, "scale": 0.2, "translate": 0.15, "flip": 0.5}
    entry = settings(augment=augment, box_jitter=0.0)
    picture = np.zeros((2, 60, 80, 3), np.uint8)
    picture[:, 18:42, 20:50] = 255
    targets = np.array([[labels[at % 2] for at, labels in enumerate(space.of_part)]])
    key_frame = KeyFrame(shares(np.array([[20, 18, 49, 41]]), 80, 60), targets, *np.zeros((2, 1), int))
    mirrored = 0
    for seed in range(30):
        moved, people = people_training.moved(entry, space, picture, key_frame, np.random.default_rng(seed))
        rows, columns = np.nonzero(moved[0, ..., 0] > 127)
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / (80, 60, 80, 60)
        assert people.boxes[0] == pytest.approx(seen, abs=0.03)
        flipped = not np.array_equal(people.targets, targets)
        assert np.array_equal(people.targets, space.mirrored(targets) if flipped else targets)
        mirrored += flipped
    assert 5 < mirrored < 25


def test_nobody_out_of_the_picture_is_learned_from_and_somebody_always_is() -> None:
    boxes = np.array([[0.0, 0.4, 0.1, 0.6], [0.4, 0.4, 0.6, 0.6]], np.float32)
    away = np.array([[1.0, 0.0, -8.0], [0.0, 1.0, 0.0]])
    moved, left = people_training.warped(boxes, away, 100, 100)
    assert left == pytest.approx([0.2, 1.0], abs=1e-5)
    assert moved[0] == pytest.approx([0.0, 0.4, 0.02, 0.6], abs=1e-5)
    space = LabelSpace((("head", "a"), ("head", "b")))
    entry = settings(augment={"translate": 3.0}, box_jitter=0.0)
    targets = np.full((2, len(PARTS)), -1)
    targets[1, PARTS.index("head")] = 1
    key_frame, picture = KeyFrame(boxes, targets, *np.zeros((2, 2), int)), np.zeros((1, 50, 50, 3), np.uint8)
    for seed in range(30):
        _, people = people_training.moved(entry, space, picture, key_frame, np.random.default_rng(seed))
        assert (people.targets >= 0).any()
        assert ((people.boxes >= 0) & (people.boxes <= 1)).all()


class Noise:
    """Four clips of three people whom nothing but pixels and places tell apart, with random targets."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space

    def __len__(self) -> int:
        return 4

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        fixed = np.random.default_rng(index)
        clip = fixed.integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
        boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.0, 1, 0.5], [0.0, 0.5, 0.5, 1.0]], np.float32)
        targets = np.array([[fixed.choice(labels) for labels in self.space.of_part] for _ in boxes])
        return {"clips": clip[None], "key_frames": [KeyFrame(boxes, targets, np.arange(3), np.zeros(3, int))]}


@pytest.mark.parametrize(
    ("relation", "loss"),
    [("person_context_person", "bce"), ("person_context_person", "softmax"), ("person_person", "bce")],
)
def test_one_batch_is_learned_by_heart(tmp_path: Path, relation: str, loss: Literal["bce", "softmax"]) -> None:
    narrow = PLAIN["network"] | {"stem": 8}
    entry = settings(epochs=30, learning_rate=0.01, relation=relation, relation_dropout=0.0, network=narrow)
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b", "c")))

    def of_batch(network: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clips = clip_classifier.normalise(batch["clips"], entry.network)
        logits = network(clips, People(batch["boxes"], batch["clip_of"]))
        return part_state_loss(logits, batch["targets"], space, kind=loss), {}

    torch.manual_seed(0)
    network = people_classifier.build(entry, len(space))
    task = loop.Task(network, Noise(space), of_batch, collate=people_training.collate)
    fitted = loop.fit(task, entry.training, folder=tmp_path, seed=0)
    assert fitted.metrics["loss"] < 0.05 < 0.6 < fitted.history[0]["loss"]
