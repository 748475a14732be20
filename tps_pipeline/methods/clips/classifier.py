"""A network that sees clips and names the states of all parts: how it is built, loaded and used.

The video-level and the segment-level method differ in their network and in which frames make a clip.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tps_pipeline import recipe
from tps_pipeline.clips import networks, normalisation
from tps_pipeline.clips.normalisation import IMAGENET, Pixels
from tps_pipeline.clips.reading import read_ahead
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.device import choose_device
from tps_pipeline.errors import VideoError
from tps_pipeline.methods.part_state_loss import part_state_scores
from tps_pipeline.methods.part_states import LabelSpace, with_states
from tps_pipeline.models import csn, onnx
from tps_pipeline.models.described import built_as_described, description_of
from tps_pipeline.models.instance_level import InstanceNet
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.progress import progress
from tps_pipeline.training.checkpoint import WEIGHTS

BATCH = 8
"""Clips read at once, at most."""
PIXELS = 2**22
"""Of the clips that are classified at once: more make nothing faster, and a network's first layers hold hundreds of
bytes for each."""

log = logging.getLogger(__name__)

Entry = TypeVar("Entry", recipe.VideoLevel, recipe.SegmentLevel, recipe.InstanceLevel)
Plan = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""The clips that tell about some frames (indices from 0, ascending) of a video with so many frames: the frames of each
clip, `(K, T)`, as `read_windows` takes them, and each frame's clip."""


def build(settings: recipe.VideoSwin | recipe.Csn, labels: int) -> nn.Module:
    """The network of a recipe's section, with so many outputs."""
    if isinstance(settings, recipe.Csn):
        return networks.csn(settings, labels)
    return networks.video_swin(settings, labels)


def pixels_of(settings: recipe.VideoSwin | recipe.Csn | recipe.SlowFast) -> Pixels:
    """What the section's published weights expect of pixels."""
    match settings:
        case recipe.SlowFast():
            return Pixels(settings.mean, settings.std)
        case recipe.Csn():
            return Pixels(csn.MEAN, csn.STD)
        case _:
            return IMAGENET


def normalise(clips: Tensor, settings: recipe.VideoSwin | recipe.Csn | recipe.SlowFast) -> Tensor:
    """Clips `(B, T, H, W, 3)` uint8 as the section's published weights take them: `(B, 3, T, H, W)`."""
    return normalisation.normalise(clips, pixels_of(settings))


def at_once(settings: recipe.ClipMethod) -> int:
    """How many of an entry's clips are classified at once."""
    return max(1, PIXELS // (settings.image_size**2 * settings.frames))


def read_at_once(settings: recipe.ClipMethod) -> int:
    """How many of an entry's clips are read at once: as more wait than one batch, no more than are classified."""
    return min(BATCH, at_once(settings))


@dataclass(frozen=True)
class Classifier(Generic[Entry]):
    """A trained network as it is used.

    Attributes:
        model: In eval mode, on the device that it is to run on.
        settings: The recipe's entry that it was trained with, its `inference` that of the entry in force.
        space: Its labels.
        frequencies: How often each state is its part's target, `(labels,)`: what is known of a video unseen.
    """

    model: nn.Module
    settings: Entry
    space: LabelSpace
    frequencies: np.ndarray

    @torch.inference_mode()
    def scores(self, frames: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Score clips.

        Args:
            frames: Pictures, RGB uint8, `(N, H, W, 3)`.
            shown: Which of them each clip shows, `(B, T)`.

        Returns:
            `part_state_scores`, `(B, labels)`.
        """
        device = next(self.model.parameters()).device
        # Frames go to the device once, however many clips show them.
        pictures, clips = (torch.from_numpy(array).to(device) for array in (frames, shown))
        batches = clips.split(at_once(self.settings))
        logits = [self.model(normalise(pictures[batch], self.settings.network)) for batch in batches]
        return part_state_scores(torch.cat(logits), self.space, kind=self.settings.loss).cpu().numpy()


def as_in_force(trained: Entry, entry: Entry) -> Entry:
    """An entry that a network was trained with, its `inference` that of the entry in force, if it has any."""
    if isinstance(entry, recipe.VideoLevel):
        return trained
    return trained.model_copy(update={"inference": entry.inference})


def build_for(settings: recipe.VideoLevel | recipe.SegmentLevel, labels: int) -> nn.Module:
    """The network of a recipe's entry, with so many outputs."""
    return build(settings.network, labels)


@kept
def load(checkpoint: Path, entry: Entry, network: Callable[[Entry, int], nn.Module] = build_for) -> Classifier[Entry]:
    """The network that `clip_training.learn` left in a folder.

    Args:
        checkpoint: The folder.
        entry: The recipe's entry in force: it says how the network is used, the checkpoint what the network is.
        network: Builds the network of an entry, with so many outputs.
    """
    prepare_cpu()
    state, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        settings = as_in_force(type(entry).model_validate_json(metadata["settings"]), entry)
        space = LabelSpace.from_json(metadata["labels"])
        frequencies = np.array(metadata["frequencies"].split(), np.float32)
    model = built_as_described(checkpoint / WEIGHTS, lambda: network(settings, len(space)), state)
    if isinstance(model, csn.Csn):  # the only one here whose norms are worth it: Swin's cannot be folded
        model.fuse()
    return Classifier(_as_asked(model.to(choose_device()).eval(), settings), settings, space, frequencies)


def _as_asked(model: nn.Module, settings: recipe.ClipMethod) -> nn.Module:
    """A network as the runtime in force runs it; what follows who is in a clip is PyTorch's in any case."""
    example = torch.zeros(2, 3, settings.frames, settings.image_size, settings.image_size)
    if not isinstance(model, InstanceNet):
        return onnx.as_asked(model, example)
    model.backbone = onnx.as_asked(model.backbone, example)
    return model


def predict(classifier: Classifier[Entry], plan: Plan, detections: pa.Table, videos: pa.Table, data: Path) -> pa.Table:
    """Give every detected part the likeliest state in the clip that tells about its frame.

    Args:
        classifier: The network.
        plan: Chooses clips.
        detections: `tables.DETECTIONS`.
        videos: `tables.VIDEOS` of the same videos.
        data: The folder that their paths are relative to.

    Returns:
        A table of `tables.PREDICTIONS`. What cannot be decoded takes the states of the last clip before it; a video
        without any the most frequent states of the training data.
    """
    files = {row["video_id"]: row for row in videos.select(["video_id", "path", "n_frames"]).to_pylist()}
    rows = detections.select(["video_id", "frame"]).to_pandas()
    wanted, clip_of, known = [], np.zeros(len(rows), np.int64), 0
    for video, of_video in rows.groupby("video_id", observed=True).indices.items():
        frames, of_row = np.unique(rows.frame.to_numpy()[of_video] - 1, return_inverse=True)
        indices, of_frame = plan(files[video]["n_frames"], frames)
        wanted.append((data / files[video]["path"], indices))
        clip_of[of_video] = known + of_frame[of_row]
        known += len(indices)
    return with_states(detections, classifier.space, _scores(classifier, wanted), clip_of)


def _scores(classifier: Classifier[Entry], videos: Sequence[tuple[Path, np.ndarray]]) -> np.ndarray:
    """Scores of clips of videos, `(K, labels)`: all of the first video, then of the next."""
    settings = classifier.settings
    found: list[list[np.ndarray]] = [[] for _ in videos]
    reading = read_ahead(videos, batch=read_at_once(settings), size=(settings.image_size, settings.image_size))
    for number, clips in progress(reading, "classifying clips", total=len(videos)):
        try:
            for windows in clips:
                found[number].extend(classifier.scores(*windows))
        except VideoError as error:
            log.warning("%s", error)
    for of_video, (_, indices) in zip(found, videos, strict=True):
        of_video += [of_video[-1] if of_video else classifier.frequencies] * (len(indices) - len(of_video))
    scores = [row for of_video in found for row in of_video]
    return np.stack(scores) if scores else np.zeros((0, len(classifier.space)), np.float32)
