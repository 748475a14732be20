"""A trained network that finds people, parts and states by itself, as it is used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tps_pipeline import recipe, tables
from tps_pipeline.clips.networks import slowfast
from tps_pipeline.clips.reading import Windows, read_ahead
from tps_pipeline.cpu import prepare_cpu
from tps_pipeline.detection.two_stage import to_pixels
from tps_pipeline.device import choose_device
from tps_pipeline.errors import VideoError
from tps_pipeline.methods.clips.classifier import at_once, normalise, read_at_once
from tps_pipeline.methods.part_state_loss import part_state_scores
from tps_pipeline.methods.part_states import LabelSpace, with_states
from tps_pipeline.models import onnx
from tps_pipeline.models.described import built_as_described, description_of
from tps_pipeline.models.end_to_end import EndToEndNet, Look, people_in
from tps_pipeline.models.kept import kept
from tps_pipeline.models.relations import PersonContextPerson
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.models.yolov7 import Body
from tps_pipeline.progress import progress
from tps_pipeline.tables import BOX, PERSON_BOX
from tps_pipeline.training.checkpoint import WEIGHTS

log = logging.getLogger(__name__)


class Findings(NamedTuple):
    """The people in some clips, each clip's best first.

    Attributes:
        clip_of: Each one's clip, from 0, `(N,)`.
        people: Their boxes, shares of the picture, `(N, 4)`.
        scores: `(N,)`.
        parts: Their parts' boxes, `(N, parts, 4)`.
        seen: How surely a part is to be seen, `(N, parts)`.
        states: `part_state_scores`, `(N, labels)`.
    """

    clip_of: np.ndarray
    people: np.ndarray
    scores: np.ndarray
    parts: np.ndarray
    seen: np.ndarray
    states: np.ndarray

    def some(self, inside: np.ndarray) -> Findings:
        """Some of them."""
        return Findings(*(rows[inside] for rows in self))


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        model: In eval mode, on the device that it is to run on.
        settings: The recipe's entry that it was trained with, its `inference` that of the entry in force.
        space: Its labels.
    """

    model: nn.Module
    settings: recipe.EndToEnd
    space: LabelSpace


def build(settings: recipe.EndToEnd, space: LabelSpace) -> EndToEndNet:
    """The network of a recipe's entry, which tells some labels apart."""
    backbone, parts = slowfast(settings.network), len(space.parts)
    body = Body(settings.body.variant, width=settings.body.width, depth=settings.body.depth)
    relation = PersonContextPerson(
        settings.width,
        person=settings.person_width,
        hidden=settings.relation_width,
        blocks=settings.relation_blocks,
        dropout=settings.relation_dropout,
    )
    return EndToEndNet(
        Look(backbone, body, width=settings.width),
        relation,
        width=settings.width,
        hidden=settings.part_width,
        margin=settings.part_margin,
        part_of=[space.parts.index(part) for part, _ in space.pairs],
        parts=parts,
    )


@kept
def load(checkpoint: Path, entry: recipe.EndToEnd) -> Trained:
    """The network that `training.fit` left in a folder.

    Args:
        checkpoint: The folder.
        entry: The recipe's entry in force: it says how the network is used, the checkpoint what the network is.
    """
    prepare_cpu()
    state, metadata = load_checkpoint(checkpoint / WEIGHTS)
    with description_of(checkpoint / WEIGHTS):
        trained = recipe.EndToEnd.model_validate_json(metadata["settings"])
        settings = trained.model_copy(update={"inference": entry.inference})
        space = LabelSpace.from_json(metadata["labels"])
    model = built_as_described(checkpoint / WEIGHTS, lambda: build(settings, space), state)
    model = model.fuse().to(choose_device())
    # What follows who is in a clip is PyTorch's in any case.
    model.look = onnx.as_asked(model.look, torch.zeros(2, 3, settings.frames, settings.image_size, settings.image_size))
    return Trained(model, settings, space)


def predict(
    trained: Trained, clips: Callable[[int, np.ndarray], np.ndarray], frames: pa.Table, videos: pa.Table, data: Path
) -> pa.Table:
    """Find everyone in some frames, with all parts of each, in the likeliest states.

    Args:
        trained: The network.
        clips: The frames of the clips that end with some frames of a video with so many, as `read_windows` takes them.
        frames: Which frames: `video_id` and `frame`.
        videos: `tables.VIDEOS` of the same videos.
        data: The folder that their paths are relative to.

    Returns:
        A table of `tables.PREDICTIONS`; people are numbered from the best down, and a part's score is how surely it is
        to be seen, times its person's. In frames whose clip cannot be decoded nobody is found.
    """
    numbers = frames.select(["video_id", "frame"]).to_pandas().astype({"video_id": str})
    of_video = {str(video): np.unique(rows.frame.to_numpy(np.int64)) for video, rows in numbers.groupby("video_id")}
    found, scores, size = [], [], trained.settings.image_size
    rows = videos.select(["video_id", "path", "n_frames", "width", "height"]).to_pylist()
    files = [video for video in rows if video["video_id"] in of_video]
    wanted = [(data / video["path"], clips(video["n_frames"], of_video[video["video_id"]] - 1)) for video in files]
    reading = read_ahead(wanted, batch=read_at_once(trained.settings), size=(size, size))
    for number, windows in progress(reading, "finding people", total=len(files)):
        video = files[number]
        for people in _in_video(trained, windows):
            found.append(_columns(people, trained.space.parts, video, of_video[video["video_id"]]))
            scores.append(people.states)
    if not found:
        return tables.empty(tables.PREDICTIONS)
    # One table of all columns: to make one for each video takes as long as it takes to read the video. Its rows are not
    # sorted before they have their states, which are in the order in which people were found.
    columns = pa.table({name: np.concatenate([each[name] for each in found]) for name in found[0]})
    states = np.concatenate(scores)
    return with_states(columns, trained.space, states, np.repeat(np.arange(len(states)), len(trained.space.parts)))


def find(model: nn.Module, clips: Tensor, settings: recipe.EndToEnd, space: LabelSpace) -> Findings:
    """Find everyone in the last frames of clips, `(B, T, H, W, 3)` uint8 on the network's device."""
    used = settings.inference
    whom = partial(people_in, threshold=used.person_threshold, iou=used.person_iou, most=used.people_per_frame)
    _, found, described = model(normalise(clips, settings.network), whom)
    states = part_state_scores(described.states, space, kind=settings.loss)
    rows = found.people.clips, found.people.boxes, found.scores, described.parts, described.seen, states
    return Findings(*((each if each.dtype == torch.long else each.float()).cpu().numpy() for each in rows))


def _in_video(trained: Trained, clips: Iterator[Windows]) -> Iterator[Findings]:
    """Everyone in a video's clips, some clips at a time."""
    device, start = next(trained.model.parameters()).device, 0
    try:
        for windows in clips:
            pictures, shown = (torch.from_numpy(array).to(device) for array in windows)
            for some in shown.split(at_once(trained.settings)):
                with torch.inference_mode():
                    found = find(trained.model, pictures[some], trained.settings, trained.space)
                yield found._replace(clip_of=found.clip_of + start)
                start += len(some)
    except VideoError as error:
        log.warning("%s", error)


def _columns(
    found: Findings, parts: tuple[str, ...], video: dict[str, Any], frames: np.ndarray
) -> dict[str, np.ndarray]:
    """Columns of `tables.DETECTIONS`: all parts of everyone, one box each, however faint.

    Args:
        found: Everyone in some clips of a video.
        parts: Their names.
        video: Its row of `tables.VIDEOS`.
        frames: The number of the frame that each clip ends with.
    """
    size, each = (video["width"], video["height"]), len(parts)
    people, boxes = (to_pixels(rows.reshape(-1, 4) * np.array(size * 2), size) for rows in (found.people, found.parts))
    number = np.arange(len(people)) - np.searchsorted(found.clip_of, found.clip_of)
    columns = {"frame": frames[found.clip_of], "person": number, "person_score": found.scores}
    columns |= dict(zip(PERSON_BOX, people.T, strict=True))
    columns = {name: np.repeat(column, each) for name, column in columns.items()}
    columns["video_id"] = np.full(len(boxes), video["video_id"], object)
    columns["part"] = np.tile(np.array(parts, object), len(people))
    columns["part_score"] = (found.scores[:, None] * found.seen).ravel()
    return columns | dict(zip(BOX, boxes.T, strict=True))
