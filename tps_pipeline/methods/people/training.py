"""Training a network to name the states of every annotated person in a clip.

Annotated boxes are moved a little, to be more like detected ones (ACAR-Net); detected people who match annotated ones
are learned from as well, if the recipe says so.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.clips.augment import draw_warp, warp_and_tint
from tps_pipeline.landmarks import MIRRORED
from tps_pipeline.methods.clips.classifier import normalise
from tps_pipeline.methods.lessons import Draw, Lesson, TrainingClips, begin, groups_of, learn, start_from
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace
from tps_pipeline.methods.people.classifier import build
from tps_pipeline.methods.people.key_frames import KeyFrame, KeyFrameVideo, joined, key_frame_videos, people_of
from tps_pipeline.reading import Reads
from tps_pipeline.training.batches import Groups

VISIBLE = 0.3
"""Share of a box that must be left in a moved picture for the person to be learned from. Ours."""

WITHOUT = 0.1
"""Share of people whose landmarks are left out of a sample, so that what stands for none is learned. Ours."""


def fit(
    settings: recipe.InstanceLevel,
    train: Reads,
    val: Reads,
    *,
    draw: Draw[KeyFrameVideo],
    folder: Path,
    seed: int,
    weights: Path | None,
) -> dict[str, float]:
    """Train a network and leave it in a folder, with its labels, its settings and how frequent each state is.

    Args:
        settings: The recipe's entry.
        train: What to learn from.
        val: What to measure on; may have no videos.
        draw: Chooses clips.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.
        weights: Imported weights for the backbone to start from.

    Returns:
        Loss and, measured on the same boxes of `val`, the share of labelled parts that get the right state.

    Raises:
        WeightsError: The recipe names weights that were not given.
    """
    space = begin(train, pairs="all", seed=seed)
    model = build(settings, len(space))
    start_from(weights, model.backbone, settings.network)
    videos, held_out = (key_frame_videos(source, space, settings) for source in (train, val))

    def answer(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        logits = network(normalise(batch["clips"], settings.network), people_of(batch, settings))
        return logits, batch["targets"], (batch["targets"] >= 0).any(1)

    def classify(network: nn.Module, clips: Tensor, key_frames: list[KeyFrame]) -> tuple[Tensor, np.ndarray]:
        people = {name: rows.to(clips.device) for name, rows in joined([key_frames]).items()}
        logits = network(normalise(clips, settings.network), people_of(people, settings))
        return logits, people["targets"].cpu().numpy()

    samples = TrainingClips(videos, draw, settings, partial(augmented, settings, space))
    targets = [key_frame.targets for video in videos for key_frame in video.key_frames]
    # Neighbours are one sample; those of videos in random order are mixed as they are.
    groups = Groups(1, 0) if settings.tracked else groups_of(settings)
    lesson = Lesson(model, samples, answer, classify, held_out, draw, targets, collate, groups)
    return learn(lesson, settings, space, folder=folder, seed=seed)


def augmented(
    settings: recipe.InstanceLevel,
    space: LabelSpace,
    clips: np.ndarray,
    key_frames: list[KeyFrame],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Training samples of some clips of a video, each augmented by itself with its boxes.

    Neighbouring clips, where tracks matter, are one sample and augmented alike.

    Args:
        settings: The recipe's entry.
        space: The labels.
        clips: `(K, T, H, W, 3)` uint8.
        key_frames: The people in each.
        rng: Where all draws come from.

    Returns:
        `clips` `(K, T, H, W, 3)` uint8 and `key_frames` of each.
    """
    together = len(clips) if settings.tracked else 1
    samples = []
    for start in range(0, len(clips), together):
        seed, window = int(rng.integers(2**63)), slice(start, start + together)
        pairs = zip(clips[window], key_frames[window], strict=True)
        alike = (moved(settings, space, *pair, np.random.default_rng(seed)) for pair in pairs)
        pictures, people = zip(*alike, strict=True)
        samples.append({"clips": np.stack(pictures), "key_frames": list(people)})
    return samples


def moved(
    settings: recipe.InstanceLevel, space: LabelSpace, clip: np.ndarray, key_frame: KeyFrame, rng: np.random.Generator
) -> tuple[np.ndarray, KeyFrame]:
    """A clip and its people moved alike, with someone to learn from."""
    unmirrored = settings.augment.model_copy(update={"flip": 0.0})
    size = clip.shape[2], clip.shape[1]
    warp, flip = draw_warp(*size, unmirrored, rng), rng.random() < settings.augment.flip
    landmarks = key_frame.landmarks
    inside, left = warped(key_frame.boxes, warp, *size)
    labels = np.where(left[:, None] >= VISIBLE, key_frame.targets, UNLABELLED)
    if (labels >= 0).any():
        clip, boxes = warp_and_tint(clip, warp, unmirrored, rng), inside
        landmarks = None if landmarks is None else _carried(landmarks, warp, *size)
    else:  # everyone labelled would be out of the picture
        boxes, labels = key_frame.boxes, key_frame.targets
    mirrored = space.mirrored(labels)
    if flip and (mirrored >= 0).any():
        clip, labels = np.ascontiguousarray(clip[:, :, ::-1]), mirrored
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
        landmarks = None if landmarks is None else mirrored_landmarks(landmarks)
    boxes = _jittered(boxes, settings.box_jitter, rng)
    if landmarks is not None:
        landmarks = np.where(rng.random((len(landmarks), 1, 1)) < WITHOUT, np.float32(np.nan), landmarks)
    return clip, key_frame._replace(boxes=boxes, targets=labels, landmarks=landmarks)


def warped(boxes: np.ndarray, warp: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around where the corners of boxes go, cut at the picture's edge.

    Args:
        boxes: Shares of the picture, `(N, 4)`.
        warp: Where the centres of pixels go, `(2, 3)`.
        width: Of the picture, in pixels.
        height: Of the picture.

    Returns:
        Shares of the picture, float32, `(N, 4)`, and how much of each box is left, `(N,)`.
    """
    moved = _through(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]], warp, width, height)
    around = np.concatenate([moved.min(1), moved.max(1)], 1)
    cut = around.clip(0, 1)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (cut, around)]
    return cut.astype(np.float32), areas[0] / np.maximum(areas[1], 1e-12)


def _carried(landmarks: np.ndarray, warp: np.ndarray, width: int, height: int) -> np.ndarray:
    """Landmarks `(N, 33, 3)` where a warp takes them; those out of the picture are not seen."""
    places = _through(landmarks[..., :2], warp, width, height)
    within = ((places >= 0) & (places <= 1)).all(-1)
    return np.concatenate([places, (landmarks[..., 2] * within)[..., None]], -1).astype(np.float32)


def _through(places: np.ndarray, warp: np.ndarray, width: int, height: int) -> np.ndarray:
    """Where a warp of pixels' centres, `(2, 3)`, takes places, which are shares of the picture, `(..., 2)`."""
    size = np.array([width, height])
    return ((places * size - 0.5) @ warp[:, :2].T + warp[:, 2] + 0.5) / size


def mirrored_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """The landmarks `(N, 33, 3)` of the mirrored picture."""
    return (landmarks * np.array([-1, 1, 1]) + np.array([1, 0, 0])).astype(np.float32)[:, list(MIRRORED)]


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch: the samples' clips `(B, T, H, W, 3)`, and all their people as `joined` gives them."""
    clips = torch.from_numpy(np.concatenate([sample["clips"] for sample in samples]))
    return {"clips": clips} | joined([sample["key_frames"] for sample in samples])


def _jittered(boxes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes each edge of which moves by up to a share of the box's size (ACAR-Net: 0.075)."""
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return (boxes + sizes * rng.uniform(-share, share, boxes.shape)).clip(0, 1).astype(np.float32)
