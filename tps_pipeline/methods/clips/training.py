"""Training a network to name the states of all parts in a clip, for the video-level and the segment-level method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.clips.augment import augment
from tps_pipeline.clips.reading import ClipReader, Video, held_out
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.errors import WeightsError
from tps_pipeline.methods.clips.classifier import build, normalise
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import LabelSpace, frequencies, targets_by
from tps_pipeline.models.weights import load_checkpoint, load_into, save_checkpoint
from tps_pipeline.outputs import PARTS, STATE_LABELS, VIDEOS
from tps_pipeline.reading import Reads
from tps_pipeline.training import loop
from tps_pipeline.training.batches import Groups
from tps_pipeline.training.checkpoint import WEIGHTS


class LabelledVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        frames: Indices of the frames that have targets, ascending from 0, ``(F,)``.
        targets: The label of each part in each of them, ``(F, 10)``; or in the whole video, ``(1, 10)``.
    """

    path: Path
    n_frames: int
    frames: np.ndarray
    targets: np.ndarray


T = TypeVar("T")
Draw = Callable[[T, np.random.Generator | None], tuple[np.ndarray, Any]]
"""Chooses clips of a video, ``clips_per_video`` at random or, without a generator, those that tell most: their frames,
``(K, T)``, as `read_windows` takes them, and each one's targets (`LabelledVideo`: the label of each part, ``(K, 10)``).
"""


def fit(
    settings: recipe.VideoLevel | recipe.SegmentLevel,
    train: Reads,
    val: Reads,
    *,
    keys: Sequence[str],
    draw: Draw[LabelledVideo],
    folder: Path,
    seed: int,
    weights: Path | None,
) -> dict[str, float]:
    """Train a network and leave it in a folder, with its labels, its settings and how frequent each state is.

    Args:
        settings: The recipe's entry.
        train: What to learn from.
        val: What to measure on; may have no videos.
        keys: What has targets: ``video_id``, with or without ``frame``.
        draw: Chooses clips.
        folder: Gets ``model.safetensors`` and the logs.
        seed: Of everything random.
        weights: Imported weights to start from.

    Returns:
        Loss and, measured on ``val``, the share of labelled parts that get the right state.

    Raises:
        WeightsError: The recipe names weights that were not given.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    space = LabelSpace.of(train(STATE_LABELS), pairs="most_frequent")
    model = build(settings.network, len(space))
    start_from(weights, model, settings.network)
    videos, held_out = (labelled_videos(source, keys, space) for source in (train, val))

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(normalise(batch["clip"], settings.network))
        return part_state_loss(logits, batch["targets"], space, kind=settings.loss), {}

    def classify(network: nn.Module, clips: Tensor, targets: np.ndarray) -> tuple[Tensor, np.ndarray]:
        return network(normalise(clips, settings.network)), targets

    samples = TrainingClips(videos, draw, settings, space=space)
    evaluate = accuracy_on(held_out, draw, classify, settings, space=space) if held_out else None
    often = frequencies(np.concatenate([video.targets for video in videos]), space) if videos else np.zeros(len(space))
    task = loop.Task(model, samples, loss, evaluate=evaluate, groups=groups_of(settings))
    return learn(task, settings, space=space, often=often, folder=folder, seed=seed)


def start_from(
    weights: Path | None, model: nn.Module, network: recipe.Csn | recipe.SlowFast | recipe.VideoSwin
) -> None:
    """Load imported weights into a network, if its section names any.

    Raises:
        WeightsError: It does, but they were not given.
    """
    if weights is not None:
        load_into(model, load_checkpoint(weights)[0])
    elif network.weights is not None:
        raise WeightsError(f"the weights {network.weights} were not given; set `weights: null` or import them")


def groups_of(settings: recipe.ClipMethod) -> Groups:
    """How clips are mixed; single ones of videos in random order as they are."""
    return Groups(settings.clips_per_video, settings.shuffle_buffer if settings.clips_per_video > 1 else 0)


def learn(
    task: loop.Task, settings: recipe.ClipMethod, *, space: LabelSpace, often: np.ndarray, folder: Path, seed: int
) -> dict[str, float]:
    """Train, and leave the network in a folder with what is needed to use it.

    Args:
        task: What is trained, on clips.
        settings: The recipe's entry.
        space: The labels.
        often: How frequent each of them is.
        folder: Gets ``model.safetensors`` and the logs.
        seed: Of everything random.

    Returns:
        Loss and accuracy.
    """

    def save(trained: nn.Module) -> None:
        metadata = {
            "labels": space.to_json(),
            "frequencies": " ".join(map(str, often.tolist())),
            "settings": settings.model_dump_json(exclude={"inference"}),
        }
        save_checkpoint(folder / WEIGHTS, trained.state_dict(), metadata=metadata)

    fitted = loop.fit(replace(task, save=save), settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "part_accuracy")}


def labelled_videos(source: Reads, keys: Sequence[str], space: LabelSpace) -> list[LabelledVideo]:
    """The readable videos that have targets; annotated frames past a video's end are left out.

    Args:
        source: The shards.
        keys: As for `targets_by`.
        space: The label space.
    """
    targets = targets_by(keys, source(PARTS), space)
    by_video: dict[str, pd.DataFrame] = dict(iter(targets.groupby(level="video_id")))  # pyright: ignore
    found = []
    for row in source(VIDEOS).select(["video_id", "path", "n_frames", "status"]).to_pylist():
        own = by_video.get(row["video_id"])
        if own is None or row["status"] != "ok":
            continue
        frames = own.index.get_level_values("frame").to_numpy() - 1 if "frame" in keys else np.zeros(1, np.int64)
        inside = frames < row["n_frames"]
        if inside.any():
            path = source.data / row["path"]
            found.append(LabelledVideo(path, row["n_frames"], frames[inside], own.to_numpy()[inside]))
    return found


class TrainingClips:
    """Training samples in groups: the clips drawn from a video in one pass, each augmented by itself."""

    def __init__(self, videos: list[Any], draw: Draw[Any], settings: recipe.ClipMethod, *, space: LabelSpace) -> None:
        self.videos, self.draw, self.settings, self.space = videos, draw, settings, space
        self.reader = ClipReader(_files(videos), size=settings.image_size, cache_megabytes=settings.cache_megabytes)
        self.unmirrored = settings.augment.model_copy(update={"flip": 0.0})

    def __len__(self) -> int:
        return len(self.videos)

    def sample(self, index: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Clips ``(T, H, W, 3)`` uint8 with targets ``(10,)``; an undecodable video gives way to another."""
        clips, targets = self.read(index, rng)
        samples = []
        for clip, own in zip(clips, targets, strict=True):
            clip = augment(clip, self.unmirrored, rng)
            if rng.random() < self.settings.augment.flip:
                clip, own = np.ascontiguousarray(clip[:, :, ::-1]), self.space.mirrored(own)
            samples.append({"clip": clip, "targets": own})
        return samples

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Clips ``(K, T, H, W, 3)`` of a video, or of another if it cannot be decoded, and each one's targets."""
        return self.reader.draw(index, lambda video: self.draw(self.videos[video], rng), rng)


def _files(videos: list[Any]) -> list[Video]:
    return [Video(video.path, video.n_frames) for video in videos]


def accuracy_on(
    videos: list[Any],
    draw: Draw[Any],
    classify: Callable[[nn.Module, Tensor, Any], tuple[Tensor, np.ndarray]],
    settings: recipe.ClipMethod,
    *,
    space: LabelSpace,
) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a network on held-out videos: the share of labelled parts that get the right state.

    Args:
        videos: The videos.
        draw: Chooses their clips, with the clips' targets.
        classify: Of the network, clips ``(K, T, H, W, 3)`` uint8 and their targets: logits and targets by row.
        settings: The recipe's entry.
        space: The labels.
    """
    drawn = [draw(video, None) for video in videos]
    indices, targets_of = [list(each) for each in zip(*drawn, strict=True)]
    budget = settings.cache_megabytes
    read = held_out(_files(videos), indices, size=settings.image_size, cache_megabytes=budget)

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        right = np.zeros(0, bool)
        for clips, labels in zip(read(), targets_of, strict=True):
            if clips is None:
                continue
            logits, targets = classify(model, torch.from_numpy(clips).to(device), labels)
            best = space.best(logits.float().cpu().numpy())
            right = np.append(right, best[targets >= 0] == targets[targets >= 0])
        return {"part_accuracy": float(right.mean()) if len(right) else 0.0}

    return evaluate
