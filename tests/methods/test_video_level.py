"""Method `video_level` end to end on small videos, and what its training samples are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods import squares
from tests.methods.clip_recipes import VIDEO_LEVEL, video_level
from tps_pipeline import outputs, recipe, tables
from tps_pipeline.errors import UndeclaredError, WeightsError
from tps_pipeline.labels import PARTS
from tps_pipeline.methods import build
from tps_pipeline.methods.clips import classifier as clip_classifier
from tps_pipeline.methods.clips import training as clip_training
from tps_pipeline.methods.clips.video_level import VideoLevel
from tps_pipeline.methods.lessons import TrainingClips
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint
from tps_pipeline.outputs import Output
from tps_pipeline.reading import InMemory
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    return squares.train(build(video_level()), tmp_path_factory.mktemp("video_level"))


def without(sources: InMemory, *hidden: Output) -> InMemory:
    """The same, but who reads what is hidden gets an error."""
    left = replace(sources, tables={output: table for output, table in sources.tables.items() if output not in hidden})
    for output in hidden:
        with pytest.raises(UndeclaredError, match=output.key):
            left(output)
    return left


def test_each_video_gets_its_own_states_in_all_frames(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    folder, metrics = trained
    assert metrics["part_accuracy"] > 0.9
    test = without(squares.make(tmp_path, range(200, 212)), outputs.PARTS, outputs.STATE_LABELS)
    predicted = build(video_level()).predict(test, folder)
    assert predicted.schema.equals(tables.PREDICTIONS)
    assert predicted.num_rows == test(outputs.DETECTIONS).num_rows
    for part in ("head", "left_arm", "right_arm"):
        assert squares.accuracy(predicted, part) == 1.0
    assert squares.accuracy(predicted, "hip") < 0.75  # it changes within a video: two thirds is the most
    rows = predicted.to_pandas()
    assert (rows.groupby(["video_id", "part"], observed=True).state.nunique() == 1).all()
    assert set(rows[rows.part == "right_foot"].state) == {"none"}  # no training video has one


def test_an_undecodable_video_gets_the_most_frequent_states(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder, _ = trained
    test = squares.make(tmp_path, range(200, 202))
    (tmp_path / "video_200.mp4").write_bytes(b"no video")
    rows = build(video_level()).predict(test, folder).to_pandas()
    often = clip_classifier.load(folder, video_level()).frequencies
    broken = rows[(rows.video_id == "video_200") & (rows.part == "head")]
    assert broken.state_score.to_numpy() == pytest.approx(max(often[:2]))
    assert dict(broken.state_scores.iloc[0]) == pytest.approx(dict(zip(["bright", "dark"], often[:2], strict=True)))


def test_nothing_detected_is_nothing_predicted(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    empty = {outputs.DETECTIONS: tables.empty(tables.DETECTIONS), outputs.VIDEOS: tables.empty(tables.VIDEOS)}
    shard = InMemory(empty, data=tmp_path)
    assert build(video_level()).predict(shard, trained[0]).equals(tables.empty(tables.PREDICTIONS))


def test_a_mirrored_sample_has_mirrored_targets(tmp_path: Path) -> None:
    source, method = squares.make(tmp_path, range(4)), VideoLevel(video_level())
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="most_frequent")
    videos = clip_training.labelled_videos(source, ["video_id"], space)
    plain, mirrored = (
        TrainingClips(
            videos,
            method.draw,
            video_level(),
            partial(clip_training.augmented, recipe.ClipAugmentation(flip=flip), space),
        )
        for flip in (0, 1)
    )
    (one,), (other,) = (clips.sample(1, np.random.default_rng(0)) for clips in (plain, mirrored))
    assert one["clip"].shape == (6, 32, 32, 3)
    assert np.array_equal(one["clip"][:, :, ::-1], other["clip"])
    left, right = PARTS.index("left_arm"), PARTS.index("right_arm")
    pairs = [space.pairs[sample["targets"][part]] for sample in (one, other) for part in (left, right)]
    assert pairs == [("left_arm", "raise"), ("right_arm", "none"), ("left_arm", "none"), ("right_arm", "raise")]


def test_training_starts_from_the_weights_that_the_recipe_names(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    source = squares.make(tmp_path / "data", range(2))
    network = VIDEO_LEVEL["network"] | {"weights": "mine"}
    still = VIDEO_LEVEL["training"] | {"epochs": 1, "learning_rate": 0.0}
    method = build(video_level(network=network, training=still))
    with pytest.raises(WeightsError, match="mine"):
        method.fit(source, source, tmp_path, seed=0)
    theirs = load_checkpoint(trained[0] / WEIGHTS)[0]
    save_checkpoint(tmp_path / "weights.safetensors", theirs)
    method.fit(source, source, tmp_path, seed=0, weights=tmp_path / "weights.safetensors")  # type: ignore
    ours = load_checkpoint(tmp_path / WEIGHTS)[0]
    assert torch.equal(ours["patch_embed.proj.weight"], theirs["patch_embed.proj.weight"])


def test_methods_are_described_without_torch() -> None:
    code = (
        "import sys; from tps_pipeline import recipe; from tps_pipeline.methods import build\n"
        f"build(recipe.VideoLevel.model_validate({VIDEO_LEVEL!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
