"""The video's action: clips, augmentation, training on real files, prediction for every video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import torch

from tps_pipeline import recipe, tables
from tps_pipeline.actions import swin
from tps_pipeline.actions.swin import ActionVideo, Clips
from tps_pipeline.clips.augment import augment
from tps_pipeline.clips.networks import video_swin
from tps_pipeline.clips.reading import ClipReader, Video
from tps_pipeline.errors import DataError, UnreachableError
from tps_pipeline.training import loop
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

ACTIONS = ["falling", "rising"]


def settings(**changes: Any) -> recipe.SwinAction:
    plain = {
        "network": {"embed": 16, "depths": [1, 1], "heads": [2, 4], "window": [4, 4, 4], "stochastic_depth": 0.0},
        "frames": 4,
        "image_size": 32,
        "training": {
            "epochs": 20, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.002, "warmup": 0.2, "clip_norm": 1,
        },
        "augment": {"rotation": 5, "scale": 0.1, "color": 0.2, "flip": 0.5},
        "cache_megabytes": 16,
    }  # fmt: skip
    return recipe.SwinAction.model_validate(plain | changes)


def write_video(path: Path, *, rising: bool, seed: int, frames: int = 12) -> None:
    """A bright square that goes up or down."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    left, colour = int(random.integers(0, 48)), random.integers(150, 255, 3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = np.full((48, 64, 3), 40, np.uint8)
            top = round(32 * index / max(1, frames - 1))
            top = 32 - top if rising else top
            picture[top : top + 16, left : left + 16] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def table(data: Path, count: int, *, start: int = 0, **changes: Any) -> pa.Table:
    rows = []
    for index in range(start, start + count):
        name, rising = f"video_{index:02d}", index % 2 == 1
        write_video(data / f"{name}.mp4", rising=rising, seed=index)
        rows.append(
            {
                "video_id": name, "split": "train", "action": ACTIONS[rising], "path": f"{name}.mp4", "n_frames": 12,
                "fps": 25.0, "width": 64, "height": 48, "rotation": 0, "sha256": "", "status": "ok", "error": None,
            } | changes
        )  # fmt: skip
    return tables.conform({name: [row[name] for row in rows] for name in rows[0]}, tables.VIDEOS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, float]]:
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("checkpoint")
    videos, val = table(data, 25), table(data, 8, start=30)
    return data, folder, swin.train(videos, val, data, ACTIONS, settings(), folder=folder, seed=0)


def test_learns_a_motion_that_no_single_frame_shows(trained: tuple[Path, Path, dict[str, float]]) -> None:
    data, folder, metrics = trained
    assert metrics["accuracy"] == 1.0
    predicted = swin.predict(folder, table(data, 6, start=50), data)
    assert predicted.schema.equals(tables.VIDEO_ACTIONS)
    assert predicted["action"].to_pylist() == ["falling", "rising"] * 3
    for row in predicted.to_pylist():
        chances = dict(row["probabilities"])
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["score"] == max(chances.values()) == chances[row["action"]]


def test_every_video_gets_an_action_readable_or_not(trained: tuple[Path, Path, dict[str, float]]) -> None:
    data, folder, _ = trained
    marked = table(data, 1, start=60, status="unreadable", n_frames=0)
    readable = table(data, 1, start=60)
    broken = data / "broken.mp4"
    broken.write_bytes(b"no video")
    other = table(data, 1, start=61, path="broken.mp4")
    predicted = swin.predict(folder, pa.concat_tables([marked, other]), data).to_pylist()
    for row in predicted:  # 13 of the 25 training videos fall
        assert row["action"] == "falling"
        assert dict(row["probabilities"]) == pytest.approx({"falling": 13 / 25, "rising": 12 / 25})
    assert swin.predict(folder, tables.empty(tables.VIDEOS), data).num_rows == 0
    gone = table(data, 1, start=61, path="gone.mp4")
    with pytest.raises(UnreachableError, match=r"gone\.mp4 cannot be read now"):  # which is no property of the video
        swin.predict(folder, pa.concat_tables([readable, gone]), data)


def test_predictions_need_no_labels(trained: tuple[Path, Path, dict[str, float]]) -> None:
    data, folder, _ = trained
    unlabelled = table(data, 2, start=50, action=None, split="test")
    labelled = table(data, 2, start=50)
    assert swin.predict(folder, unlabelled, data).equals(swin.predict(folder, labelled, data))


def test_a_video_shorter_than_the_clip_repeats_frames(
    tmp_path: Path, trained: tuple[Path, Path, dict[str, float]]
) -> None:
    write_video(tmp_path / "short.mp4", rising=True, seed=0, frames=2)
    video = ActionVideo(tmp_path / "short.mp4", 2, 1)
    clip = Clips([video], settings(cache_megabytes=0)).sample(0, np.random.default_rng(0))["clip"]
    assert clip.shape == (4, 32, 32, 3)
    (plain,) = ClipReader([Video(video.path, 2)], size=32).read(0, np.array([[0, 0, 1, 1]]))
    assert np.array_equal(plain[0], plain[1])
    assert not np.array_equal(plain[1], plain[2])


def test_cached_and_decoded_clips_are_the_same(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", rising=True, seed=0)
    videos = [ActionVideo(tmp_path / "a.mp4", 12, 1)]
    cached, decoded = Clips(videos, settings()), Clips(videos, settings(cache_megabytes=0))
    assert cached.reader.decoded
    assert not decoded.reader.decoded
    ours, theirs = (clips.sample(0, np.random.default_rng(3))["clip"] for clips in (cached, decoded))
    assert np.array_equal(ours, theirs)


def test_a_broken_training_video_gives_way_to_another(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", rising=True, seed=0)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    clips = Clips([ActionVideo(tmp_path / "broken.mp4", 12, 0), ActionVideo(tmp_path / "a.mp4", 12, 1)], settings())
    assert clips.sample(0, np.random.default_rng(0))["action"] == 1
    hopeless = Clips([ActionVideo(tmp_path / "broken.mp4", 12, 0)], settings())
    with pytest.raises(DataError, match="10 training videos in a row cannot be decoded"):
        hopeless.sample(0, np.random.default_rng(0))


def test_augmentation_is_the_same_for_all_frames_and_follows_the_recipe() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (1, 24, 24, 3), dtype=np.uint8)
    clip = np.repeat(picture, 3, axis=0)
    everything = recipe.ClipAugmentation(rotation=20, scale=0.2, translate=0.2, color=0.3, flip=0.5)
    changed = augment(clip, everything, np.random.default_rng(1))
    assert np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[0], clip[0])
    nothing = recipe.ClipAugmentation(flip=0)
    assert np.array_equal(augment(clip, nothing, np.random.default_rng(1)), clip)
    mirrored = recipe.ClipAugmentation(flip=1)
    assert np.array_equal(augment(clip, mirrored, np.random.default_rng(1)), clip[:, :, ::-1])


def test_one_batch_is_learned_by_heart(tmp_path: Path) -> None:
    class Same:
        def __len__(self) -> int:
            return 8

        def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
            clip = np.random.default_rng(index).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
            return {"clip": clip, "action": index % 4}

    torch.manual_seed(0)
    model = video_swin(settings().network, 4)
    how = settings().training.model_copy(update={"epochs": 100})
    fitted = loop.fit(loop.Task(model, Same(), swin._loss), how, folder=tmp_path, seed=0)
    assert fitted.metrics["loss"] < 0.05 < 1.0 < fitted.history[0]["loss"]


def test_an_action_that_is_not_to_be_learned_is_an_error(tmp_path: Path) -> None:
    videos = table(tmp_path, 2)
    with pytest.raises(DataError, match="rising"):
        swin.train(videos, videos, tmp_path, ["falling"], settings(), folder=tmp_path, seed=0)


def test_settings_are_kept_with_the_weights(trained: tuple[Path, Path, dict[str, float]]) -> None:
    _, folder, _ = trained
    _, metadata = swin.load_checkpoint(folder / WEIGHTS)
    assert recipe.SwinAction.model_validate_json(metadata["settings"]) == settings()
