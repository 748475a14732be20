"""Method `segment_level` end to end on small videos whose states change, and which clips it looks at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.methods import in_force, squares
from tests.methods.clip_recipes import segment_level
from tps_pipeline import outputs, tables
from tps_pipeline.methods import build
from tps_pipeline.methods.clips import classifier as clip_classifier
from tps_pipeline.methods.clips import training as clip_training
from tps_pipeline.methods.clips.segment_level import SegmentLevel

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    return squares.train(build(segment_level()), tmp_path_factory.mktemp("segment_level"))


def test_states_that_change_within_a_video_are_told_apart(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder, metrics = trained
    assert metrics["part_accuracy"] > 0.9
    test = squares.make(tmp_path, range(200, 212))
    predicted = build(segment_level()).predict(test, folder)
    assert predicted.schema.equals(tables.PREDICTIONS)
    assert predicted.num_rows == test(outputs.DETECTIONS).num_rows
    for part in ("head", "left_arm", "right_arm"):
        assert squares.accuracy(predicted, part) > 0.9
    assert squares.accuracy(predicted, "hip") > 0.9  # a state for each video cannot have more than two thirds right
    by_frame = predicted.to_pandas().groupby(["video_id", "frame", "part"], observed=True).state
    assert (by_frame.nunique() == 1).all()  # all people in a frame are alike


def test_few_pixels_are_classified_at_once(
    trained: tuple[Path, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = clip_classifier.load(trained[0], segment_level())
    random = np.random.default_rng(0)
    frames, shown = random.integers(0, 255, (20, 32, 32, 3), dtype=np.uint8), random.integers(0, 20, (5, 8))
    at_once = classifier.scores(frames, shown)
    clips = []
    classifier.model.register_forward_pre_hook(lambda _, given: clips.append(len(given[0])))
    monkeypatch.setattr(clip_classifier, "PIXELS", 2 * 8 * 32 * 32)
    assert classifier.scores(frames, shown) == pytest.approx(at_once, abs=1e-5)
    assert clips == [2, 2, 1]


def test_frames_between_key_frames_take_the_nearest_ones_states(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    test = squares.make(tmp_path, range(200, 203))
    every, third = (
        build(segment_level(inference={"key_frame_stride": stride})).predict(test, trained[0]).to_pandas()
        for stride in (5, 15)
    )
    scores = {frame: rows.state_score.to_numpy() for frame, rows in every.groupby("frame")}
    sparse = {frame: rows.state_score.to_numpy() for frame, rows in third.groupby("frame")}
    for frame, nearest in {1: 1, 6: 1, 11: 16, 16: 16, 21: 16}.items():  # indices 0, 5, ... of key frames 0 and 15
        assert sparse[frame] == pytest.approx(scores[nearest])


def test_the_entry_in_force_decides_on_key_frames_whatever_the_checkpoint_was_trained_with(tmp_path: Path) -> None:
    source = squares.make(tmp_path / "data", range(3))
    entries = [segment_level(epochs=1, inference={"key_frame_stride": stride}) for stride in (5, 20)]
    every, few = in_force.predictions(tmp_path, entries, source, key_frame_stride=10)
    scores = {frame: rows.state_score.to_numpy() for frame, rows in every.to_pandas().groupby("frame")}
    sparse = {frame: rows.state_score.to_numpy() for frame, rows in few.to_pandas().groupby("frame")}
    for frame, nearest in {1: 1, 6: 1, 11: 1, 16: 21, 21: 21}.items():  # indices 0, 5, ... of key frames 0 and 20
        assert sparse[frame] == pytest.approx(scores[nearest])
    assert not every.equals(few)


@given(n_frames=st.integers(1, 60), stride=st.integers(1, 20), data=st.data())
def test_every_frame_has_the_clip_of_its_nearest_key_frame(n_frames: int, stride: int, data: st.DataObject) -> None:
    frames = np.array(sorted(data.draw(st.sets(st.integers(0, n_frames - 1), min_size=1))))
    method = SegmentLevel(segment_level(frames=3, inference={"key_frame_stride": stride}))
    indices, clip_of_frame = method.plan(n_frames, frames)
    key_frames = np.arange(0, n_frames, stride)
    for frame, clip in zip(frames, clip_of_frame, strict=True):
        assert abs(indices[clip, 1] - frame) == np.abs(key_frames - frame).min()
    assert len(indices) == len(set(clip_of_frame))  # nothing is classified for no frame


@pytest.mark.parametrize(("label", "position"), [("start", 0), ("middle", 4)])
def test_a_training_clip_has_the_targets_of_its_key_frame(label: str, position: int) -> None:
    method = SegmentLevel(segment_level(key_frame=label, interval=2, clips_per_video=3))
    labelled = np.arange(0, 90, 3)
    video = clip_training.LabelledVideo(Path(), 90, labelled, np.repeat(labelled[:, None], 10, axis=1))
    seen = set()
    for seed in range(40):
        indices, targets = method.draw(video, np.random.default_rng(seed))
        assert indices.shape == (3, 8)
        assert np.array_equal(indices[:, position], targets[:, 0])
        assert len(set(targets[:, 0])) == 3
        seen |= set(targets[:, 0])
    assert len(seen) > 25
    assert np.array_equal(method.draw(video, None)[1][:, 0], [15, 45, 75])
