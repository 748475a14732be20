"""Training a network to name the states of every annotated person in a clip.

Boxes are shares of the picture, edges of pixels: an annotated box, whose corners are pixels within it, ends one pixel
further. They are moved a little, as detected ones would be (ACAR-Net), instead of training on detections as well: those
of the training videos would all have to be made first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tps_pipeline import recipe, training
from tps_pipeline.batches import Groups
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.methods import Sources
from tps_pipeline.methods.clip_classifier import normalise
from tps_pipeline.methods.clip_training import Draw, TrainingClips, accuracy_on, groups_of, learn, start_from
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, frequencies, targets_by
from tps_pipeline.models.instance_level import InstanceNet
from tps_pipeline.models.relations import People
from tps_pipeline.tables import BOX
from tps_pipeline.tracks import track
from tps_pipeline.video_action import draw_warp, warp_and_tint

VISIBLE = 0.3
"""Share of a box that must be left in a moved picture for the person to be learned from. Ours."""
_PERSON = ["video_id", "frame", "person"]


class Crowd(NamedTuple):
    """The people in a frame.

    Attributes:
        boxes: Left, upper, right and lower edge as shares of the picture, float32, ``(N, 4)``.
        targets: The label of each one's parts, ``(N, 10)``.
        tracks: Each one's track in the video, ``(N,)``.
    """

    boxes: np.ndarray
    targets: np.ndarray
    tracks: np.ndarray


class CrowdedVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        frames: Indices of the frames with labelled people, ascending from 0, ``(F,)``.
        crowds: The people in each of them.
    """

    path: Path
    n_frames: int
    frames: np.ndarray
    crowds: list[Crowd]


def fit(
    settings: recipe.InstanceLevel,
    train: Sources,
    val: Sources,
    *,
    draw: Draw[CrowdedVideo],
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
        folder: Gets ``model.safetensors`` and the logs.
        seed: Of everything random.
        weights: Imported weights for the backbone to start from.

    Returns:
        Loss and, measured on annotated boxes of ``val``, the share of labelled parts that get the right state.

    Raises:
        WeightsError: The recipe names weights that were not given.
    """
    prepare_cpu()
    torch.manual_seed(seed)
    space = LabelSpace.of(train.table("vocabulary/states"), pairs="all")
    model = InstanceNet(settings, len(space))
    start_from(weights, model.backbone, settings.network)
    videos, held_out = (crowded_videos(source, space, tracked=settings.tracked) for source in (train, val))

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(normalise(batch["clips"], settings.network), people_of(batch, settings))
        labelled = (batch["targets"] >= 0).any(1)
        return part_state_loss(logits[labelled], batch["targets"][labelled], space, kind=settings.loss), {}

    def classify(network: nn.Module, clips: Tensor, crowds: list[Crowd]) -> tuple[Tensor, np.ndarray]:
        people = {name: rows.to(clips.device) for name, rows in joined([crowds]).items()}
        logits = network(normalise(clips, settings.network), people_of(people, settings))
        return logits, people["targets"].cpu().numpy()

    samples = TrainingPeople(videos, draw, settings, space=space)
    evaluate = accuracy_on(held_out, draw, classify, settings, space=space) if held_out else None
    everyone = [crowd.targets for video in videos for crowd in video.crowds]
    often = frequencies(np.concatenate(everyone), space) if everyone else np.zeros(len(space))
    # Neighbours are one sample; those of videos in random order are mixed as they are.
    groups = Groups(1, 0) if settings.tracked else groups_of(settings)
    task = training.Task(model, samples, loss, collate=collate, evaluate=evaluate, groups=groups)
    return learn(task, settings, space=space, often=often, folder=folder, seed=seed)


def people_of(batch: dict[str, Tensor], settings: recipe.InstanceLevel) -> People:
    """The people of a batch, who is who left open unless the entry asks for it."""
    return People(batch["boxes"], batch["clip_of"], batch["tracks"] if settings.tracked else None)


def crowded_videos(source: Sources, space: LabelSpace, *, tracked: bool = False) -> list[CrowdedVideo]:
    """The readable videos in which a person is labelled; annotated frames past a video's end are left out.

    Args:
        source: The shards.
        space: The label space.
        tracked: Link people from frame to frame; else everyone is someone else in each.
    """
    targets = targets_by(_PERSON, source.table("annotations/parts"), space)
    annotated = source.table("annotations/people")
    people = annotated.to_pandas().astype({"video_id": str})
    keys = pd.MultiIndex.from_frame(people[_PERSON])
    tracks = np.arange(len(people))
    if tracked:
        linked = track(annotated).to_pandas().astype({"video_id": str}).set_index(_PERSON)
        tracks = linked.track_id.reindex(keys).to_numpy(np.int64)
    # Who has no labelled part is seen by the others all the same.
    labels = targets.reindex(keys).fillna(UNLABELLED).to_numpy(np.int64)
    by_video = people.groupby("video_id").indices
    columns = ["video_id", "path", "n_frames", "width", "height", "status"]
    found = []
    for row in source.table("videos").select(columns).to_pylist():
        own = by_video.get(row["video_id"])
        if own is None or row["status"] != "ok":
            continue
        boxes = shares(people[[*BOX]].to_numpy()[own], row["width"], row["height"])
        frames, starts = np.unique(people.frame.to_numpy()[own], return_index=True)
        by_frame = (np.split(rows, starts[1:]) for rows in (boxes, labels[own], tracks[own]))
        crowds = [Crowd(*rows) for rows in zip(*by_frame, strict=True)]
        kept = [at for at, crowd in enumerate(crowds) if frames[at] <= row["n_frames"] and (crowd.targets >= 0).any()]
        if kept:
            path = source.data / row["path"]
            found.append(CrowdedVideo(path, row["n_frames"], frames[kept] - 1, [crowds[at] for at in kept]))
    return found


def shares(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes of inclusive pixels, ``(N, 4)``, as shares of a picture: float32."""
    return ((boxes + np.array([0, 0, 1, 1])) / (width, height, width, height)).astype(np.float32)


class TrainingPeople(TrainingClips):
    """Training samples in groups: the clips drawn from a video in one pass, each augmented by itself with its boxes.

    Neighbouring clips, where tracks matter, are one sample and augmented alike.
    """

    settings: recipe.InstanceLevel

    def sample(self, index: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Clips ``(K, T, H, W, 3)`` uint8 with the people in each; an undecodable video gives way to another."""
        clips, crowds = self.read(index, rng)
        together = len(clips) if self.settings.tracked else 1
        samples = []
        for start in range(0, len(clips), together):
            seed, some = int(rng.integers(2**63)), slice(start, start + together)
            pairs = zip(clips[some], crowds[some], strict=True)
            moved, people = zip(*(self.augmented(*pair, np.random.default_rng(seed)) for pair in pairs), strict=True)
            samples.append({"clips": np.stack(moved), "crowds": list(people)})
        return samples

    def augmented(self, clip: np.ndarray, crowd: Crowd, rng: np.random.Generator) -> tuple[np.ndarray, Crowd]:
        """A clip and its people moved alike, with someone to learn from."""
        size = clip.shape[2], clip.shape[1]
        warp, flip = draw_warp(*size, self.unmirrored, rng), rng.random() < self.settings.augment.flip
        moved, left = warped(crowd.boxes, warp, *size)
        labels = np.where(left[:, None] >= VISIBLE, crowd.targets, UNLABELLED)
        if (labels >= 0).any():
            clip, boxes = warp_and_tint(clip, warp, self.unmirrored, rng), moved
        else:  # everyone labelled would be out of the picture
            boxes, labels = crowd.boxes, crowd.targets
        mirrored = self.space.mirrored(labels)
        if flip and (mirrored >= 0).any():
            clip, labels = np.ascontiguousarray(clip[:, :, ::-1]), mirrored
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
        return clip, Crowd(_jittered(boxes, self.settings.box_jitter, rng), labels, crowd.tracks)


def warped(boxes: np.ndarray, warp: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around where the corners of boxes go, cut at the picture's edge.

    Args:
        boxes: Shares of the picture, ``(N, 4)``.
        warp: Where the centres of pixels go, ``(2, 3)``.
        width: Of the picture, in pixels.
        height: Of the picture.

    Returns:
        Shares of the picture, float32, ``(N, 4)``, and how much of each box is left, ``(N,)``.
    """
    size = np.array([width, height])
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] * size - 0.5
    moved = ((corners @ warp[:, :2].T + warp[:, 2]) + 0.5) / size
    around = np.concatenate([moved.min(1), moved.max(1)], 1)
    cut = around.clip(0, 1)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (cut, around)]
    return cut.astype(np.float32), areas[0] / np.maximum(areas[1], 1e-12)


def collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch: the samples' clips ``(B, T, H, W, 3)``, and all their people as `joined` gives them."""
    clips = torch.from_numpy(np.concatenate([sample["clips"] for sample in samples]))
    return {"clips": clips} | joined([sample["crowds"] for sample in samples])


def joined(videos: list[list[Crowd]]) -> dict[str, Tensor]:
    """The people of clips of some videos: ``(N, ...)`` boxes, targets, tracks and ``clip_of``, each one's clip."""
    crowds = [crowd for video in videos for crowd in video]
    people = Crowd(*(np.concatenate(rows) for rows in zip(*crowds, strict=True)))
    sizes = [len(crowd.boxes) for crowd in crowds]
    clip_of = np.repeat(np.arange(len(crowds)), sizes)
    video_of = np.repeat(np.repeat(np.arange(len(videos)), [len(video) for video in videos]), sizes)
    _, tracks = np.unique(np.stack([video_of, people.tracks]), axis=1, return_inverse=True)
    rows = people._replace(tracks=tracks.astype(np.int64))._asdict() | {"clip_of": clip_of}
    return {name: torch.from_numpy(array) for name, array in rows.items()}


def _jittered(boxes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes each edge of which moves by up to a share of the box's size (ACAR-Net: 0.075)."""
    sizes = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return (boxes + sizes * rng.uniform(-share, share, boxes.shape)).clip(0, 1).astype(np.float32)
