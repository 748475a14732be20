"""The video's action: a Video Swin Transformer on a uniform sample of the video's frames."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from tps_pipeline import recipe, tables, training
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.device import choose_device
from tps_pipeline.errors import DataError, VideoError
from tps_pipeline.models.video_swin import VideoSwin
from tps_pipeline.models.weights import load_checkpoint, load_into, load_strictly, save_checkpoint
from tps_pipeline.video.decode import read_frames
from tps_pipeline.video.sampling import uniform_sample

FILE = "model.safetensors"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet's red, green and blue, which published Video Swin weights expect."""
BATCH = 8
"""Clips at once where nothing is learned."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Video:
    """A video to classify.

    Attributes:
        path: The file.
        n_frames: Its frames.
        action: Index of its action, -1 if unknown.
    """

    path: Path
    n_frames: int
    action: int = -1


class Clips:
    """Training clips: frames of each video from random places, augmented.

    Args:
        videos: The videos.
        settings: The recipe's section. As many whole videos as ``cache_megabytes`` holds are decoded right away.
    """

    def __init__(self, videos: Sequence[Video], settings: recipe.VideoAction) -> None:
        self.videos, self.settings = videos, settings
        self.decoded: dict[int, np.ndarray] = {}
        left = settings.cache_megabytes * 2**20
        fitting = []
        for index, video in enumerate(videos):
            left -= video.n_frames * settings.image_size**2 * 3
            if left >= 0:
                fitting.append(index)
        for index in _progress(fitting, "decoding training videos"):
            try:
                self.decoded[index] = read_clip(videos[index], range(videos[index].n_frames), settings.image_size)
            except VideoError as error:
                log.warning("%s", error)

    def __len__(self) -> int:
        return len(self.videos)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A clip ``(T, H, W, 3)`` uint8 and its action; a video that cannot be decoded gives way to another."""
        video = self.videos[index]
        frames = uniform_sample(video.n_frames, self.settings.frames, rng)
        try:
            whole = self.decoded.get(index)
            clip = read_clip(video, frames, self.settings.image_size) if whole is None else whole[frames]
        except VideoError as error:
            log.warning("%s", error)
            return self.sample(int(rng.integers(len(self))), rng)
        return {"clip": augment(clip, self.settings.augment, rng), "action": video.action}


def read_clip(video: Video, indices: Iterable[int], size: int) -> np.ndarray:
    """Frames of a video, each whole picture scaled to a square.

    Args:
        video: The video.
        indices: Ascending from 0; frames may repeat.
        size: Rows and columns.

    Returns:
        RGB, uint8, ``(T, size, size, 3)``.

    Raises:
        VideoError: A frame cannot be decoded.
    """
    wanted = np.asarray(list(indices))
    distinct, position = np.unique(wanted, return_inverse=True)
    pictures = [picture for _, picture in read_frames(video.path, distinct.tolist(), size=(size, size))]
    if len(pictures) < len(distinct):
        raise VideoError(f"{video.path}: ends after {len(pictures)} of {len(distinct)} frames; probe it again")
    return np.stack(pictures)[position]


def augment(clip: np.ndarray, settings: recipe.ClipAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Rotate, scale, shift, mirror and tint a clip, all frames alike.

    Args:
        clip: RGB, uint8, ``(T, H, W, 3)``.
        settings: How far.
        rng: Where all draws come from.

    Returns:
        A new clip of the same shape.
    """
    return warp_and_tint(clip, draw_warp(clip.shape[2], clip.shape[1], settings, rng), settings, rng)


def draw_warp(width: int, height: int, settings: recipe.ClipAugmentation, rng: np.random.Generator) -> np.ndarray:
    """Where the pixels of a picture go.

    Args:
        width: Of the picture.
        height: Of the picture.
        settings: How far.
        rng: Where all draws come from.

    Returns:
        An affine map of the pixels' centres, ``(2, 3)``.
    """
    angle = rng.uniform(-settings.rotation, settings.rotation)
    gain = rng.uniform(1 - settings.scale, 1 + settings.scale)
    centre = ((width - 1) / 2, (height - 1) / 2)
    warp = cv2.getRotationMatrix2D(centre, angle, gain)
    warp[:, 2] += rng.uniform(-settings.translate, settings.translate, 2) * (width, height)
    if rng.random() < settings.flip:
        warp = warp @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]])
    return warp


def warp_and_tint(
    clip: np.ndarray, warp: np.ndarray, settings: recipe.ClipAugmentation, rng: np.random.Generator
) -> np.ndarray:
    """Move a clip's pixels and tint them, all frames alike; arguments and result as for `augment`."""
    height, width = clip.shape[1:3]
    brightness, contrast, saturation = 1 + rng.uniform(-settings.color, settings.color, 3)
    warped = np.stack([cv2.warpAffine(frame, warp, (width, height), borderMode=cv2.BORDER_REPLICATE) for frame in clip])
    if not settings.color:
        return warped
    pixels = warped.astype(np.float32)
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean() * brightness
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def normalise(clips: Tensor) -> Tensor:
    """Clips ``(B, T, H, W, 3)`` uint8 as a network takes them: ``(B, 3, T, H, W)``, zero mean, unit deviation."""
    mean, std = (torch.tensor(values, device=clips.device) for values in (MEAN, STD))
    return ((clips.float() - mean) / std).permute(0, 4, 1, 2, 3)


def train(
    videos: pa.Table,
    val: pa.Table,
    data: Path,
    actions: list[str],
    settings: recipe.VideoAction,
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
        folder: Gets ``model.safetensors`` and the logs.
        seed: Of everything random.
        weights: Imported weights to start from.

    Returns:
        Loss, and accuracy on ``val`` if there is any.

    Raises:
        DataError: A video shows an action that is not among ``actions``.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    model = VideoSwin(settings.network, len(actions))
    if weights is not None:
        load_into(model, load_checkpoint(weights)[0])
    known = _videos(videos, data, actions)
    held_out = _videos(val, data, actions)

    def save(trained: nn.Module) -> None:
        counts = np.bincount([video.action for video in known], minlength=len(actions))
        metadata = {
            "actions": json.dumps(actions),
            "frequencies": json.dumps((counts / counts.sum()).tolist()),
            "settings": settings.model_dump_json(),
        }
        save_checkpoint(folder / FILE, trained.state_dict(), metadata=metadata)

    evaluate = _accuracy_on(held_out, settings) if held_out else None
    task = training.Task(model, Clips(known, settings), _loss, evaluate=evaluate, save=save)
    fitted = training.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "accuracy")}


def predict(checkpoint: Path, videos: pa.Table, data: Path) -> pa.Table:
    """Predict the action of every video.

    A submission needs an action for each video: one that cannot be read gets the actions' frequencies among the
    training videos as probabilities, and so the most frequent action.

    Args:
        checkpoint: The folder that ``train`` left.
        videos: `tables.VIDEOS`; actions in it are not looked at.
        data: The folder that their paths are relative to.

    Returns:
        A table of `tables.VIDEO_ACTIONS`, a row for each video.
    """
    prepare_cpu()
    state, metadata = load_checkpoint(checkpoint / FILE)
    settings = recipe.VideoAction.model_validate_json(metadata["settings"])
    actions = json.loads(metadata["actions"])
    model = VideoSwin(settings.network, len(actions))
    load_strictly(model, state)
    rows = videos.select(["video_id", "path", "n_frames", "status"]).to_pylist()
    files = [Video(data / row["path"], row["n_frames"] if row["status"] == "ok" else 0) for row in rows]
    found = _probabilities(
        model.to(choose_device()).eval(), _central_clips(_progress(files, "classifying videos"), settings)
    )
    chances = [json.loads(metadata["frequencies"]) if row is None else row.tolist() for row in found]
    best = [int(np.argmax(row)) for row in chances]
    columns = {
        "video_id": [row["video_id"] for row in rows],
        "action": [actions[index] for index in best],
        "score": [row[index] for row, index in zip(chances, best, strict=True)],
        "probabilities": [dict(zip(actions, row, strict=True)) for row in chances],
    }
    return tables.conform(columns, tables.VIDEO_ACTIONS)


def _videos(table: pa.Table, data: Path, actions: list[str]) -> list[Video]:
    """The readable videos of a table, with their actions."""
    rows = [row for row in table.select(["path", "n_frames", "action", "status"]).to_pylist() if row["status"] == "ok"]
    unknown = sorted({str(row["action"]) for row in rows} - set(actions))
    if unknown:
        raise DataError(f"videos show {', '.join(unknown)}, the actions to learn are {', '.join(actions)}")
    return [Video(data / row["path"], row["n_frames"], actions.index(row["action"])) for row in rows]


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    return functional.cross_entropy(model(normalise(batch["clip"])), batch["action"]), {}


def _accuracy_on(videos: list[Video], settings: recipe.VideoAction) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a network on held-out videos, which are decoded once if the cache holds their clips."""
    fits = len(videos) * settings.frames * settings.image_size**2 * 3 <= settings.cache_megabytes * 2**20
    kept = list(_central_clips(_progress(videos, "decoding held-out videos"), settings)) if fits else None

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = _probabilities(model, kept or _central_clips(videos, settings))
        right = [row is not None and row.argmax() == video.action for row, video in zip(found, videos, strict=True)]
        return {"accuracy": float(np.mean(right))}

    return evaluate


def _central_clips(videos: Iterable[Video], settings: recipe.VideoAction) -> Iterator[np.ndarray | None]:
    """Each video's frames in the middle of equal segments; None for a video that cannot be read."""
    for video in videos:
        clip = None
        if video.n_frames:
            try:
                clip = read_clip(video, uniform_sample(video.n_frames, settings.frames), settings.image_size)
            except VideoError as error:
                log.warning("%s", error)
        yield clip


@torch.inference_mode()
def _probabilities(model: nn.Module, clips: Iterable[np.ndarray | None]) -> list[np.ndarray | None]:
    """Probabilities of the actions for each clip: the mean of the clip's and its mirror image's.

    The mirror image gains 0 to 3 points of accuracy in the demo; an action has no side.
    """
    device = next(model.parameters()).device
    found: list[np.ndarray | None] = []
    remaining = iter(clips)
    while batch := list(islice(remaining, BATCH)):
        read = [clip for clip in batch if clip is not None]
        rows = iter(())
        if read:
            seen = normalise(torch.from_numpy(np.stack(read)).to(device))
            chances = model(torch.cat([seen, seen.flip(4)])).softmax(1)
            rows = iter(chances.unflatten(0, (2, -1)).mean(0).cpu().numpy())
        found += [None if clip is None else next(rows) for clip in batch]
    return found


def _progress(sequence: Sequence[Any], what: str) -> Iterable[Any]:
    """Shows a bar on a terminal's stderr, until it is full."""
    console = Console(stderr=True)
    return track(sequence, what, console=console, transient=True, disable=not console.is_terminal)
