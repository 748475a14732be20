"""A trained network that names the states of each person's parts, as it is used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from tps_pipeline import recipe
from tps_pipeline.clips.networks import slowfast
from tps_pipeline.clips.reading import Windows, read_ahead
from tps_pipeline.errors import VideoError
from tps_pipeline.methods.clips import classifier as clip_classifier
from tps_pipeline.methods.clips.classifier import Classifier, at_once, normalise, read_at_once
from tps_pipeline.methods.part_state_loss import part_state_scores
from tps_pipeline.methods.part_states import with_states
from tps_pipeline.methods.people.key_frames import shares
from tps_pipeline.methods.people.landmarks import landmarks_of
from tps_pipeline.models.instance_level import InstanceNet
from tps_pipeline.models.relations import People, Person, PersonContextPerson, PersonPerson
from tps_pipeline.progress import progress
from tps_pipeline.tables import PERSON_BOX

_PERSON = ["video_id", "frame", "person"]

log = logging.getLogger(__name__)


class Everyone(NamedTuple):
    """The people in some clips, as `relations.People` has them.

    Attributes:
        boxes: Shares of the picture, `(N, 4)`.
        clip_of: Each one's clip, from 0, `(N,)`.
        tracks: Each one's track, `(N,)`; None where it does not matter who is who.
        frames: Each one's frame, `(N,)`; None likewise.
        landmarks: Each one's, shares of the picture, `(N, 33, 3)`; None where they are not looked at.
    """

    boxes: np.ndarray
    clip_of: np.ndarray
    tracks: np.ndarray | None = None
    frames: np.ndarray | None = None
    landmarks: np.ndarray | None = None

    def some(self, inside: np.ndarray, start: int) -> Everyone:
        """Those of some clips, which are counted from another one."""
        linked = (None if rows is None else rows[inside] for rows in (self.tracks, self.frames, self.landmarks))
        return Everyone(self.boxes[inside], self.clip_of[inside] - start, *linked)


class InVideo(NamedTuple):
    """Clips of a video and the people in them.

    Attributes:
        path: The file.
        clips: The frames of each clip, `(K, T)`, as `read_windows` takes them.
        everyone: The people, `Everyone.clip_of` counted in this video.
    """

    path: Path
    clips: np.ndarray
    everyone: Everyone


def build(settings: recipe.InstanceLevel, labels: int) -> InstanceNet:
    """The network of a recipe's entry, with so many outputs for each person."""
    backbone = slowfast(settings.network)
    return InstanceNet(backbone, _relation(settings, sum(backbone.channels)), labels=labels)


def _relation(settings: recipe.InstanceLevel, channels: int) -> Person | PersonContextPerson | PersonPerson:
    """What describes people, from features with so many channels."""
    person, hidden = settings.person_width, settings.relation_width
    blocks, dropout, keypoints = settings.relation_blocks, settings.relation_dropout, settings.keypoints
    match settings.relation:
        case "person":
            return Person(channels, person=person, hidden=hidden, keypoints=keypoints)
        case "person_context_person":
            return PersonContextPerson(
                channels, person=person, hidden=hidden, blocks=blocks, dropout=dropout, keypoints=keypoints
            )
        case "person_person":
            reach = settings.clips_per_video - 1 if settings.tracked else 0
            return PersonPerson(
                channels, person=person, hidden=hidden, blocks=blocks, dropout=dropout,
                reach=reach, step=settings.track_stride, keypoints=keypoints,
            )  # fmt: skip


def load(checkpoint: Path, entry: recipe.InstanceLevel) -> Classifier[recipe.InstanceLevel]:
    """The network that `people_training.fit` left in a folder, used as the entry in force says."""
    return clip_classifier.load(checkpoint, entry, build)


def predict(
    classifier: Classifier[recipe.InstanceLevel],
    clips: Callable[[int, np.ndarray], np.ndarray],
    detections: pa.Table,
    videos: pa.Table,
    data: Path,
    *,
    tracks: pa.Table | None = None,
    poses: pa.Table | None = None,
) -> pa.Table:
    """Give the parts of everyone detected the likeliest states.

    Args:
        classifier: The network.
        clips: The frames of the clips around some frames of a video with so many, as `read_windows` takes them.
        detections: `tables.DETECTIONS`.
        videos: `tables.VIDEOS` of the same videos.
        data: The folder that their paths are relative to.
        tracks: `tables.TRACKS` of the detections, where it matters who is who.
        poses: `tables.POSES` of the same videos, where landmarks are looked at.

    Returns:
        A table of `tables.PREDICTIONS`; people below the entry's threshold are left out of it, as of the clips. Whose
        clip cannot be decoded gets the training data's most frequent states.
    """
    columns, person_threshold = (
        ["video_id", "path", "n_frames", "width", "height"],
        classifier.settings.inference.person_threshold,
    )
    files = {row["video_id"]: row for row in videos.select(columns).to_pylist()}
    detections = detections.filter(pa.array(detections["person_score"].to_numpy() >= person_threshold))
    rows = detections.select([*_PERSON, *PERSON_BOX]).to_pandas()
    if tracks is not None:
        rows = rows.merge(tracks.to_pandas(), "left", _PERSON, validate="many_to_one")
    first_row = ~rows.duplicated(_PERSON).to_numpy()
    landmarks, person_at = None, first_row.cumsum() - 1
    if poses is not None:
        landmarks = landmarks_of(pd.DataFrame(rows[first_row]), poses, box=PERSON_BOX)
    wanted, person_of, known = [], np.zeros(len(rows), np.int64), 0
    for video, of_video in rows.groupby("video_id", observed=True).indices.items():
        keys = rows[["frame", "person"]].to_numpy()[of_video]
        people, first, of_row = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        frames, clip_of = np.unique(people[:, 0] - 1, return_inverse=True)
        file = files[video]
        first_rows = rows.iloc[of_video[first]]
        boxes = shares(first_rows[[*PERSON_BOX]].to_numpy(), file["width"], file["height"])
        linked, posed = (None, None), None
        if tracks is not None:
            linked = first_rows.track_id.to_numpy(np.int64), frames[clip_of].astype(np.int64)
        if landmarks is not None:
            size = np.array([file["width"], file["height"], 1], np.float32)
            posed = landmarks[person_at[of_video[first]]] / size
        everyone = Everyone(boxes, clip_of, *linked, posed)
        wanted.append(InVideo(data / file["path"], clips(file["n_frames"], frames), everyone))
        person_of[of_video] = known + of_row
        known += len(people)
    return with_states(detections, classifier.space, _scores(classifier, wanted), person_of)


def _scores(classifier: Classifier[recipe.InstanceLevel], videos: Sequence[InVideo]) -> np.ndarray:
    """Scores of the people in clips of videos, `(N, labels)`: all of the first video, then of the next."""
    settings = classifier.settings
    batch, size = settings.clips_per_video if settings.tracked else read_at_once(settings), settings.image_size
    scores = [np.tile(classifier.frequencies, (len(video.everyone.boxes), 1)) for video in videos]
    reading = read_ahead([(video.path, video.clips) for video in videos], batch=batch, size=(size, size))
    for number, clips in progress(reading, "classifying people", total=len(videos)):
        everyone, start = videos[number].everyone, 0
        try:
            for windows in clips:
                inside = (everyone.clip_of >= start) & (everyone.clip_of < start + len(windows.shown))
                scores[number][inside] = score(classifier, windows, everyone.some(inside, start))
                start += len(windows.shown)
        except VideoError as error:
            log.warning("%s", error)
    return np.concatenate(scores) if scores else np.zeros((0, len(classifier.space)), np.float32)


@torch.inference_mode()
def score(classifier: Classifier[recipe.InstanceLevel], windows: Windows, everyone: Everyone) -> np.ndarray:
    """Score the people in some clips, all of a clip from one look at it.

    Args:
        classifier: The network.
        windows: The clips.
        everyone: The people in them.

    Returns:
        `part_state_scores`, `(N, labels)`.
    """
    model, settings = classifier.model, classifier.settings
    assert isinstance(model, InstanceNet)
    device = next(model.parameters()).device
    pictures, shown = (torch.from_numpy(array).to(device) for array in windows)
    batches = shown.split(at_once(settings))
    looks = [model.features(normalise(pictures[clips], settings.network)) for clips in batches]
    people = People(*(None if rows is None else torch.from_numpy(rows).to(device) for rows in everyone))  # pyright: ignore
    logits = model.relate(torch.cat(looks), people)
    return part_state_scores(logits, classifier.space, kind=settings.loss).cpu().numpy()
