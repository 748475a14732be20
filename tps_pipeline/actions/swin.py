"""Member `swin`: a Video Swin Transformer on a uniform sample of the video's frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline import recipe
from tps_pipeline.actions.probabilities import action_indices, as_table, frequencies
from tps_pipeline.ahead import drawn_ahead
from tps_pipeline.clips.augment import augment
from tps_pipeline.clips.networks import video_swin
from tps_pipeline.clips.normalisation import IMAGENET, normalise
from tps_pipeline.clips.reading import ClipReader, Video, held_out
from tps_pipeline.clips.sampling import uniform_sample
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.device import choose_device
from tps_pipeline.models import onnx
from tps_pipeline.models.described import built_as_described, description_of
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint, load_into, save_checkpoint
from tps_pipeline.progress import progress
from tps_pipeline.training import loop
from tps_pipeline.training.checkpoint import WEIGHTS


class ActionVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        action: Index of its action.
    """

    path: Path
    n_frames: int
    action: int


class Classifier(NamedTuple):
    """A trained network as it is used.

    Attributes:
        model: In eval mode, on the device that it is to run on.
        settings: The recipe's section that it was trained with.
        actions: What it tells apart, in the order of its outputs.
        frequencies: How often each of them was trained on, as shares.
    """

    model: nn.Module
    settings: recipe.SwinAction
    actions: list[str]
    frequencies: list[float]


class Clips:
    """Training clips: frames of each video from random places, augmented.

    Args:
        videos: The videos.
        settings: The recipe's section. As many whole videos as `cache_megabytes` holds are decoded right away.
    """

    def __init__(self, videos: Sequence[ActionVideo], settings: recipe.SwinAction) -> None:
        self.videos, self.settings = videos, settings
        files = [Video(video.path, video.n_frames) for video in videos]
        self.reader = ClipReader(files, size=settings.image_size, cache_megabytes=settings.cache_megabytes)

    def __len__(self) -> int:
        return len(self.videos)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A clip `(T, H, W, 3)` uint8 and its action; a video that cannot be decoded gives way to another."""

        def draw(index: int) -> tuple[np.ndarray, int]:
            video = self.videos[index]
            return uniform_sample(video.n_frames, self.settings.frames, rng)[None], video.action

        (clip,), action = self.reader.draw(index, draw, rng)
        return {"clip": augment(clip, self.settings.augment, rng), "action": action}


def train(
    videos: pa.Table,
    val: pa.Table,
    data: Path,
    actions: list[str],
    settings: recipe.SwinAction,
    *,
    folder: Path,
    seed: int,
    weights: Path | None = None,
) -> dict[str, float]:
    """Train the action classifier and leave it in a folder.

    Args:
        videos: Training videos, `tables.VIDEOS`; unreadable ones are left out.
        val: Held-out videos to measure accuracy on; may be empty.
        data: The folder that their paths are relative to.
        actions: The actions, in the order of the network's outputs.
        settings: The recipe's section.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.
        weights: Imported weights to start from.

    Returns:
        Loss, and accuracy on `val` if there is any.

    Raises:
        DataError: A video shows an action that is not among `actions`.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    model = video_swin(settings.network, len(actions))
    if weights is not None:
        load_into(model, load_checkpoint(weights)[0])
    known = _videos(videos, data, actions)
    held_out = _videos(val, data, actions)

    def save(trained: nn.Module) -> None:
        metadata = {
            "actions": json.dumps(actions),
            "frequencies": json.dumps(frequencies(np.array([video.action for video in known]), len(actions))),
            "settings": settings.model_dump_json(),
        }
        save_checkpoint(folder / WEIGHTS, trained.state_dict(), metadata=metadata)

    evaluate = _accuracy_on(held_out, settings) if held_out else None
    task = loop.Task(model, Clips(known, settings), _loss, evaluate=evaluate, save=save, figure="accuracy")
    fitted = loop.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "accuracy")}


@kept
def load(checkpoint: Path) -> Classifier:
    """The network that `train` left in a folder."""
    state, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        settings = recipe.SwinAction.model_validate_json(metadata["settings"])
        actions, usual = json.loads(metadata["actions"]), json.loads(metadata["frequencies"])
    model = built_as_described(checkpoint / WEIGHTS, lambda: video_swin(settings.network, len(actions)), state)
    example = torch.zeros(2, 3, settings.frames, settings.image_size, settings.image_size)
    return Classifier(onnx.as_asked(model.to(choose_device()), example), settings, actions, usual)


def predict(checkpoint: Path, videos: pa.Table, data: Path) -> pa.Table:
    """Predict the action of every video.

    A submission needs an action for each video: one that cannot be read gets the actions' frequencies among the
    training videos as probabilities, and so the most frequent action.

    Args:
        checkpoint: The folder that `train` left.
        videos: `tables.VIDEOS`; actions in it are not looked at.
        data: The folder that their paths are relative to.

    Returns:
        A table of `tables.VIDEO_ACTIONS`, a row for each video.
    """
    prepare_cpu()
    classifier = load(checkpoint)
    settings, actions = classifier.settings, classifier.actions
    rows = videos.select(["video_id", "path", "n_frames", "status"]).to_pylist()
    files = [Video(data / row["path"], row["n_frames"] if row["status"] == "ok" else 0) for row in rows]
    clips = progress(drawn_ahead(_central_clips(files, settings)()), "classifying videos", total=len(files))
    found = _probabilities(classifier.model, clips)
    chances = [classifier.frequencies if row is None else row.tolist() for row in found]
    return as_table([row["video_id"] for row in rows], actions, chances)


def _videos(table: pa.Table, data: Path, actions: list[str]) -> list[ActionVideo]:
    """The readable videos of a table, with their actions."""
    readable = table.filter(pa.array([status == "ok" for status in table["status"].to_pylist()], pa.bool_()))
    rows = zip(readable.select(["path", "n_frames"]).to_pylist(), action_indices(readable, actions), strict=True)
    return [ActionVideo(data / row["path"], row["n_frames"], int(action)) for row, action in rows]


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    return functional.cross_entropy(model(normalise(batch["clip"], IMAGENET)), batch["action"]), {}


def _accuracy_on(videos: list[ActionVideo], settings: recipe.SwinAction) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a network on held-out videos; one that cannot be read is not named rightly."""
    files = [Video(video.path, video.n_frames) for video in videos]
    clips = _central_clips(files, settings, cache_megabytes=settings.cache_megabytes)

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = _probabilities(model, clips())
        right = [row is not None and row.argmax() == video.action for row, video in zip(found, videos, strict=True)]
        return {"accuracy": float(np.mean(right))}

    return evaluate


def _central_clips(
    videos: list[Video], settings: recipe.SwinAction, *, cache_megabytes: int = 0
) -> Callable[[], Iterable[np.ndarray | None]]:
    """Gives each video's frames in the middle of equal segments; None for a video that cannot be read."""
    drawn = [uniform_sample(video.n_frames, settings.frames)[None] if video.n_frames else None for video in videos]
    read = held_out(videos, drawn, size=settings.image_size, cache_megabytes=cache_megabytes)
    return lambda: (None if clips is None else clips[0] for clips in read())


@torch.inference_mode()
def _probabilities(model: nn.Module, clips: Iterable[np.ndarray | None]) -> list[np.ndarray | None]:
    """Probabilities of the actions for each clip: the mean of the clip's and its mirror image's.

    The mirror image gains 0 to 3 points of accuracy in the demo; an action has no side. Clips go through one by one:
    what a network says differs in the last digits with what goes through it beside, and no video is to depend on that.
    """
    device = next(model.parameters()).device
    found: list[np.ndarray | None] = []
    for clip in clips:
        if clip is None:
            found.append(None)
            continue
        seen = normalise(torch.from_numpy(clip[None]).to(device), IMAGENET)
        found.append(model(torch.cat([seen, seen.flip(4)])).softmax(1).mean(0).cpu().numpy())
    return found
