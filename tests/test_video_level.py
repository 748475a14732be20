"""Method ``video_level`` end to end on small videos, and what its training samples are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import squares
from tps_pipeline import recipe, tables, training
from tps_pipeline.errors import WeightsError
from tps_pipeline.labels import PARTS
from tps_pipeline.methods import Sources, build, clip_classifier, clip_training
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.models.weights import load_checkpoint, save_checkpoint

PLAIN = {
    "kind": "video_level",
    "network": {"embed": 16, "depths": [1, 1], "heads": [2, 4], "window": [4, 4, 4], "stochastic_depth": 0.0},
    "frames": 6,
    "image_size": 32,
    "loss": "softmax",
    "training": {
        "epochs": 50, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.003, "warmup": 0.2, "clip_norm": 1,
    },
    "cache_megabytes": 16,
}  # fmt: skip


def settings(**changes) -> recipe.VideoLevel:
    return recipe.VideoLevel.model_validate(PLAIN | changes)


def once(**changes) -> recipe.VideoLevel:
    return settings(training=PLAIN["training"] | {"epochs": 1}, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("video_level")
    train, val = squares.make(folder / "train", range(48)), squares.make(folder / "val", range(100, 108))
    (folder / "checkpoint").mkdir()
    return folder / "checkpoint", build(settings()).fit(train, val, folder / "checkpoint", seed=0)


def without(sources: Sources, *names: str) -> Sources:
    def table(name: str):
        assert name not in names
        return sources.table(name)

    return Sources(table, sources.frames, sources.data)


def test_each_video_gets_its_own_states_in_all_frames(trained, tmp_path: Path) -> None:
    folder, metrics = trained
    assert metrics["part_accuracy"] > 0.9
    test = without(squares.make(tmp_path, range(200, 212)), "annotations/parts", "vocabulary/states")
    predicted = build(settings()).predict(test, folder)
    assert predicted.schema.equals(tables.PREDICTIONS)
    assert predicted.num_rows == test.table("detections/two_stage").num_rows
    for part in ("head", "left_arm", "right_arm"):
        assert squares.accuracy(predicted, part) == 1.0
    assert squares.accuracy(predicted, "hip") < 0.75  # it changes within a video: two thirds is the most
    rows = predicted.to_pandas()
    assert (rows.groupby(["video_id", "part"], observed=True).state.nunique() == 1).all()
    assert set(rows[rows.part == "right_foot"].state) == {"none"}  # no training video has one


def test_an_undecodable_video_gets_the_most_frequent_states(trained, tmp_path: Path) -> None:
    folder, _ = trained
    test = squares.make(tmp_path, range(200, 202))
    (tmp_path / "video_200.mp4").write_bytes(b"no video")
    rows = build(settings()).predict(test, folder).to_pandas()
    often = clip_classifier.load(folder, recipe.VideoLevel).frequencies
    broken = rows[(rows.video_id == "video_200") & (rows.part == "head")]
    assert broken.state_score.to_numpy() == pytest.approx(max(often[:2]))
    assert dict(broken.state_scores.iloc[0]) == pytest.approx(dict(zip(["bright", "dark"], often[:2], strict=True)))


def test_nothing_detected_is_nothing_predicted(trained, tmp_path: Path) -> None:
    empty = {"detections/two_stage": tables.empty(tables.DETECTIONS), "videos": tables.empty(tables.VIDEOS)}
    shard = Sources(empty.__getitem__, list, tmp_path)
    assert build(settings()).predict(shard, trained[0]).equals(tables.empty(tables.PREDICTIONS))


def test_a_mirrored_sample_has_mirrored_targets(tmp_path: Path) -> None:
    source, method = squares.make(tmp_path, range(4)), build(settings())
    space = LabelSpace.of(source.table("vocabulary/states"), pairs="most_frequent")
    videos = clip_training.labelled_videos(source, ["video_id"], space)
    plain, mirrored = (
        clip_training.TrainingClips(videos, method.draw, settings(augment={"flip": flip}), space=space)  # type: ignore
        for flip in (0, 1)
    )
    one, other = plain.sample(1, np.random.default_rng(0)), mirrored.sample(1, np.random.default_rng(0))
    assert one["clips"].shape == (1, 6, 32, 32, 3)
    assert torch.equal(one["clips"].flip(3), other["clips"])
    left, right = PARTS.index("left_arm"), PARTS.index("right_arm")
    pairs = [space.pairs[sample["targets"][0, part]] for sample in (one, other) for part in (left, right)]
    assert pairs == [("left_arm", "raise"), ("right_arm", "none"), ("left_arm", "none"), ("right_arm", "raise")]


@pytest.mark.parametrize("frames", [1, 2])
def test_videos_shorter_than_the_clip_and_clips_of_one_frame(tmp_path: Path, monkeypatch, frames: int) -> None:
    monkeypatch.setattr(squares, "FRAMES", frames)
    source = squares.make(tmp_path / "data", range(3))
    for length in (1, 6):
        method = build(once(frames=length))
        (tmp_path / str(length)).mkdir()
        method.fit(source, source, tmp_path / str(length), seed=0)
        assert method.predict(source, tmp_path / str(length)).num_rows == 3 * 2 * len(PARTS)


def test_training_starts_from_the_weights_that_the_recipe_names(trained, tmp_path: Path) -> None:
    source = squares.make(tmp_path / "data", range(2))
    network = PLAIN["network"] | {"weights": "mine"}
    still = PLAIN["training"] | {"epochs": 1, "learning_rate": 0.0}
    method = build(settings(network=network, training=still))
    with pytest.raises(WeightsError, match="mine"):
        method.fit(source, source, tmp_path, seed=0)
    theirs = load_checkpoint(trained[0] / clip_classifier.FILE)[0]
    save_checkpoint(tmp_path / "weights.safetensors", theirs)
    method.fit(source, source, tmp_path, seed=0, weights=tmp_path / "weights.safetensors")  # type: ignore
    ours = load_checkpoint(tmp_path / clip_classifier.FILE)[0]
    assert torch.equal(ours["patch_embed.proj.weight"], theirs["patch_embed.proj.weight"])


@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_one_batch_is_learned_by_heart(tmp_path: Path, kind) -> None:
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b", "c")))

    class Same:
        def __len__(self) -> int:
            return 4

        def sample(self, index: int, rng: np.random.Generator) -> dict:
            fixed = np.random.default_rng(index)
            clip = fixed.integers(0, 255, (1, 6, 32, 32, 3), dtype=np.uint8)
            chosen = [fixed.choice(labels) for labels in space.of_part]
            return {"clips": torch.from_numpy(clip), "targets": torch.tensor(chosen)[None]}

    def loss(network, batch):
        logits = network(clip_classifier.normalise(batch["clips"], settings().network))
        return part_state_loss(logits, batch["targets"], space, kind=kind), {}

    torch.manual_seed(0)
    model = clip_classifier.build(settings().network, len(space))
    how = settings().training.model_copy(update={"epochs": 200})
    task = training.Task(model, Same(), loss, clip_training.collate)
    fitted = training.fit(task, how, folder=tmp_path, seed=0)
    assert fitted.metrics["loss"] < 0.05 < 0.6 < fitted.history[0]["loss"]


def test_methods_are_described_without_torch() -> None:
    code = (
        "import sys; from tps_pipeline import recipe; from tps_pipeline.methods import build\n"
        f"build(recipe.VideoLevel.model_validate({PLAIN!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
