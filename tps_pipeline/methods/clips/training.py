"""Training a network to name the states of all parts in a clip, for the video-level and the segment-level method."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.clips.augment import augment
from tps_pipeline.methods.clips.classifier import build, normalise
from tps_pipeline.methods.lessons import Draw, Lesson, TrainingClips, begin, groups_of, learn, start_from
from tps_pipeline.methods.part_states import LabelSpace, targets_by
from tps_pipeline.outputs import PARTS, VIDEOS
from tps_pipeline.reading import Reads


class LabelledVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        frames: Indices of the frames that have targets, ascending from 0, `(F,)`.
        targets: The label of each part in each of them, `(F, parts)`; or in the whole video, `(1, parts)`.
    """

    path: Path
    n_frames: int
    frames: np.ndarray
    targets: np.ndarray


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
        keys: What has targets: `video_id`, with or without `frame`.
        draw: Chooses clips.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.
        weights: Imported weights to start from.

    Returns:
        Loss and, measured on `val`, the share of labelled parts that get the right state.

    Raises:
        WeightsError: The recipe names weights that were not given.
    """
    space = begin(train, pairs="most_frequent", seed=seed)
    model = build(settings.network, len(space))
    start_from(weights, model, settings.network)
    videos, held_out = (labelled_videos(source, keys, space) for source in (train, val))

    def answer(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, None]:
        return network(normalise(batch["clip"], settings.network)), batch["targets"], None

    def classify(network: nn.Module, clips: Tensor, targets: np.ndarray) -> tuple[Tensor, np.ndarray]:
        return network(normalise(clips, settings.network)), targets

    samples = TrainingClips(videos, draw, settings, partial(augmented, settings.augment, space))
    targets = [video.targets for video in videos]
    lesson = Lesson(model, samples, answer, classify, held_out, draw, targets, groups=groups_of(settings))
    return learn(lesson, settings, space, folder=folder, seed=seed)


def augmented(
    settings: recipe.ClipAugmentation,
    space: LabelSpace,
    clips: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Training samples of some clips of a video, each augmented by itself.

    Args:
        settings: How far.
        space: The labels.
        clips: `(K, T, H, W, 3)` uint8.
        targets: `(K, parts)`.
        rng: Where all draws come from.

    Returns:
        `clip` `(T, H, W, 3)` uint8 and `targets` `(parts,)` of each.
    """
    unmirrored, samples = settings.model_copy(update={"flip": 0.0}), []
    for clip, labels in zip(clips, targets, strict=True):
        clip = augment(clip, unmirrored, rng)
        if rng.random() < settings.flip:
            clip, labels = np.ascontiguousarray(clip[:, :, ::-1]), space.mirrored(labels)
        samples.append({"clip": clip, "targets": labels})
    return samples


def labelled_videos(source: Reads, keys: Sequence[str], space: LabelSpace) -> list[LabelledVideo]:
    """The readable videos that have targets; annotated frames past a video's end are left out.

    Args:
        source: The shards.
        keys: As for `targets_by`.
        space: The label space.
    """
    targets = targets_by(keys, source(PARTS), space)
    by_video: dict[str, pd.DataFrame] = dict(iter(targets.groupby(level="video_id")))  # pyright: ignore
    labelled = []
    for row in source(VIDEOS).select(["video_id", "path", "n_frames", "status"]).to_pylist():
        of_video = by_video.get(row["video_id"])
        if of_video is None or row["status"] != "ok":
            continue
        frames = of_video.index.get_level_values("frame").to_numpy() - 1 if "frame" in keys else np.zeros(1, np.int64)
        inside = frames < row["n_frames"]
        if inside.any():
            path = source.data / row["path"]
            targets = of_video.to_numpy(np.int64)[inside]
            labelled.append(LabelledVideo(path, row["n_frames"], frames[inside], targets))
    return labelled
