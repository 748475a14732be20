"""The people of training videos: where they are, what their parts' labels are, and who is who.

Boxes are shares of the picture, edges of pixels: an annotated box, whose corners are pixels within it, ends one pixel
further.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from tps_pipeline import outputs, recipe
from tps_pipeline.boxes import paired_iou
from tps_pipeline.detection.tracks import track
from tps_pipeline.methods.part_states import UNLABELLED, LabelSpace, targets_by
from tps_pipeline.methods.people.landmarks import landmarks_of
from tps_pipeline.models.relations import People
from tps_pipeline.reading import Reads
from tps_pipeline.tables import BOX, PERSON_BOX

_FRAME = ["video_id", "frame"]
_PERSON = [*_FRAME, "person"]


class KeyFrame(NamedTuple):
    """A labelled frame, around which a clip is cut: the people in it.

    Attributes:
        boxes: Left, upper, right and lower edge as shares of the picture, float32, `(N, 4)`.
        targets: The label of each one's parts, `(N, parts)`.
        tracks: Each one's track in the video, `(N,)`.
        frames: The frame's index, for each of them, `(N,)`.
        landmarks: Each one's x and y as shares of the picture, and visibility, float32, `(N, 33, 3)`, NaN for whom
            there are none; None if they are not looked at.
    """

    boxes: np.ndarray
    targets: np.ndarray
    tracks: np.ndarray
    frames: np.ndarray
    landmarks: np.ndarray | None = None


class KeyFrames(Sequence[KeyFrame]):
    """The labelled frames of a video, each made when it is asked for: an object for each array of each would be more.

    Args:
        people: The people of all of them, frame by frame.
        starts: The first of each frame's, `(F,)`.
        kept: Which of the frames there are, `(K,)`.
    """

    def __init__(self, people: KeyFrame, starts: np.ndarray, kept: np.ndarray) -> None:
        self.people, self.starts, self.ends = people, starts[kept], np.append(starts[1:], len(people.boxes))[kept]

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, at: int) -> KeyFrame: ...
    @overload
    def __getitem__(self, at: slice) -> list[KeyFrame]: ...
    def __getitem__(self, at: int | slice) -> KeyFrame | list[KeyFrame]:
        """The people of a frame."""
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        here = slice(self.starts[at], self.ends[at])
        everyone = self.people
        return KeyFrame(
            everyone.boxes[here],
            everyone.targets[here].astype(np.int64),
            everyone.tracks[here].astype(np.int64),
            everyone.frames[here].astype(np.int64),
            None if everyone.landmarks is None else everyone.landmarks[here],
        )


class KeyFrameVideo(NamedTuple):
    """A video to learn from.

    Attributes:
        path: The file.
        n_frames: Its frames.
        frames: Indices of its key frames, in which people are labelled, ascending from 0, `(F,)`.
        key_frames: The people in each of them.
    """

    path: Path
    n_frames: int
    frames: np.ndarray
    key_frames: Sequence[KeyFrame]


def key_frame_videos(source: Reads, space: LabelSpace, settings: recipe.InstanceLevel) -> list[KeyFrameVideo]:
    """The readable videos in which a person is labelled; annotated frames past a video's end are left out.

    Args:
        source: The shards.
        space: The label space.
        settings: The recipe's entry: whether people are linked from frame to frame (else everyone is someone else in
            each), whether those detected are added, and whether there are landmarks. With these a video has the frames
            alone in which somebody's are known, if there are any.
    """
    targets = targets_by(_PERSON, source(outputs.PARTS), space)
    annotated = source(outputs.PEOPLE)
    people = annotated.select([*_PERSON, *BOX]).to_pandas().astype({"video_id": str})
    if settings.matching_detections is not None:
        matched = matching(people, source(outputs.DETECTIONS), settings.matching_detections)
        people = pd.concat([people, matched]).sort_values(by=_PERSON, kind="stable", ignore_index=True)
    keys = pd.MultiIndex.from_arrays([people[name] for name in _PERSON], names=_PERSON)
    tracks = np.arange(len(people), dtype=np.int32)
    if settings.tracked:
        linked = track(annotated).to_pandas().astype({"video_id": str}).set_index(_PERSON)
        tracks = linked.track_id.reindex(keys).to_numpy(np.int32)
    # Who has no labelled part is seen by the others all the same.
    labels = targets.reindex(keys, fill_value=UNLABELLED).to_numpy(np.int16)
    corners, times = people[[*BOX]].to_numpy(), people.frame.to_numpy(np.int32) - 1
    landmarks = landmarks_of(people, source(outputs.POSES)) if settings.keypoints else None
    by_video = people.groupby("video_id").indices
    columns = ["video_id", "path", "n_frames", "width", "height", "status"]
    videos = []
    for row in source(outputs.VIDEOS).select(columns).to_pylist():
        of_video = by_video.get(row["video_id"])
        if of_video is None or row["status"] != "ok":
            continue
        boxes = shares(corners[of_video], row["width"], row["height"])
        frames, starts = np.unique(times[of_video], return_index=True)
        everyone = KeyFrame(boxes, labels[of_video], tracks[of_video], times[of_video])
        if landmarks is not None:
            scale = np.array([row["width"], row["height"], 1], np.float32)
            everyone = everyone._replace(landmarks=landmarks[of_video] / scale)
        kept = _to_learn_from(everyone, starts, frames < row["n_frames"])
        if len(kept):
            key_frames = KeyFrames(everyone, starts, kept)
            videos.append(KeyFrameVideo(source.data / row["path"], row["n_frames"], frames[kept], key_frames))
    return videos


def _to_learn_from(people: KeyFrame, starts: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Which key frames of a video are learned from, counted from 0.

    Args:
        people: Those of all of them, frame by frame.
        starts: The first of each frame's, `(F,)`.
        there: Whether the video has the frame, `(F,)`.
    """
    labelled = there & np.logical_or.reduceat((people.targets >= 0).any(1), starts)
    if people.landmarks is None:
        return np.flatnonzero(labelled)
    posed = labelled & np.logical_or.reduceat(~np.isnan(people.landmarks).all((1, 2)), starts)
    return np.flatnonzero(posed if posed.any() else labelled)


def matching(people: pd.DataFrame, detections: pa.Table, settings: recipe.MatchingDetections) -> pd.DataFrame:
    """Detected people who are annotated ones: the annotated person's key, with the detected box.

    Args:
        people: Annotated people: key and box.
        detections: `tables.DETECTIONS`.
        settings: What counts as a match; a detection that matches several people is the one's whom it overlaps most.

    Returns:
        The columns of `people`; a person may be in it several times, or not at all.
    """
    sure = detections.filter(pa.array(detections["person_score"].to_numpy() >= settings.person_score))
    detected = sure.select([*_PERSON, *PERSON_BOX]).to_pandas().astype({"video_id": str}).drop_duplicates(_PERSON)
    pairs = people.merge(detected, on=_FRAME, suffixes=("", "_detected"))
    overlap = paired_iou(pairs[[*BOX]].to_numpy(float), pairs[[*PERSON_BOX]].to_numpy(float))
    matches = pd.DataFrame(pairs.assign(overlap=overlap)[overlap >= settings.iou])
    matches = matches.sort_values(by="overlap", ascending=False, kind="stable")
    best = matches.drop_duplicates([*_FRAME, "person_detected"])
    return best[_PERSON].assign(**{to: best[of] for to, of in zip(BOX, PERSON_BOX, strict=True)})


def shares(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes of inclusive pixels, `(N, 4)`, as shares of a picture: float32."""
    return ((boxes + np.array([0, 0, 1, 1])) / (width, height, width, height)).astype(np.float32)


def joined(videos: Sequence[Sequence[KeyFrame]]) -> dict[str, Tensor]:
    """The people of clips of some videos: the fields of `KeyFrame`, and `clip_of`, each one's clip, `(N,)`."""
    key_frames = [key_frame for video in videos for key_frame in video]
    fields = dict(zip(KeyFrame._fields, zip(*key_frames, strict=True), strict=True))
    rows = {name: np.concatenate(each) for name, each in fields.items() if each[0] is not None}
    sizes = [len(key_frame.boxes) for key_frame in key_frames]
    clip_of = np.repeat(np.arange(len(key_frames)), sizes)
    video_of = np.repeat(np.repeat(np.arange(len(videos)), [len(video) for video in videos]), sizes)
    _, tracks = np.unique(np.stack([video_of, rows["tracks"]]), axis=1, return_inverse=True)
    rows |= {"tracks": tracks.astype(np.int64), "clip_of": clip_of}
    return {name: torch.from_numpy(array) for name, array in rows.items()}


def people_of(batch: dict[str, Tensor], settings: recipe.InstanceLevel) -> People:
    """The people of a batch, who is who left open unless the entry asks for it."""
    linked = (batch["tracks"], batch["frames"]) if settings.tracked else (None, None)
    return People(batch["boxes"], batch["clip_of"], *linked, batch["landmarks"] if settings.keypoints else None)
