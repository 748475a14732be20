"""Learning states from clips: what methods that look at whole clips and at the people in them have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from tps_pipeline import recipe
from tps_pipeline.clips.reading import ClipReader, Video, held_out
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.errors import WeightsError
from tps_pipeline.methods.part_state_loss import part_state_loss
from tps_pipeline.methods.part_states import LabelSpace, frequencies, target_counts
from tps_pipeline.models.weights import load_checkpoint, load_into, save_checkpoint
from tps_pipeline.outputs import STATE_LABELS
from tps_pipeline.reading import Reads
from tps_pipeline.training import loop
from tps_pipeline.training.batches import Groups
from tps_pipeline.training.checkpoint import WEIGHTS

T = TypeVar("T")
Draw = Callable[[T, np.random.Generator | None], tuple[np.ndarray, Any]]
"""Chooses clips of a video, `clips_per_video` at random or, without a generator, those that tell most: their frames,
`(K, T)`, as `read_windows` takes them, and each one's targets (`LabelledVideo`: the label of each part, `(K, parts)`).
"""

BODY = "backbone."
"""What stands before the names of a body's weights, in a network that has more than a body and a classifier."""

Samples = Callable[[np.ndarray, Any, np.random.Generator], list[dict[str, Any]]]
"""Makes training samples of some clips of a video, `(K, T, H, W, 3)` uint8, and what was drawn with them."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from, and how a network is asked.

    Attributes:
        model: The network.
        samples: What it learns from.
        answer: Of the network and a batch: logits, `(N, labels)`, their targets, `(N, parts)`, and which rows count,
            `(N,)` (None: all).
        classify: Of the network, a held-out video's clips, `(K, T, H, W, 3)` uint8, and what was drawn with them:
            logits and targets.
        held_out: Videos to measure on; may be none.
        draw: Chooses their clips.
        targets: All targets that there are to learn from, `(., parts)` each.
        collate: Makes a batch of samples.
        groups: How samples are mixed.
    """

    model: nn.Module
    samples: TrainingClips
    answer: Callable[[nn.Module, dict[str, Tensor]], tuple[Tensor, Tensor, Tensor | None]]
    classify: Callable[[nn.Module, Tensor, Any], tuple[Tensor, np.ndarray]]
    held_out: list[Any]
    draw: Draw[Any]
    targets: list[np.ndarray]
    collate: Callable[[list[Any]], Any] = default_collate
    groups: Groups | None = None


def begin(train: Reads, *, pairs: Literal["most_frequent", "all"], seed: int) -> LabelSpace:
    """Make this process fit for training, seed it, and say what there is to tell apart (`LabelSpace.of`)."""
    prepare_cpu()
    torch.manual_seed(seed)
    return LabelSpace.of(train(STATE_LABELS), pairs=pairs)


def start_from(
    weights: Path | None, model: nn.Module, network: recipe.Csn | recipe.SlowFast | recipe.VideoSwin
) -> None:
    """Load weights into a network, imported ones if its section names any, or those of another method's body.

    Raises:
        WeightsError: It does, but they were not given.
    """
    if weights is not None:
        state = load_checkpoint(weights)[0]
        body = {name.partition(BODY)[2]: tensor for name, tensor in state.items() if BODY in name}
        load_into(model, body or state)
    elif network.weights is not None:
        raise WeightsError(f"the weights {network.weights} were not given; set `weights: null` or import them")


def on_device(tensor: Tensor) -> Callable[[torch.device], Tensor]:
    """Gives a tensor on a device, where it then stays: to bring it there for each batch, a GPU would be waited for."""
    return functools.cache(tensor.to)


def groups_of(settings: recipe.ClipMethod) -> Groups:
    """How clips are mixed; single ones of videos in random order as they are."""
    return Groups(settings.clips_per_video, settings.shuffle_buffer if settings.clips_per_video > 1 else 0)


def learn(
    lesson: Lesson, settings: recipe.ClipMethod, space: LabelSpace, *, folder: Path, seed: int
) -> dict[str, float]:
    """Train, and leave the network in a folder with what is needed to use it.

    Args:
        lesson: What is learned.
        settings: The recipe's entry.
        space: The labels.
        folder: Gets `model.safetensors` and the logs.
        seed: Of everything random.

    Returns:
        Loss and, measured on held-out videos, the share of labelled parts that get the right state.
    """
    every = np.concatenate(lesson.targets) if lesson.targets else np.empty((0, len(space.parts)), np.int64)
    counts = on_device(torch.from_numpy(target_counts(every, space)))

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits, targets, among = lesson.answer(network, batch)
        kind, tail, often = settings.loss, settings.long_tail, counts(logits.device)
        return part_state_loss(logits, targets, space, kind=kind, long_tail=tail, counts=often, among=among), {}

    evaluate = accuracy_on(lesson, settings, space) if lesson.held_out else None
    save = saving(settings, space, every, folder)
    task = loop.Task(
        lesson.model, lesson.samples, loss, lesson.collate, evaluate, save, lesson.groups, figure="part_accuracy"
    )
    fitted = loop.fit(task, settings.training, folder=folder, seed=seed)
    return {name: value for name, value in fitted.metrics.items() if name in ("loss", "part_accuracy")}


def saving(
    settings: recipe.ClipMethod, space: LabelSpace, targets: np.ndarray, folder: Path
) -> Callable[[nn.Module], None]:
    """Leaves a trained network in a folder with what is needed to use it.

    Args:
        settings: The recipe's entry.
        space: The labels.
        targets: All that there are to learn from, `(N, parts)`.
        folder: Gets `model.safetensors`.
    """
    often = frequencies(targets, space)

    def save(trained: nn.Module) -> None:
        metadata = {
            "labels": space.to_json(),
            "frequencies": " ".join(map(str, often.tolist())),
            "settings": settings.model_dump_json(exclude={"inference"}),
        }
        save_checkpoint(folder / WEIGHTS, trained.state_dict(), metadata=metadata)

    return save


class TrainingClips:
    """Training samples in groups: those of the clips drawn from a video in one pass.

    Args:
        videos: The videos.
        draw: Chooses their clips.
        settings: The recipe's entry.
        samples: Makes samples of the clips.
    """

    def __init__(self, videos: Sequence[Any], draw: Draw[Any], settings: recipe.ClipMethod, samples: Samples) -> None:
        self.videos, self.draw, self.samples = videos, draw, samples
        self.reader = ClipReader(_files(videos), size=settings.image_size, cache_megabytes=settings.cache_megabytes)

    def __len__(self) -> int:
        return len(self.videos)

    def sample(self, index: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """The samples of a video, or of another if it cannot be decoded."""
        clips, beside = self.reader.draw(index, lambda video: self.draw(self.videos[video], rng), rng)
        return self.samples(clips, beside, rng)


def accuracy_on(
    lesson: Lesson, settings: recipe.ClipMethod, space: LabelSpace
) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a network on held-out videos: the share of labelled parts that get the right state."""
    again = held_out_clips(lesson.held_out, lesson.draw, settings)

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        right = np.zeros(0, bool)
        for clips, labels in again():
            logits, targets = lesson.classify(model, torch.from_numpy(clips).to(device), labels)
            best = space.best(logits.float().cpu().numpy())
            right = np.append(right, best[targets >= 0] == targets[targets >= 0])
        return {"part_accuracy": float(right.mean()) if len(right) else 0.0}

    return evaluate


def held_out_clips(
    videos: Sequence[Any], draw: Draw[Any], settings: recipe.ClipMethod
) -> Callable[[], Iterator[tuple[np.ndarray, Any]]]:
    """The clips that tell most of each held-out video that can be decoded, and what was drawn with them."""
    drawn = [draw(video, None) for video in videos]
    indices, beside = [list(each) for each in zip(*drawn, strict=True)]
    read = held_out(_files(videos), indices, size=settings.image_size, cache_megabytes=settings.cache_megabytes)
    return lambda: ((clips, with_them) for clips, with_them in zip(read(), beside, strict=True) if clips is not None)


def _files(videos: Sequence[Any]) -> list[Video]:
    return [Video(video.path, video.n_frames) for video in videos]
