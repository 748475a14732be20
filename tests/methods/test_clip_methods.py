"""What the video-level and the segment-level method have in common: short clips and videos, and learning at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.methods import clip_recipes, several_people, squares
from tps_pipeline import recipe
from tps_pipeline.clips import reading as clips
from tps_pipeline.labels import PARTS
from tps_pipeline.learners.method import MethodLearner
from tps_pipeline.methods import build, lessons
from tps_pipeline.methods.clips import classifier as clip_classifier
from tps_pipeline.methods.part_state_loss import Loss, part_state_loss
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.outputs import checkpoint
from tps_pipeline.training import loop
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

INSTANCE_LEVEL: dict[str, Any] = {
    "kind": "instance_level",
    "network": {"depths": [1, 1, 1, 1], "stem": 8, "beta": 0.25},
    "relation": "person_context_person",
    "person_width": 16,
    "relation_width": 16,
    "frames": 8,
    "image_size": 64,
}
METHODS = {"video_level": clip_recipes.video_level, "segment_level": clip_recipes.segment_level}


@pytest.mark.parametrize("kind", list(METHODS))
@pytest.mark.parametrize("frames", [1, 2])
def test_videos_shorter_than_the_clip_and_clips_of_one_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, frames: int
) -> None:
    monkeypatch.setattr(squares, "FRAMES", frames)
    source = squares.make(tmp_path / "data", range(3))
    for length in (1, 8):
        method = build(METHODS[kind](frames=length, epochs=1))
        (tmp_path / str(length)).mkdir()
        method.fit(source, source, tmp_path / str(length), seed=0)
        assert method.predict(source, tmp_path / str(length)).num_rows == 3 * 2 * len(PARTS)


@pytest.mark.parametrize("kind", list(METHODS))
def test_an_epoch_decodes_a_video_once_and_uses_all_its_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    train, val = squares.make(tmp_path / "train", range(5)), squares.make(tmp_path / "val", range(5, 6))
    decoded, sizes = Counter(), []

    def read_frames(path: Path, *arguments: Any, **options: Any):
        decoded[path] += 1
        return original(path, *arguments, **options)

    def loss(logits: torch.Tensor, targets: torch.Tensor, *arguments: Any, **options: Any):
        sizes.append(len(targets))
        return part_state_loss(logits, targets, *arguments, **options)

    original = clips.read_frames
    monkeypatch.setattr(clips, "read_frames", read_frames)
    monkeypatch.setattr(lessons, "part_state_loss", loss)
    settings = METHODS[kind](epochs=2, clips_per_video=3, cache_megabytes=0)
    four = settings.model_copy(update={"training": settings.training.model_copy(update={"batch_size": 4})})
    build(four).fit(train, val, tmp_path, seed=0)
    assert {path.name: count for path, count in decoded.items() if path.parent == train.data} == {
        f"video_{index:03d}.mp4": 2 for index in range(5)
    }
    assert sizes == 2 * [4, 4, 4, 3]


class Noise:
    """Eight clips that nothing but their pixels tells apart, with random targets."""

    def __init__(self, frames: int, space: LabelSpace) -> None:
        self.frames, self.space = frames, space

    def __len__(self) -> int:
        return 8

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        fixed = np.random.default_rng(index)
        clip = fixed.integers(0, 255, (self.frames, 32, 32, 3), dtype=np.uint8)
        return {"clip": clip, "targets": np.array([fixed.choice(labels) for labels in self.space.of_part])}


@pytest.mark.parametrize(("kind", "epochs"), [("video_level", 200), ("segment_level", 60)])
@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_one_batch_is_learned_by_heart(tmp_path: Path, kind: str, epochs: int, loss: Loss) -> None:
    settings = METHODS[kind](epochs=epochs)
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b", "c")))

    def of_batch(network: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits = network(clip_classifier.normalise(batch["clip"], settings.network))
        return part_state_loss(logits, batch["targets"], space, kind=loss), {}

    torch.manual_seed(0)
    task = loop.Task(clip_classifier.build(settings.network, len(space)), Noise(settings.frames, space), of_batch)
    fitted = loop.fit(task, settings.training, folder=tmp_path, seed=0)
    assert fitted.metrics["loss"] < 0.05 < 0.6 < fitted.history[0]["loss"]


@pytest.mark.parametrize("entry", [clip_recipes.VIDEO_LEVEL, INSTANCE_LEVEL], ids=lambda entry: entry["kind"])
def test_a_method_begins_with_the_body_of_the_network_that_it_starts_from(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    still = {"optimizer_steps": 1, "batch_size": 4, "optimizer": "adamw", "learning_rate": 0.0}
    methods = {"second": entry | {"training": still, "start_from": "first"}, "first": entry | {"training": still}}
    if entry is INSTANCE_LEVEL:
        methods["second"] |= {"relation": "person"}
    demo = recipe.load("demo").model_dump(mode="json")
    settings = recipe.Recipe.model_validate(demo | {"methods": methods, "submission": "first"})
    folders = {name: tmp_path / name for name in methods}
    source = several_people.make(tmp_path / "data", range(2))
    source = replace(source, folders={checkpoint("first"): folders["first"]})
    for seed, name in enumerate(("first", "second")):
        learner = MethodLearner(name, settings)
        assert (checkpoint("first") in learner.fit_reads) == (name == "second")
        folders[name].mkdir()
        learner.fit(source, source, folders[name], seed=seed)
    first, second = (load_checkpoint(folders[name] / WEIGHTS)[0] for name in ("first", "second"))
    body = [name for name in first if name.startswith("backbone.") or entry is clip_recipes.VIDEO_LEVEL]
    learned = [name for name in body if first[name].ndim > 1]
    assert len(learned) > 10
    assert all(torch.equal(first[name], second[name]) for name in learned)
