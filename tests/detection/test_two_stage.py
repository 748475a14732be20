from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from tests.detection.scenes import (
    BODY,
    COLORS,
    GROUND,
    HEIGHT,
    WIDTH,
    detector_settings,
    jpeg,
    network,
    scene,
    write_frames,
)
from tps_pipeline import recipe, tables
from tps_pipeline.detection import detector, two_stage
from tps_pipeline.detection.augment import Example
from tps_pipeline.detection.average_precision import average_precision
from tps_pipeline.detection.datasets import part_samples, person_samples
from tps_pipeline.detection.detector import TrainedDetector, load
from tps_pipeline.detection.pictures import Pictures
from tps_pipeline.detection.train import collate, train
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PARTS, PERSON, swap
from tps_pipeline.learners.detector import PART, DetectorLearner
from tps_pipeline.learners.detector import PERSON as PERSON_DETECTOR
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.outputs import checkpoint
from tps_pipeline.reading import InMemory
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.training.checkpoint import WEIGHTS
from tps_pipeline.video.frames import FrameFile


def people_in(
    frames: list[tuple[str, int, np.ndarray]], settings: recipe.TwoStage | None = None
) -> list[two_stage.PersonDetections]:
    pictures = Pictures([(video, frame) for video, frame, _ in frames], [picture for *_, picture in frames])
    knows = network([BODY], ("person",))
    return two_stage.find_people(
        knows, pictures, knows.prepare(pictures.frames), settings=settings or recipe.TwoStage()
    )


def parts_of(people: list[two_stage.PersonDetections], *, mirror: bool = False) -> list[dict[str, np.ndarray]]:
    knows = network(COLORS, PARTS)
    return two_stage.find_parts(knows, *two_stage.cut(knows, people, mirror=mirror), mirror=mirror)


def test_people_and_parts_are_mapped_back_to_frame_pixels() -> None:
    settings = recipe.TwoStage(crop_margin=0.1)
    pictures = [(f"v{i}", 1 + 5 * i, scene(left)[0]) for i, left in enumerate((4, 40, 70))]
    people = people_in(pictures, settings)
    assert [(p.video_id, p.frame, len(p.boxes)) for p in people] == [("v0", 1, 1), ("v1", 6, 1), ("v2", 11, 1)]
    for p, left in zip(people, (4, 40, 70), strict=True):
        assert np.abs(p.boxes[0] - (left, 10, left + 49, 79)).max() <= 1
        assert p.cuts[0].shape == (84, 60 if left > 4 else 59, 3)
    columns = parts_of(people)
    for found, left in zip(columns, (4, 40, 70), strict=True):
        assert found["part"].tolist() == list(PARTS)
        boxes = np.stack([found[name] for name in BOX], 1)
        assert np.abs(boxes - list(scene(left)[1].values())).max() <= 1
        assert np.allclose(found["part_score"], 0.8 * 0.8 * 0.5)


def test_what_both_a_crop_and_its_mirror_image_show_is_fused() -> None:
    people = people_in([("v0", 1, scene(4)[0]), ("v1", 1, scene(40)[0])])
    for plain, both in zip(parts_of(people), parts_of(people, mirror=True), strict=True):
        boxes, fused = (np.stack([found[name] for name in BOX], 1) for found in (plain, both))
        assert np.abs(boxes - fused).max() <= 1
        # The network knows parts by their colours: left and right are not exchanged in the mirror image that it sees.
        sided = np.array([part != swap(part) for part in PARTS])
        np.testing.assert_allclose(both["part_score"], plain["part_score"] * np.where(sided, 0.5, 1), rtol=1e-5)


def test_two_views_give_the_mean_by_scores_or_the_surer_at_half() -> None:
    one = np.array(((0, 0, 10, 10), (0, 0, 10, 10)), np.float32), np.array((0.6, 0.3), np.float32)
    other = np.array(((2, 0, 12, 10), (50, 0, 60, 10)), np.float32), np.array((0.2, 0.8), np.float32)
    boxes, scores = two_stage._fused(one, other)
    np.testing.assert_allclose(boxes, ((0.5, 0, 10.5, 10), (50, 0, 60, 10)), rtol=1e-6)
    np.testing.assert_allclose(scores, (0.4, 0.4), rtol=1e-6)


def test_pictures_of_a_shape_are_one_batch_and_answers_keep_their_order() -> None:
    wide, tall = scene(40)[0], np.rot90(scene(40)[0])
    knows = replace(network([BODY], ("person",)), canvas="rectangle")
    batches = knows.prepare([wide, tall, wide[:50], tall])
    assert [(batch.rows, batch.images.shape) for batch in batches] == [
        ([0], (1, 96, 128, 3)),
        ([1, 3], (2, 128, 96, 3)),
        ([2], (1, 64, 128, 3)),
    ]
    square = network([BODY], ("person",))
    for found, expected in zip(knows(batches), square(square.prepare([wide, tall, wide[:50], tall])), strict=True):
        np.testing.assert_allclose(found[0][0], expected[0][0], atol=1)


def test_half_precision_moves_boxes_by_less_than_a_pixel() -> None:
    torch.manual_seed(0)
    made = detector.build(detector_settings(64).network, classes=10).fuse()
    exact = TrainedDetector(made, PARTS, 64)
    pictures = [scene(left)[0] for left in (4, 40)]
    (boxes, scores), (half_boxes, half_scores) = (
        found[0] for found in (each(each.prepare(pictures)) for each in (exact, replace(exact, precision="bf16-mixed")))
    )
    assert 0 < np.abs(boxes - half_boxes).max() < 1.0
    np.testing.assert_allclose(scores, half_scores, atol=0.01)


def test_frames_without_people_give_nothing_and_nothing_given_finds_nothing() -> None:
    assert people_in([("v", 1, np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8))]) == []
    assert people_in([]) == []
    assert parts_of([]) == []


def test_parts_that_are_not_there_get_a_faint_box_inside_the_frame() -> None:
    picture, _ = scene(40)
    picture[13:22, 45:60] = BODY  # the head is gone
    found = parts_of(people_in([("v", 1, picture)]))[0]
    assert found["part"].tolist() == list(PARTS)
    assert found["part_score"][:2] == pytest.approx([0.8 * 0.02, 0.8 * 0.8 * 0.5])
    # Its best box is far to the left of the picture.
    assert (found["x1"][0], found["x2"][0]) == (0, 0)


def test_to_pixels_gives_at_least_one_pixel_inside_the_picture() -> None:
    boxes = np.array(((1.6, 2.4, 5.0, 6.0), (-9, -9, -3, 4), (500, 500, 900, 900), (7.2, 7.2, 7.3, 7.3)), np.float32)
    pixels = two_stage.to_pixels(boxes, (100, 50)).tolist()
    assert pixels == [[2, 2, 4, 5], [0, 0, 0, 3], [99, 49, 99, 49], [7, 7, 7, 7]]


Annotated = tuple[list[tuple[str, int, bytes]], list[pa.Table]]


@pytest.fixture(scope="module")
def people_in_frames() -> Annotated:
    """32 frames of one person, annotated."""
    rng = np.random.default_rng(0)
    frames, people, parts, rows = [], [], [], []
    for i in range(32):
        left = int(rng.integers(0, 75))
        picture, boxes = scene(left)
        frames.append(("v", 1 + 5 * i, 1))
        people.append(("v", 1 + 5 * i, 0, left, 10, left + 49, 79))
        parts += [("v", 1 + 5 * i, 0, part, *box, "none") for part, box in boxes.items()]
        rows.append(("v", 1 + 5 * i, jpeg(picture)))
    schemas = (tables.LABELLED_FRAMES, tables.PEOPLE, tables.PARTS)
    made = [
        tables.conform(pd.DataFrame(r, columns=s.names), s)
        for r, s in zip((frames, people, parts), schemas, strict=True)
    ]
    return rows, made


@pytest.mark.whole
def test_two_stages_from_training_to_detections_even_beside_damaged_frames(
    tmp_path: Path, people_in_frames: Annotated, caplog: pytest.LogCaptureFixture
) -> None:
    rows, (labelled, people, parts) = people_in_frames
    damaged = [("w", 1, b"no jpeg"), ("w", 6, rows[0][2])]
    frames = FrameFile(write_frames(tmp_path / "frames.arrow", rows + damaged))
    known = labelled.append_column("width", [[WIDTH] * 32]).append_column("height", [[HEIGHT] * 32])
    samples = {
        "person": person_samples(labelled, people, known),
        "part": part_samples(people, parts, known, margin=0.1, flip="none"),
    }
    for name, labels, epochs in (("person", ["person"], 6), ("part", list(PARTS), 1)):
        metrics = train(
            detector_settings(64, epochs), samples[name], [frames], labels,
            val_samples=samples[name], val_frames=[frames], folder=tmp_path / name, seed=0,
        )  # fmt: skip
        assert {"loss", "box", "objectness", "classification", "ap", "ap50"} <= metrics.keys()
        assert 0 <= metrics["ap"] <= metrics["ap50"] <= 1
    losses = pd.read_csv(tmp_path / "person" / "log.csv").loss
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]

    checkpoints = [tmp_path / name / "model.safetensors" for name in ("person", "part")]
    with caplog.at_level(logging.WARNING):
        found = two_stage.detect(frames, *checkpoints, settings=recipe.TwoStage(person_threshold=0.0))
    assert "frame 1 of w is skipped" in caplog.text
    assert found.schema == tables.DETECTIONS
    table = found.to_pandas()
    seen = set(zip(table.video_id, table.frame, strict=True))
    assert seen == {("v", 1 + 5 * i) for i in range(32)} | {("w", 6)}
    everyone = table.groupby(["video_id", "frame", "person"], observed=True)
    assert (everyone.part.nunique() == len(PARTS)).all()
    assert (everyone.size() == len(PARTS)).all()
    assert table.person.max() < 10
    best_first = everyone.person_score.first().groupby(["video_id", "frame"], observed=True)
    assert best_first.apply(lambda scores: scores.is_monotonic_decreasing).all()
    for box in (BOX, PERSON_BOX):
        corners = table[[*box]].to_numpy()
        assert (corners >= 0).all()
        assert (corners[:, [0, 2]] < WIDTH).all()
        assert (corners[:, [1, 3]] < HEIGHT).all()
        assert (corners[:, 2:] >= corners[:, :2]).all()
    scored = average_precision(found, labelled, people, parts, frames=known, split="train")
    assert scored["label"].to_pylist() == ["person", *PARTS, "parts"]


def test_parts_are_found_by_heat_maps_alike(tmp_path: Path, people_in_frames: Annotated) -> None:
    rows, (labelled, people, parts) = people_in_frames
    frames = FrameFile(write_frames(tmp_path / "frames.arrow", rows))
    known = labelled.append_column("width", [[WIDTH] * 32]).append_column("height", [[HEIGHT] * 32])
    samples = part_samples(people, parts, known, margin=0.1, flip="none")
    settings = recipe.Detector.model_validate(
        detector_settings(64).model_dump(include={"image_size"})
        | {"network": {"kind": "heat_maps", "width": 0.125}}
        | {"training": {"epochs": 6, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.01}}
    )
    metrics = train(
        settings, samples, [frames], PARTS, val_samples=samples, val_frames=[frames], folder=tmp_path / "part", seed=0
    )
    assert {"loss", "place", "box", "ap", "ap50"} <= metrics.keys()
    losses = pd.read_csv(tmp_path / "part" / "log.csv").loss
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    knows, trained = network([BODY], ("person",)), load(tmp_path / "part" / WEIGHTS)
    found = two_stage.find(frames, knows, trained, settings=recipe.TwoStage(mirror=True)).to_pandas()
    everyone = found.groupby(["video_id", "frame", "person"], observed=True)
    assert (everyone.part.nunique() == everyone.size()).all()
    assert (everyone.size() == len(PARTS)).all()
    assert found.part_score.le(found.person_score).all()


def test_heat_maps_that_begin_with_others_tell_boxes_as_shares_of_their_own_data_s(
    tmp_path: Path, people_in_frames: Annotated
) -> None:
    rows, (labelled, people, parts) = people_in_frames
    known = labelled.append_column("width", [[WIDTH] * 32]).append_column("height", [[HEIGHT] * 32])
    samples = part_samples(people, parts, known, margin=0.1, flip="none")
    still = {"optimizer_steps": 1, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.0}
    settings = recipe.Detector.model_validate(
        {"network": {"kind": "heat_maps", "width": 0.125}, "image_size": 64, "training": still}
    )
    first = detector.build(settings.network, classes=10, anchors=np.full((10, 2), 999.0)).state_dict()
    detector.save(tmp_path / "first.safetensors", first, settings, PARTS)
    train(
        settings, samples, [FrameFile(write_frames(tmp_path / "frames.arrow", rows))], PARTS,
        val_samples=samples.slice(0, 0), val_frames=[], folder=tmp_path, seed=0, weights=tmp_path / "first.safetensors",
    )  # fmt: skip
    state = load_checkpoint(tmp_path / WEIGHTS)[0]
    assert torch.equal(state["maps.0.weight"], first["maps.0.weight"])
    assert state["anchors"].max() < 64


def test_a_checkpoint_is_all_that_a_detector_needs(tmp_path: Path) -> None:
    settings = detector_settings(64)
    torch.manual_seed(0)
    trained = detector.build(settings.network, classes=10, anchors=np.arange(18).reshape(9, 2) + 4).eval()
    detector.save(tmp_path / "model.safetensors", trained.state_dict(), settings, PARTS)
    loaded = detector.load(tmp_path / "model.safetensors", device="cpu")
    assert loaded.labels == PARTS
    assert loaded.size == 64
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    example = Example(picture, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with torch.no_grad():
        boxes, scores = detector.boxes_and_scores(trained(collate([example])[0])[0])
    found = loaded(loaded.prepare([picture]))[0]
    assert np.abs(found[0] - boxes[0].numpy()).max() < 1e-3
    assert np.abs(found[1] - scores[0].numpy()).max() < 1e-5


def test_the_entry_in_force_decides_how_pictures_are_looked_at_whatever_the_checkpoint_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = recipe.DetectorInference(canvas="rectangle", precision="bf16-mixed")
    settings = detector_settings(64).model_copy(update={"inference": fast})
    paths = {labels: tmp_path / f"{len(labels)}.safetensors" for labels in ((PERSON,), PARTS)}
    for labels, path in paths.items():
        detector.save(path, detector.build(settings.network, classes=len(labels)).state_dict(), settings, labels)
    old = tmp_path / "version_0_1.safetensors"
    state, said = load_checkpoint(paths[PARTS])
    flat = json.loads(said["settings"])
    assert "inference" not in flat
    save_checkpoint(old, state, metadata=said | {"settings": json.dumps(flat | fast.model_dump())})

    def ways(path: Path, inference: recipe.DetectorInference | None) -> tuple[str, str]:
        loaded = detector.load(path, inference=inference, device="cpu")
        return loaded.canvas, loaded.precision

    for path in (paths[PARTS], old):
        assert ways(path, None) == ("square", "32-true")
        assert ways(path, fast) == ("rectangle", "bf16-mixed")
    frames, used = FrameFile(write_frames(tmp_path / "frames.arrow", [("v", 1, jpeg(scene(9)[0]))])), []

    def find(_: object, *both: Any, settings: object) -> None:
        used.extend(both)

    monkeypatch.setattr(two_stage, "find", find)
    slow = recipe.DetectorInference()
    two_stage.detect(frames, paths[(PERSON,)], old, settings=recipe.TwoStage(), inference=(fast, slow))
    two_stage.detect(frames, paths[(PERSON,)], old, settings=recipe.TwoStage(), inference=(slow, fast))
    assert [each.labels for each in used] == 2 * [(PERSON,), PARTS]
    assert [each.canvas for each in used] == ["rectangle", "square", "square", "rectangle"]


def test_a_checkpoint_of_other_labels_is_refused(tmp_path: Path) -> None:
    settings = detector_settings(64)
    path = tmp_path / "model.safetensors"
    detector.save(path, detector.build(settings.network, classes=10).state_dict(), settings, PARTS)
    frames = FrameFile(write_frames(tmp_path / "frames.arrow", [("v", 1, jpeg(scene(9)[0]))]))
    with pytest.raises(WeightsError, match="needed is a detector of person"):
        two_stage.detect(frames, path, path, settings=recipe.TwoStage())
    with pytest.raises(WeightsError, match="no such weight file"):
        two_stage.detect(frames, tmp_path / "none.safetensors", path, settings=recipe.TwoStage())


def test_what_is_left_to_the_data_stands_in_the_checkpoint(tmp_path: Path, people_in_frames: Annotated) -> None:
    rows, (labelled, people, _) = people_in_frames
    frames = FrameFile(write_frames(tmp_path / "frames.arrow", rows))
    plain = {"optimizer_steps": 1, "batch_size": "auto", "optimizer": "adamw", "learning_rate": 0.01, "ema": "auto"}
    left = {"network": {"variant": "tiny", "width": 0.125, "anchors": "auto"}, "image_size": "auto", "training": plain}
    settings = recipe.Detector.model_validate(left | {"gains": {"objectness": "auto"}})
    known = labelled.append_column("width", [[WIDTH] * 32]).append_column("height", [[HEIGHT] * 32])
    samples = person_samples(labelled, people, known)
    metrics = train(
        settings, samples, [frames], ["person"],
        val_samples=samples.slice(0, 0), val_frames=[], folder=tmp_path, seed=0,
    )  # fmt: skip
    assert load(tmp_path / "model.safetensors").size == metrics["image_size"] == 128
    assert metrics["batch_size"] == 4
    assert all(isinstance(figure, float) for figure in metrics.values())
    assert 0 <= metrics["coco_anchors_fit"] <= 1
    assert metrics["objectness_gain"] > 0


def test_the_part_detector_begins_with_what_the_person_detector_has_learned(
    tmp_path: Path, people_in_frames: Annotated
) -> None:
    rows, (labelled, people, parts) = people_in_frames
    frames = FrameFile(write_frames(tmp_path / "frames.arrow", rows))
    known = labelled.append_column("width", [[WIDTH] * 32]).append_column("height", [[HEIGHT] * 32])
    samples = {
        PERSON_DETECTOR.samples: person_samples(labelled, people, known),
        PART.samples: part_samples(people, parts, known, margin=0.1),
    }
    still = {"optimizer_steps": 1, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.0}
    plain = {"network": {"variant": "tiny", "width": 0.125}, "image_size": 64, "training": still}
    folders = {kind: tmp_path / kind.section for kind in (PERSON_DETECTOR, PART)}
    source = InMemory(samples, files=[frames], folders={checkpoint(PERSON_DETECTOR.section): folders[PERSON_DETECTOR]})
    nothing = InMemory({output: table.slice(0, 0) for output, table in samples.items()})
    for seed, (kind, start) in enumerate(((PERSON_DETECTOR, None), (PART, "person_detector"))):
        learner = DetectorLearner(kind, recipe.Detector.model_validate(plain | {"start_from": start}))
        assert (checkpoint(PERSON_DETECTOR.section) in learner.fit_reads) == (kind is PART)
        folders[kind].mkdir()
        learner.fit(source, nothing, folders[kind], seed=seed)
    first, second = (load_checkpoint(folders[kind] / WEIGHTS)[0] for kind in (PERSON_DETECTOR, PART))
    same = [torch.equal(first[name], second[name]) for name in first if first[name].ndim == 4 and "head" not in name]
    assert len(same) > 20
    assert all(same)
